//! How far named readers have come.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgPool, PgRow};

use super::arrays::signed;
use super::cell::Cells;
use crate::{CHECKPOINTS_PAGE_MAX, Checkpoint, CheckpointStore, Claim, Result};
use quipu_model::Position;

/// Name, position, microseconds for which the name is held; the time is that of the statement,
/// so that it is the same at both places.
macro_rules! columns {
    () => {
        "name, position, CASE WHEN held_until > statement_timestamp() THEN (extract(epoch FROM \
         held_until - statement_timestamp()) * 1000000)::bigint END"
    };
}

/// The server's clock counts: hosts need not agree on the time. The first token is the time, so
/// that a name which is made again gets no earlier one.
const CLAIM: &str = "INSERT INTO checkpoints AS c (name, token, held_until) \
    VALUES ($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint, clock_timestamp() + $2 * interval '1 microsecond') \
    ON CONFLICT ON CONSTRAINT checkpoint_name DO UPDATE \
    SET token = c.token + 1, held_until = excluded.held_until \
    WHERE c.held_until IS NULL OR c.held_until <= clock_timestamp() \
    RETURNING token, position";
const ADVANCE: &str = "UPDATE checkpoints \
    SET position = greatest(position, $3), held_until = clock_timestamp() + $4 * interval '1 microsecond' \
    WHERE name = $1 AND token = $2 RETURNING position";
const CREATE: &str = "INSERT INTO checkpoints (name, position, token) \
    VALUES ($1, $2, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) \
    ON CONFLICT ON CONSTRAINT checkpoint_name DO NOTHING";
const SEEK: &str = "UPDATE checkpoints \
    SET position = $2, token = token + 1, held_until = NULL WHERE name = $1";
const FORGET: &str = "DELETE FROM checkpoints \
    WHERE name = $1 AND (held_until IS NULL OR held_until <= clock_timestamp())";
const ONE: &str = concat!("SELECT ", columns!(), " FROM checkpoints WHERE name = $1");
const BETWEEN: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM checkpoints WHERE name COLLATE \"C\" > $1 AND name COLLATE \"C\" < $2 \
     ORDER BY name COLLATE \"C\" LIMIT $3"
);
const RELEASE: &str = "UPDATE checkpoints SET held_until = NULL WHERE name = $1 AND token = $2";

/// Checkpoints in a schema.
pub struct Checkpoints {
    pool: PgPool,
}

impl Checkpoints {
    /// Checkpoints of the store behind these connections.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
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
        let done = query.execute(&self.pool).await;
        Ok(done?.rows_affected() > 0)
    }
}

fn checkpoint(row: &PgRow) -> Result<Checkpoint> {
    let held_for = row.cell::<Option<i64>>(2)?;
    Ok(Checkpoint {
        name: row.cell(0)?,
        position: Position(row.number(1)?),
        held_for: held_for.map(|micros| Duration::from_micros(micros.unsigned_abs())),
    })
}

/// A lease in microseconds.
pub fn micros(lease: Duration) -> f64 {
    // An interval of a hundred years is as good as any that is longer.
    lease.as_micros().min(3_000_000_000_000_000) as f64
}

#[async_trait]
impl CheckpointStore for Checkpoints {
    async fn claim(&self, name: &str, lease: Duration) -> Result<Option<Claim>> {
        let row = sqlx::query(CLAIM)
            .bind(name)
            .bind(micros(lease))
            .fetch_optional(&self.pool)
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
            .bind(micros(lease))
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Ok(Position(row.number(0)?))).transpose()
    }

    async fn release(&self, name: &str, token: u64) -> Result<()> {
        sqlx::query(RELEASE)
            .bind(name)
            .bind(signed(token))
            .execute(&self.pool)
            .await?;
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
        let query = sqlx::query(ONE).bind(name);
        let row = query.fetch_optional(&self.pool).await;
        row?.as_ref().map(checkpoint).transpose()
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
