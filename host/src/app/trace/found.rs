//! What an id names.

use std::sync::Arc;

use uuid::Uuid;

use super::{FoundAs, TraceRequest};
use crate::model::{CommandId, CommitData, Position, RecordedEvent, StreamId, Timestamp};
use crate::store::Rejected;

/// Ids are made before the commit, and clocks of hosts differ.
const EARLIER_MS: u64 = 60_000;

/// An id that is searched for.
pub struct Wanted<'a> {
    text: &'a str,
    uuid: Option<Uuid>,
}

/// What an id names.
pub struct Start {
    pub found_as: FoundAs,
    position: Option<Position>,
    stream: StreamId,
    pub commit: Arc<CommitData>,
}

impl Start {
    /// The event at a position.
    pub fn at(event: &RecordedEvent) -> Self {
        Self::of(FoundAs::Position, event)
    }

    fn of(found_as: FoundAs, event: &RecordedEvent) -> Self {
        Self {
            found_as,
            position: Some(event.position),
            stream: event.stream.clone(),
            commit: Arc::clone(&event.commit),
        }
    }

    fn rejected(found_as: FoundAs, rejected: &Rejected) -> Self {
        Self {
            found_as,
            position: None,
            stream: rejected.stream.clone(),
            commit: commit_of(rejected),
        }
    }

    /// Its position; none for a rejection.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// Its stream.
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }
}

/// Where a rejection comes from.
pub fn commit_of(rejected: &Rejected) -> Arc<CommitData> {
    let (command, module) = (Some(&*rejected.command), Some(rejected.module));
    Arc::new(CommitData::of(command, rejected.plan, module, None))
}

impl<'a> Wanted<'a> {
    pub fn of(text: &'a str) -> Self {
        let made_by_host = text.strip_prefix(CommandId::RESERVED);
        let uuid = Uuid::try_parse(made_by_host.unwrap_or(text)).ok();
        Self { text, uuid }
    }

    /// The id as a position.
    pub fn position(&self) -> Option<Position> {
        let is_number = self.text.bytes().all(|byte| byte.is_ascii_digit());
        let number = self.text.parse().ok().filter(|_| is_number);
        number.filter(|it| i64::try_from(*it).is_ok()).map(Position)
    }

    /// When the id was made, or somewhat earlier, if it says so.
    pub fn time(&self) -> Option<Timestamp> {
        let uuid = self.uuid.filter(|uuid| uuid.get_version_num() == 7)?;
        let millis = (uuid.as_u128() >> 80) as u64;
        Some(Timestamp(millis.saturating_sub(EARLIER_MS) * 1_000))
    }

    /// What the id names on a page. An event's or a command's own id counts more than what others
    /// say about it.
    pub fn in_page(&self, events: &[RecordedEvent], request: &TraceRequest<'_>) -> Option<Start> {
        let found = events.iter().filter_map(|event| {
            let found_as = match event.id {
                id if Some(id) == self.uuid => FoundAs::Event,
                _ => self.named_by(&event.commit)?,
            };
            (request.may_read)(&event.stream).then_some((found_as, event))
        });
        let best = found.min_by_key(|(found_as, _)| rank(*found_as));
        best.map(|(found_as, event)| Start::of(found_as, event))
    }

    /// What the id names among rejections.
    pub fn among(&self, rejections: &[Rejected], request: &TraceRequest<'_>) -> Option<Start> {
        let found = rejections.iter().filter_map(|rejected| {
            let found_as = self.named_by(&commit_of(rejected))?;
            (request.may_read)(&rejected.stream).then_some((found_as, rejected))
        });
        let best = found.min_by_key(|(found_as, _)| rank(*found_as));
        best.map(|(found_as, rejected)| Start::rejected(found_as, rejected))
    }

    fn named_by(&self, commit: &CommitData) -> Option<FoundAs> {
        let is_this = |id: Option<&str>| id == Some(self.text);
        match commit {
            it if is_this(it.command_id.as_ref().map(CommandId::as_str)) => Some(FoundAs::Command),
            it if is_this(it.correlation_id.as_deref()) => Some(FoundAs::Correlation),
            it if is_this(it.causation_id.as_deref()) => Some(FoundAs::Causation),
            _ => None,
        }
    }
}

fn rank(found_as: FoundAs) -> u8 {
    match found_as {
        FoundAs::Position | FoundAs::Event => 0,
        FoundAs::Command => 1,
        FoundAs::Correlation => 2,
        FoundAs::Causation => 3,
    }
}
