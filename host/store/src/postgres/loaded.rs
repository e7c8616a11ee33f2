//! Heads of streams that were loaded, and not written yet.

use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LruCache;

use crate::Head;
use quipu_model::{StreamId, Version};

/// Heads that are kept, at about 200 bytes each.
const HEADS_MAX: usize = 10_000;

/// Heads that readers have seen. A commit needs the digest of the one before it; without these, the
/// first commit of a host to a stream would cost a read of its own, after the load.
#[derive(Clone)]
pub struct LoadedHeads(Arc<Mutex<LruCache<StreamId, Head>>>);

impl LoadedHeads {
    /// No heads yet.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(HEADS_MAX))))
    }

    /// Keeps a head.
    pub fn put(&self, stream: &StreamId, head: Head) {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heads.insert(stream.clone(), head);
    }

    /// Returns the head of a stream at a version, which is not kept any more.
    pub fn take(&self, stream: &StreamId, version: Version) -> Option<Head> {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let head = heads.remove(stream);
        head.filter(|head| head.version == version)
    }
}
