use super::name::FindingName;
use crate::model::{Digest, Invalid};
use crate::{deploy, fold, store};

/// Why a history could not be checked completely, or a finding not acknowledged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another run is under way on this host.
    #[error("a run is under way on this host; try again when it has ended")]
    UnderWay,
    /// Another shadow is running on this host.
    #[error("a shadow is under way on this host; end it, or wait for its end")]
    Shadowing,
    /// The module is already active.
    #[error("module {0} is active already; a shadow runs next to the active one")]
    Active(Digest),
    /// A name or a reason is not well-formed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The maximum number of acknowledgements is stored.
    #[error(
        "{0} findings are acknowledged, and no more than these may be; withdraw some that no \
         longer come up, or mend what is found"
    )]
    TooManyAcknowledged(usize),
    /// The finding is not acknowledged.
    #[error("finding {0} is not acknowledged; `quipu verify --acknowledged` lists those that are")]
    NotAcknowledged(FindingName),
    /// A projection could not be folded from scratch.
    #[error("documents were not compared: {0}")]
    Projections(String),
    /// The store failed, or its contents can't be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A module of the history can't be loaded.
    #[error(transparent)]
    Modules(#[from] deploy::Error),
    /// A snapshot could not be compared.
    #[error(transparent)]
    Fold(#[from] fold::Error),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    Stopped,
}

impl Error {
    /// Returns whether stored bytes can't be read.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Store(error)
            | Self::Modules(deploy::Error::Store(error))
            | Self::Fold(fold::Error::Store(error)) => matches!(error, store::Error::Damaged(_)),
            _ => false,
        }
    }

    /// Returns the stable code of the error, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnderWay | Self::Shadowing | Self::Stopped => "overloaded",
            Self::Active(_) => "conflict",
            Self::Invalid(_) => "bad-request",
            Self::TooManyAcknowledged(_) => "too-many-acknowledged",
            Self::NotAcknowledged(_) => "finding-not-acknowledged",
            Self::Projections(_) => "projection-refused",
            Self::Modules(error) => error.code(),
            Self::Fold(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}
