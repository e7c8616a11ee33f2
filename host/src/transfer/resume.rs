//! Reads what a store already has before an import: nothing, or what an interrupted one left.

use std::collections::BTreeSet;

use super::Target;
use super::export::last_event;
use super::read::Begin;
use crate::model::{Position, StreamId, Version};
use crate::store::{
    Deployment, Direction, Error, Filter, LOG_PAGE_MAX, Result, StoredEvent, StoredModule,
};

/// Number of anchors in one read. It is small because each has a state.
const ANCHORS_AT_ONCE: usize = 16;

/// What the store had when the import started.
pub struct Present {
    pub modules: Vec<StoredModule>,
    pub plans: Vec<Deployment>,
    /// Streams that are truncated, without those that the file has truncated so far.
    pub truncated: BTreeSet<String>,
    pub last: Option<Last>,
}

/// The last event of a log.
pub struct Last {
    pub event: StoredEvent,
    /// What the event's commit still lacks.
    pub open: Option<Open>,
}

/// A commit of which some events are still missing.
#[derive(Debug, Clone)]
pub struct Open {
    pub stream: StreamId,
    /// Version of the next event.
    pub version: Version,
    /// Index of the next event in the commit.
    pub offset: u64,
    /// Number of missing events.
    pub left: u64,
}

impl Present {
    pub async fn read(target: &Target) -> Result<Self> {
        Ok(Self {
            modules: target.modules.list().await?,
            plans: target.modules.deployments().await?,
            truncated: truncated(target).await?,
            last: Last::read(target).await?,
        })
    }

    /// Returns the position of the last event, or 0 if there is none.
    pub fn head(&self) -> Position {
        let last = self.last.as_ref();
        last.map_or(Position(0), |last| last.event.position)
    }

    /// Whether the file starts directly after the last event. If not, the file must have that
    /// event. The error says why neither is possible.
    pub fn is_extended_by(&self, begin: &Begin) -> std::result::Result<bool, String> {
        let start = begin.after.map_or(Position(0), |(position, _)| position);
        let head = self.head();
        if head < start {
            return Err(format!(
                "it ends at position {head}, and the file begins after position {start}"
            ));
        }
        match (&self.last, begin.after) {
            (Some(last), Some((_, id))) if head == start && last.event.event.id != id => {
                Err(format!("another event is at position {start}"))
            }
            _ => Ok(head == start),
        }
    }
}

impl Last {
    async fn read(target: &Target) -> Result<Option<Self>> {
        let reader = &*target.reader;
        let Some(last) = last_event(reader, reader.log_head().await?).await? else {
            return Ok(None);
        };
        let before = Position(last.position.0.saturating_sub(1));
        let event = event_after(target, before).await?;
        let open = open(target, &event).await?;
        Ok(Some(Self { event, open }))
    }

    /// Whether an event of the file is this one.
    pub fn is(&self, other: &StoredEvent) -> bool {
        let own = &self.event;
        (own.event.id, &own.stream, own.version) == (other.event.id, &other.stream, other.version)
    }
}

async fn truncated(target: &Target) -> Result<BTreeSet<String>> {
    let mut streams = BTreeSet::new();
    loop {
        let after = streams.last().map(String::as_str);
        let page = target
            .snapshots
            .anchors(None, after, ANCHORS_AT_ONCE)
            .await?;
        let is_last = page.len() < ANCHORS_AT_ONCE;
        streams.extend(page.iter().map(|anchor| anchor.stream.as_str().to_owned()));
        if is_last {
            return Ok(streams);
        }
    }
}

async fn event_after(target: &Target, before: Position) -> Result<StoredEvent> {
    let page = target.reader.read_stored(before, 1).await?;
    page.events
        .into_iter()
        .next()
        .ok_or_else(|| Error::Damaged(format!("there is no event after position {before}")))
}

/// Returns the first event of the commit that the log's last event belongs to. It is searched in
/// the log, because a read of the stream may not show it.
async fn first_of_commit(target: &Target, last: &StoredEvent) -> Result<StoredEvent> {
    let first = Version(last.version.0.saturating_sub(last.commit_offset));
    let limit = usize::try_from(last.commit_offset).unwrap_or(usize::MAX);
    let limit = limit.saturating_add(1).min(LOG_PAGE_MAX);
    let mut end = Position(last.position.0.saturating_add(1));
    loop {
        let page = target
            .reader
            .read_log(end, Direction::Backward, limit, &Filter::default())
            .await?;
        let mut events = page.events.iter();
        if let Some(found) = events.find(|it| it.stream == last.stream && it.version == first) {
            let before = Position(found.position.0.saturating_sub(1));
            return event_after(target, before).await;
        }
        end = page.next.ok_or_else(|| {
            Error::Damaged(format!(
                "stream {}: version {first} is not in the log",
                last.stream
            ))
        })?;
    }
}

/// Returns what the commit of the log's last event still lacks.
async fn open(target: &Target, last: &StoredEvent) -> Result<Option<Open>> {
    let first = first_of_commit(target, last).await?;
    let events = first.commit.map_or(0, |commit| commit.events);
    let left = events.saturating_sub(last.commit_offset + 1);
    Ok((left > 0).then(|| Open {
        stream: last.stream.clone(),
        version: last.version.next(),
        offset: last.commit_offset + 1,
        left,
    }))
}
