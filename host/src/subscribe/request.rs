use std::sync::Arc;
use std::time::Duration;

use crate::model::{Invalid, Position, RecordedEvent, StreamId, Version};
use crate::store::Filter;
use crate::upcast::Form;

/// A request for a subscription: what to subscribe to, and from where.
#[derive(Debug, Clone)]
pub struct Subscribe {
    pub(super) source: Source,
    pub(super) from_now: bool,
    pub(super) is_seen: bool,
    pub(super) heartbeat: Option<Duration>,
    pub(super) form: Form,
}

#[derive(Debug, Clone)]
pub(super) enum Source {
    Log { after: Position, filter: Filter },
    Stream { stream: StreamId, from: Version },
}

/// A message of a subscription.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The next event, or the next part of one that an upcaster has split. The parts follow each
    /// other directly. The checkpoint moves when the last part is delivered.
    Event(Arc<RecordedEvent>),
    /// Everything up to here has been delivered, and later events are new. Sent once, and repeated
    /// whenever the subscription had lagged so far that it had to read the log.
    CaughtUp(Place),
    /// No message was sent for a while. This is the current checkpoint of the subscription. That of
    /// a filtered subscription moves even if no event matches.
    Heartbeat(Place),
}

/// The checkpoint of a subscription. A subscription that starts here misses nothing and repeats
/// nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the log: subscribe to the events after this position.
    Log(Position),
    /// In a stream: subscribe from the version after this one.
    Stream(Version),
}

impl Subscribe {
    /// Subscribes to the events of the log after a position that match a filter, including those of
    /// archived streams. If the log has not reached the position yet, the subscription waits for
    /// it. A type also matches events stored under older names of it, according to the upcasters
    /// that are active when an event is delivered.
    pub fn log(after: Position, filter: Filter) -> Self {
        Self::to(Source::Log { after, filter })
    }

    /// Subscribes to the events of a stream from a version on, where 1 means all events. The stream
    /// need not exist: the subscription waits for its first event, and for a version that is not
    /// reached yet.
    pub fn stream(stream: StreamId, from: Version) -> Self {
        Self::to(Source::Stream { stream, from })
    }

    fn to(source: Source) -> Self {
        Self {
            source,
            from_now: false,
            is_seen: false,
            heartbeat: None,
            form: Form::Lifted,
        }
    }

    /// Subscribes only to events that are committed from now on.
    #[must_use]
    pub fn from_now(mut self) -> Self {
        self.from_now = true;
        self
    }

    /// Declares the start to be a checkpoint that the reader has seen. A checkpoint after the end
    /// of the log is then rejected: the reader must have read another history, and would miss all
    /// events up to the checkpoint.
    #[must_use]
    pub fn seen(mut self) -> Self {
        self.is_seen = true;
        self
    }

    /// Subscribes to events as they are stored, not lifted by upcasters.
    #[must_use]
    pub fn as_stored(mut self) -> Self {
        self.form = Form::Stored;
        self
    }

    /// Sets the time without a message after which a heartbeat is sent. The default is in the
    /// host's options.
    #[must_use]
    pub fn heartbeat(mut self, after: Duration) -> Self {
        self.heartbeat = Some(after);
        self
    }

    pub(super) fn check(&self) -> Result<(), Invalid> {
        match &self.source {
            Source::Log { filter, .. } if filter.without_archived => Err(Invalid(
                "a subscription sees the events of archived streams too".to_owned(),
            )),
            Source::Log { filter, .. } if filter.to.is_some() => Err(Invalid(
                "a subscription has no end; its filter names none".to_owned(),
            )),
            Source::Log { filter, .. } => filter.check(),
            Source::Stream { from, .. } if *from == Version::NONE => {
                Err(Invalid("versions begin at 1".to_owned()))
            }
            Source::Stream { .. } => Ok(()),
        }
    }
}
