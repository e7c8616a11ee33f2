use crate::model::Invalid;
use crate::store;

/// Why a token or a tenant could not be made, found or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name, the grant or the expiry is not well-formed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The name belongs to a token that is not revoked, or the store holds as many tokens as it may.
    #[error("{0}")]
    NotAdded(String),
    /// There is no such token.
    #[error("no token has the id or the name {0:?}, or it is revoked already")]
    NotFound(String),
    /// The name belongs to another tenant, or there are as many tenants as there may be.
    #[error("{0}")]
    TenantNotAdded(String),
    /// There is no such tenant.
    #[error("there is no tenant {0:?}; `quipu tenant list` lists them")]
    TenantNotFound(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Error {
    /// Its stable code, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "bad-request",
            Self::NotAdded(_) => "token-refused",
            Self::NotFound(_) => "token-not-found",
            Self::TenantNotAdded(_) => "tenant-refused",
            Self::TenantNotFound(_) => "tenant-not-found",
            Self::Store(error) => error.code(),
        }
    }
}
