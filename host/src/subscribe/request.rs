use std::sync::Arc;
use std::time::Duration;

use crate::model::{Invalid, Position, RecordedEvent, StreamId, Version};
use crate::store::Filter;
use crate::upcast::Form;

/// What to subscribe to, and from where.
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

/// What a subscription tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The next event, or the next part of one that an upcaster has split. Parts follow
    /// each other; the place moves with the last one that is told.
    Event(Arc<RecordedEvent>),
    /// Everything up to here has been told; what comes next is new. Comes once, and
    /// again after the subscription has fallen so far behind that it had to read the
    /// log.
    CaughtUp(Place),
    /// Nothing was told for a while; this is how far the subscription is. A filtered
    /// one moves on although no event passes.
    Heartbeat(Place),
}

/// Where a subscription stands. One that begins here misses nothing and repeats nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the log: subscribe to what is behind this position.
    Log(Position),
    /// In a stream: subscribe from the version after this one.
    Stream(Version),
}

impl Subscribe {
    /// To the events of the log behind a position that pass a filter, also those of
    /// archived streams. A position that the log has not reached is waited for. A type
    /// stands for what is stored under older names of it too, by the upcasters that are
    /// active when an event comes.
    pub fn log(after: Position, filter: Filter) -> Self {
        Self::to(Source::Log { after, filter })
    }

    /// To the events of a stream from a version on, 1 for all. The stream need not
    /// exist: its first event is waited for, as is a version after the next one.
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

    /// Only to what is committed from now on.
    #[must_use]
    pub fn from_now(mut self) -> Self {
        self.from_now = true;
        self
    }

    /// From a place that somebody has seen: one after the end is refused. Whoever was there has
    /// read another history, and would miss what comes until that place is reached.
    #[must_use]
    pub fn seen(mut self) -> Self {
        self.is_seen = true;
        self
    }

    /// To events as they are stored, not lifted by upcasters.
    #[must_use]
    pub fn as_stored(mut self) -> Self {
        self.form = Form::Stored;
        self
    }

    /// After how long a silence it tells how far it is; else as the host is configured.
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
