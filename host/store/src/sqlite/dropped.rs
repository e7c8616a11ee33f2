//! Events that operators dropped from projections.

use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::aside::{parts, subject};
use super::cell::Cells;
use super::encode::signed;
use crate::builds::without_nul;
use crate::{DOCUMENTS_PAGE_MAX, DroppedEvent, ParkedFilter, Result, Subject};
use quipu_model::{Position, Timestamp};

/// Parked events of a projection ?1: of the subject ?2, ?3 and at the position ?4, if these
/// are given.
macro_rules! meant {
    () => {
        "build IN (SELECT id FROM builds WHERE projection = ?1 AND role <> 'dropped') \
         AND (?2 IS NULL OR (is_stream = ?2 AND subject = ?3)) \
         AND (?4 IS NULL OR position = ?4)"
    };
}

const RECORD: &str = concat!(
    "INSERT OR REPLACE INTO dropped_events (projection, position, is_stream, subject, at, reason) \
     SELECT DISTINCT ?1, position, is_stream, subject, ?5, ?6 FROM parked_events WHERE ",
    meant!()
);
const RECORD_ONE: &str = "INSERT INTO dropped_events \
         (projection, position, is_stream, subject, at, reason) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
     ON CONFLICT DO UPDATE SET at = excluded.at, reason = excluded.reason \
         WHERE at <> excluded.at OR reason <> excluded.reason";
const SKIP: &str = concat!(
    "INSERT OR REPLACE INTO skipped_events \
     (build, is_stream, subject, position, at, error, attempts, reason) \
     SELECT build, is_stream, subject, position, ?5, error, attempts, ?6 FROM parked_events WHERE ",
    meant!()
);
const UNPARK: &str = concat!("DELETE FROM parked_events WHERE ", meant!());
const LOSE_OWNERS: &str = "UPDATE builds SET token = token + 1, held_until = NULL \
     WHERE projection = ?1 AND role <> 'dropped'";
const DROPPED: &str = "SELECT is_stream, subject, position, at, reason FROM dropped_events \
     WHERE projection = ?1 AND (position, is_stream, subject) > (?4, ?2, ?3) \
     ORDER BY position, is_stream, subject LIMIT ?5";
const DROPPED_FROM: &str = "SELECT DISTINCT projection FROM dropped_events ORDER BY projection";
/// With its last build, nothing of a projection is left.
const FORGET: &str = "DELETE FROM dropped_events WHERE projection = ?1 AND NOT EXISTS (\
         SELECT 1 FROM builds WHERE projection = ?1 AND role <> 'dropped')";

/// Drops parked events of every build of a projection; how many were parked.
pub async fn drop_parked(
    connection: &mut SqliteConnection,
    name: &str,
    which: &ParkedFilter,
    reason: &str,
    at: Timestamp,
) -> Result<u64> {
    let (is_stream, subject) = which.subject.as_ref().map(parts).unzip();
    let reason = without_nul(reason);
    let mut dropped = 0;
    for sql in [RECORD, SKIP, UNPARK] {
        let query = sqlx::query(sql)
            .bind(name)
            .bind(is_stream)
            .bind(subject)
            .bind(which.position.map(|position| signed(position.0)));
        let query = match sql {
            UNPARK => query,
            _ => query.bind(signed(at.0)).bind(&*reason),
        };
        let done = query.execute(&mut *connection).await;
        dropped = done?.rows_affected();
    }
    if dropped > 0 {
        lose_owners(connection, name).await?;
    }
    Ok(dropped)
}

/// Records a dropped event; false when it is recorded already.
pub async fn record(
    connection: &mut SqliteConnection,
    name: &str,
    event: &DroppedEvent,
) -> Result<bool> {
    let (is_stream, subject) = parts(&event.subject);
    let done = sqlx::query(RECORD_ONE)
        .bind(name)
        .bind(signed(event.position.0))
        .bind(is_stream)
        .bind(subject)
        .bind(signed(event.at.0))
        .bind(&*without_nul(&event.reason))
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Takes the builds of a projection from their owners, who then write to them no more.
pub async fn lose_owners(connection: &mut SqliteConnection, name: &str) -> Result<()> {
    let losing = sqlx::query(LOSE_OWNERS).bind(name);
    let done = losing.execute(connection).await;
    done?;
    Ok(())
}

/// Projections from which events were dropped.
pub async fn dropped_from(pool: &SqlitePool) -> Result<Vec<String>> {
    let rows = sqlx::query(DROPPED_FROM).fetch_all(pool).await;
    let rows = rows?;
    rows.iter().map(|row| row.cell(0)).collect()
}

/// Events that were dropped from a projection.
pub async fn dropped(
    pool: &SqlitePool,
    name: &str,
    after: Option<&(Subject, Position)>,
    limit: usize,
) -> Result<Vec<DroppedEvent>> {
    let (is_stream, of, position) = after.map_or((0, "", -1), |(subject, position)| {
        let (is_stream, subject) = parts(subject);
        (is_stream, subject, signed(position.0))
    });
    let rows = sqlx::query(DROPPED)
        .bind(name)
        .bind(is_stream)
        .bind(of)
        .bind(position)
        .bind(signed(limit.min(DOCUMENTS_PAGE_MAX) as u64))
        .fetch_all(pool)
        .await?;
    let events = rows.iter().map(|row| {
        Ok(DroppedEvent {
            subject: subject(row)?,
            position: Position(row.number(2)?),
            at: Timestamp(row.number(3)?),
            reason: row.cell::<&str>(4)?.into(),
        })
    });
    events.collect()
}

/// Forgets what was dropped from a projection of which no build is left.
pub async fn forget(connection: &mut SqliteConnection, name: &str) -> Result<()> {
    let done = sqlx::query(FORGET).bind(name).execute(connection).await;
    done?;
    Ok(())
}
