use crate::model::{StreamId, Version};
use crate::runtime::Fault;
use crate::{runtime, store, upcast};

/// Why a stream can't be folded.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream does not exist.
    #[error("there is no stream {0}")]
    NoStream(StreamId),
    /// A guest faulted.
    #[error(transparent)]
    Fault(#[from] Box<Fault>),
    /// An event can't be read.
    #[error("stream {stream}: {text}")]
    Unreadable {
        /// The stream.
        stream: StreamId,
        /// The event, and the reason.
        text: String,
    },
    /// The stream is truncated, and the anchor of its older events can't be used.
    #[error(
        "stream {stream} is truncated before version {before}, and its anchor can't be used: \
         {text}; remove the mark (truncate before 0; `quipu truncate {stream} --undo`)"
    )]
    Anchor {
        /// The stream.
        stream: StreamId,
        /// Mark of the stream.
        before: Version,
        /// The reason.
        text: String,
    },
    /// No snapshot of the stream can be taken.
    #[error("stream {stream}: {text}")]
    Refused {
        /// The stream.
        stream: StreamId,
        /// The reason.
        text: String,
    },
    /// The version or time is before the mark of a truncated stream.
    #[error(
        "stream {stream} is truncated before version {before}, and older states are not shown; \
         remove the mark to see them (truncate before 0; `quipu truncate {stream} --undo`)"
    )]
    Truncated {
        /// The stream.
        stream: StreamId,
        /// Mark of the stream.
        before: Version,
    },
    /// The stream does not have this version.
    #[error("stream {stream} has version {found}, and no version {version}")]
    NoVersion {
        /// The stream.
        stream: StreamId,
        /// The requested version.
        version: Version,
        /// Version of the stream.
        found: Version,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The host is being shut down.
    #[error("the host is shutting down")]
    Stopped,
}

impl Error {
    /// Converts the failure of a guest at a stream.
    pub fn of_guest(stream: &StreamId, failure: &runtime::Failure) -> Self {
        match failure {
            runtime::Failure::Fault(fault) => Self::Fault(Box::new(fault.clone())),
            other => Self::Unreadable {
                stream: stream.clone(),
                text: match other {
                    runtime::Failure::UnknownEvent(text) | runtime::Failure::BadEvent(text) => {
                        text.clone()
                    }
                    other => other.to_string(),
                },
            },
        }
    }

    /// Converts an error from lifting an event of a stream.
    pub fn of_lift(stream: &StreamId, error: upcast::Error) -> Self {
        match error {
            upcast::Error::Fault { version, mut fault } => {
                fault.text = format!("version {version} of stream {stream}: {}", fault.text);
                Self::Fault(fault)
            }
            other => Self::Unreadable {
                stream: stream.clone(),
                text: other.to_string(),
            },
        }
    }
}

impl Error {
    /// Whether the host failed, and not a guest. The stream may be folded in a moment.
    pub fn is_of_host(&self) -> bool {
        matches!(self, Self::Fault(fault) if fault.kind.is_of_host())
    }

    /// Its stable code, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoStream(_) => "stream-not-found",
            Self::Fault(fault) if fault.kind.is_of_host() => "overloaded",
            Self::Fault(_) => "guest-fault",
            Self::Unreadable { .. } | Self::Anchor { .. } => "unreadable-event",
            Self::Refused { .. } => "snapshot-refused",
            Self::NoVersion { .. } | Self::Truncated { .. } => "bad-request",
            Self::Stopped => "overloaded",
            Self::Store(error) => error.code(),
        }
    }
}
