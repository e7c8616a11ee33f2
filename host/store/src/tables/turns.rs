//! Turns of an activation.

use async_trait::async_trait;

use super::builds;
use super::cell::{Cells, from_row};
use super::dialect::{Connection, Failure, Query, for_update, greatest};
use super::{documents, signed};
use crate::builds::{Roles, UNJUDGED, role};
use crate::turns::{BuildRow, BuildRows};
use crate::{BuildId, DocumentWrite};
use quipu_model::Position;

const ONE: &str = concat!(
    "SELECT id, role, is_inline, position, changes FROM builds WHERE id = $1 AND role <> 'dropped'",
    for_update!()
);
const OF: &str = concat!(
    "SELECT id, role, is_inline, position, changes FROM builds \
     WHERE projection = $1 AND role <> 'dropped' ORDER BY id",
    for_update!()
);
const PARKED: &str = "SELECT EXISTS (SELECT 1 FROM parked_events WHERE build = $1)";
const HOLD: &str = "INSERT INTO projections (name, held) VALUES ($1, true) \
     ON CONFLICT (name) DO UPDATE SET held = true";
/// The position $2, and by how much change numbers are greater than positions, which stays the same
/// while a build is inline.
macro_rules! reaches {
    () => {
        concat!(
            "position = $2, changes = $2 + ",
            greatest!("changes - position", "0")
        )
    };
}
const DETACH: &str = concat!(
    "UPDATE builds SET is_inline = false, ",
    reaches!(),
    ", stale = CASE WHEN plan < $3 THEN coalesce(stale, $4) ELSE stale END WHERE id = $1"
);
const ATTACH: &str = concat!(
    "UPDATE builds SET is_inline = true, ",
    reaches!(),
    ", plan = $3, token = token + 1, held_until = NULL, trouble = NULL WHERE id = $1"
);
const INLINE: &str = "SELECT projection FROM builds WHERE is_inline AND role <> 'dropped' LIMIT 1";

type WriteResult<T> = Result<T, Failure>;

/// Builds, in a transaction on this connection in which nobody else changes the plan.
pub struct LifecycleChange<'c>(pub &'c mut Connection);

from_row!(BuildRow, |row| Ok(BuildRow {
    id: BuildId(row.number("id")?),
    role: role(row.cell("role")?)?,
    is_inline: row.cell("is_inline")?,
    position: Position(row.number("position")?),
    changes: row.number("changes")?,
}));

/// A projection that is inline, if there is one.
pub async fn inline(connection: &mut Connection) -> WriteResult<Option<String>> {
    Ok(sqlx::query_scalar(INLINE)
        .fetch_optional(connection)
        .await?)
}

impl LifecycleChange<'_> {
    async fn execute(&mut self, query: Query<'_>) -> WriteResult<()> {
        query.execute(&mut *self.0).await?;
        Ok(())
    }
}

#[async_trait]
impl BuildRows for LifecycleChange<'_> {
    type Error = Failure;

    async fn one(&mut self, build: BuildId) -> WriteResult<Option<BuildRow>> {
        let query = sqlx::query_as(ONE).bind(signed(build.0));
        Ok(query.fetch_optional(&mut *self.0).await?)
    }

    async fn of(&mut self, projection: &str) -> WriteResult<Vec<BuildRow>> {
        let query = sqlx::query_as(OF).bind(projection);
        Ok(query.fetch_all(&mut *self.0).await?)
    }

    async fn has_parked(&mut self, build: BuildId) -> WriteResult<bool> {
        let query = sqlx::query_scalar(PARKED).bind(signed(build.0));
        Ok(query.fetch_one(&mut *self.0).await?)
    }

    async fn take_roles(&mut self, roles: Roles) -> WriteResult<()> {
        Ok(builds::take_roles(&mut *self.0, roles).await?)
    }

    async fn hold(&mut self, projection: &str) -> WriteResult<()> {
        self.execute(sqlx::query(HOLD).bind(projection)).await
    }

    async fn detach(&mut self, build: BuildId, last: Position, plan: u64) -> WriteResult<()> {
        let query = sqlx::query(DETACH)
            .bind(signed(build.0))
            .bind(signed(last.0))
            .bind(signed(plan.saturating_sub(1)))
            .bind(UNJUDGED);
        self.execute(query).await
    }

    async fn attach(
        &mut self,
        build: BuildId,
        last: Position,
        plan: u64,
        writes: Vec<DocumentWrite>,
    ) -> WriteResult<()> {
        documents::write(&mut *self.0, &writes).await?;
        let query = sqlx::query(ATTACH)
            .bind(signed(build.0))
            .bind(signed(last.0))
            .bind(signed(plan));
        self.execute(query).await
    }
}
