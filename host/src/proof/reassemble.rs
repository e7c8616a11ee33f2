//! Reassembles commits from the events of the log.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::{Hash, Hasher};

use crate::model::{StreamId, Version};
use crate::store::{StoredCommit, StoredEvent};

/// Limit for the number of streams whose versions are known, if the log is followed.
const HEADS_MAX: usize = 1_000_000;

/// A commit with all of its events.
#[derive(Debug)]
pub(super) struct Whole {
    pub commit: StoredCommit,
    /// The events in order. There is at least one.
    pub events: Vec<StoredEvent>,
}

impl Whole {
    fn is_all(&self) -> bool {
        self.events.len() as u64 == self.commit.events
    }
}

/// The effect of an event on its commit.
#[derive(Debug)]
pub(super) enum EventEffect {
    /// The commit is not complete yet.
    Begun,
    /// The event completes the commit.
    Whole(Box<Whole>),
    /// The event is not where it should be. It counts as the start of what follows.
    Misplaced(Box<StoredEvent>, String),
}

/// Groups the events of some streams, which arrive in log order, into commits.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// The version of each stream, by a hash of its id. The hash saves memory, because a log has
    /// millions of streams.
    heads: HashMap<u64, Version>,
    /// Commits that are not complete yet.
    begun: HashMap<StreamId, Whole>,
    /// Whether streams may have existed before the first event that is taken.
    follows: bool,
}

impl Commits {
    /// Creates the value for a log that is not read from its first event on.
    pub(super) fn following() -> Self {
        Self {
            follows: true,
            ..Self::default()
        }
    }

    /// Processes the next event.
    pub(super) fn take(&mut self, event: StoredEvent) -> EventEffect {
        let key = hash(&event.stream);
        let known = self.heads.get(&key).copied();
        let is_unknown = self.follows && known.is_none();
        if is_unknown && event.commit_offset > 0 && !self.begun.contains_key(&event.stream) {
            // The commit started before the first event that was read.
            return EventEffect::Begun;
        }
        if self.follows && self.heads.len() >= HEADS_MAX {
            self.heads.clear();
        }
        let expected = match is_unknown {
            true => event.version,
            false => known.unwrap_or_default().next(),
        };
        self.heads.insert(key, event.version);
        if event.version != expected {
            self.begun.remove(&event.stream);
            let why = format!("version {} follows, where {expected} should", event.version);
            return EventEffect::Misplaced(Box::new(event), why);
        }
        let offset = event.commit_offset;
        match (self.begun.entry(event.stream.clone()), event.commit.clone()) {
            (Entry::Vacant(begun), Some(commit)) if commit.events > 0 && offset == 0 => {
                let whole = Whole {
                    commit,
                    events: vec![event],
                };
                if whole.is_all() {
                    return EventEffect::Whole(Box::new(whole));
                }
                begun.insert(whole);
                EventEffect::Begun
            }
            (Entry::Occupied(mut begun), None) if begun.get().events.len() as u64 == offset => {
                begun.get_mut().events.push(event);
                match begun.get().is_all() {
                    true => EventEffect::Whole(Box::new(begun.remove())),
                    false => EventEffect::Begun,
                }
            }
            (begun, _) => {
                if let Entry::Occupied(begun) = begun {
                    begun.remove();
                }
                let why = format!("it is event {offset} of a commit, and not after the one before");
                EventEffect::Misplaced(Box::new(event), why)
            }
        }
    }

    /// Returns the version of a stream after the last event that was taken.
    pub(super) fn head(&self, stream: &StreamId) -> Version {
        self.heads.get(&hash(stream)).copied().unwrap_or_default()
    }

    /// Returns the commits that were not completed.
    pub(super) fn left(self) -> impl Iterator<Item = Whole> {
        self.begun.into_values()
    }
}

/// Hashes a stream, to select its thread and to store its version.
pub(super) fn hash(stream: &StreamId) -> u64 {
    let mut hasher = DefaultHasher::new();
    stream.hash(&mut hasher);
    hasher.finish()
}
