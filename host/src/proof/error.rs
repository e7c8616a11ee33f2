use crate::model::Digest;
use crate::{deploy, fold, store};

/// Why a history could not be looked at to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another run is under way, on this host.
    #[error("a run is under way on this host; try again when it has ended")]
    UnderWay,
    /// Another module runs beside the active one, on this host.
    #[error("a shadow is under way on this host; end it, or wait for its end")]
    Shadowing,
    /// The module is active already.
    #[error("module {0} is active already; a shadow runs beside the one that is")]
    Active(Digest),
    /// The store failed, or what it holds can't be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A module of the history can't be loaded.
    #[error(transparent)]
    Modules(#[from] deploy::Error),
    /// A snapshot could not be compared.
    #[error(transparent)]
    Fold(#[from] fold::Error),
    /// The host is being shut down.
    #[error("the host is shutting down")]
    Stopped,
}
