//! Remembers the recent command ids of a warm aggregate.

use std::hash::{BuildHasher, RandomState};

use crate::model::CommandId;

/// Number of ids that are remembered per aggregate.
const IDS_MAX: usize = 256;

/// The last callers' ids of a stream, including staged ones, as hashes. A hit must be looked up in
/// the store before it counts.
#[derive(Debug, Default)]
pub struct RecentIds {
    hasher: RandomState,
    /// Hash, and the number of the arrival that staged it. Oldest first, beginning at `start`.
    ring: Vec<(u64, u64)>,
    start: usize,
    /// Whether an id was forgotten, or may exist without having been seen.
    has_gaps: bool,
}

/// Whether a stream has seen an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdStatus {
    /// The id has certainly not been recorded in this stream.
    Never,
    /// The id may have been recorded.
    Perhaps,
    /// The id was seen, last with this number.
    Last(u64),
}

impl RecentIds {
    /// Marks that there are ids which have not been seen.
    pub fn begin_after_others(&mut self) {
        self.has_gaps = true;
    }

    /// Remembers an id.
    pub fn insert(&mut self, id: &CommandId, number: u64) {
        let entry = (self.hasher.hash_one(id), number);
        if self.ring.len() < IDS_MAX {
            self.ring.push(entry);
        } else {
            self.has_gaps = true;
            self.ring[self.start] = entry;
            self.start = (self.start + 1) % IDS_MAX;
        }
    }

    /// Whether the id was seen.
    pub fn seen(&self, id: &CommandId) -> IdStatus {
        let hash = self.hasher.hash_one(id);
        match self
            .ring
            .iter()
            .filter(|(seen, _)| *seen == hash)
            .map(|(_, number)| *number)
            .max()
        {
            Some(number) => IdStatus::Last(number),
            None if self.has_gaps => IdStatus::Perhaps,
            None => IdStatus::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_only_as_long_as_none_has_been_forgotten() {
        let id = |number: usize| CommandId::new(&format!("c{number}")).unwrap();
        let mut ids = RecentIds::default();
        for number in 0..IDS_MAX {
            ids.insert(&id(number), 7);
        }
        assert_eq!(ids.seen(&id(0)), IdStatus::Last(7));
        assert_eq!(ids.seen(&id(IDS_MAX)), IdStatus::Never);
        ids.insert(&id(IDS_MAX), 8);
        assert_eq!(ids.seen(&id(0)), IdStatus::Perhaps);
        assert_eq!(ids.seen(&id(IDS_MAX)), IdStatus::Last(8));
        assert_eq!(ids.seen(&id(IDS_MAX + 1)), IdStatus::Perhaps);
    }
}
