//! What is kept of projections.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};

use super::error::Failure;
use super::{aside, builds, documents, dropped, pages, retries};
use crate::builds::{self as rules, Roles, roll_back, switch};
use crate::{
    Build, BuildBatch, BuildClaim, BuildCounts, BuildId, DocumentStore, DroppedEvent, Found, Kept,
    LostDocuments, ParkedDocument, ParkedFilter, ParkedHeads, Result, Role, Scan, SetAside, Steer,
    StoredDocument, StoredProjection, Subject,
};
use quipu_model::{Digest, Position, Timestamp};

type Done<T> = std::result::Result<T, Failure>;

/// Projections in a schema.
pub struct Projections {
    pool: PgPool,
}

impl Projections {
    /// Projections of the store behind these connections.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    async fn connection(&self) -> Done<PoolConnection<Postgres>> {
        Ok(self.pool.acquire().await?)
    }

    async fn begin(
        &self,
        name: &str,
        role: Role,
        version: u32,
        module: Digest,
        begun: (Timestamp, u64),
    ) -> Done<Option<Build>> {
        let mut writing = self.pool.begin().await?;
        let begun = builds::begin(&mut writing, name, role, version, module, begun).await?;
        writing.commit().await?;
        Ok(begun)
    }

    async fn hand_over(&self, build: BuildId, module: Digest) -> Done<()> {
        builds::hand_over(&mut *self.connection().await?, build, module).await
    }

    async fn steer(&self, name: &str, steer: Steer) -> Done<()> {
        let mut writing = self.pool.begin().await?;
        builds::steer(&mut writing, name, &steer.into()).await?;
        if steer == Steer::Retry {
            // No owner says meanwhile that it has done what was asked before.
            builds::locked(&mut writing, name).await?;
            retries::request(&mut writing, name, None).await?;
        }
        Ok(writing.commit().await?)
    }

    async fn sweep(&self) -> Done<bool> {
        let mut writing = self.pool.begin().await?;
        let is_more = pages::sweep(&mut writing).await?;
        writing.commit().await?;
        Ok(is_more)
    }

    async fn claim(&self, build: BuildId, lease: Duration) -> Done<Option<BuildClaim>> {
        builds::claim(&mut *self.connection().await?, build, lease).await
    }

    async fn release(&self, build: BuildId, token: u64) -> Done<()> {
        builds::release(&mut *self.connection().await?, build, token).await
    }

    async fn list(&self, name: Option<&str>) -> Done<Vec<StoredProjection>> {
        builds::list(&mut *self.connection().await?, name).await
    }

    async fn switch(&self, name: &str, next: BuildId, comparison: Option<&str>) -> Done<bool> {
        let mut writing = self.pool.begin().await?;
        let roles = switch(&builds::locked(&mut writing, name).await?, next);
        let is_switched = take_roles(&mut writing, roles).await?;
        if is_switched {
            builds::compare(&mut writing, next, comparison).await?;
        }
        writing.commit().await?;
        Ok(is_switched)
    }

    async fn confirm(&self, build: BuildId) -> Done<bool> {
        builds::confirm(&mut *self.connection().await?, build).await
    }

    async fn change_roles(
        &self,
        name: &str,
        change: impl FnOnce(&[Build]) -> Option<Roles> + Send,
    ) -> Done<bool> {
        let mut writing = self.pool.begin().await?;
        let roles = change(&builds::locked(&mut writing, name).await?);
        let is_changed = take_roles(&mut writing, roles).await?;
        writing.commit().await?;
        Ok(is_changed)
    }

    async fn keep(
        &self,
        build: BuildId,
        token: u64,
        batch: &BuildBatch,
        lease: Duration,
    ) -> Done<Kept> {
        let mut writing = self.pool.begin().await?;
        let kept = builds::advance(&mut writing, build, token, batch, lease).await?;
        if kept != Kept::Lost {
            documents::write(&mut writing, &batch.writes).await?;
            aside::write(&mut writing, build, batch).await?;
            retries::done(&mut writing, build, &batch.retried).await?;
            writing.commit().await?;
        }
        Ok(kept)
    }

    async fn documents(
        &self,
        build: BuildId,
        keys: &[Arc<str>],
    ) -> Done<Vec<Option<StoredDocument>>> {
        let keys: Vec<_> = keys.iter().map(|key| (build, Arc::clone(key))).collect();
        documents::read(&mut *self.connection().await?, &keys).await
    }

    async fn drop_build(&self, name: &str, role: Role) -> Done<bool> {
        let mut writing = self.pool.begin().await?;
        let roles = rules::dropped(&builds::locked(&mut writing, name).await?, role);
        let is_dropped = take_roles(&mut writing, roles).await?;
        if is_dropped {
            dropped::forget(&mut writing, name).await?;
        }
        writing.commit().await?;
        Ok(is_dropped)
    }

    async fn retry_parked(&self, name: &str, of: Option<&Subject>) -> Done<u64> {
        let mut writing = self.pool.begin().await?;
        builds::steer(&mut writing, name, &Steer::Retry.into()).await?;
        builds::locked(&mut writing, name).await?;
        let requested = retries::request(&mut writing, name, of).await?;
        writing.commit().await?;
        Ok(requested)
    }

    async fn drop_parked(
        &self,
        name: &str,
        which: &ParkedFilter,
        reason: &str,
        at: Timestamp,
    ) -> Done<u64> {
        let mut writing = self.pool.begin().await?;
        // First, so that no owner parks anything meanwhile.
        builds::locked(&mut writing, name).await?;
        dropped::lose_owners(&mut writing, name).await?;
        let dropped = drop_parked(&mut writing, name, which, reason, at).await?;
        if dropped > 0 {
            writing.commit().await?;
        }
        Ok(dropped)
    }

    async fn record_drop(&self, name: &str, event: &DroppedEvent) -> Done<()> {
        let mut writing = self.pool.begin().await?;
        builds::locked(&mut writing, name).await?;
        if dropped::record(&mut writing, name, event).await? {
            dropped::lose_owners(&mut writing, name).await?;
            let (which, reason) = (event.filter(), &*event.reason);
            drop_parked(&mut writing, name, &which, reason, event.at).await?;
        }
        writing.commit().await?;
        Ok(())
    }
}

/// Drops parked events, and asks to retry what waited for one that is named.
async fn drop_parked(
    connection: &mut PgConnection,
    name: &str,
    which: &ParkedFilter,
    reason: &str,
    at: Timestamp,
) -> Done<u64> {
    let dropped = dropped::drop_parked(connection, name, which, reason, at).await?;
    if let Some(position) = which.position.filter(|_| dropped > 0) {
        builds::steer(connection, name, &Steer::Retry.into()).await?;
        retries::request_behind(connection, name, (which, position)).await?;
    }
    Ok(dropped)
}

/// Lets builds take roles; false when there are none to take.
async fn take_roles(connection: &mut PgConnection, roles: Option<Roles>) -> Done<bool> {
    match roles {
        Some(roles) => builds::take_roles(connection, roles).await.map(|()| true),
        None => Ok(false),
    }
}

/// What a failure means to a caller.
async fn told<T>(done: impl Future<Output = Done<T>> + Send) -> Result<T> {
    done.await.map_err(Failure::into_error)
}

#[async_trait]
impl DocumentStore for Projections {
    async fn projections(&self) -> Result<Vec<StoredProjection>> {
        told(self.list(None)).await
    }

    async fn projection(&self, name: &str) -> Result<Option<StoredProjection>> {
        Ok(told(self.list(Some(name))).await?.pop())
    }

    async fn begin(
        &self,
        name: &str,
        role: Role,
        version: u32,
        module: Digest,
        begun: (Timestamp, u64),
    ) -> Result<Option<Build>> {
        told(self.begin(name, role, version, module, begun)).await
    }

    async fn judge(&self, build: BuildId, plans: (u64, u64), stale: Option<&str>) -> Result<()> {
        told(async move {
            let mut connection = self.connection().await?;
            builds::judge(&mut connection, build, plans, stale).await
        })
        .await
    }

    async fn hand_over(&self, build: BuildId, module: Digest) -> Result<()> {
        told(self.hand_over(build, module)).await
    }

    async fn steer(&self, name: &str, steer: Steer) -> Result<()> {
        told(self.steer(name, steer)).await
    }

    async fn switch(&self, name: &str, next: BuildId, comparison: Option<&str>) -> Result<bool> {
        told(self.switch(name, next, comparison)).await
    }

    async fn confirm(&self, build: BuildId) -> Result<bool> {
        told(self.confirm(build)).await
    }

    async fn lost(
        &self,
        active: BuildId,
        next: BuildId,
        up_to: Option<u64>,
    ) -> Result<LostDocuments> {
        told(pages::lost(&self.pool, (active, next), up_to)).await
    }

    async fn roll_back(&self, name: &str) -> Result<bool> {
        told(self.change_roles(name, roll_back)).await
    }

    async fn drop_build(&self, name: &str, role: Role) -> Result<bool> {
        told(self.drop_build(name, role)).await
    }

    async fn sweep(&self) -> Result<bool> {
        told(self.sweep()).await
    }

    async fn claim(&self, build: BuildId, lease: Duration) -> Result<Option<BuildClaim>> {
        told(self.claim(build, lease)).await
    }

    async fn keep(
        &self,
        build: BuildId,
        token: u64,
        batch: &BuildBatch,
        lease: Duration,
    ) -> Result<Kept> {
        told(self.keep(build, token, batch, lease)).await
    }

    async fn release(&self, build: BuildId, token: u64) -> Result<()> {
        told(self.release(build, token)).await
    }

    async fn documents(
        &self,
        build: BuildId,
        keys: &[Arc<str>],
    ) -> Result<Vec<Option<StoredDocument>>> {
        told(self.documents(build, keys)).await
    }

    async fn scan(&self, build: BuildId, scan: &Scan) -> Result<Vec<Found>> {
        told(pages::scan(&self.pool, build, scan)).await
    }

    async fn changed(
        &self,
        build: BuildId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredDocument>> {
        told(pages::changed(&self.pool, build, after, limit)).await
    }

    async fn parked(
        &self,
        build: BuildId,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<SetAside>> {
        told(aside::parked(&self.pool, build, after, limit)).await
    }

    async fn skipped(
        &self,
        build: BuildId,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<SetAside>> {
        told(aside::skipped(&self.pool, build, after, limit)).await
    }

    async fn parked_for(&self, build: BuildId, key: &str) -> Result<Option<ParkedDocument>> {
        told(aside::parked_for(&self.pool, build, key)).await
    }

    async fn parked_heads(&self, build: BuildId) -> Result<ParkedHeads> {
        told(aside::parked_heads(&self.pool, build)).await
    }

    async fn drop_parked(
        &self,
        name: &str,
        which: &ParkedFilter,
        reason: &str,
        at: Timestamp,
    ) -> Result<u64> {
        told(self.drop_parked(name, which, reason, at)).await
    }

    async fn retry_parked(&self, name: &str, of: Option<&Subject>) -> Result<u64> {
        told(self.retry_parked(name, of)).await
    }

    async fn retries(&self, build: BuildId, limit: usize) -> Result<Vec<(Subject, u64)>> {
        told(retries::retries(&self.pool, build, limit)).await
    }

    async fn record_drop(&self, name: &str, event: &DroppedEvent) -> Result<()> {
        told(self.record_drop(name, event)).await
    }

    async fn dropped_from(&self) -> Result<Vec<String>> {
        told(dropped::dropped_from(&self.pool)).await
    }

    async fn dropped(
        &self,
        name: &str,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<DroppedEvent>> {
        told(dropped::dropped(&self.pool, name, after, limit)).await
    }

    async fn counts(&self, build: BuildId) -> Result<BuildCounts> {
        told(pages::counts(&self.pool, build)).await
    }
}
