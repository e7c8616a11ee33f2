use std::collections::VecDeque;
use std::sync::Arc;

use super::Options;
use crate::model::{Position, RecordedEvent};

/// The newest events of the log, without a gap.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
    start: Position,
    end: Position,
    /// Number of events that have left the ring.
    gone: u64,
    /// Number of events, counted from the first one that was ever in the ring, up to which all
    /// commits are complete.
    whole: u64,
    events_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry {
    event: Arc<RecordedEvent>,
    begins_commit: bool,
}

/// The next item for a reader of whole commits.
#[derive(Debug, PartialEq)]
pub(super) enum NextCommit {
    Events(Vec<Arc<RecordedEvent>>),
    /// The number of events that have left the ring unread.
    Missed(u64),
    /// There is no complete commit yet.
    None,
}

impl Ring {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            start: Position(0),
            end: Position(0),
            gone: 0,
            whole: 0,
            events_max: options.ring_events_max,
            bytes_max: options.ring_bytes_max,
        }
    }

    /// Removes all events and continues after a position.
    pub(super) fn restart(&mut self, head: Position) {
        self.gone = self.count();
        self.whole = self.gone;
        self.entries = VecDeque::new();
        self.bytes = 0;
        (self.start, self.end) = (head, head);
    }

    /// Returns the position after which all events up to the end are in the ring.
    pub(super) fn start(&self) -> Position {
        self.start
    }

    /// Returns the position up to which the ring follows the log.
    pub(super) fn end(&self) -> Position {
        self.end
    }

    /// Returns the number of events that were ever in the ring.
    pub(super) fn count(&self) -> u64 {
        self.gone + self.entries.len() as u64
    }

    /// Adds the next event, and removes the oldest ones until the limits are met.
    pub(super) fn push(&mut self, event: Arc<RecordedEvent>) {
        let last = self.entries.back();
        let begins_commit = last.is_none_or(|last| !is_one_commit(&last.event, &event));
        self.end = event.position;
        self.bytes += bytes_of(&event);
        self.entries.push_back(Entry {
            event,
            begins_commit,
        });
        while self.entries.len() > self.events_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= bytes_of(&oldest.event);
            self.start = oldest.event.position;
            self.gone += 1;
        }
    }

    /// Records that there are no further events up to a position. If this was the last page, the
    /// last commit is complete too.
    pub(super) fn reach(&mut self, position: Position, is_last: bool) {
        self.end = self.end.max(position);
        let last_commit = match is_last {
            true => 0,
            false => {
                1 + self
                    .entries
                    .iter()
                    .rev()
                    .take_while(|it| !it.begins_commit)
                    .count() as u64
            }
        };
        self.whole = self.whole.max(self.count().saturating_sub(last_commit));
    }

    /// Returns the events after a position.
    pub(super) fn events_after(
        &self,
        position: Position,
    ) -> impl Iterator<Item = &Arc<RecordedEvent>> {
        let first = self
            .entries
            .partition_point(|entry| entry.event.position <= position);
        self.entries.range(first..).map(|entry| &entry.event)
    }

    /// Returns the next whole commit for a reader that has read the given number of events.
    pub(super) fn next_commit(&self, read: &mut u64) -> NextCommit {
        let skipped = self
            .entries
            .iter()
            .take_while(|it| !it.begins_commit)
            .count() as u64;
        let first = match *read < self.gone {
            true => self.gone + skipped,
            false => *read,
        };
        if first > *read && first <= self.whole {
            let missed = first - *read;
            *read = first;
            return NextCommit::Missed(missed);
        }
        if first >= self.whole {
            return NextCommit::None;
        }
        let index = (first - self.gone) as usize;
        let rest = self.entries.range(index + 1..);
        let length = 1 + rest.take_while(|it| !it.begins_commit).count();
        *read = first + length as u64;
        let commit = self.entries.range(index..index + length);
        NextCommit::Events(commit.map(|entry| Arc::clone(&entry.event)).collect())
    }
}

/// Whether an event belongs to the same commit as the event before it. Within a page of the log,
/// the events of a commit share its data. Across pages, the command's id identifies the commit.
fn is_one_commit(before: &RecordedEvent, event: &RecordedEvent) -> bool {
    let (one, other) = (&before.commit, &event.commit);
    let is_one = || one.command_id.is_some() && one.command_id == other.command_id;
    before.stream == event.stream && (Arc::ptr_eq(one, other) || is_one())
}

/// Returns the approximate memory use of an event.
pub(super) fn bytes_of(event: &RecordedEvent) -> usize {
    let metadata = event.metadata.as_ref().map_or(0, bytes::Bytes::len);
    let tags: usize = event.tags.iter().map(|tag| tag.len()).sum();
    event.body.len() + metadata + tags + size_of::<RecordedEvent>()
}
