//! Parked events that operators asked to retry.

use super::cell::Cells;
use super::dialect::{Connection, Pool, each, lookup};
use super::parked::{array, execute, parts, subject};
use super::signed;
use crate::builds::without_nul;
use crate::{BuildId, DOCUMENTS_PAGE_MAX, ParkedFilter, Result, Subject};
use quipu_model::Position;

/// Requests a retry of the events selected from `parked_events AS p` of the projection $1.
macro_rules! request {
    ($chosen:literal) => {
        concat!(
            "INSERT INTO parked_retries (build, is_stream, subject, number) \
             SELECT p.build, p.is_stream, p.subject, \
                 (SELECT retries FROM projections WHERE name = $1) \
             FROM parked_events AS p WHERE p.build IN \
                 (SELECT id FROM builds WHERE projection = $1 AND role <> 'dropped') \
             AND ($2 IS NULL OR (p.is_stream = $2 AND p.subject = $3)) ",
            $chosen,
            " ON CONFLICT (build, is_stream, subject) DO UPDATE SET number = excluded.number"
        )
    };
}

const REQUEST: &str = request!("GROUP BY p.build, p.is_stream, p.subject");
/// Events that waited only for the event at $4, which was skipped a moment ago.
const REQUEST_AFTER: &str = request!(
    "AND EXISTS (SELECT 1 FROM skipped_events AS s WHERE s.build = p.build AND s.position = $4 \
         AND s.is_stream = p.is_stream AND s.subject = p.subject) \
     GROUP BY p.build, p.is_stream, p.subject HAVING min(p.position) > $4"
);
const RETRIES: &str = "SELECT is_stream, subject, number FROM parked_retries \
     WHERE build = $1 ORDER BY is_stream DESC, subject LIMIT $2";
/// $2: a JSON array of subjects and numbers.
const DONE: &str = concat!(
    "DELETE FROM parked_retries WHERE build = $1 AND (is_stream, subject, number) IN (\
         SELECT r.is_stream, r.subject, r.number FROM ",
    each!("$2"),
    lookup!(),
    "parked_retries AS r ON r.build = $1 AND r.is_stream = CAST(value ->> 0 AS boolean) \
         AND r.subject = value ->> 1 AND r.number <= CAST(value ->> 2 AS bigint))"
);

/// Requests a retry of the parked events of a subject, or of all.
pub async fn request(connection: &mut Connection, name: &str, of: Option<&Subject>) -> Result<u64> {
    let (is_stream, subject) = of.map(parts).unzip();
    let query = sqlx::query(REQUEST).bind(name).bind(is_stream);
    let query = query.bind(subject.map(without_nul));
    Ok(query.execute(connection).await?.rows_affected())
}

/// Requests a retry of events that waited for an event that was dropped a moment ago.
pub async fn request_after(
    connection: &mut Connection,
    name: &str,
    (dropped, position): (&ParkedFilter, Position),
) -> Result<u64> {
    let (is_stream, subject) = dropped.subject.as_ref().map(parts).unzip();
    let query = sqlx::query(REQUEST_AFTER).bind(name).bind(is_stream);
    let query = query.bind(subject.map(without_nul));
    let query = query.bind(signed(position.0));
    Ok(query.execute(connection).await?.rows_affected())
}

/// Returns the subjects that are to be retried in a build, streams first.
pub async fn retries(pool: &Pool, build: BuildId, limit: usize) -> Result<Vec<(Subject, u64)>> {
    let rows = sqlx::query(RETRIES)
        .bind(signed(build.0))
        .bind(signed(limit.min(DOCUMENTS_PAGE_MAX) as u64))
        .fetch_all(pool)
        .await?;
    let retries = rows.iter();
    retries
        .map(|row| Ok((subject(row)?, row.number("number")?)))
        .collect()
}

/// Removes completed requests.
pub async fn done(
    connection: &mut Connection,
    build: BuildId,
    retried: &[(Subject, u64)],
) -> Result<()> {
    let rows = retried.iter().map(|(subject, number)| {
        let (is_stream, subject) = parts(subject);
        (is_stream, subject, signed(*number))
    });
    let rows = array(&rows.collect::<Vec<_>>())?;
    execute(connection, DONE, build, rows).await
}
