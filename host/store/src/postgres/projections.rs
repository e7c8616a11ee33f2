//! What is kept of projections.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
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

impl DocumentStore for Projections {
    fn projections(&self) -> BoxFuture<'_, Result<Vec<StoredProjection>>> {
        told(self.list(None)).boxed()
    }

    fn projection<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<StoredProjection>>> {
        async move { Ok(told(self.list(Some(name))).await?.pop()) }.boxed()
    }

    fn begin<'a>(
        &'a self,
        name: &'a str,
        role: Role,
        version: u32,
        module: Digest,
        begun: (Timestamp, u64),
    ) -> BoxFuture<'a, Result<Option<Build>>> {
        told(self.begin(name, role, version, module, begun)).boxed()
    }

    fn judge<'a>(
        &'a self,
        build: BuildId,
        plans: (u64, u64),
        stale: Option<&'a str>,
    ) -> BoxFuture<'a, Result<()>> {
        told(async move {
            let mut connection = self.connection().await?;
            builds::judge(&mut connection, build, plans, stale).await
        })
        .boxed()
    }

    fn hand_over(&self, build: BuildId, module: Digest) -> BoxFuture<'_, Result<()>> {
        told(self.hand_over(build, module)).boxed()
    }

    fn steer<'a>(&'a self, name: &'a str, steer: Steer) -> BoxFuture<'a, Result<()>> {
        told(self.steer(name, steer)).boxed()
    }

    fn switch<'a>(
        &'a self,
        name: &'a str,
        next: BuildId,
        comparison: Option<&'a str>,
    ) -> BoxFuture<'a, Result<bool>> {
        told(self.switch(name, next, comparison)).boxed()
    }

    fn confirm(&self, build: BuildId) -> BoxFuture<'_, Result<bool>> {
        told(self.confirm(build)).boxed()
    }

    fn lost(
        &self,
        active: BuildId,
        next: BuildId,
        up_to: Option<u64>,
    ) -> BoxFuture<'_, Result<LostDocuments>> {
        told(pages::lost(&self.pool, (active, next), up_to)).boxed()
    }

    fn roll_back<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bool>> {
        told(self.change_roles(name, roll_back)).boxed()
    }

    fn drop_build<'a>(&'a self, name: &'a str, role: Role) -> BoxFuture<'a, Result<bool>> {
        told(self.drop_build(name, role)).boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, Result<bool>> {
        told(self.sweep()).boxed()
    }

    fn claim(&self, build: BuildId, lease: Duration) -> BoxFuture<'_, Result<Option<BuildClaim>>> {
        told(self.claim(build, lease)).boxed()
    }

    fn keep<'a>(
        &'a self,
        build: BuildId,
        token: u64,
        batch: &'a BuildBatch,
        lease: Duration,
    ) -> BoxFuture<'a, Result<Kept>> {
        told(self.keep(build, token, batch, lease)).boxed()
    }

    fn release(&self, build: BuildId, token: u64) -> BoxFuture<'_, Result<()>> {
        told(self.release(build, token)).boxed()
    }

    fn documents<'a>(
        &'a self,
        build: BuildId,
        keys: &'a [Arc<str>],
    ) -> BoxFuture<'a, Result<Vec<Option<StoredDocument>>>> {
        told(self.documents(build, keys)).boxed()
    }

    fn scan<'a>(&'a self, build: BuildId, scan: &'a Scan) -> BoxFuture<'a, Result<Vec<Found>>> {
        told(pages::scan(&self.pool, build, scan)).boxed()
    }

    fn changed(
        &self,
        build: BuildId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<StoredDocument>>> {
        told(pages::changed(&self.pool, build, after, limit)).boxed()
    }

    fn parked<'a>(
        &'a self,
        build: BuildId,
        after: Option<&'a (Subject, Position)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<SetAside>>> {
        told(aside::parked(&self.pool, build, after, limit)).boxed()
    }

    fn skipped<'a>(
        &'a self,
        build: BuildId,
        after: Option<&'a (Subject, Position)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<SetAside>>> {
        told(aside::skipped(&self.pool, build, after, limit)).boxed()
    }

    fn parked_for<'a>(
        &'a self,
        build: BuildId,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<ParkedDocument>>> {
        told(aside::parked_for(&self.pool, build, key)).boxed()
    }

    fn parked_heads(&self, build: BuildId) -> BoxFuture<'_, Result<ParkedHeads>> {
        told(aside::parked_heads(&self.pool, build)).boxed()
    }

    fn drop_parked<'a>(
        &'a self,
        name: &'a str,
        which: &'a ParkedFilter,
        reason: &'a str,
        at: Timestamp,
    ) -> BoxFuture<'a, Result<u64>> {
        told(self.drop_parked(name, which, reason, at)).boxed()
    }

    fn retry_parked<'a>(
        &'a self,
        name: &'a str,
        of: Option<&'a Subject>,
    ) -> BoxFuture<'a, Result<u64>> {
        told(self.retry_parked(name, of)).boxed()
    }

    fn retries(&self, build: BuildId, limit: usize) -> BoxFuture<'_, Result<Vec<(Subject, u64)>>> {
        told(retries::retries(&self.pool, build, limit)).boxed()
    }

    fn record_drop<'a>(
        &'a self,
        name: &'a str,
        event: &'a DroppedEvent,
    ) -> BoxFuture<'a, Result<()>> {
        told(self.record_drop(name, event)).boxed()
    }

    fn dropped_from(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        told(dropped::dropped_from(&self.pool)).boxed()
    }

    fn dropped<'a>(
        &'a self,
        name: &'a str,
        after: Option<&'a (Subject, Position)>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<DroppedEvent>>> {
        told(dropped::dropped(&self.pool, name, after, limit)).boxed()
    }

    fn counts(&self, build: BuildId) -> BoxFuture<'_, Result<BuildCounts>> {
        told(pages::counts(&self.pool, build)).boxed()
    }
}
