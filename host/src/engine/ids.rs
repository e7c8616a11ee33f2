//! The command ids that a warm aggregate knows.

use std::hash::{BuildHasher, RandomState};

use crate::model::CommandId;

/// Ids that are remembered for each aggregate.
const IDS_MAX: usize = 256;

/// The last ids of callers that a stream has seen, staged ones among them, as
/// hashes: a hit is looked up in the store before it counts.
#[derive(Debug, Default)]
pub struct Ids {
    hasher: RandomState,
    /// Hash, and the number of the arrival that staged it; oldest first from `start`.
    ring: Vec<(u64, u64)>,
    start: usize,
    /// An id has been forgotten, or was never seen.
    has_gaps: bool,
}

/// What is known of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// It has certainly not been recorded in this stream.
    New,
    /// It may have been recorded.
    Unsure,
    /// It was seen, last under this number.
    Seen(u64),
}

impl Ids {
    /// Knows that there are ids which it has not seen.
    pub fn begin_behind_others(&mut self) {
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

    /// What is known of an id.
    pub fn knowledge(&self, id: &CommandId) -> Knowledge {
        let hash = self.hasher.hash_one(id);
        match self
            .ring
            .iter()
            .filter(|(seen, _)| *seen == hash)
            .map(|(_, number)| *number)
            .max()
        {
            Some(number) => Knowledge::Seen(number),
            None if self.has_gaps => Knowledge::Unsure,
            None => Knowledge::New,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_new_only_as_long_as_none_has_been_forgotten() {
        let id = |number: usize| CommandId::new(&format!("c{number}")).unwrap();
        let mut ids = Ids::default();
        for number in 0..IDS_MAX {
            ids.insert(&id(number), 7);
        }
        assert_eq!(ids.knowledge(&id(0)), Knowledge::Seen(7));
        assert_eq!(ids.knowledge(&id(IDS_MAX)), Knowledge::New);
        ids.insert(&id(IDS_MAX), 8);
        assert_eq!(ids.knowledge(&id(0)), Knowledge::Unsure);
        assert_eq!(ids.knowledge(&id(IDS_MAX)), Knowledge::Seen(8));
        assert_eq!(ids.knowledge(&id(IDS_MAX + 1)), Knowledge::Unsure);
    }
}
