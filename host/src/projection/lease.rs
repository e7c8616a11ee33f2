//! The lease of a build: only its owner writes the build, and others wait until it expires.

use std::pin::pin;

use tokio::time::{Instant, sleep_until};

use super::owner::{End, Owner};
use crate::store::BuildBatch;

impl Owner {
    /// Renews the lease of the build while the given work runs.
    pub(super) async fn holding<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        let mut work = pin!(work);
        let mut done = None;
        loop {
            tokio::select! {
                biased;
                it = &mut work => return Ok(it),
                () = sleep_until(self.renew_at) => {}
            }
            // The work continues meanwhile, because it may hold a resource that the renewal needs.
            let mut renewing = pin!(self.renew());
            let renewed = loop {
                tokio::select! {
                    renewed = &mut renewing => break renewed,
                    it = &mut work, if done.is_none() => done = Some(it),
                }
            };
            renewed?;
            if let Some(done) = done {
                return Ok(done);
            }
        }
    }

    /// Renews the lease without changing the build.
    pub(super) async fn renew(&mut self) -> Result<(), End> {
        self.settle().await?;
        if Instant::now() < self.renew_at {
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
