//! Events that wait, and events that were left out.

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::postgres::{PgConnection, PgPool, PgRow};

use super::arrays::signed;
use super::cell::Cells;
use super::error::Failure;
use crate::builds::without_nul;
use crate::{
    BuildBatch, BuildId, DOCUMENTS_PAGE_MAX, Error, ParkedDocument, ParkedHeads, SetAside, Subject,
};
use quipu_model::{Position, Timestamp};

const PARK: &str = "INSERT INTO parked_events \
        (build, is_stream, subject, position, at, error, attempts) \
    SELECT $1, u.is_stream, u.subject, u.position, u.at, u.error, u.attempts \
    FROM unnest($2::boolean[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[], \
        $8::text[]) AS u (is_stream, subject, position, at, error, attempts, reason) \
    ON CONFLICT ON CONSTRAINT parked_event DO UPDATE \
    SET at = excluded.at, error = excluded.error, attempts = excluded.attempts";
const UNPARK: &str = "DELETE FROM parked_events AS p \
    USING unnest($2::boolean[], $3::text[], $4::bigint[]) AS u (is_stream, subject, position) \
    WHERE p.build = $1 AND p.is_stream = u.is_stream AND p.subject = u.subject \
        AND p.position = u.position";
const SKIP: &str = "INSERT INTO skipped_events \
        (build, is_stream, subject, position, at, error, attempts, reason) \
    SELECT $1, * FROM unnest($2::boolean[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], \
        $7::bigint[], $8::text[]) \
    ON CONFLICT ON CONSTRAINT skipped_event DO UPDATE SET at = excluded.at, \
        error = excluded.error, attempts = excluded.attempts, reason = excluded.reason";
const PARKED: &str = "SELECT is_stream, subject, position, at, error, attempts, NULL::text \
    FROM parked_events \
    WHERE build = $1 AND (is_stream, subject, position) > ($2, $3, $4) \
    ORDER BY is_stream, subject, position LIMIT $5";
const SKIPPED: &str = "SELECT is_stream, subject, position, at, error, attempts, reason \
    FROM skipped_events \
    WHERE build = $1 AND (position, is_stream, subject) > ($4, $2, $3) \
    ORDER BY position, is_stream, subject LIMIT $5";
const PARKED_FOR: &str = "SELECT count(*) OVER (), position, error FROM parked_events \
    WHERE build = $1 AND NOT is_stream AND subject = $2 ORDER BY position LIMIT 1";
const PARKED_HEADS: &str = "SELECT \
    (SELECT count(*) FROM (SELECT DISTINCT is_stream, subject FROM parked_events \
        WHERE build = $1) AS s), \
    (SELECT min(position) FROM parked_events WHERE build = $1 AND NOT is_stream), \
    (SELECT min(position) FROM parked_events WHERE build = $1 AND is_stream)";

/// How a subject is stored: whether it is a stream, and its name.
pub fn parts(subject: &Subject) -> (bool, &str) {
    match subject {
        Subject::Document(key) => (false, key),
        Subject::Stream(stream) => (true, stream),
    }
}

/// Events as columns.
#[derive(Default)]
struct Columns<'a> {
    are_streams: Vec<bool>,
    subjects: Vec<&'a str>,
    positions: Vec<i64>,
    times: Vec<i64>,
    errors: Vec<Option<Cow<'a, str>>>,
    attempts: Vec<i64>,
    reasons: Vec<Option<Cow<'a, str>>>,
}

impl<'a> Columns<'a> {
    fn of(events: &'a [SetAside]) -> Self {
        let mut columns = Self::default();
        for event in events {
            columns.name(&event.subject, event.position);
            columns.times.push(signed(event.at.0));
            columns.errors.push(event.error.as_deref().map(without_nul));
            columns.attempts.push(i64::from(event.attempts));
            columns
                .reasons
                .push(event.reason.as_deref().map(without_nul));
        }
        columns
    }

    fn name(&mut self, subject: &'a Subject, position: Position) {
        let (is_stream, subject) = parts(subject);
        self.are_streams.push(is_stream);
        self.subjects.push(subject);
        self.positions.push(signed(position.0));
    }

    async fn execute(
        self,
        connection: &mut PgConnection,
        sql: &'static str,
        build: BuildId,
    ) -> sqlx::Result<()> {
        if self.subjects.is_empty() {
            return Ok(());
        }
        sqlx::query(sql)
            .bind(signed(build.0))
            .bind(self.are_streams)
            .bind(self.subjects)
            .bind(self.positions)
            .bind(self.times)
            .bind(self.errors)
            .bind(self.attempts)
            .bind(self.reasons)
            .execute(connection)
            .await
            .map(|_| ())
    }
}

/// Sets events aside, and takes others back.
pub async fn write(
    connection: &mut PgConnection,
    build: BuildId,
    batch: &BuildBatch,
) -> sqlx::Result<()> {
    let (parked, skipped) = (Columns::of(&batch.parked), Columns::of(&batch.skipped));
    parked.execute(connection, PARK, build).await?;
    if !batch.unparked.is_empty() {
        let mut unparked = Columns::default();
        for (subject, position) in &batch.unparked {
            unparked.name(subject, *position);
        }
        sqlx::query(UNPARK)
            .bind(signed(build.0))
            .bind(unparked.are_streams)
            .bind(unparked.subjects)
            .bind(unparked.positions)
            .execute(&mut *connection)
            .await?;
    }
    skipped.execute(connection, SKIP, build).await
}

/// Events that wait.
pub async fn parked(
    pool: &PgPool,
    build: BuildId,
    after: Option<&(Subject, Position)>,
    limit: usize,
) -> Result<Vec<SetAside>, Failure> {
    page(pool, PARKED, build, after, limit).await
}

/// Events that were left out.
pub async fn skipped(
    pool: &PgPool,
    build: BuildId,
    after: Option<&(Subject, Position)>,
    limit: usize,
) -> Result<Vec<SetAside>, Failure> {
    page(pool, SKIPPED, build, after, limit).await
}

/// What is parked for a document.
pub async fn parked_for(
    pool: &PgPool,
    build: BuildId,
    key: &str,
) -> Result<Option<ParkedDocument>, Failure> {
    let query = sqlx::query(PARKED_FOR).bind(signed(build.0));
    let row = query.bind(without_nul(key)).fetch_optional(pool).await?;
    let found = row.map(|row| {
        Ok::<_, Error>(ParkedDocument {
            events: row.number(0)?,
            first_position: Position(row.number(1)?),
            error: row.cell::<Option<&str>>(2)?.map(Into::into),
        })
    });
    Ok(found.transpose()?)
}

/// What is parked in a build.
pub async fn parked_heads(pool: &PgPool, build: BuildId) -> Result<ParkedHeads, Failure> {
    let query = sqlx::query(PARKED_HEADS).bind(signed(build.0));
    let row = query.fetch_one(pool).await?;
    Ok(ParkedHeads {
        subjects: row.number(0)?,
        documents: row.maybe_number(1)?.map(Position),
        streams: row.maybe_number(2)?.map(Position),
    })
}

async fn page(
    pool: &PgPool,
    sql: &'static str,
    build: BuildId,
    after: Option<&(Subject, Position)>,
    limit: usize,
) -> Result<Vec<SetAside>, Failure> {
    // Every event is behind the position -1 of the first subject.
    let (is_stream, subject, position) = after.map_or((false, "", -1), |(subject, position)| {
        let (is_stream, subject) = parts(subject);
        (is_stream, subject, signed(position.0))
    });
    let rows = sqlx::query(sql)
        .bind(signed(build.0))
        .bind(is_stream)
        .bind(without_nul(subject))
        .bind(position)
        .bind(signed(limit.min(DOCUMENTS_PAGE_MAX) as u64))
        .fetch_all(pool)
        .await?;
    let page: Result<Vec<SetAside>, Error> = rows.iter().map(set_aside).collect();
    Ok(page?)
}

/// The subject in the first two columns of a row.
pub fn subject(row: &PgRow) -> Result<Subject, Error> {
    let subject: Arc<str> = row.cell::<&str>(1)?.into();
    Ok(match row.cell(0)? {
        false => Subject::Document(subject),
        true => Subject::Stream(subject),
    })
}

fn set_aside(row: &PgRow) -> Result<SetAside, Error> {
    let text = |column| Ok::<_, Error>(row.cell::<Option<&str>>(column)?.map(Into::into));
    Ok(SetAside {
        subject: subject(row)?,
        position: Position(row.number(2)?),
        at: Timestamp(row.number(3)?),
        error: text(4)?,
        attempts: u32::try_from(row.number(5)?).unwrap_or(u32::MAX),
        reason: text(6)?,
    })
}
