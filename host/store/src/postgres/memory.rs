use hashlink::LruCache;

use crate::Head;
pub use crate::assemble::TypeKey;
use crate::classify::Parts;
use quipu_model::{Digest, StreamId};

/// Streams whose heads are remembered, at about 150 bytes each.
const HEADS_MAX: usize = 100_000;
/// Types of events that are remembered.
const TYPES_MAX: usize = 10_000;
/// Modules that are remembered.
const MODULES_MAX: usize = 1_000;

/// The writer's memory of the store. Other hosts write too, so heads and plan are beliefs, which
/// each batch confirms.
pub struct Memory {
    pub heads: LruCache<StreamId, Head>,
    pub types: LruCache<TypeKey, i64>,
    pub modules: LruCache<Digest, i64>,
    /// None when it was not read yet.
    pub parts: Option<Parts>,
    /// The newest plan that was read or activated; 0 for none.
    pub newest_plan: u64,
    /// A position before everything that is undecided, once it was read; 0 for an empty log.
    pub floor: Option<i64>,
    /// Whether the last batch contained a known id: the next one is likely to contain one, too.
    pub ids_are_known: bool,
}

impl Memory {
    pub fn new() -> Self {
        Self {
            heads: LruCache::new(HEADS_MAX),
            types: LruCache::new(TYPES_MAX),
            modules: LruCache::new(MODULES_MAX),
            parts: None,
            newest_plan: 0,
            floor: None,
            ids_are_known: false,
        }
    }

    /// Forgets under which plan each part of the plan was last changed.
    pub fn forget_parts(&mut self) {
        self.newest_plan = self.known_plan();
        self.parts = None;
    }

    fn known_plan(&self) -> u64 {
        let believed = self.parts.as_ref().map_or(0, |parts| parts.plan);
        self.newest_plan.max(believed)
    }

    /// Clears all beliefs. Only the newest plan and the floor stay, because they are facts.
    pub fn forgotten(&self) -> Self {
        Self {
            newest_plan: self.known_plan(),
            floor: self.floor,
            ..Self::new()
        }
    }
}
