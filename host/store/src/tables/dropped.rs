//! Events that operators dropped from projections.

use super::cell::{Cells, from_row};
use super::dialect::{Connection, Pool};
use super::parked::{parts, place, subject};
use super::signed;
use crate::builds::without_nul;
use crate::{DOCUMENTS_PAGE_MAX, DroppedEvent, ParkedFilter, Result, Subject};
use quipu_model::{Position, Timestamp};

/// Parked events of a projection $1: of the subject $2, $3 and at the position $4, if these
/// are given.
macro_rules! meant {
    () => {
        "build IN (SELECT id FROM builds WHERE projection = $1 AND role <> 'dropped') \
         AND ($2 IS NULL OR (is_stream = $2 AND subject = $3)) \
         AND ($4 IS NULL OR position = $4)"
    };
}

const RECORD: &str = concat!(
    "INSERT INTO dropped_events (projection, position, is_stream, subject, at, reason) \
     SELECT DISTINCT $1, position, is_stream, subject, $5, $6 FROM parked_events WHERE ",
    meant!(),
    " ON CONFLICT (projection, position, is_stream, subject) DO UPDATE \
     SET at = excluded.at, reason = excluded.reason"
);
const RECORD_ONE: &str = "INSERT INTO dropped_events AS d \
         (projection, position, is_stream, subject, at, reason) VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (projection, position, is_stream, subject) DO UPDATE \
     SET at = excluded.at, reason = excluded.reason \
     WHERE d.at <> excluded.at OR d.reason <> excluded.reason";
const SKIP: &str = concat!(
    "INSERT INTO skipped_events \
     (build, is_stream, subject, position, at, error, attempts, reason) \
     SELECT build, is_stream, subject, position, $5, error, attempts, $6 FROM parked_events WHERE ",
    meant!(),
    " ON CONFLICT (build, position, is_stream, subject) DO UPDATE SET at = excluded.at, \
     error = excluded.error, attempts = excluded.attempts, reason = excluded.reason"
);
const UNPARK: &str = concat!("DELETE FROM parked_events WHERE ", meant!());
const LOSE_OWNERS: &str = "UPDATE builds SET token = token + 1, held_until = NULL \
     WHERE projection = $1 AND role <> 'dropped'";
const DROPPED: &str = "SELECT is_stream, subject, position, at, reason FROM dropped_events \
     WHERE projection = $1 AND (position, is_stream, subject) > ($4, $2, $3) \
     ORDER BY position, is_stream, subject LIMIT $5";
const DROPPED_FROM: &str = "SELECT DISTINCT projection FROM dropped_events ORDER BY projection";
/// Nothing of a projection is left after its last build is removed.
const FORGET: &str = "DELETE FROM dropped_events WHERE projection = $1 AND NOT EXISTS (\
         SELECT 1 FROM builds WHERE projection = $1 AND role <> 'dropped')";

from_row!(DroppedEvent, |row| Ok(DroppedEvent {
    subject: subject(row)?,
    position: Position(row.number("position")?),
    at: Timestamp(row.number("at")?),
    reason: row.cell::<&str>("reason")?.into(),
}));

/// Drops parked events of every build of a projection. Returns how many were parked.
pub async fn drop_parked(
    connection: &mut Connection,
    name: &str,
    which: &ParkedFilter,
    reason: &str,
    at: Timestamp,
) -> Result<u64> {
    let (is_stream, subject) = which.subject.as_ref().map(parts).unzip();
    let (subject, reason) = (subject.map(without_nul), without_nul(reason));
    let mut dropped = 0;
    for sql in [RECORD, SKIP, UNPARK] {
        let query = sqlx::query(sql)
            .bind(name)
            .bind(is_stream)
            .bind(subject.as_deref())
            .bind(which.position.map(|position| signed(position.0)));
        let query = match sql {
            UNPARK => query,
            _ => query.bind(signed(at.0)).bind(&*reason),
        };
        dropped = query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(dropped)
}

/// Records a dropped event. Returns false when it is recorded already.
pub async fn record(connection: &mut Connection, name: &str, event: &DroppedEvent) -> Result<bool> {
    let (is_stream, subject) = parts(&event.subject);
    let done = sqlx::query(RECORD_ONE)
        .bind(name)
        .bind(signed(event.position.0))
        .bind(is_stream)
        .bind(without_nul(subject))
        .bind(signed(event.at.0))
        .bind(without_nul(&event.reason))
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Takes the builds of a projection from their owners, who can't write to them any more.
pub async fn lose_owners(connection: &mut Connection, name: &str) -> Result<()> {
    let losing = sqlx::query(LOSE_OWNERS).bind(name);
    losing.execute(connection).await?;
    Ok(())
}

/// Projections from which events were dropped.
pub async fn dropped_from(pool: &Pool) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar(DROPPED_FROM).fetch_all(pool).await?)
}

/// Events that were dropped from a projection.
pub async fn dropped(
    pool: &Pool,
    name: &str,
    after: Option<&(Subject, Position)>,
    limit: usize,
) -> Result<Vec<DroppedEvent>> {
    let (is_stream, subject, position) = place(after);
    let dropped = sqlx::query_as(DROPPED)
        .bind(name)
        .bind(is_stream)
        .bind(subject)
        .bind(position)
        .bind(signed(limit.min(DOCUMENTS_PAGE_MAX) as u64));
    Ok(dropped.fetch_all(pool).await?)
}

/// Removes the records of dropped events of a projection that has no build left.
pub async fn forget(connection: &mut Connection, name: &str) -> Result<()> {
    let forgetting = sqlx::query(FORGET).bind(name);
    forgetting.execute(connection).await?;
    Ok(())
}
