use crate::model::{
    CommandId, Digest, EventId, ExpectedVersion, Invalid, Name, Rejection, StreamId, TooLarge,
    Version,
};
use crate::runtime::{Failure, Fault, FaultKind};
use crate::schema::Mismatch;
use crate::{fold, store};

/// Why a command, an append or a read failed. Nothing is stored.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The domain says no.
    #[error("rejected ({}): {}", rejection.code, rejection.message)]
    Rejected {
        /// The answer of the guest.
        rejection: Box<Rejection>,
        /// The module that decided.
        module: Digest,
    },
    /// The stream is not at the expected version.
    #[error("stream {stream}: expected {expected}, found version {found}")]
    WrongExpectedVersion {
        /// The stream.
        stream: StreamId,
        /// Expected version.
        expected: ExpectedVersion,
        /// Version of the stream.
        found: Version,
    },
    /// Others wrote to the stream during every attempt, until the deadline.
    #[error("stream {0}: other writers came first until the deadline; send the command again")]
    Conflict(StreamId),
    /// The id belongs to another command.
    #[error("stream {stream}: command id {id} was used for another command; take a fresh one")]
    IdempotencyKeyReused {
        /// The stream.
        stream: StreamId,
        /// The id.
        id: CommandId,
    },
    /// The id belongs to another event.
    #[error("stream {stream}: event id {id} was used for another event; take a fresh one")]
    EventIdReused {
        /// The stream.
        stream: StreamId,
        /// The event's id.
        id: EventId,
    },
    /// Some of the events were appended before, but not in the same append.
    #[error(
        "stream {stream}: event {id} was appended before, but not in the same append; leave \
         out what is there already"
    )]
    PartialDuplicate {
        /// The stream.
        stream: StreamId,
        /// The event's id.
        id: EventId,
    },
    /// An event occurs twice in one append.
    #[error("stream {stream}: event {id} occurs twice in the append")]
    DuplicateInAppend {
        /// The stream.
        stream: StreamId,
        /// The event's id.
        id: EventId,
    },
    /// The stream is archived.
    #[error("stream {0} is archived; restore it to append to it")]
    Archived(StreamId),
    /// The stream is longer than its category allows.
    #[error(
        "stream {stream}: {events} events since its newest snapshot, more than {max}; take a \
         snapshot, or raise the limit of the category"
    )]
    TooLong {
        /// The stream.
        stream: StreamId,
        /// Events since the newest snapshot.
        events: u64,
        /// The limit.
        max: u64,
    },
    /// No decider serves the category.
    #[error("no decider serves category {0:?}; correct the name, or deploy one")]
    UnknownCategory(String),
    /// A decider serves the category, and the append did not ask to bypass it.
    #[error(
        "a decider serves category {0}; send commands, or ask to append raw events (Quipu-Raw: allow)"
    )]
    CategoryOwned(String),
    /// The stream does not exist.
    #[error("there is no stream {0}")]
    StreamNotFound(StreamId),
    /// The guest could not read the command.
    #[error("the decider can't read the command: {0}")]
    InvalidCommand(String),
    /// The data of the command do not match the schema that the decider declares.
    #[error(
        "command {name} does not match its schema: {mismatch}; correct the data, as \
         GET /v1/domain/openapi.json describes them"
    )]
    SchemaMismatch {
        /// Type of the command.
        name: Name,
        /// The first place that does not match.
        mismatch: Box<Mismatch>,
    },
    /// The guest faulted.
    #[error(transparent)]
    Fault(#[from] Box<Fault>),
    /// The guest can't fold an event of the stream.
    #[error("stream {stream}: {text}")]
    UnreadableEvent {
        /// The stream.
        stream: StreamId,
        /// The message of the guest.
        text: String,
    },
    /// The stream is truncated, and the anchor of its older events can't be used.
    #[error("{0}")]
    Anchor(String),
    /// No snapshot can be taken of the stream.
    #[error("stream {stream}: {text}")]
    SnapshotRefused {
        /// The stream.
        stream: StreamId,
        /// The reason.
        text: String,
    },
    /// The stream can't be truncated in this way.
    #[error("stream {stream}: {text}")]
    TruncateRefused {
        /// The stream.
        stream: StreamId,
        /// The reason.
        text: String,
    },
    /// The module is not in the store, or is not a decider of the stream's category.
    #[error("{0}")]
    NoModule(String),
    /// The decider does not show its state.
    #[error("the decider of category {0:?} does not show its state")]
    StateNotShown(String),
    /// A limit was exceeded.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The request is malformed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// An inline projection can't fold the events.
    #[error(
        "inline projection {}: {}{}", .0.projection, .0.text,
        if .0.is_failing { "; detach it (lifecycle async), or deploy one that can" } else { "" }
    )]
    Unprojected(Box<store::Unprojected>),
    /// Another host has activated what this host can't load.
    #[error(
        "this host can't load the plan that is in force: {0}; send the request to another host, \
         and replace this one by one that can, or roll back"
    )]
    PlanNotLoaded(String),
    /// Too many commands are in flight.
    #[error("too many commands are in flight; try again in a moment")]
    Overloaded,
    /// The store failed. If it failed while committing, repeating the request with the same id
    /// shows whether it was stored.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The host is shutting down.
    #[error("the host is shutting down")]
    Stopped,
}

impl Error {
    /// Returns the error for a request that was in a part of the host that failed. Only its id
    /// shows whether it was stored.
    pub(super) fn unanswered() -> Self {
        Self::Store(store::Error::Unavailable(
            "a part of the host failed while it had the request; whether it was stored is not \
             known: send it again with the same id"
                .to_owned(),
        ))
    }

    /// Converts the failure of a guest at a stream.
    pub(super) fn of_guest(stream: &StreamId, failure: &Failure) -> Self {
        fold::Error::of_guest(stream, failure).into()
    }

    /// The stable code, as clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rejected { .. } => "rejected",
            Self::WrongExpectedVersion { .. } => "wrong-expected-version",
            Self::Conflict(_) => "conflict",
            Self::IdempotencyKeyReused { .. } | Self::EventIdReused { .. } => {
                "idempotency-key-reused"
            }
            Self::PartialDuplicate { .. } => "partial-duplicate",
            Self::DuplicateInAppend { .. } => "duplicate-in-append",
            Self::Archived(_) => "stream-archived",
            Self::TooLong { .. } => "stream-too-long",
            Self::UnknownCategory(_) => "unknown-category",
            Self::CategoryOwned(_) => "category-owned",
            Self::StreamNotFound(_) => "stream-not-found",
            Self::InvalidCommand(_) | Self::SchemaMismatch { .. } => "invalid-command",
            Self::Unprojected(failed) if failed.is_failing => "projection-failing",
            Self::Unprojected(failed) if is_of_host(failed.fault) => "overloaded",
            Self::Fault(fault) if fault.kind.is_of_host() => "overloaded",
            Self::Fault(_) | Self::Unprojected(_) => "guest-fault",
            Self::UnreadableEvent { .. } | Self::Anchor(_) => "unreadable-event",
            Self::SnapshotRefused { .. } => "snapshot-refused",
            Self::TruncateRefused { .. } => "truncate-refused",
            Self::NoModule(_) => "module-not-found",
            Self::StateNotShown(_) => "state-not-shown",
            Self::TooLarge(_) => "too-large",
            Self::Invalid(_) => "bad-request",
            Self::PlanNotLoaded(_) => "not-ready",
            Self::Overloaded | Self::Stopped => "overloaded",
            Self::Store(error) => error.code(),
        }
    }
}

/// Whether a kind of fault is the host's.
fn is_of_host(fault: Option<&str>) -> bool {
    fault == Some(FaultKind::HostOutOfMemory.as_str())
}

impl From<store::Unprojected> for Error {
    fn from(unprojected: store::Unprojected) -> Self {
        Self::Unprojected(Box::new(unprojected))
    }
}

impl From<fold::Error> for Error {
    fn from(error: fold::Error) -> Self {
        match error {
            fold::Error::NoStream(stream) => Self::StreamNotFound(stream),
            fold::Error::Fault(fault) => Self::Fault(fault),
            fold::Error::Unreadable { stream, text } => Self::UnreadableEvent { stream, text },
            fold::Error::Refused { stream, text } => Self::SnapshotRefused { stream, text },
            fold::Error::Store(error) => Self::Store(error),
            fold::Error::Stopped => Self::Stopped,
            anchor @ fold::Error::Anchor { .. } => Self::Anchor(anchor.to_string()),
            version @ (fold::Error::NoVersion { .. } | fold::Error::Truncated { .. }) => {
                Invalid(version.to_string()).into()
            }
        }
    }
}
