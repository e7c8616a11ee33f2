//! What is kept of projections.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::{Log, Shared};
use crate::builds::{self, Roles, view_name};
use crate::{
    Build, BuildBatch, BuildClaim, BuildCounts, BuildId, DOCUMENTS_PAGE_MAX, DocumentStore,
    DroppedEvent, Found, Kept, LostDocuments, ParkedDocument, ParkedFilter, ParkedHeads, Result,
    Role, Scan, SetAside, Steer, StoredDocument, StoredProjection, Subject,
};
use quipu_model::{Digest, Position, Timestamp};

impl Log {
    /// Lets builds take roles; false when there are none to take.
    fn take_roles(&mut self, roles: Option<Roles>) -> bool {
        let is_some = roles.is_some();
        self.builds.take_roles(roles.unwrap_or_default());
        is_some
    }

    /// Every projection, or the one of a name.
    fn projections(&mut self, name: Option<&str>) -> Vec<StoredProjection> {
        let mut found = self.builds.projections(name);
        for build in found.iter_mut().flat_map(|it| &mut it.builds) {
            build.has_parked = !self.documents.of(build.id).parked.is_empty();
        }
        found
    }

    /// Asks to retry parked events of a projection's builds; for how many subjects.
    fn request(&mut self, name: &str, of: Option<&Subject>) -> u64 {
        let number = self.builds.retries(name);
        let builds = self.builds.of(name);
        let requested = builds.iter().map(|build| {
            let contents = self.documents.of(build.id);
            contents.request(of, number)
        });
        requested.sum()
    }

    /// Drops parked events of a projection's builds; how many were parked.
    fn drop_parked(
        &mut self,
        name: &str,
        which: &ParkedFilter,
        reason: &str,
        at: Timestamp,
    ) -> u64 {
        let builds = self.builds.of(name);
        let builds: Vec<BuildId> = builds.iter().map(|build| build.id).collect();
        let dropped = self
            .documents
            .drop_parked((name, &builds), which, reason, at);
        if dropped == 0 {
            return 0;
        }
        let number = which.position.map(|position| {
            self.builds.steer(name, &Steer::Retry.into());
            (position, self.builds.retries(name))
        });
        for build in builds {
            self.builds.lose_owner(build);
            if let Some((position, number)) = number {
                let contents = self.documents.of(build);
                contents.request_behind(which, position, number);
            }
        }
        dropped
    }

    fn sweep(&mut self) -> bool {
        if let Some(build) = self.builds.first_dropped() {
            self.documents.remove(build);
            self.builds.remove(build);
        }
        self.builds.first_dropped().is_some()
    }
}

fn done<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T>> {
    ready(Ok(value)).boxed()
}

impl DocumentStore for Shared {
    fn projections(&self) -> BoxFuture<'_, Result<Vec<StoredProjection>>> {
        done(self.lock().projections(None))
    }

    fn projection<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<StoredProjection>>> {
        done(self.lock().projections(Some(name)).pop())
    }

    fn begin<'a>(
        &'a self,
        name: &'a str,
        role: Role,
        version: u32,
        module: Digest,
        begun: (Timestamp, u64),
    ) -> BoxFuture<'a, Result<Option<Build>>> {
        let begin = |_| {
            let mut log = self.lock();
            log.builds.begin(name, role, version, module, begun)
        };
        ready(view_name(name).map(begin)).boxed()
    }

    fn judge<'a>(
        &'a self,
        build: BuildId,
        plans: (u64, u64),
        stale: Option<&'a str>,
    ) -> BoxFuture<'a, Result<()>> {
        self.lock().builds.judge(build, plans, stale);
        done(())
    }

    fn hand_over(&self, build: BuildId, module: Digest) -> BoxFuture<'_, Result<()>> {
        self.lock().builds.hand_over(build, module);
        done(())
    }

    fn steer<'a>(&'a self, name: &'a str, steer: Steer) -> BoxFuture<'a, Result<()>> {
        let mut log = self.lock();
        log.builds.steer(name, &steer.into());
        if steer == Steer::Retry {
            log.request(name, None);
        }
        done(())
    }

    fn switch<'a>(
        &'a self,
        name: &'a str,
        next: BuildId,
        comparison: Option<&'a str>,
    ) -> BoxFuture<'a, Result<bool>> {
        let mut log = self.lock();
        let roles = builds::switch(&log.builds.of(name), next);
        let is_switched = log.take_roles(roles);
        if is_switched {
            log.builds.compare(next, comparison);
        }
        done(is_switched)
    }

    fn confirm(&self, build: BuildId) -> BoxFuture<'_, Result<bool>> {
        done(self.lock().builds.confirm(build))
    }

    fn lost(
        &self,
        active: BuildId,
        next: BuildId,
        up_to: Option<u64>,
    ) -> BoxFuture<'_, Result<LostDocuments>> {
        done(self.lock().documents.lost((active, next), up_to))
    }

    fn roll_back<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bool>> {
        let mut log = self.lock();
        let roles = builds::roll_back(&log.builds.of(name));
        done(log.take_roles(roles))
    }

    fn drop_build<'a>(&'a self, name: &'a str, role: Role) -> BoxFuture<'a, Result<bool>> {
        let mut log = self.lock();
        let roles = builds::dropped(&log.builds.of(name), role);
        let is_dropped = log.take_roles(roles);
        if is_dropped && log.builds.of(name).is_empty() {
            log.documents.forget(name);
        }
        done(is_dropped)
    }

    fn sweep(&self) -> BoxFuture<'_, Result<bool>> {
        done(self.lock().sweep())
    }

    fn claim(&self, build: BuildId, lease: Duration) -> BoxFuture<'_, Result<Option<BuildClaim>>> {
        done(self.lock().builds.claim(build, lease))
    }

    fn keep<'a>(
        &'a self,
        build: BuildId,
        token: u64,
        batch: &'a BuildBatch,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Kept>> {
        let mut log = self.lock();
        let kept = log.builds.advance(build, token, batch, lease);
        if kept != Kept::Lost {
            log.documents.write(&batch.writes);
            log.documents.of(build).set_aside(batch);
        }
        done(kept)
    }

    fn release(&self, build: BuildId, token: u64) -> BoxFuture<'_, Result<()>> {
        self.lock().builds.release(build, token);
        done(())
    }

    fn documents<'a>(
        &'a self,
        build: BuildId,
        keys: &'a [Arc<str>],
    ) -> BoxFuture<'a, Result<Vec<Option<StoredDocument>>>> {
        let log = self.lock();
        let found = keys.iter().map(|key| log.documents.read(build, key));
        done(found.collect())
    }

    fn scan<'a>(&'a self, build: BuildId, scan: &'a Scan) -> BoxFuture<'a, Result<Vec<Found>>> {
        done(self.lock().documents.of(build).scan(scan))
    }

    fn changed(
        &self,
        build: BuildId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredDocument>>> {
        done(self.lock().documents.of(build).changed(after, limit))
    }

    fn parked<'a>(
        &'a self,
        build: BuildId,
        after: Option<&'a (Subject, Position)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<SetAside>>> {
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut log = self.lock();
        let parked = &log.documents.of(build).parked;
        let parked = parked.range((behind, Bound::Unbounded));
        let parked = parked.map(|(_, parked)| parked.clone());
        done(parked.take(limit.min(DOCUMENTS_PAGE_MAX)).collect())
    }

    fn skipped<'a>(
        &'a self,
        build: BuildId,
        after: Option<&'a (Subject, Position)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<SetAside>>> {
        let after = after.map(|(subject, position)| (*position, subject.clone()));
        let behind = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut log = self.lock();
        let skipped = &log.documents.of(build).skipped;
        let skipped = skipped.range((behind, Bound::Unbounded));
        let skipped = skipped.map(|(_, skipped)| skipped.clone());
        done(skipped.take(limit.min(DOCUMENTS_PAGE_MAX)).collect())
    }

    fn parked_for<'a>(
        &'a self,
        build: BuildId,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<ParkedDocument>>> {
        done(self.lock().documents.of(build).parked_for(key))
    }

    fn parked_heads(&self, build: BuildId) -> BoxFuture<'_, Result<ParkedHeads>> {
        done(self.lock().documents.of(build).parked_heads())
    }

    fn drop_parked<'a>(
        &'a self,
        name: &'a str,
        which: &'a ParkedFilter,
        reason: &'a str,
        at: Timestamp,
    ) -> BoxFuture<'a, Result<u64>> {
        done(self.lock().drop_parked(name, which, reason, at))
    }

    fn record_drop<'a>(
        &'a self,
        name: &'a str,
        event: &'a DroppedEvent,
    ) -> BoxFuture<'a, Result<()>> {
        let mut log = self.lock();
        if log.documents.record_drop(name, event) {
            for build in log.builds.of(name) {
                log.builds.lose_owner(build.id);
            }
            log.drop_parked(name, &event.filter(), &event.reason, event.at);
        }
        done(())
    }

    fn retry_parked<'a>(
        &'a self,
        name: &'a str,
        of: Option<&'a Subject>,
    ) -> BoxFuture<'a, Result<u64>> {
        let mut log = self.lock();
        log.builds.steer(name, &Steer::Retry.into());
        done(log.request(name, of))
    }

    fn retries(&self, build: BuildId, limit: usize) -> BoxFuture<'_, Result<Vec<(Subject, u64)>>> {
        let mut log = self.lock();
        let retries = log.documents.of(build).retries.iter().rev();
        let retries = retries.map(|(subject, number)| (subject.clone(), *number));
        done(retries.take(limit.min(DOCUMENTS_PAGE_MAX)).collect())
    }

    fn dropped_from(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        done(self.lock().documents.dropped_from())
    }

    fn dropped<'a>(
        &'a self,
        name: &'a str,
        after: Option<&'a (Subject, Position)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<DroppedEvent>>> {
        done(self.lock().documents.dropped(name, after, limit))
    }

    fn counts(&self, build: BuildId) -> BoxFuture<'_, Result<BuildCounts>> {
        done(self.lock().documents.of(build).counts())
    }
}
