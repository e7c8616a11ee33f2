//! The stored data of projections.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::dialect::{Connection, Connections};
use super::{builds, contents, documents, dropped, parked, retries, scans};
use crate::builds::{self as rules, Roles};
use crate::{
    BatchOutcome, Build, BuildBatch, BuildClaim, BuildCounts, BuildId, ChangedDocument,
    DocumentStore, DroppedEvent, FailedEvent, LostDocuments, ParkedDocument, ParkedFilter,
    ParkedHeads, Result, Role, Scan, ScannedDocument, Steer, StoredDocument, StoredProjection,
    Subject,
};
use quipu_model::{Digest, Position, Timestamp};

/// In a power failure, documents and their checkpoint are lost together, and the documents are
/// folded a second time.
pub struct Projections(pub Connections);

impl Projections {
    /// Changes the roles of builds of a projection. Returns false when that is not possible.
    async fn change_roles(
        &self,
        name: &str,
        change: impl FnOnce(&[Build]) -> Option<Roles> + Send,
    ) -> Result<bool> {
        let mut writing = self.0.begin().await?;
        let roles = change(&builds::locked(&mut writing, name).await?);
        let is_changed = take_roles(&mut writing, roles).await?;
        writing.commit().await?;
        Ok(is_changed)
    }
}

/// Drops parked events, and requests a retry of events that waited for a given one.
async fn drop_parked(
    connection: &mut Connection,
    name: &str,
    which: &ParkedFilter,
    reason: &str,
    at: Timestamp,
) -> Result<u64> {
    let dropped = dropped::drop_parked(connection, name, which, reason, at).await?;
    if let Some(position) = which.position.filter(|_| dropped > 0) {
        builds::steer(connection, name, &Steer::Retry.into()).await?;
        retries::request_after(connection, name, (which, position)).await?;
    }
    Ok(dropped)
}

/// Changes the roles of builds. Returns false when that is not possible.
async fn take_roles(connection: &mut Connection, roles: Option<Roles>) -> Result<bool> {
    let Some(roles) = roles else { return Ok(false) };
    builds::take_roles(connection, roles).await?;
    Ok(true)
}

#[async_trait]
impl DocumentStore for Projections {
    async fn projections(&self) -> Result<Vec<StoredProjection>> {
        builds::list(&mut *self.0.read().await?, None).await
    }

    async fn projection(&self, name: &str) -> Result<Option<StoredProjection>> {
        let mut found = builds::list(&mut *self.0.read().await?, Some(name)).await?;
        Ok(found.pop())
    }

    async fn begin(
        &self,
        name: &str,
        role: Role,
        version: u32,
        module: Digest,
        begun: (Timestamp, u64),
    ) -> Result<Option<Build>> {
        let mut writing = self.0.begin().await?;
        let begun = builds::begin(&mut writing, name, role, version, module, begun).await?;
        writing.commit().await?;
        Ok(begun)
    }

    async fn judge(&self, build: BuildId, plans: (u64, u64), stale: Option<&str>) -> Result<()> {
        builds::judge(&mut *self.0.write().await?, build, plans, stale).await
    }

    async fn hand_over(&self, build: BuildId, module: Digest) -> Result<()> {
        builds::hand_over(&mut *self.0.write().await?, build, module).await
    }

    async fn steer(&self, name: &str, steer: Steer) -> Result<()> {
        let mut writing = self.0.begin().await?;
        builds::steer(&mut writing, name, &steer.into()).await?;
        if steer == Steer::Retry {
            // No owner can meanwhile report an earlier request as done.
            builds::locked(&mut writing, name).await?;
            retries::request(&mut writing, name, None).await?;
        }
        Ok(writing.commit().await?)
    }

    async fn switch(&self, name: &str, next: BuildId, comparison: Option<&str>) -> Result<bool> {
        let mut writing = self.0.begin().await?;
        let roles = rules::switch(&builds::locked(&mut writing, name).await?, next);
        let is_switched = take_roles(&mut writing, roles).await?;
        if is_switched {
            builds::compare(&mut writing, next, comparison).await?;
        }
        writing.commit().await?;
        Ok(is_switched)
    }

    async fn confirm(&self, build: BuildId) -> Result<bool> {
        builds::confirm(&mut *self.0.write().await?, build).await
    }

    async fn lost(
        &self,
        active: BuildId,
        next: BuildId,
        up_to: Option<u64>,
    ) -> Result<LostDocuments> {
        contents::lost(self.0.patient_pool(), (active, next), up_to).await
    }

    async fn roll_back(&self, name: &str) -> Result<bool> {
        self.change_roles(name, rules::roll_back).await
    }

    async fn drop_build(&self, name: &str, role: Role) -> Result<bool> {
        let mut writing = self.0.begin().await?;
        let roles = rules::dropped(&builds::locked(&mut writing, name).await?, role);
        let is_dropped = take_roles(&mut writing, roles).await?;
        if is_dropped {
            dropped::forget(&mut writing, name).await?;
        }
        writing.commit().await?;
        Ok(is_dropped)
    }

    async fn sweep(&self) -> Result<bool> {
        let mut writing = self.0.begin().await?;
        let is_more = contents::sweep(&mut writing).await?;
        writing.commit().await?;
        Ok(is_more)
    }

    async fn claim(&self, build: BuildId, lease: Duration) -> Result<Option<BuildClaim>> {
        builds::claim(&mut *self.0.write().await?, build, lease).await
    }

    async fn keep(
        &self,
        build: BuildId,
        token: u64,
        batch: &BuildBatch,
        lease: Duration,
    ) -> Result<BatchOutcome> {
        let mut writing = self.0.begin().await?;
        let outcome = builds::advance(&mut writing, build, token, batch, lease).await?;
        if outcome != BatchOutcome::Lost {
            documents::write(&mut writing, &batch.writes).await?;
            parked::write(&mut writing, build, batch).await?;
            retries::done(&mut writing, build, &batch.retried).await?;
            writing.commit().await?;
        }
        Ok(outcome)
    }

    async fn release(&self, build: BuildId, token: u64) -> Result<()> {
        builds::release(&mut *self.0.write().await?, build, token).await
    }

    async fn documents(
        &self,
        build: BuildId,
        keys: &[Arc<str>],
    ) -> Result<Vec<Option<StoredDocument>>> {
        let keys: Vec<_> = keys.iter().map(|key| (build, Arc::clone(key))).collect();
        Ok(documents::read(&mut *self.0.read().await?, &keys).await?)
    }

    async fn scan(&self, build: BuildId, scan: &Scan) -> Result<Vec<ScannedDocument>> {
        scans::scan(self.0.pool(), build, scan).await
    }

    async fn changed(
        &self,
        build: BuildId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ChangedDocument>> {
        contents::changed(self.0.pool(), build, after, limit).await
    }

    async fn parked(
        &self,
        build: BuildId,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<FailedEvent>> {
        parked::parked(self.0.pool(), build, after, limit).await
    }

    async fn skipped(
        &self,
        build: BuildId,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<FailedEvent>> {
        parked::skipped(self.0.pool(), build, after, limit).await
    }

    async fn parked_for(&self, build: BuildId, key: &str) -> Result<Option<ParkedDocument>> {
        parked::parked_for(self.0.pool(), build, key).await
    }

    async fn parked_heads(&self, build: BuildId) -> Result<ParkedHeads> {
        parked::parked_heads(self.0.pool(), build).await
    }

    async fn drop_parked(
        &self,
        name: &str,
        which: &ParkedFilter,
        reason: &str,
        at: Timestamp,
    ) -> Result<u64> {
        let mut writing = self.0.begin().await?;
        // This comes first, so that no owner parks an event meanwhile.
        builds::locked(&mut writing, name).await?;
        dropped::lose_owners(&mut writing, name).await?;
        let dropped = drop_parked(&mut writing, name, which, reason, at).await?;
        if dropped > 0 {
            writing.commit().await?;
        }
        Ok(dropped)
    }

    async fn retry_parked(&self, name: &str, of: Option<&Subject>) -> Result<u64> {
        let mut writing = self.0.begin().await?;
        builds::steer(&mut writing, name, &Steer::Retry.into()).await?;
        builds::locked(&mut writing, name).await?;
        let requested = retries::request(&mut writing, name, of).await?;
        writing.commit().await?;
        Ok(requested)
    }

    async fn retries(&self, build: BuildId, limit: usize) -> Result<Vec<(Subject, u64)>> {
        retries::retries(self.0.pool(), build, limit).await
    }

    async fn record_drop(&self, name: &str, event: &DroppedEvent) -> Result<()> {
        let mut writing = self.0.begin().await?;
        builds::locked(&mut writing, name).await?;
        if dropped::record(&mut writing, name, event).await? {
            dropped::lose_owners(&mut writing, name).await?;
            let (which, reason) = (event.filter(), &*event.reason);
            drop_parked(&mut writing, name, &which, reason, event.at).await?;
        }
        Ok(writing.commit().await?)
    }

    async fn dropped_from(&self) -> Result<Vec<String>> {
        dropped::dropped_from(self.0.pool()).await
    }

    async fn dropped(
        &self,
        name: &str,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<DroppedEvent>> {
        dropped::dropped(self.0.pool(), name, after, limit).await
    }

    async fn counts(&self, build: BuildId) -> Result<BuildCounts> {
        contents::counts(self.0.patient_pool(), build).await
    }
}
