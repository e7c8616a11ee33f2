use crate::model::Digest;
use crate::runtime::Refused;
use crate::store;

/// Why a module was not taken or not activated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The component breaks the contract.
    #[error("the module is refused: {0}")]
    Refused(#[from] Refused),
    /// No such module.
    #[error("module {0} is not in the store; upload it first")]
    NotFound(Digest),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The host is being shut down.
    #[error("the host is shutting down")]
    Stopped,
}
