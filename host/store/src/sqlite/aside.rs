//! Events that wait, and events that were left out.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};

use super::cell::Cells;
use super::encode::signed;
use crate::builds::without_nul;
use crate::{
    BuildBatch, BuildId, DOCUMENTS_PAGE_MAX, Error, ParkedDocument, ParkedHeads, Result, SetAside,
    Subject,
};
use quipu_model::{Position, Timestamp};

/// ?2: a JSON array of [`Record`]s.
const PARK: &str = "INSERT OR REPLACE INTO parked_events \
     (build, is_stream, subject, position, at, error, attempts) \
     SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 \
     FROM json_each(?2)";
/// ?2: a JSON array of subjects and positions.
const UNPARK: &str = "DELETE FROM parked_events WHERE rowid IN (\
         SELECT p.rowid FROM json_each(?2) AS u CROSS JOIN parked_events AS p ON p.build = ?1 \
         AND p.is_stream = u.value ->> 0 AND p.subject = u.value ->> 1 \
         AND p.position = u.value ->> 2)";
/// ?2: a JSON array of [`Record`]s.
const SKIP: &str = "INSERT OR REPLACE INTO skipped_events \
     (build, is_stream, subject, position, at, error, attempts, reason) \
     SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, \
         value ->> 6 FROM json_each(?2)";
const PARKED: &str = "SELECT is_stream, subject, position, at, error, attempts, NULL \
     FROM parked_events \
     WHERE build = ?1 AND (is_stream, subject, position) > (?2, ?3, ?4) \
     ORDER BY is_stream, subject, position LIMIT ?5";
const SKIPPED: &str = "SELECT is_stream, subject, position, at, error, attempts, reason \
     FROM skipped_events \
     WHERE build = ?1 AND (position, is_stream, subject) > (?4, ?2, ?3) \
     ORDER BY position, is_stream, subject LIMIT ?5";
const PARKED_FOR: &str = "SELECT count(*) OVER (), position, error FROM parked_events \
     WHERE build = ?1 AND is_stream = 0 AND subject = ?2 ORDER BY position LIMIT 1";
const PARKED_HEADS: &str = "SELECT \
     (SELECT count(*) FROM (SELECT DISTINCT is_stream, subject FROM parked_events \
         WHERE build = ?1)), \
     (SELECT min(position) FROM parked_events WHERE build = ?1 AND is_stream = 0), \
     (SELECT min(position) FROM parked_events WHERE build = ?1 AND is_stream = 1)";

/// A row: whether the subject is a stream, its name, position, time, error, attempts, reason.
#[derive(Serialize)]
struct Record<'a>(
    i64,
    &'a str,
    i64,
    i64,
    Option<Cow<'a, str>>,
    u32,
    Option<Cow<'a, str>>,
);

impl<'a> Record<'a> {
    fn of(aside: &'a SetAside) -> Self {
        let (is_stream, subject) = parts(&aside.subject);
        Record(
            is_stream,
            subject,
            signed(aside.position.0),
            signed(aside.at.0),
            aside.error.as_deref().map(without_nul),
            aside.attempts,
            aside.reason.as_deref().map(without_nul),
        )
    }
}

/// How a subject is stored: whether it is a stream, and its name.
pub fn parts(subject: &Subject) -> (i64, &str) {
    match subject {
        Subject::Document(key) => (0, key),
        Subject::Stream(stream) => (1, stream),
    }
}

/// Sets events aside, and takes others back.
pub async fn write(
    connection: &mut SqliteConnection,
    build: BuildId,
    batch: &BuildBatch,
) -> Result<()> {
    let records = |of: &'_ [SetAside]| of.iter().map(Record::of).map(|it| json(&it)).collect();
    let unparked = batch.unparked.iter().map(|(subject, position)| {
        let (is_stream, subject) = parts(subject);
        json(&(is_stream, subject, signed(position.0)))
    });
    execute(connection, PARK, build, records(&batch.parked)).await?;
    execute(connection, UNPARK, build, unparked.collect()).await?;
    execute(connection, SKIP, build, records(&batch.skipped)).await
}

fn json(row: &impl Serialize) -> Result<String> {
    serde_json::to_string(row).map_err(|error| Error::Unexpected(error.to_string()))
}

async fn execute(
    connection: &mut SqliteConnection,
    sql: &'static str,
    build: BuildId,
    rows: Result<Vec<String>>,
) -> Result<()> {
    let rows = rows?;
    if rows.is_empty() {
        return Ok(());
    }
    let done = sqlx::query(sql)
        .bind(signed(build.0))
        .bind(format!("[{}]", rows.join(",")))
        .execute(connection)
        .await;
    done?;
    Ok(())
}

/// Events that wait.
pub async fn parked(
    pool: &SqlitePool,
    build: BuildId,
    after: Option<&(Subject, Position)>,
    limit: usize,
) -> Result<Vec<SetAside>> {
    page(pool, PARKED, build, after, limit).await
}

/// Events that were left out.
pub async fn skipped(
    pool: &SqlitePool,
    build: BuildId,
    after: Option<&(Subject, Position)>,
    limit: usize,
) -> Result<Vec<SetAside>> {
    page(pool, SKIPPED, build, after, limit).await
}

/// What is parked for a document.
pub async fn parked_for(
    pool: &SqlitePool,
    build: BuildId,
    key: &str,
) -> Result<Option<ParkedDocument>> {
    let query = sqlx::query(PARKED_FOR).bind(signed(build.0)).bind(key);
    let row = query.fetch_optional(pool).await;
    let row = row?;
    let found = row.map(|row| {
        Ok(ParkedDocument {
            events: row.number(0)?,
            first_position: Position(row.number(1)?),
            error: row.cell::<Option<&str>>(2)?.map(Into::into),
        })
    });
    found.transpose()
}

/// What is parked in a build.
pub async fn parked_heads(pool: &SqlitePool, build: BuildId) -> Result<ParkedHeads> {
    let query = sqlx::query(PARKED_HEADS).bind(signed(build.0));
    let row = query.fetch_one(pool).await;
    let row = row?;
    Ok(ParkedHeads {
        subjects: row.number(0)?,
        documents: row.maybe_number(1)?.map(Position),
        streams: row.maybe_number(2)?.map(Position),
    })
}

async fn page(
    pool: &SqlitePool,
    sql: &'static str,
    build: BuildId,
    after: Option<&(Subject, Position)>,
    limit: usize,
) -> Result<Vec<SetAside>> {
    // Every event is behind the position -1 of the first subject.
    let (is_stream, subject, position) = after.map_or((0, "", -1), |(subject, position)| {
        let (is_stream, subject) = parts(subject);
        (is_stream, subject, signed(position.0))
    });
    let rows = sqlx::query(sql)
        .bind(signed(build.0))
        .bind(is_stream)
        .bind(subject)
        .bind(position)
        .bind(signed(limit.min(DOCUMENTS_PAGE_MAX) as u64))
        .fetch_all(pool)
        .await?;
    rows.iter().map(set_aside).collect()
}

/// The subject in the first two columns of a row.
pub fn subject(row: &SqliteRow) -> Result<Subject> {
    let subject: Arc<str> = row.cell::<&str>(1)?.into();
    Ok(match row.cell::<i64>(0)? {
        0 => Subject::Document(subject),
        _ => Subject::Stream(subject),
    })
}

fn set_aside(row: &SqliteRow) -> Result<SetAside> {
    let text = |column| Ok::<_, Error>(row.cell::<Option<&str>>(column)?.map(Into::into));
    Ok(SetAside {
        subject: subject(row)?,
        position: Position(row.number(2)?),
        at: Timestamp(row.number(3)?),
        error: text(4)?,
        attempts: row.cell(5)?,
        reason: text(6)?,
    })
}
