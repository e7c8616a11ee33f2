//! Turns of an activation.

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};

use super::arrays::signed;
use super::cell::Cells;
use super::documents;
use super::error::Failure;
use crate::builds::{Roles, UNJUDGED, role, role_name};
use crate::turns::{BuildRow, BuildRows};
use crate::{BuildId, DocumentWrite, Result};
use quipu_model::Position;

const ONE: &str = "SELECT id, role, is_inline, position FROM builds \
    WHERE id = $1 AND role <> 'dropped' FOR UPDATE";
const OF: &str = "SELECT id, role, is_inline, position FROM builds \
    WHERE projection = $1 AND role <> 'dropped' ORDER BY id FOR UPDATE";
const PARKED: &str = "SELECT EXISTS (SELECT FROM parked_events WHERE build = $1)";
const ROLE: &str = "UPDATE builds SET role = $2, confirmed = false, waits = NULL WHERE id = $1";
const HOLD: &str = "INSERT INTO projections (name, held) VALUES ($1, true) \
    ON CONFLICT ON CONSTRAINT projection_name DO UPDATE SET held = true";
const DETACH: &str = "UPDATE builds \
    SET is_inline = false, position = $2, changes = greatest(changes, $2), \
        stale = CASE WHEN plan < $3 THEN coalesce(stale, $4) ELSE stale END WHERE id = $1";
const ATTACH: &str = "UPDATE builds \
    SET is_inline = true, position = $2, plan = $3, token = token + 1, held_until = NULL, \
        trouble = NULL WHERE id = $1";
const INLINE: &str = "SELECT projection FROM builds \
    WHERE is_inline AND role <> 'dropped' LIMIT 1";
/// The end of the log, where nobody appends. What was imported is behind it once it is
/// followed.
const FOLLOW: &str = "SELECT follow_import($1)";
const LAST: &str = "SELECT last_position()";

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, PgArguments>;
type Tried<T> = std::result::Result<T, Failure>;

/// Builds, in a transaction on this connection that holds the lock of the plan.
pub struct Turning<'c>(pub &'c mut PgConnection);

/// A projection that is inline, if there is one.
pub async fn inline(connection: &mut PgConnection) -> Tried<Option<String>> {
    let row = sqlx::query(INLINE).fetch_optional(connection).await?;
    Ok(row.map(|row| row.cell(0)).transpose()?)
}

impl Turning<'_> {
    /// Where the log ends.
    pub async fn last(&mut self, namespace: i64) -> Tried<Position> {
        self.execute(sqlx::query(FOLLOW).bind(namespace)).await?;
        let row = sqlx::query(LAST).fetch_one(&mut *self.0).await?;
        Ok(Position(row.number(0)?))
    }

    async fn execute(&mut self, query: Query<'_>) -> Tried<()> {
        query.execute(&mut *self.0).await?;
        Ok(())
    }

    async fn rows(&mut self, query: Query<'_>) -> Tried<Vec<BuildRow>> {
        let rows = query.fetch_all(&mut *self.0).await?;
        Ok(rows.iter().map(row).collect::<Result<_>>()?)
    }
}

fn row(row: &PgRow) -> Result<BuildRow> {
    Ok(BuildRow {
        id: BuildId(row.number(0)?),
        role: role(row.cell(1)?)?,
        is_inline: row.cell(2)?,
        position: Position(row.number(3)?),
    })
}

#[async_trait]
impl BuildRows for Turning<'_> {
    type Error = Failure;

    async fn one(&mut self, build: BuildId) -> Tried<Option<BuildRow>> {
        let query = sqlx::query(ONE).bind(signed(build.0));
        Ok(self.rows(query).await?.pop())
    }

    async fn of(&mut self, projection: &str) -> Tried<Vec<BuildRow>> {
        self.rows(sqlx::query(OF).bind(projection)).await
    }

    async fn has_parked(&mut self, build: BuildId) -> Tried<bool> {
        let query = sqlx::query(PARKED).bind(signed(build.0));
        Ok(query.fetch_one(&mut *self.0).await?.cell(0)?)
    }

    async fn take_roles(&mut self, roles: Roles) -> Tried<()> {
        for (build, role) in roles {
            let query = sqlx::query(ROLE).bind(signed(build.0));
            self.execute(query.bind(role_name(role))).await?;
        }
        Ok(())
    }

    async fn hold(&mut self, projection: &str) -> Tried<()> {
        self.execute(sqlx::query(HOLD).bind(projection)).await
    }

    async fn detach(&mut self, build: BuildId, last: Position, plan: u64) -> Tried<()> {
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
    ) -> Tried<()> {
        documents::write(&mut *self.0, &writes).await?;
        let query = sqlx::query(ATTACH)
            .bind(signed(build.0))
            .bind(signed(last.0))
            .bind(signed(plan));
        self.execute(query).await
    }
}
