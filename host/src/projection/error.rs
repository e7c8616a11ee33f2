use super::NotFreshReason;
use crate::model::{Invalid, Position, StreamId};
use crate::runtime::FaultKind;
use crate::store::ParkedDocument;
use crate::{deploy, fold, store};

/// Errors of reads of and commands to projections.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request is invalid.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No such projection is deployed, and none was built earlier.
    #[error("projection {0} is not there; `quipu projections` lists those that are")]
    NotFound(String),
    /// The projection has no such document.
    #[error("projection {projection} has no document {key:?} up to position {position}{}", waits(.parked.as_ref()))]
    NoDocument {
        /// Name of the projection.
        projection: String,
        /// Key of the document.
        key: String,
        /// The position up to which the projection has processed the log.
        position: Position,
        /// Events that are parked for the document.
        parked: Option<ParkedDocument>,
    },
    /// The projection has not reached the requested position. Returned immediately, without
    /// waiting, if waiting cannot help.
    #[error(
        "projection {projection} has come to position {position}, {after} is asked for: {}",
        .reason.advice(.projection)
    )]
    NotFresh {
        /// Name of the projection.
        projection: String,
        /// The position that was reached: the answer would include everything up to here.
        position: Position,
        /// The position that was requested.
        after: Position,
        /// Why the projection has not reached it.
        reason: NotFreshReason,
    },
    /// The projection is live, so its documents are not stored.
    #[error(
        "projection {0} is live: nothing of it is stored; ask for the documents of one stream \
         (GET /v1/projections/{0}/live/STREAM)"
    )]
    IsLive(String),
    /// There is no such stream.
    #[error("stream {0} is not there")]
    StreamNotFound(StreamId),
    /// The command is not possible in the projection's current state.
    #[error("projection {projection}: {why}")]
    Refused {
        /// Name of the projection.
        projection: String,
        /// Why it is not possible, and what to do next.
        why: String,
    },
    /// Events cannot be folded.
    #[error("projection {projection} can't be folded: {why}")]
    Failed {
        /// Name of the projection.
        projection: String,
        /// Kind of the guest's fault, if there was one.
        fault: Option<&'static str>,
        /// What happened.
        why: String,
    },
    /// The plan could not be changed.
    #[error("{0}")]
    Plan(std::sync::Arc<deploy::Error>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    Stopped,
}

/// Describes the events that are parked for a missing document.
fn waits(parked: Option<&ParkedDocument>) -> String {
    parked.map_or_else(String::new, |parked| {
        let events = match parked.events {
            1 => "1 event is".to_owned(),
            more => format!("{more} events are"),
        };
        let first = parked.first_position;
        format!("; {events} parked for it, the first at position {first}")
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
    /// Returns the stable code of the error, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "bad-request",
            Self::NotFound(_) => "projection-not-found",
            Self::NoDocument { .. } => "document-not-found",
            Self::NotFresh { .. } => "not-fresh",
            Self::IsLive(_) | Self::Refused { .. } => "projection-refused",
            Self::StreamNotFound(_) => "stream-not-found",
            Self::Failed { fault, .. } if *fault == Some(FaultKind::HostOutOfMemory.as_str()) => {
                "overloaded"
            }
            Self::Failed { fault: Some(_), .. } => "guest-fault",
            Self::Failed { .. } => "unreadable-event",
            Self::Stopped => "overloaded",
            Self::Plan(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
}
