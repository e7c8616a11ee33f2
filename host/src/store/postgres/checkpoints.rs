//! How far named readers have come.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::postgres::PgPool;

use super::arrays::signed;
use super::cell::Cells;
use super::error::store_error;
use crate::model::Position;
use crate::store::{CheckpointStore, Claim, Result};

/// The server's clock counts: hosts need not agree on the time.
const CLAIM: &str = "INSERT INTO checkpoints AS c (name, token, held_until) \
    VALUES ($1, 1, clock_timestamp() + $2 * interval '1 microsecond') \
    ON CONFLICT ON CONSTRAINT checkpoint_name DO UPDATE \
    SET token = c.token + 1, held_until = excluded.held_until \
    WHERE c.held_until IS NULL OR c.held_until <= clock_timestamp() \
    RETURNING token, position";
const ADVANCE: &str = "UPDATE checkpoints \
    SET position = $3, held_until = clock_timestamp() + $4 * interval '1 microsecond' \
    WHERE name = $1 AND token = $2";
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
}

/// A lease in microseconds.
pub fn micros(lease: Duration) -> f64 {
    // An interval of a hundred years is as good as any that is longer.
    lease.as_micros().min(3_000_000_000_000_000) as f64
}

impl CheckpointStore for Checkpoints {
    fn claim<'a>(&'a self, name: &'a str, lease: Duration) -> BoxFuture<'a, Result<Option<Claim>>> {
        async move {
            let row = sqlx::query(CLAIM)
                .bind(name)
                .bind(micros(lease))
                .fetch_optional(&self.pool)
                .await
                .map_err(store_error)?;
            row.map(|row| {
                Ok(Claim {
                    token: row.number(0)?,
                    position: Position(row.number(1)?),
                })
            })
            .transpose()
        }
        .boxed()
    }

    fn advance<'a>(
        &'a self,
        name: &'a str,
        token: u64,
        position: Position,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool>> {
        async move {
            let done = sqlx::query(ADVANCE)
                .bind(name)
                .bind(signed(token))
                .bind(signed(position.0))
                .bind(micros(lease))
                .execute(&self.pool)
                .await
                .map_err(store_error)?;
            Ok(done.rows_affected() == 1)
        }
        .boxed()
    }

    fn release<'a>(&'a self, name: &'a str, token: u64) -> BoxFuture<'a, Result<()>> {
        async move {
            sqlx::query(RELEASE)
                .bind(name)
                .bind(signed(token))
                .execute(&self.pool)
                .await
                .map_err(store_error)?;
            Ok(())
        }
        .boxed()
    }
}
