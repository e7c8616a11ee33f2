//! Events that operators dropped from projections.

use sqlx::postgres::{PgConnection, PgPool};

use super::arrays::signed;
use super::aside::{parts, subject};
use super::cell::Cells;
use super::error::Failure;
use crate::builds::without_nul;
use crate::{DOCUMENTS_PAGE_MAX, DroppedEvent, Error, ParkedFilter, Subject};
use quipu_model::{Position, Timestamp};

/// Events that wait move to those that were left out, and are recorded for the projection.
const DROP_PARKED: &str = "WITH gone AS (\
        DELETE FROM parked_events \
        WHERE build IN (SELECT id FROM builds WHERE projection = $1 AND role <> 'dropped') \
            AND ($2::boolean IS NULL OR (is_stream = $2 AND subject = $3)) \
            AND ($4::bigint IS NULL OR position = $4) \
        RETURNING *\
    ), recorded AS (\
        INSERT INTO dropped_events (projection, position, is_stream, subject, at, reason) \
        SELECT DISTINCT $1, position, is_stream, subject, $5::bigint, $6 FROM gone \
        ON CONFLICT ON CONSTRAINT dropped_event DO UPDATE \
        SET at = excluded.at, reason = excluded.reason\
    ) \
    INSERT INTO skipped_events (build, is_stream, subject, position, at, error, attempts, reason) \
    SELECT build, is_stream, subject, position, $5, error, attempts, $6 FROM gone \
    ON CONFLICT ON CONSTRAINT skipped_event DO UPDATE SET at = excluded.at, \
        error = excluded.error, attempts = excluded.attempts, reason = excluded.reason";
const RECORD_ONE: &str = "INSERT INTO dropped_events AS known \
        (projection, position, is_stream, subject, at, reason) VALUES ($1, $2, $3, $4, $5, $6) \
    ON CONFLICT ON CONSTRAINT dropped_event DO UPDATE \
    SET at = excluded.at, reason = excluded.reason \
    WHERE (known.at, known.reason) <> (excluded.at, excluded.reason)";
const LOSE_OWNERS: &str = "UPDATE builds SET token = token + 1, held_until = NULL \
    WHERE projection = $1 AND role <> 'dropped'";
const DROPPED: &str = "SELECT is_stream, subject, position, at, reason FROM dropped_events \
    WHERE projection = $1 AND (position, is_stream, subject) > ($4, $2, $3) \
    ORDER BY position, is_stream, subject LIMIT $5";
const DROPPED_FROM: &str = "SELECT DISTINCT projection FROM dropped_events ORDER BY projection";
/// With its last build, nothing of a projection is left.
const FORGET: &str = "DELETE FROM dropped_events WHERE projection = $1 AND NOT EXISTS (\
        SELECT FROM builds WHERE projection = $1 AND role <> 'dropped')";

/// Takes the builds of a projection from their owners, who then write to them no more.
pub async fn lose_owners(connection: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let losing = sqlx::query(LOSE_OWNERS).bind(name);
    losing.execute(connection).await.map(|_| ())
}

/// Drops parked events of every build of a projection; how many were parked.
pub async fn drop_parked(
    connection: &mut PgConnection,
    name: &str,
    which: &ParkedFilter,
    reason: &str,
    at: Timestamp,
) -> sqlx::Result<u64> {
    let (is_stream, subject) = which.subject.as_ref().map(parts).unzip();
    let done = sqlx::query(DROP_PARKED)
        .bind(name)
        .bind(is_stream)
        .bind(subject.map(without_nul))
        .bind(which.position.map(|position| signed(position.0)))
        .bind(signed(at.0))
        .bind(without_nul(reason))
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

/// Records a dropped event; false when it is recorded already.
pub async fn record(
    connection: &mut PgConnection,
    name: &str,
    event: &DroppedEvent,
) -> sqlx::Result<bool> {
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

/// Projections from which events were dropped.
pub async fn dropped_from(pool: &PgPool) -> Result<Vec<String>, Failure> {
    let rows = sqlx::query(DROPPED_FROM).fetch_all(pool).await?;
    let names = rows.iter().map(|row| row.cell(0));
    Ok(names.collect::<Result<_, Error>>()?)
}

/// Events that were dropped from a projection.
pub async fn dropped(
    pool: &PgPool,
    name: &str,
    after: Option<&(Subject, Position)>,
    limit: usize,
) -> Result<Vec<DroppedEvent>, Failure> {
    let (is_stream, of, position) = after.map_or((false, "", -1), |(subject, position)| {
        let (is_stream, subject) = parts(subject);
        (is_stream, subject, signed(position.0))
    });
    let rows = sqlx::query(DROPPED)
        .bind(name)
        .bind(is_stream)
        .bind(without_nul(of))
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
    Ok(events.collect::<Result<_, Error>>()?)
}

/// Forgets what was dropped from a projection of which no build is left.
pub async fn forget(connection: &mut PgConnection, name: &str) -> sqlx::Result<()> {
    let forgetting = sqlx::query(FORGET).bind(name);
    forgetting.execute(connection).await.map(|_| ())
}
