use crate::model::{Digest, PublicKey, StreamId};
use crate::runtime::Refused;
use crate::store::SIGNATURES_MAX;
use crate::{fold, store, upcast};

/// Why a module was not stored or not activated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The component breaks the contract.
    #[error("the module is refused: {0}")]
    Refused(#[from] Refused),
    /// The module contradicts the active modules.
    #[error("the module is refused: {0}")]
    Conflict(#[from] upcast::Conflict),
    /// The module can't open the anchors of truncated streams.
    #[error(
        "the module is refused: it can't open the anchors of {}{}: {why}; migrate their form, or \
         remove the marks (truncate before 0; `quipu truncate STREAM --undo`)",
        streams.iter().map(|stream| stream.as_str()).collect::<Vec<_>>().join(", "),
        if *more > 0 { format!(" and {more} other streams") } else { String::new() }
    )]
    Anchors {
        /// The first of the streams.
        streams: Vec<StreamId>,
        /// Number of other streams.
        more: usize,
        /// The reason why the first anchor can't be opened.
        why: String,
    },
    /// A stream can't be folded.
    #[error(transparent)]
    Fold(#[from] fold::Error),
    /// A build can't become inline now.
    #[error("nothing was activated: {0}")]
    NotSettled(String),
    /// Other hosts activated something during every attempt.
    #[error("other hosts activate all the time; try again")]
    Raced,
    /// A signature does not match the component.
    #[error("module {module}: the signature of key {key} is not one of these bytes; sign it again")]
    WrongSignature {
        /// The module.
        module: Digest,
        /// The key of the signature.
        key: PublicKey,
    },
    /// No key that this host accepts has signed the module.
    #[error(
        "module {module} is {}; this host takes modules that are signed by one of its `keys` \
         only: `quipu sign` writes the signature to FILE.sig, which belongs next to FILE",
        match signed_by.as_slice() {
            [] => "not signed".to_owned(),
            keys => format!(
                "signed only by {}",
                keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            ),
        }
    )]
    Unsigned {
        /// The module.
        module: Digest,
        /// The keys of its signatures.
        signed_by: Vec<PublicKey>,
    },
    /// The module already has the highest number of signatures.
    #[error("module {0} has {SIGNATURES_MAX} signatures already, and no more are kept")]
    TooManySignatures(Digest),
    /// The plan has changed since the preflight.
    #[error(
        "nothing was activated: the preflight was made on plan {preflight}, and plan {now} is in \
         force; run the preflight a second time"
    )]
    PreflightOutdated {
        /// The plan of the preflight.
        preflight: u64,
        /// The current plan.
        now: u64,
    },
    /// The module does not exist.
    #[error("module {0} is not in the store; upload it first")]
    NotFound(Digest),
    /// The plan in force could not be loaded a moment ago, or is older than that of this host.
    #[error("{0}")]
    NotLoaded(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The host is being shut down.
    #[error("the host is shutting down")]
    Stopped,
}

impl Error {
    /// Its stable code, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(Refused::TooLarge { .. }) => "too-large",
            Self::Refused(_)
            | Self::Conflict(_)
            | Self::Anchors { .. }
            | Self::TooManySignatures(_) => "module-refused",
            Self::NotSettled(_) => "not-settled",
            Self::Raced | Self::PreflightOutdated { .. } => "conflict",
            Self::NotFound(_) => "module-not-found",
            Self::WrongSignature { .. } | Self::Unsigned { .. } => "unsigned",
            Self::NotLoaded(_) => "not-ready",
            Self::Stopped => "overloaded",
            Self::Fold(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}
