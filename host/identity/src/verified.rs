//! Callers whose tokens were verified before.

use std::sync::Arc;

use hashlink::LruCache;
use quipu::access::Caller;

use super::keys::Keys;

/// How many callers are remembered, so that a token is verified once and not with each request.
const REMEMBERED_MAX: usize = 10_000;

/// The callers that were used last, by the digest of their token.
pub struct Verified {
    callers: LruCache<[u8; 32], Entry>,
}

struct Entry {
    caller: Caller,
    expires_s: u64,
    /// The keys of its issuer, and how often they had changed.
    keys: (Arc<Keys>, u64),
}

impl Default for Verified {
    fn default() -> Self {
        Self {
            callers: LruCache::new(REMEMBERED_MAX),
        }
    }
}

impl Verified {
    /// The caller with a token and the keys of its issuer, until it expires or its issuer has other keys.
    pub fn get(&mut self, digest: &[u8; 32], now_s: u64) -> Option<(Caller, Arc<Keys>)> {
        let entry = self.callers.get(digest)?;
        let (keys, changes) = &entry.keys;
        if entry.expires_s > now_s && keys.changes() == *changes {
            return Some((entry.caller.clone(), Arc::clone(keys)));
        }
        self.callers.remove(digest);
        None
    }

    /// Remembers a caller until its token expires.
    pub fn put(
        &mut self,
        digest: [u8; 32],
        caller: Caller,
        expires_s: u64,
        keys: (Arc<Keys>, u64),
    ) {
        let entry = Entry {
            caller,
            expires_s,
            keys,
        };
        self.callers.insert(digest, entry);
    }
}
