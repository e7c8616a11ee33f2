//! The checkpoints of named readers of the log.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use super::cell::{Cells, from_row};
use super::dialect::{Connections, binary, greatest, held_for, now, token, until};
use super::lease::{is_free, millis, release};
use super::signed;
use crate::{CHECKPOINTS_PAGE_MAX, Checkpoint, CheckpointStore, Claim, Result};
use quipu_model::Position;

/// The first token is the time, so that a name which is created a second time gets no token that it
/// had before: each later claim adds 1, and takes longer than a microsecond.
const CLAIM: &str = concat!(
    "INSERT INTO checkpoints AS c (name, position, token, held_until) VALUES ($1, 0, ",
    token!("$3"),
    ", ",
    until!("$2"),
    ") ON CONFLICT (name) DO UPDATE SET token = c.token + 1, held_until = excluded.held_until \
     WHERE c.held_until IS NULL OR c.held_until <= ",
    now!(),
    " RETURNING token, position"
);
/// More claims than a name has between two first tokens while the clock does not move.
const STEP: i64 = 1_000;
const ADVANCE: &str = concat!(
    "UPDATE checkpoints SET position = ",
    greatest!("position", "$3"),
    ", held_until = ",
    until!("$4"),
    " WHERE name = $1 AND token = $2 RETURNING position"
);
const CREATE: &str = concat!(
    "INSERT INTO checkpoints (name, position, token) VALUES ($1, $2, ",
    token!("$3"),
    ") ON CONFLICT (name) DO NOTHING"
);
const SEEK: &str = "UPDATE checkpoints SET position = $2, token = token + 1, held_until = NULL \
     WHERE name = $1";
const FORGET: &str = concat!("DELETE FROM checkpoints WHERE name = $1 AND ", is_free!());
const RELEASE: &str = release!("checkpoints", "name");

macro_rules! checkpoints {
    ($rest:expr) => {
        concat!(
            "SELECT name, position, ",
            held_for!(),
            " AS held_for FROM checkpoints WHERE ",
            $rest
        )
    };
}

const ONE: &str = checkpoints!("name = $1");
const BETWEEN: &str = checkpoints!(concat!(
    binary!("name"),
    " > $1 AND ",
    binary!("name"),
    " < $2 ORDER BY ",
    binary!("name"),
    " LIMIT $3"
));

/// When a checkpoint is lost in a power failure, its reader begins earlier, which at-least-once
/// delivery allows.
pub struct Checkpoints(pub Connections);

from_row!(Claim, |row| Ok(Claim {
    token: row.number("token")?,
    position: Position(row.number("position")?),
}));

from_row!(Checkpoint, |row| Ok(Checkpoint {
    name: row.cell("name")?,
    position: Position(row.number("position")?),
    held_for: row.maybe_number("held_for")?.map(Duration::from_millis),
}));

#[async_trait]
impl CheckpointStore for Checkpoints {
    async fn claim(&self, name: &str, lease: Duration) -> Result<Option<Claim>> {
        let claim = sqlx::query_as(CLAIM).bind(name).bind(millis(lease));
        let claim = claim.bind(least_token());
        Ok(claim.fetch_optional(&mut *self.0.write().await?).await?)
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
            .fetch_optional(&mut *self.0.write().await?)
            .await?;
        row.map(|row| Ok(Position(row.number(0)?))).transpose()
    }

    async fn release(&self, name: &str, token: u64) -> Result<()> {
        let release = sqlx::query(RELEASE).bind(name).bind(signed(token));
        self.0.execute(release).await.map(|_| ())
    }

    async fn create(&self, name: &str, position: Position) -> Result<bool> {
        let create = sqlx::query(CREATE).bind(name).bind(signed(position.0));
        Ok(self.0.execute(create.bind(least_token())).await? > 0)
    }

    async fn seek(&self, name: &str, position: Position) -> Result<bool> {
        let seek = sqlx::query(SEEK).bind(name).bind(signed(position.0));
        Ok(self.0.execute(seek).await? > 0)
    }

    async fn forget(&self, name: &str) -> Result<bool> {
        Ok(self.0.execute(sqlx::query(FORGET).bind(name)).await? > 0)
    }

    async fn checkpoint(&self, name: &str) -> Result<Option<Checkpoint>> {
        let one = sqlx::query_as(ONE).bind(name);
        Ok(one.fetch_optional(self.0.pool()).await?)
    }

    async fn checkpoints(
        &self,
        (after, before): (&str, &str),
        limit: usize,
    ) -> Result<Vec<Checkpoint>> {
        let between = sqlx::query_as(BETWEEN)
            .bind(after)
            .bind(before)
            .bind(signed(limit.min(CHECKPOINTS_PAGE_MAX) as u64));
        Ok(between.fetch_all(self.0.pool()).await?)
    }
}

/// The time in microseconds, and more than every number before it in this process. The clock of a
/// database may count in milliseconds, or be set back.
fn least_token() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX);
    let next = |last: i64| now.max(last.saturating_add(STEP));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
        Some(next(last))
    });
    next(last.unwrap_or_default())
}
