//! Parked events that operators asked to retry.

use sqlx::postgres::{PgConnection, PgPool};

use super::arrays::signed;
use super::aside::{parts, subject};
use super::cell::Cells;
use super::error::Failure;
use crate::builds::without_nul;
use crate::{BuildId, DOCUMENTS_PAGE_MAX, Error, ParkedFilter, Subject};
use quipu_model::Position;

/// Asks to retry what is chosen from `parked_events AS p` of the projection $1.
macro_rules! request {
    ($chosen:literal) => {
        concat!(
            "INSERT INTO parked_retries (build, is_stream, subject, number) \
             SELECT p.build, p.is_stream, p.subject, \
                 (SELECT retries FROM projections WHERE name = $1) \
             FROM parked_events AS p WHERE p.build IN \
                 (SELECT id FROM builds WHERE projection = $1 AND role <> 'dropped') \
             AND ($2::boolean IS NULL OR (p.is_stream = $2 AND p.subject = $3)) ",
            $chosen,
            " ON CONFLICT ON CONSTRAINT parked_retry DO UPDATE SET number = excluded.number"
        )
    };
}

const REQUEST: &str = request!("GROUP BY p.build, p.is_stream, p.subject");
/// What waited for the event at $4, which was left out a moment ago, and for no other.
const REQUEST_BEHIND: &str = request!(
    "AND EXISTS (SELECT FROM skipped_events AS s WHERE s.build = p.build AND s.position = $4 \
         AND s.is_stream = p.is_stream AND s.subject = p.subject) \
     GROUP BY p.build, p.is_stream, p.subject HAVING min(p.position) > $4"
);
const RETRIES: &str = "SELECT is_stream, subject, number FROM parked_retries \
    WHERE build = $1 ORDER BY is_stream DESC, subject LIMIT $2";
const DONE: &str = "DELETE FROM parked_retries AS r \
    USING unnest($2::boolean[], $3::text[], $4::bigint[]) AS d (is_stream, subject, number) \
    WHERE r.build = $1 AND r.is_stream = d.is_stream AND r.subject = d.subject \
        AND r.number <= d.number";

/// Asks to retry the parked events of a subject, or all there are.
pub async fn request(
    connection: &mut PgConnection,
    name: &str,
    of: Option<&Subject>,
) -> sqlx::Result<u64> {
    let (is_stream, subject) = of.map(parts).unzip();
    let query = sqlx::query(REQUEST).bind(name).bind(is_stream);
    let done = query.bind(subject.map(without_nul)).execute(connection);
    done.await.map(|done| done.rows_affected())
}

/// Asks to retry what waited for an event that was dropped a moment ago.
pub async fn request_behind(
    connection: &mut PgConnection,
    name: &str,
    (dropped, position): (&ParkedFilter, Position),
) -> sqlx::Result<u64> {
    let (is_stream, subject) = dropped.subject.as_ref().map(parts).unzip();
    let query = sqlx::query(REQUEST_BEHIND).bind(name).bind(is_stream);
    let query = query.bind(subject.map(without_nul));
    let done = query.bind(signed(position.0)).execute(connection);
    done.await.map(|done| done.rows_affected())
}

/// What is to be retried in a build, streams first.
pub async fn retries(
    pool: &PgPool,
    build: BuildId,
    limit: usize,
) -> Result<Vec<(Subject, u64)>, Failure> {
    let rows = sqlx::query(RETRIES)
        .bind(signed(build.0))
        .bind(signed(limit.min(DOCUMENTS_PAGE_MAX) as u64))
        .fetch_all(pool)
        .await?;
    let retries = rows.iter().map(|row| Ok((subject(row)?, row.number(2)?)));
    Ok(retries.collect::<Result<_, Error>>()?)
}

/// Forgets requests that were done.
pub async fn done(
    connection: &mut PgConnection,
    build: BuildId,
    retried: &[(Subject, u64)],
) -> sqlx::Result<()> {
    if retried.is_empty() {
        return Ok(());
    }
    let names = retried.iter().map(|(subject, _)| parts(subject));
    let (are_streams, subjects): (Vec<bool>, Vec<&str>) = names.unzip();
    let numbers: Vec<i64> = retried.iter().map(|(_, number)| signed(*number)).collect();
    sqlx::query(DONE)
        .bind(signed(build.0))
        .bind(are_streams)
        .bind(subjects)
        .bind(numbers)
        .execute(connection)
        .await
        .map(|_| ())
}
