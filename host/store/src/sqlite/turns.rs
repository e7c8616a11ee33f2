//! Turns of an activation.

use async_trait::async_trait;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};

use super::cell::Cells;
use super::documents;
use super::encode::signed;
use crate::builds::{Roles, UNJUDGED, role, role_name};
use crate::turns::{BuildRow, BuildRows};
use crate::{BuildId, DocumentWrite, Error, Result};
use quipu_model::Position;

const ONE: &str = "SELECT id, role, is_inline, position FROM builds \
    WHERE id = ?1 AND role <> 'dropped'";
const OF: &str = "SELECT id, role, is_inline, position FROM builds \
    WHERE projection = ?1 AND role <> 'dropped'";
const PARKED: &str = "SELECT EXISTS (SELECT 1 FROM parked_events WHERE build = ?1)";
const ROLE: &str = "UPDATE builds SET role = ?2, confirmed = 0, waits = NULL WHERE id = ?1";
const HOLD: &str = "INSERT INTO projections (name, held) VALUES (?1, 1) \
    ON CONFLICT (name) DO UPDATE SET held = 1";
const DETACH: &str = "UPDATE builds \
    SET is_inline = 0, position = ?2, changes = max(changes, ?2), \
        stale = CASE WHEN plan < ?3 THEN coalesce(stale, ?4) ELSE stale END WHERE id = ?1";
const ATTACH: &str = "UPDATE builds \
    SET is_inline = 1, position = ?2, plan = ?3, token = token + 1, held_until = NULL, \
        trouble = NULL WHERE id = ?1";
const INLINE: &str = "SELECT projection FROM builds \
    WHERE is_inline = 1 AND role <> 'dropped' LIMIT 1";

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

/// Builds, in a transaction on this connection.
pub struct Turning<'c>(pub &'c mut SqliteConnection);

/// A projection that is inline, if there is one.
pub async fn inline(connection: &mut SqliteConnection) -> Result<Option<String>> {
    let row = sqlx::query(INLINE).fetch_optional(connection).await;
    let row = row?;
    row.map(|row| row.cell(0)).transpose()
}

impl Turning<'_> {
    async fn execute(&mut self, query: Query<'_>) -> Result<()> {
        let done = query.execute(&mut *self.0).await;
        done?;
        Ok(())
    }

    async fn rows(&mut self, query: Query<'_>) -> Result<Vec<BuildRow>> {
        let rows = query.fetch_all(&mut *self.0).await;
        let rows = rows?;
        rows.iter().map(row).collect()
    }
}

fn row(row: &SqliteRow) -> Result<BuildRow> {
    Ok(BuildRow {
        id: BuildId(row.number(0)?),
        role: role(row.cell(1)?)?,
        is_inline: row.cell::<i64>(2)? != 0,
        position: Position(row.number(3)?),
    })
}

#[async_trait]
impl BuildRows for Turning<'_> {
    type Error = Error;

    async fn one(&mut self, build: BuildId) -> Result<Option<BuildRow>> {
        let query = sqlx::query(ONE).bind(signed(build.0));
        Ok(self.rows(query).await?.pop())
    }

    async fn of(&mut self, projection: &str) -> Result<Vec<BuildRow>> {
        self.rows(sqlx::query(OF).bind(projection)).await
    }

    async fn has_parked(&mut self, build: BuildId) -> Result<bool> {
        let query = sqlx::query(PARKED).bind(signed(build.0));
        let row = query.fetch_one(&mut *self.0).await;
        let found: i64 = row?.cell(0)?;
        Ok(found != 0)
    }

    async fn take_roles(&mut self, roles: Roles) -> Result<()> {
        for (build, role) in roles {
            let query = sqlx::query(ROLE).bind(signed(build.0));
            self.execute(query.bind(role_name(role))).await?;
        }
        Ok(())
    }

    async fn hold(&mut self, projection: &str) -> Result<()> {
        self.execute(sqlx::query(HOLD).bind(projection)).await
    }

    async fn detach(&mut self, build: BuildId, last: Position, plan: u64) -> Result<()> {
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
    ) -> Result<()> {
        documents::write(&mut *self.0, &writes).await?;
        let query = sqlx::query(ATTACH)
            .bind(signed(build.0))
            .bind(signed(last.0))
            .bind(signed(plan));
        self.execute(query).await
    }
}
