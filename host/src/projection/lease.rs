//! The lease of a build: only its owner writes the build, and others wait until it expires.

use tokio::time::Instant;

use super::owner::{End, Owner};
use crate::store::BuildBatch;

/// The right to write a build.
pub(super) struct Lease {
    pub(super) token: u64,
    /// When to renew it.
    pub(super) due: Instant,
}

impl Owner {
    /// Renews the lease without changing the build.
    pub(super) async fn renew(&mut self) -> Result<(), End> {
        self.settle().await?;
        if Instant::now() < self.lease.due {
            return Ok(());
        }
        self.write(BuildBatch {
            position: self.progress.stored,
            changes: self.buffer.cache.changes(),
            trouble: self.build.trouble.clone(),
            waits: self.build.waits.clone(),
            ..BuildBatch::default()
        });
        self.settle().await
    }
}
