//! Parked events, which wait for a retry, and skipped ones.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;

use super::cell::{Cells, from_row};
use super::dialect::{Connection, Pool, Row, each};
use super::signed;
use crate::builds::without_nul;
use crate::{
    BuildBatch, BuildId, DOCUMENTS_PAGE_MAX, Error, FailedEvent, ParkedDocument, ParkedHeads,
    Result, Subject,
};
use quipu_model::{Position, Timestamp};

/// The key of a row of a JSON array.
macro_rules! key {
    () => {
        "CAST(value ->> 0 AS boolean), value ->> 1, CAST(value ->> 2 AS bigint)"
    };
}

/// $2: a JSON array of [`Record`]s.
const PARK: &str = concat!(
    "INSERT INTO parked_events (build, is_stream, subject, position, at, error, attempts) \
     SELECT $1, ",
    key!(),
    ", CAST(value ->> 3 AS bigint), value ->> 4, CAST(value ->> 5 AS bigint) FROM ",
    each!("$2"),
    " WHERE true ON CONFLICT (build, is_stream, subject, position) DO UPDATE \
     SET at = excluded.at, error = excluded.error, attempts = excluded.attempts"
);
/// $2: a JSON array of subjects and positions.
const UNPARK: &str = concat!(
    "DELETE FROM parked_events WHERE build = $1 AND (is_stream, subject, position) IN (SELECT ",
    key!(),
    " FROM ",
    each!("$2"),
    ")"
);
/// $2: a JSON array of [`Record`]s.
const SKIP: &str = concat!(
    "INSERT INTO skipped_events \
     (build, is_stream, subject, position, at, error, attempts, reason) SELECT $1, ",
    key!(),
    ", CAST(value ->> 3 AS bigint), value ->> 4, CAST(value ->> 5 AS bigint), value ->> 6 FROM ",
    each!("$2"),
    " WHERE true ON CONFLICT (build, position, is_stream, subject) DO UPDATE SET \
     at = excluded.at, error = excluded.error, attempts = excluded.attempts, \
     reason = excluded.reason"
);
const PARKED: &str = "SELECT is_stream, subject, position, at, error, attempts, \
         CAST(NULL AS text) AS reason FROM parked_events \
     WHERE build = $1 AND (is_stream, subject, position) > ($2, $3, $4) \
     ORDER BY is_stream, subject, position LIMIT $5";
const SKIPPED: &str = "SELECT is_stream, subject, position, at, error, attempts, reason \
     FROM skipped_events \
     WHERE build = $1 AND (position, is_stream, subject) > ($4, $2, $3) \
     ORDER BY position, is_stream, subject LIMIT $5";
const PARKED_FOR: &str = "SELECT count(*) OVER () AS events, position, error FROM parked_events \
     WHERE build = $1 AND is_stream = false AND subject = $2 ORDER BY position LIMIT 1";
const PARKED_HEADS: &str = "SELECT \
     (SELECT count(*) FROM (SELECT DISTINCT is_stream, subject FROM parked_events \
         WHERE build = $1) AS s) AS subjects, \
     (SELECT min(position) FROM parked_events WHERE build = $1 AND is_stream = false) \
         AS documents, \
     (SELECT min(position) FROM parked_events WHERE build = $1 AND is_stream = true) AS streams";

from_row!(FailedEvent, |row| Ok(FailedEvent {
    subject: subject(row)?,
    position: Position(row.number("position")?),
    at: Timestamp(row.number("at")?),
    error: row.maybe_text("error")?,
    attempts: row.small("attempts")?,
    reason: row.maybe_text("reason")?,
}));

from_row!(ParkedDocument, |row| Ok(ParkedDocument {
    events: row.number("events")?,
    first_position: Position(row.number("position")?),
    error: row.maybe_text("error")?,
}));

from_row!(ParkedHeads, |row| Ok(ParkedHeads {
    subjects: row.number("subjects")?,
    documents: row.maybe_number("documents")?.map(Position),
    streams: row.maybe_number("streams")?.map(Position),
}));

/// A row of columns: whether the subject is a stream, its name, position, time, error, attempts,
/// reason.
#[derive(Serialize)]
struct Record<'a>(
    bool,
    &'a str,
    i64,
    i64,
    Option<Cow<'a, str>>,
    u32,
    Option<Cow<'a, str>>,
);

impl<'a> Record<'a> {
    fn new(event: &'a FailedEvent) -> Self {
        let (is_stream, subject) = parts(&event.subject);
        Record(
            is_stream,
            subject,
            signed(event.position.0),
            signed(event.at.0),
            event.error.as_deref().map(without_nul),
            event.attempts,
            event.reason.as_deref().map(without_nul),
        )
    }
}

/// How a subject is stored: whether it is a stream, and its name.
pub fn parts(subject: &Subject) -> (bool, &str) {
    match subject {
        Subject::Document(key) => (false, key),
        Subject::Stream(stream) => (true, stream),
    }
}

/// The subject of a row.
pub fn subject(row: &Row) -> Result<Subject> {
    let subject: Arc<str> = row.cell::<&str>("subject")?.into();
    Ok(match row.cell("is_stream")? {
        false => Subject::Document(subject),
        true => Subject::Stream(subject),
    })
}

/// The place in a list. The place before the first row is the position -1 of the first subject.
pub fn place(after: Option<&(Subject, Position)>) -> (bool, Cow<'_, str>, i64) {
    after.map_or((false, "".into(), -1), |(subject, position)| {
        let (is_stream, subject) = parts(subject);
        (is_stream, without_nul(subject), signed(position.0))
    })
}

/// Parks events, removes others that are no longer parked, and records skipped ones.
pub async fn write(connection: &mut Connection, build: BuildId, batch: &BuildBatch) -> Result<()> {
    let records = |of: &[FailedEvent]| array(&of.iter().map(Record::new).collect::<Vec<_>>());
    let unparked = batch.unparked.iter().map(|(subject, position)| {
        let (is_stream, subject) = parts(subject);
        (is_stream, subject, signed(position.0))
    });
    let unparked = array(&unparked.collect::<Vec<_>>());
    execute(connection, PARK, build, records(&batch.parked)?).await?;
    execute(connection, UNPARK, build, unparked?).await?;
    execute(connection, SKIP, build, records(&batch.skipped)?).await
}

/// A JSON array; none when there are no rows.
pub fn array<T: Serialize>(rows: &[T]) -> Result<Option<String>> {
    if rows.is_empty() {
        return Ok(None);
    }
    let array = serde_json::to_string(rows);
    array
        .map(Some)
        .map_err(|error| Error::Unexpected(error.to_string()))
}

/// Executes a statement on a build and an array, unless there are no rows.
pub async fn execute(
    connection: &mut Connection,
    sql: &'static str,
    build: BuildId,
    array: Option<String>,
) -> Result<()> {
    let Some(array) = array else { return Ok(()) };
    let query = sqlx::query(sql).bind(signed(build.0)).bind(array);
    query.execute(connection).await?;
    Ok(())
}

/// Returns parked events.
pub async fn parked(
    pool: &Pool,
    build: BuildId,
    after: Option<&(Subject, Position)>,
    limit: usize,
) -> Result<Vec<FailedEvent>> {
    page(pool, PARKED, build, after, limit).await
}

/// Returns skipped events.
pub async fn skipped(
    pool: &Pool,
    build: BuildId,
    after: Option<&(Subject, Position)>,
    limit: usize,
) -> Result<Vec<FailedEvent>> {
    page(pool, SKIPPED, build, after, limit).await
}

/// Returns the events that are parked for a document.
pub async fn parked_for(pool: &Pool, build: BuildId, key: &str) -> Result<Option<ParkedDocument>> {
    let query = sqlx::query_as(PARKED_FOR).bind(signed(build.0));
    Ok(query.bind(without_nul(key)).fetch_optional(pool).await?)
}

/// A summary of the parked events of a build.
pub async fn parked_heads(pool: &Pool, build: BuildId) -> Result<ParkedHeads> {
    let query = sqlx::query_as(PARKED_HEADS).bind(signed(build.0));
    Ok(query.fetch_one(pool).await?)
}

async fn page(
    pool: &Pool,
    sql: &'static str,
    build: BuildId,
    after: Option<&(Subject, Position)>,
    limit: usize,
) -> Result<Vec<FailedEvent>> {
    let (is_stream, subject, position) = place(after);
    let page = sqlx::query_as(sql)
        .bind(signed(build.0))
        .bind(is_stream)
        .bind(subject)
        .bind(position)
        .bind(signed(limit.min(DOCUMENTS_PAGE_MAX) as u64));
    Ok(page.fetch_all(pool).await?)
}
