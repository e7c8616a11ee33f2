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

/// What a writer remembers of the store. Other hosts write too: heads and plan are
/// beliefs, which each batch has confirmed.
pub struct Memory {
    pub heads: LruCache<StreamId, Head>,
    pub types: LruCache<TypeKey, i64>,
    pub modules: LruCache<Digest, i64>,
    /// None: not read yet.
    pub parts: Option<Parts>,
    /// A position below whatever is undecided, once it was read; 0 of an empty log.
    pub floor: Option<i64>,
    /// The last batch held an id that was known: the next one is likely to.
    pub ids_are_known: bool,
}

impl Memory {
    pub fn new() -> Self {
        Self {
            heads: LruCache::new(HEADS_MAX),
            types: LruCache::new(TYPES_MAX),
            modules: LruCache::new(MODULES_MAX),
            parts: None,
            floor: None,
            ids_are_known: false,
        }
    }

    /// All beliefs gone; only the floor stays, which is a fact.
    pub fn forgotten(&self) -> Self {
        Self {
            floor: self.floor,
            ..Self::new()
        }
    }
}
