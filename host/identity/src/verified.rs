//! Callers whose tokens were verified before.

use hashlink::LruCache;
use quipu::access::Caller;

/// How many callers are remembered, so that a token is verified once and not with each request.
const REMEMBERED_MAX: usize = 10_000;

/// The callers that were used last, by the digest of their token.
pub struct Verified {
    callers: LruCache<[u8; 32], (Caller, u64)>,
}

impl Default for Verified {
    fn default() -> Self {
        Self {
            callers: LruCache::new(REMEMBERED_MAX),
        }
    }
}

impl Verified {
    /// The caller with a token, until it expires.
    pub fn get(&mut self, digest: &[u8; 32], now_s: u64) -> Option<Caller> {
        let (caller, expires_s) = self.callers.get(digest)?;
        if *expires_s > now_s {
            return Some(caller.clone());
        }
        self.callers.remove(digest);
        None
    }

    /// Remembers a caller until its token expires.
    pub fn put(&mut self, digest: [u8; 32], caller: Caller, expires_s: u64) {
        self.callers.insert(digest, (caller, expires_s));
    }
}
