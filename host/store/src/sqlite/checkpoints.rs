//! How far named readers of the log have come.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};

use super::cell::Cells;
use super::encode::signed;
use super::side::Side;
use crate::{CHECKPOINTS_PAGE_MAX, Checkpoint, CheckpointStore, Claim, Result};
use quipu_model::Position;

/// Milliseconds since 1970 UTC.
macro_rules! now {
    () => {
        "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)"
    };
}
pub(super) use now;

/// The first token is the time, so that a name which is made again gets no earlier one.
const CLAIM: &str = concat!(
    "INSERT INTO checkpoints (name, position, token, held_until) VALUES (?1, 0, ",
    now!(),
    ", ",
    now!(),
    " + ?2) ON CONFLICT (name) DO UPDATE SET token = token + 1, held_until = excluded.held_until \
     WHERE held_until IS NULL OR held_until <= ",
    now!(),
    " RETURNING token, position"
);
const ADVANCE: &str = concat!(
    "UPDATE checkpoints SET position = max(position, ?3), held_until = ",
    now!(),
    " + ?4 WHERE name = ?1 AND token = ?2 RETURNING position"
);
const CREATE: &str = concat!(
    "INSERT INTO checkpoints (name, position, token) VALUES (?1, ?2, ",
    now!(),
    ") ON CONFLICT DO NOTHING"
);
const SEEK: &str = "UPDATE checkpoints SET position = ?2, token = token + 1, held_until = NULL \
     WHERE name = ?1";
const FORGET: &str = concat!(
    "DELETE FROM checkpoints WHERE name = ?1 AND (held_until IS NULL OR held_until <= ",
    now!(),
    ")"
);
const ONE: &str = concat!(
    "SELECT name, position, nullif(max(coalesce(held_until, 0) - ",
    now!(),
    ", 0), 0) FROM checkpoints WHERE name = ?1"
);
const BETWEEN: &str = concat!(
    "SELECT name, position, nullif(max(coalesce(held_until, 0) - ",
    now!(),
    ", 0), 0) FROM checkpoints WHERE name > ?1 AND name < ?2 ORDER BY name LIMIT ?3"
);
const RELEASE: &str = "UPDATE checkpoints SET held_until = NULL WHERE name = ?1 AND token = ?2";
const RELEASE_ALL: &str = "UPDATE checkpoints SET held_until = NULL WHERE held_until IS NOT NULL";

/// Longest time for which a name is held, in milliseconds: a thousand years.
const LEASE_MS_MAX: u64 = 1_000 * 366 * 24 * 3_600 * 1_000;

/// Written through the side connection: a checkpoint that is lost with the power lets
/// its reader begin earlier, which at least once allows.
pub struct Checkpoints {
    pool: SqlitePool,
    side: Side,
}

impl Checkpoints {
    /// Checkpoints of the store of these connections.
    pub fn new(pool: SqlitePool, side: Side) -> Self {
        Self { pool, side }
    }

    /// Changes the row of a name; false when there is none to be changed.
    async fn change(
        &self,
        sql: &'static str,
        name: &str,
        position: Option<Position>,
    ) -> Result<bool> {
        let mut query = sqlx::query(sql).bind(name);
        if let Some(position) = position {
            query = query.bind(signed(position.0));
        }
        let mut turn = self.side.turn().await?;
        let done = query.execute(&mut *turn.connection).await;
        Ok(done?.rows_affected() > 0)
    }
}

/// A row: name, position, milliseconds for which it is held.
fn checkpoint(row: &SqliteRow) -> Result<Checkpoint> {
    let held_for = row.cell::<Option<i64>>(2)?;
    Ok(Checkpoint {
        name: row.cell(0)?,
        position: Position(row.number(1)?),
        held_for: held_for.map(|millis| Duration::from_millis(millis.unsigned_abs())),
    })
}

/// Gives every name back when a store is opened: the lock says that no host is left
/// that could hold one.
pub async fn release_all(connection: &mut SqliteConnection) -> Result<()> {
    let done = sqlx::query(RELEASE_ALL).execute(connection).await;
    done?;
    Ok(())
}

/// A lease in milliseconds.
pub fn millis(lease: Duration) -> i64 {
    let millis = u64::try_from(lease.as_millis()).unwrap_or(LEASE_MS_MAX);
    signed(millis.min(LEASE_MS_MAX))
}

#[async_trait]
impl CheckpointStore for Checkpoints {
    async fn claim(&self, name: &str, lease: Duration) -> Result<Option<Claim>> {
        let row = sqlx::query(CLAIM)
            .bind(name)
            .bind(millis(lease))
            .fetch_optional(&mut *self.side.turn().await?.connection)
            .await?;
        row.map(|row| {
            Ok(Claim {
                token: row.number(0)?,
                position: Position(row.number(1)?),
            })
        })
        .transpose()
    }

    async fn advance(
        &self,
        name: &str,
        token: u64,
        position: Position,
        lease: Duration,
    ) -> Result<Option<Position>> {
        let row = sqlx::query(ADVANCE)
            .bind(name)
            .bind(signed(token))
            .bind(signed(position.0))
            .bind(millis(lease))
            .fetch_optional(&mut *self.side.turn().await?.connection)
            .await?;
        row.map(|row| Ok(Position(row.number(0)?))).transpose()
    }

    async fn release(&self, name: &str, token: u64) -> Result<()> {
        let done = sqlx::query(RELEASE)
            .bind(name)
            .bind(signed(token))
            .execute(&mut *self.side.turn().await?.connection)
            .await;
        done?;
        Ok(())
    }

    async fn create(&self, name: &str, position: Position) -> Result<bool> {
        self.change(CREATE, name, Some(position)).await
    }

    async fn seek(&self, name: &str, position: Position) -> Result<bool> {
        self.change(SEEK, name, Some(position)).await
    }

    async fn forget(&self, name: &str) -> Result<bool> {
        self.change(FORGET, name, None).await
    }

    async fn checkpoint(&self, name: &str) -> Result<Option<Checkpoint>> {
        let row = sqlx::query(ONE)
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(checkpoint).transpose()
    }

    async fn checkpoints(
        &self,
        (after, before): (&str, &str),
        limit: usize,
    ) -> Result<Vec<Checkpoint>> {
        let rows = sqlx::query(BETWEEN)
            .bind(after)
            .bind(before)
            .bind(signed(limit.min(CHECKPOINTS_PAGE_MAX) as u64))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(checkpoint).collect()
    }
}
