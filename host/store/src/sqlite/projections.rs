//! What is kept of projections.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};

use super::side::{Side, commit};
use super::{aside, builds, documents, dropped, pages, retries};
use crate::builds::{self as rules, Roles, roll_back, switch};
use crate::{
    Build, BuildBatch, BuildClaim, BuildCounts, BuildId, DocumentStore, DroppedEvent, Found, Kept,
    LostDocuments, ParkedDocument, ParkedFilter, ParkedHeads, Result, Role, Scan, SetAside, Steer,
    StoredDocument, StoredProjection, Subject,
};
use quipu_model::{Digest, Position, Timestamp};

/// Reads through the pool, and writes through the side connection: documents and their
/// checkpoint are lost with the power together, and folded again.
pub struct Projections {
    pool: SqlitePool,
    side: Side,
}

impl Projections {
    /// Projections of the store behind these connections.
    pub fn new(pool: SqlitePool, side: Side) -> Self {
        Self { pool, side }
    }

    async fn reading(&self) -> Result<PoolConnection<Sqlite>> {
        let reading = self.pool.acquire().await;
        Ok(reading?)
    }

    async fn change_roles(
        &self,
        name: &str,
        change: impl FnOnce(&[Build]) -> Option<Roles> + Send,
    ) -> Result<bool> {
        let mut turn = self.side.turn().await?;
        let mut writing = turn.begin().await?;
        let roles = change(&builds::of(&mut writing, name).await?);
        let is_changed = take_roles(&mut writing, roles).await?;
        commit(writing).await?;
        Ok(is_changed)
    }
}

/// Drops parked events, and asks to retry what waited for one that is named.
async fn drop_parked(
    connection: &mut SqliteConnection,
    name: &str,
    which: &ParkedFilter,
    reason: &str,
    at: Timestamp,
) -> Result<u64> {
    let dropped = dropped::drop_parked(connection, name, which, reason, at).await?;
    if let Some(position) = which.position.filter(|_| dropped > 0) {
        builds::steer(connection, name, &Steer::Retry.into()).await?;
        retries::request_behind(connection, name, (which, position)).await?;
    }
    Ok(dropped)
}

/// Lets builds take roles; false when there are none to take.
async fn take_roles(connection: &mut SqliteConnection, roles: Option<Roles>) -> Result<bool> {
    match roles {
        Some(roles) => builds::take_roles(connection, roles).await.map(|()| true),
        None => Ok(false),
    }
}

#[async_trait]
impl DocumentStore for Projections {
    async fn projections(&self) -> Result<Vec<StoredProjection>> {
        builds::list(&mut *self.reading().await?, None).await
    }

    async fn projection(&self, name: &str) -> Result<Option<StoredProjection>> {
        let mut found = builds::list(&mut *self.reading().await?, Some(name)).await?;
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
        let mut turn = self.side.turn().await?;
        let mut writing = turn.begin().await?;
        let begun = builds::begin(&mut writing, name, role, version, module, begun).await?;
        commit(writing).await?;
        Ok(begun)
    }

    async fn judge(&self, build: BuildId, plans: (u64, u64), stale: Option<&str>) -> Result<()> {
        let mut turn = self.side.turn().await?;
        builds::judge(&mut turn.connection, build, plans, stale).await
    }

    async fn hand_over(&self, build: BuildId, module: Digest) -> Result<()> {
        let mut turn = self.side.turn().await?;
        builds::hand_over(&mut turn.connection, build, module).await
    }

    async fn steer(&self, name: &str, steer: Steer) -> Result<()> {
        let mut turn = self.side.turn().await?;
        let mut writing = turn.begin().await?;
        builds::steer(&mut writing, name, &steer.into()).await?;
        if steer == Steer::Retry {
            retries::request(&mut writing, name, None).await?;
        }
        commit(writing).await
    }

    async fn switch(&self, name: &str, next: BuildId, comparison: Option<&str>) -> Result<bool> {
        let mut turn = self.side.turn().await?;
        let mut writing = turn.begin().await?;
        let roles = switch(&builds::of(&mut writing, name).await?, next);
        let is_switched = take_roles(&mut writing, roles).await?;
        if is_switched {
            builds::compare(&mut writing, next, comparison).await?;
        }
        commit(writing).await?;
        Ok(is_switched)
    }

    async fn confirm(&self, build: BuildId) -> Result<bool> {
        let mut turn = self.side.turn().await?;
        builds::confirm(&mut turn.connection, build).await
    }

    async fn lost(
        &self,
        active: BuildId,
        next: BuildId,
        up_to: Option<u64>,
    ) -> Result<LostDocuments> {
        pages::lost(&self.pool, (active, next), up_to).await
    }

    async fn roll_back(&self, name: &str) -> Result<bool> {
        self.change_roles(name, roll_back).await
    }

    async fn drop_build(&self, name: &str, role: Role) -> Result<bool> {
        let mut turn = self.side.turn().await?;
        let mut writing = turn.begin().await?;
        let roles = builds::of(&mut writing, name).await?;
        let is_dropped = take_roles(&mut writing, rules::dropped(&roles, role)).await?;
        if is_dropped {
            dropped::forget(&mut writing, name).await?;
        }
        commit(writing).await?;
        Ok(is_dropped)
    }

    async fn sweep(&self) -> Result<bool> {
        let mut turn = self.side.turn().await?;
        let mut writing = turn.begin().await?;
        let is_more = pages::sweep(&mut writing).await?;
        commit(writing).await?;
        Ok(is_more)
    }

    async fn claim(&self, build: BuildId, lease: Duration) -> Result<Option<BuildClaim>> {
        let mut turn = self.side.turn().await?;
        builds::claim(&mut turn.connection, build, lease).await
    }

    async fn keep(
        &self,
        build: BuildId,
        token: u64,
        batch: &BuildBatch,
        lease: Duration,
    ) -> Result<Kept> {
        let mut turn = self.side.turn().await?;
        let mut writing = turn.begin().await?;
        let kept = builds::advance(&mut writing, build, token, batch, lease).await?;
        if kept != Kept::Lost {
            documents::write(&mut writing, &batch.writes).await?;
            aside::write(&mut writing, build, batch).await?;
            retries::done(&mut writing, build, &batch.retried).await?;
            commit(writing).await?;
        }
        Ok(kept)
    }

    async fn release(&self, build: BuildId, token: u64) -> Result<()> {
        let mut turn = self.side.turn().await?;
        builds::release(&mut turn.connection, build, token).await
    }

    async fn documents(
        &self,
        build: BuildId,
        keys: &[Arc<str>],
    ) -> Result<Vec<Option<StoredDocument>>> {
        let keys: Vec<_> = keys.iter().map(|key| (build, Arc::clone(key))).collect();
        documents::read(&mut *self.reading().await?, &keys).await
    }

    async fn scan(&self, build: BuildId, scan: &Scan) -> Result<Vec<Found>> {
        pages::scan(&self.pool, build, scan).await
    }

    async fn changed(
        &self,
        build: BuildId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredDocument>> {
        pages::changed(&self.pool, build, after, limit).await
    }

    async fn parked(
        &self,
        build: BuildId,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<SetAside>> {
        aside::parked(&self.pool, build, after, limit).await
    }

    async fn skipped(
        &self,
        build: BuildId,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<SetAside>> {
        aside::skipped(&self.pool, build, after, limit).await
    }

    async fn parked_for(&self, build: BuildId, key: &str) -> Result<Option<ParkedDocument>> {
        aside::parked_for(&self.pool, build, key).await
    }

    async fn parked_heads(&self, build: BuildId) -> Result<ParkedHeads> {
        aside::parked_heads(&self.pool, build).await
    }

    async fn drop_parked(
        &self,
        name: &str,
        which: &ParkedFilter,
        reason: &str,
        at: Timestamp,
    ) -> Result<u64> {
        let mut turn = self.side.turn().await?;
        let mut writing = turn.begin().await?;
        let dropped = drop_parked(&mut writing, name, which, reason, at).await?;
        commit(writing).await?;
        Ok(dropped)
    }

    async fn retry_parked(&self, name: &str, of: Option<&Subject>) -> Result<u64> {
        let mut turn = self.side.turn().await?;
        let mut writing = turn.begin().await?;
        builds::steer(&mut writing, name, &Steer::Retry.into()).await?;
        let requested = retries::request(&mut writing, name, of).await?;
        commit(writing).await?;
        Ok(requested)
    }

    async fn retries(&self, build: BuildId, limit: usize) -> Result<Vec<(Subject, u64)>> {
        retries::retries(&self.pool, build, limit).await
    }

    async fn record_drop(&self, name: &str, event: &DroppedEvent) -> Result<()> {
        let mut turn = self.side.turn().await?;
        let mut writing = turn.begin().await?;
        if dropped::record(&mut writing, name, event).await? {
            let (which, reason) = (event.filter(), &*event.reason);
            drop_parked(&mut writing, name, &which, reason, event.at).await?;
            dropped::lose_owners(&mut writing, name).await?;
        }
        commit(writing).await
    }

    async fn dropped_from(&self) -> Result<Vec<String>> {
        dropped::dropped_from(&self.pool).await
    }

    async fn dropped(
        &self,
        name: &str,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<DroppedEvent>> {
        dropped::dropped(&self.pool, name, after, limit).await
    }

    async fn counts(&self, build: BuildId) -> Result<BuildCounts> {
        pages::counts(&self.pool, build).await
    }
}
