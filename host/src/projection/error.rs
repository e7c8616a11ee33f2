use super::NotFreshReason;
use crate::model::{Invalid, Position, StreamId};
use crate::store::ParkedDocument;
use crate::{deploy, fold, store};

/// Why a projection does not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// What was asked makes no sense.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No such projection is deployed, nor was one built.
    #[error("projection {0} is not there; `quipu projections` lists those that are")]
    NotFound(String),
    /// It has no such document.
    #[error("projection {projection} has no document {key:?} up to position {position}{}", waits(.parked.as_ref()))]
    NoDocument {
        /// The projection.
        projection: String,
        /// The key.
        key: String,
        /// How far the projection has come.
        position: Position,
        /// Events that are parked for it.
        parked: Option<ParkedDocument>,
    },
    /// It has not come as far as it was asked to be. This is answered at once when it is of no
    /// use to wait.
    #[error(
        "projection {projection} has come to position {position}, {after} is asked for: {}",
        .reason.advice(.projection)
    )]
    NotFresh {
        /// The projection.
        projection: String,
        /// How far it is: everything up to here is in what was asked for.
        position: Position,
        /// How far it was to be.
        after: Position,
        /// Why.
        reason: NotFreshReason,
    },
    /// Its documents are stored nowhere.
    #[error(
        "projection {0} is live: nothing of it is stored; ask for the documents of one stream \
         (GET /v1/projections/{0}/live/STREAM)"
    )]
    IsLive(String),
    /// There is no such stream.
    #[error("stream {0} is not there")]
    StreamNotFound(StreamId),
    /// What is ordered does not go with how it stands.
    #[error("projection {projection}: {why}")]
    Refused {
        /// The projection.
        projection: String,
        /// Why, and what to do.
        why: String,
    },
    /// Events can't be folded.
    #[error("projection {projection} can't be folded: {why}")]
    Failed {
        /// The projection.
        projection: String,
        /// Kind of the guest's fault, if it was one.
        fault: Option<&'static str>,
        /// What happened.
        why: String,
    },
    /// The plan does not change.
    #[error("{0}")]
    Plan(std::sync::Arc<deploy::Error>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The host ends.
    #[error("the host is shutting down")]
    Stopped,
}

/// What is parked for a document that is not there, in words.
fn waits(parked: Option<&ParkedDocument>) -> String {
    parked.map_or_else(String::new, |parked| {
        format!(
            "; {} events are parked for it, the first at position {}",
            parked.events, parked.first_position
        )
    })
}

impl From<deploy::Error> for Error {
    fn from(error: deploy::Error) -> Self {
        match error {
            deploy::Error::Store(error) => Self::Store(error),
            deploy::Error::Stopped => Self::Stopped,
            other => Self::Plan(std::sync::Arc::new(other)),
        }
    }
}

impl From<fold::Error> for Error {
    fn from(error: fold::Error) -> Self {
        match error {
            fold::Error::Store(error) => Self::Store(error),
            _ => Self::Stopped,
        }
    }
}

impl Error {
    /// Its stable code, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "bad-request",
            Self::NotFound(_) => "projection-not-found",
            Self::NoDocument { .. } => "document-not-found",
            Self::NotFresh { .. } => "not-fresh",
            Self::IsLive(_) | Self::Refused { .. } => "projection-refused",
            Self::StreamNotFound(_) => "stream-not-found",
            Self::Failed { fault: Some(_), .. } => "guest-fault",
            Self::Failed { .. } => "unreadable-event",
            Self::Stopped => "overloaded",
            Self::Plan(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}
