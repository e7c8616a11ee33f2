//! The vocabulary of Quipu as types: streams, versions, events, commands.
//!
//! No I/O and nothing asynchronous. Every value is checked when it is created, so the layers above
//! pass it on without further checks.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod annotations;
mod backoff;
mod body;
mod clock;
mod command;
mod context;
mod digest;
mod escaped;
mod event;
mod exact_json;
mod index;
mod json;
mod limits;
mod message;
mod mismatch;
mod projection;
mod signature;
mod stream;
pub mod supervise;
mod throttle;

pub use annotations::{Annotations, add_members, annotations, check_metadata};
pub use backoff::Backoff;
pub use body::{Body, ContentType};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use command::{Command, CommandId, CommandRecord, Rejection};
pub use context::Context;
pub use digest::Digest;
pub use escaped::{escaped, is_hidden};
pub use event::fresh_id;
pub use event::{CommitData, EventId, NewEvent, RecordedEvent, StoredAs};
pub use exact_json::is_same_json;
pub use index::{Index, Kind};
pub use json::DEPTH_MAX as JSON_DEPTH_MAX;
pub use json::check as check_json;
pub use json::{text_without_mark, without_mark};
pub use limits::{AppendLimits, REASON_BYTES_MAX, TooLarge};
pub use message::{MessageType, Name};
pub use mismatch::Mismatch;
pub use projection::{Lifecycle, OnError, Settings, SettingsChange};
pub use signature::{PublicKey, Signature};
pub use stream::{Category, ExpectedVersion, Position, StreamId, Version};
pub use throttle::{SharedThrottle, Throttle};

/// A value that breaks a rule of the model, with a message for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    /// Returns the refusal of a reader that continues after a place which does not exist. It has
    /// read another history, and would miss the next events up to that place.
    pub fn after_the_end(place: impl std::fmt::Display, last: u64) -> Self {
        Self(format!(
            "{place} does not exist, the last one is {last}: was the store restored from an older \
             copy? Begin at {last} or before"
        ))
    }
}
