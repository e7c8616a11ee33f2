//! Events with all their stored data, as an export contains them.

use std::collections::{HashMap, HashSet};

use super::{Anchor, Decided, Deployment, Error, Head, Result};
use quipu_model::{
    CommandId, CommandRecord, Digest, NewEvent, Position, StreamId, Timestamp, Version,
};

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEvent {
    /// The event, with its own metadata.
    pub event: NewEvent,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// The version in the stream.
    pub version: Version,
    /// The position in the log.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Its place in its commit, from 0.
    pub commit_offset: u64,
    /// On the first event of a commit: the origin of the commit.
    pub commit: Option<StoredCommit>,
}

/// A commit as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCommit {
    /// The command.
    pub command: Option<CommandRecord>,
    /// The module that decided.
    pub decided: Option<Decided>,
    /// The plan under which it was made.
    pub plan: u64,
    /// Number of its events.
    pub events: u64,
    /// Its digest, as [`commit_digest`](super::commit_digest) defines it; none when the store has none.
    pub digest: Option<Digest>,
}

/// Events for an export.
#[derive(Debug, Clone)]
pub struct StoredPage {
    /// In order of position.
    pub events: Vec<StoredEvent>,
    /// Position of the last event in the log when the page was read; the page is the last one when
    /// its last event is at this position.
    pub head: Position,
}

/// A part of an export that is to be imported.
#[derive(Debug)]
pub enum Import {
    /// The import begins: until its end, or until the writer's connection ends, no other host
    /// writes. Refused as [`Error::OthersConnected`] while another host may write.
    Begin,
    /// Events, in order of position.
    Events(Vec<StoredEvent>),
    /// An activation; its module is in the store already.
    Plan(Box<Deployment>),
    /// A stream that is archived since this time.
    Archived(StreamId, Timestamp),
    /// A stream is truncated.
    Truncated(Box<Anchor>),
    /// The import has ended, also when it failed.
    End,
}

/// Largest number in an export. Above it, not every JSON reader is exact.
const NUMBER_MAX: u64 = (1 << 53) - 1;

/// A commit that begins in an earlier part.
#[derive(Debug)]
pub(super) struct Continued<'a> {
    /// Its stream.
    pub stream: &'a StreamId,
    /// Version of its first event, which is in the store.
    pub first: Version,
    /// How many events it has at least.
    pub events: u64,
}

impl Continued<'_> {
    /// Refuses events that are not part of the commit. `None` as the number of its events means
    /// that no commit begins there.
    pub(super) fn check(&self, events: Option<u64>) -> Result<()> {
        if events.is_some_and(|events| events >= self.events) {
            return Ok(());
        }
        let (stream, first) = (self.stream, self.first);
        Err(Error::Import(format!(
            "stream {stream}: no commit of {} events begins at version {first}",
            self.events
        )))
    }
}

/// The head of a stream during an import.
#[derive(Default)]
struct Standing {
    version: Version,
    recorded_at: Timestamp,
    /// The index of the last event in its commit, and how many events follow it there; none when
    /// the commit begins in an earlier part.
    commit: Option<(u64, u64)>,
    /// Index of that commit among those continued.
    continued: Option<usize>,
}

/// Refuses events that can't come after those in a store, by its last position and the head of each
/// stream. Returns the commits that the store must look up because they begin in an earlier part.
/// The store itself checks ids that it already holds.
pub(super) fn check_import(
    events: &[StoredEvent],
    mut last: Position,
    head: impl Fn(&StreamId) -> Option<Head>,
) -> Result<Vec<Continued<'_>>> {
    let mut streams = HashMap::new();
    let mut continued = Vec::new();
    let (mut commands, mut ids) = (HashSet::new(), HashSet::new());
    for event in events {
        let stream = &event.stream;
        let refused = |why: &str| {
            let (version, position) = (event.version, event.position);
            Err(Error::Import(format!(
                "stream {stream}, version {version}, position {position}: {why}"
            )))
        };
        if event.position <= last {
            return Err(Error::Import(format!(
                "the event at position {} does not come after position {last}",
                event.position
            )));
        }
        last = event.position;
        if largest(event) > NUMBER_MAX {
            return refused("a number is too large");
        }
        let standing = streams
            .entry(stream)
            .or_insert_with(|| Standing::of(head(stream)));
        if event.version != standing.version.next() {
            return Err(Error::Import(format!(
                "stream {stream}: version {} follows version {}",
                event.version, standing.version
            )));
        }
        if event.recorded_at < standing.recorded_at {
            return refused("it was recorded before the event that it follows");
        }
        if !standing.take(event, &mut continued) {
            return refused("it does not follow the event before it in their commit");
        }
        let id = event.commit.as_ref().and_then(|commit| commit.callers_id());
        let is_new = id.is_none_or(|id| commands.insert((stream, id)))
            && (!event.event.id_is_callers || ids.insert((stream, event.event.id)));
        if !is_new {
            return refused("its id occurs twice in the stream");
        }
    }
    Ok(continued)
}

impl Standing {
    fn of(head: Option<Head>) -> Self {
        let head = head.map(|head| (head.version, head.recorded_at));
        let (version, recorded_at) = head.unwrap_or_default();
        Self {
            version,
            recorded_at,
            ..Self::default()
        }
    }

    /// Adds the next event. Returns false when it is not the next event of its commit.
    fn take<'a>(&mut self, event: &'a StoredEvent, continued: &mut Vec<Continued<'a>>) -> bool {
        let offset = event.commit_offset;
        let follows = match (&event.commit, self.commit) {
            (Some(commit), Some((_, 0)) | None) => {
                self.commit = commit.events.checked_sub(1).map(|rest| (0, rest));
                self.continued = None;
                offset == 0 && self.commit.is_some()
            }
            (None, Some((before, rest @ 1..))) => {
                self.commit = Some((offset, rest - 1));
                offset == before + 1
            }
            (None, None) => self.go_on(event, continued),
            _ => false,
        };
        self.version = event.version;
        self.recorded_at = event.recorded_at;
        follows
    }

    /// Adds an event of a commit that begins in an earlier part.
    fn go_on<'a>(&mut self, event: &'a StoredEvent, continued: &mut Vec<Continued<'a>>) -> bool {
        let offset = event.commit_offset;
        let index = *self.continued.get_or_insert_with(|| {
            continued.push(Continued {
                stream: &event.stream,
                first: Version(event.version.0.saturating_sub(offset)),
                events: offset,
            });
            continued.len() - 1
        });
        let commit = &mut continued[index];
        let follows = offset > 0 && offset == commit.events && commit.first.0 > 0;
        commit.events += 1;
        follows
    }
}

fn largest(event: &StoredEvent) -> u64 {
    let commit = event.commit.as_ref();
    let (plan, size) = commit.map_or((0, 0), |commit| (commit.plan, commit.events));
    let decided = commit.and_then(|commit| commit.decided);
    let fuel = decided.map_or(0, |decided| decided.fuel);
    let (position, at) = (event.position.0, event.recorded_at.0);
    let numbers = [position, at, event.commit_offset, plan, size, fuel];
    numbers.into_iter().max().unwrap_or_default()
}

impl StoredCommit {
    /// The caller's id of its command.
    pub(super) fn callers_id(&self) -> Option<&CommandId> {
        let id = self.command.as_ref().map(|command| &command.id);
        id.filter(|id| id.is_callers())
    }
}

/// The position of the last commit without a digest.
pub(super) fn last_unproved(events: &[StoredEvent]) -> Option<Position> {
    let is_unproved = |event: &&StoredEvent| {
        let commit = event.commit.as_ref();
        commit.is_some_and(|commit| commit.digest.is_none())
    };
    let last = events.iter().rev().find(is_unproved);
    last.map(|event| event.position)
}

pub(super) fn module_missing(module: Digest) -> Error {
    Error::Import(format!(
        "module {module} is not in the store; it goes first"
    ))
}

pub(super) fn plan_out_of_order(plan: u64, after: u64) -> Error {
    Error::Import(format!("plan {plan} follows plan {after}"))
}

/// Returns the error for an import into a store with inline projections, which would not see the
/// imported events.
pub(super) fn holds_inline(projection: &str) -> Error {
    Error::Import(format!(
        "projection {projection} of the store is inline, and would not see what is imported; \
         detach it (lifecycle async), import, then make it inline again"
    ))
}

pub(super) fn no_stream_to_archive(stream: &StreamId) -> Error {
    Error::Import(format!("there is no stream {stream} to be archived"))
}

/// Refuses an anchor when the stream is at another version, or when the anchor was not taken of the
/// stream.
pub(super) fn check_anchor(anchor: &Anchor, head: Option<Head>) -> Result<()> {
    let (stream, before, at) = (&anchor.stream, anchor.before, anchor.snapshot.version);
    let refused = |why: &str| Err(Error::Import(format!("stream {stream}: its anchor {why}")));
    let Some(head) = head else {
        return Err(Error::Import(format!(
            "there is no stream {stream} to be truncated"
        )));
    };
    if !anchor.snapshot.is_intact(stream) || anchor.snapshot.body().is_none() {
        return refused("is damaged, or of another stream");
    }
    if before.0 == 0 || before > at || at > head.version {
        return refused(&format!(
            "at version {at} is not between its mark before {before} and its end at {}",
            head.version
        ));
    }
    Ok(())
}
