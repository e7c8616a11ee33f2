//! How far named readers of the log have come.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::sqlite::SqliteConnection;

use super::cell::Cells;
use super::encode::signed;
use super::error::store_error;
use super::side::Side;
use crate::model::Position;
use crate::store::{CheckpointStore, Claim, Result};

/// Milliseconds since 1970 UTC.
macro_rules! now {
    () => {
        "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)"
    };
}
pub(super) use now;

const CLAIM: &str = concat!(
    "INSERT INTO checkpoints (name, position, token, held_until) VALUES (?1, 0, 1, ",
    now!(),
    " + ?2) ON CONFLICT (name) DO UPDATE SET token = token + 1, held_until = excluded.held_until \
     WHERE held_until IS NULL OR held_until <= ",
    now!(),
    " RETURNING token, position"
);
const ADVANCE: &str = concat!(
    "UPDATE checkpoints SET position = ?3, held_until = ",
    now!(),
    " + ?4 WHERE name = ?1 AND token = ?2"
);
const RELEASE: &str = "UPDATE checkpoints SET held_until = NULL WHERE name = ?1 AND token = ?2";
const RELEASE_ALL: &str = "UPDATE checkpoints SET held_until = NULL WHERE held_until IS NOT NULL";

/// Longest time for which a name is held, in milliseconds: a thousand years.
const LEASE_MS_MAX: u64 = 1_000 * 366 * 24 * 3_600 * 1_000;

/// Written through the side connection: a checkpoint that is lost with the power lets
/// its reader begin earlier, which at least once allows.
pub struct Checkpoints {
    side: Side,
}

impl Checkpoints {
    /// Checkpoints of the store behind the side connection.
    pub fn new(side: Side) -> Self {
        Self { side }
    }

    async fn claim(&self, name: &str, lease: Duration) -> Result<Option<Claim>> {
        let row = sqlx::query(CLAIM)
            .bind(name)
            .bind(millis(lease))
            .fetch_optional(&mut *self.side.turn().await?.connection)
            .await
            .map_err(|error| store_error(&error))?;
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
    ) -> Result<bool> {
        let done = sqlx::query(ADVANCE)
            .bind(name)
            .bind(signed(token))
            .bind(signed(position.0))
            .bind(millis(lease))
            .execute(&mut *self.side.turn().await?.connection)
            .await
            .map_err(|error| store_error(&error))?;
        Ok(done.rows_affected() == 1)
    }

    async fn release(&self, name: &str, token: u64) -> Result<()> {
        let done = sqlx::query(RELEASE)
            .bind(name)
            .bind(signed(token))
            .execute(&mut *self.side.turn().await?.connection)
            .await;
        done.map(|_| ()).map_err(|error| store_error(&error))
    }
}

/// Gives every name back when a store is opened: the lock says that no host is left
/// that could hold one.
pub async fn release_all(connection: &mut SqliteConnection) -> Result<()> {
    let done = sqlx::query(RELEASE_ALL).execute(connection).await;
    done.map(|_| ()).map_err(|error| store_error(&error))
}

/// A lease in milliseconds.
pub fn millis(lease: Duration) -> i64 {
    let millis = u64::try_from(lease.as_millis()).unwrap_or(LEASE_MS_MAX);
    signed(millis.min(LEASE_MS_MAX))
}

impl CheckpointStore for Checkpoints {
    fn claim<'a>(&'a self, name: &'a str, lease: Duration) -> BoxFuture<'a, Result<Option<Claim>>> {
        self.claim(name, lease).boxed()
    }

    fn advance<'a>(
        &'a self,
        name: &'a str,
        token: u64,
        position: Position,
        lease: Duration,
    ) -> BoxFuture<'a, Result<bool>> {
        self.advance(name, token, position, lease).boxed()
    }

    fn release<'a>(&'a self, name: &'a str, token: u64) -> BoxFuture<'a, Result<()>> {
        self.release(name, token).boxed()
    }
}
