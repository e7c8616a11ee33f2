//! Snapshots of streams, and the marks of truncated ones.

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::postgres::{PgArguments, PgConnection, PgPool, PgRow, Postgres};

use super::arrays::signed;
use super::cell::Cells;
use super::lookup::bound;
use crate::assemble::stream_id;
use crate::{Anchor, Result, SNAPSHOTS_PAGE_MAX, SnapshotStore, StoredSnapshot};
use quipu_model::{Digest, StreamId, Timestamp, Version};

macro_rules! snapshots {
    ($rest:literal) => {
        concat!(
            "SELECT p.version, p.state_schema_version, p.content_type, p.data, p.fold, \
             p.taken_at, p.checksum, p.anchor, s.name, s.truncated_before \
             FROM snapshots AS p JOIN streams AS s ON s.stream_id = p.stream_id ",
            $rest
        )
    };
}

const FIND: &str = snapshots!("WHERE s.name = $1 ORDER BY p.version DESC, p.anchor");
const NEWEST: &str = snapshots!("WHERE p.category = $1 ORDER BY p.taken_at DESC LIMIT $2");
/// As in the list of streams: between `-` and `.` are the names that have a key.
const ANCHORS: &str = snapshots!(
    "WHERE p.anchor AND s.truncated_before > 0 AND ($1::text IS NULL OR s.name > $1) \
     AND ($2::text IS NULL \
         OR (s.name >= $2 AND s.name < $2 || '.' AND split_part(s.name, '-', 1) = $2)) \
     ORDER BY s.name LIMIT $3"
);

/// Puts a snapshot in place of the one that the stream has.
macro_rules! put {
    ($before:literal, $anchor:literal, $from:literal, $if:literal) => {
        concat!(
            $before,
            "INSERT INTO snapshots AS k (stream_id, anchor, category, version, \
             state_schema_version, content_type, data, fold, taken_at, checksum) \
             SELECT s.stream_id, ",
            $anchor,
            ", $2, $3, $4, $5, $6, $7, $8, $9 FROM ",
            $from,
            " ON CONFLICT ON CONSTRAINT snapshot DO UPDATE SET \
             category = excluded.category, version = excluded.version, \
             state_schema_version = excluded.state_schema_version, \
             content_type = excluded.content_type, data = excluded.data, \
             fold = excluded.fold, taken_at = excluded.taken_at, checksum = excluded.checksum ",
            $if
        )
    };
}

/// Who comes second waits for the first, and looks at what that one has left.
const KEEP: &str = put!(
    "",
    "false",
    "streams AS s WHERE s.name = $1 AND s.version >= greatest($3, 1)",
    "WHERE k.fold <> excluded.fold OR k.version <= excluded.version \
     OR k.version > (SELECT o.version FROM streams AS o WHERE o.stream_id = excluded.stream_id)"
);
const TRUNCATE: &str = put!(
    "WITH s AS (UPDATE streams SET truncated_before = $10 WHERE name = $1 RETURNING stream_id) ",
    "true",
    "s",
    ""
);
const MAKE_WHOLE: &str = "WITH s AS (UPDATE streams SET truncated_before = 0 WHERE name = $1 RETURNING stream_id) \
     DELETE FROM snapshots AS k USING s WHERE k.stream_id = s.stream_id AND k.anchor";

/// Snapshots in a schema.
pub struct Snapshots {
    pool: PgPool,
}

impl Snapshots {
    /// Snapshots of the store behind these connections.
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl SnapshotStore for Snapshots {
    async fn find(&self, stream: &StreamId) -> Result<Vec<StoredSnapshot>> {
        let rows = sqlx::query(FIND)
            .bind(stream.as_str())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(snapshot).collect()
    }

    async fn keep(&self, stream: &StreamId, snapshot: &StoredSnapshot) -> Result<bool> {
        let done = values(KEEP, stream, snapshot).execute(&self.pool).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn newest(
        &self,
        category: &str,
        limit: usize,
    ) -> Result<Vec<(StreamId, StoredSnapshot)>> {
        let rows = sqlx::query(NEWEST)
            .bind(category)
            .bind(bound(limit.min(SNAPSHOTS_PAGE_MAX)))
            .fetch_all(&self.pool)
            .await?;
        let found = rows.iter();
        found
            .map(|row| Ok((stream_id(row.cell(STREAM)?)?, snapshot(row)?)))
            .collect()
    }

    async fn anchors(
        &self,
        category: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Anchor>> {
        let rows = sqlx::query(ANCHORS)
            .bind(after)
            .bind(category)
            .bind(bound(limit.min(SNAPSHOTS_PAGE_MAX)))
            .fetch_all(&self.pool)
            .await?;
        let anchor = |row: &PgRow| {
            Ok(Anchor {
                stream: stream_id(row.cell(STREAM)?)?,
                before: Version(row.number(BEFORE)?),
                snapshot: snapshot(row)?,
            })
        };
        rows.iter().map(anchor).collect()
    }
}

/// Sets the mark of a stream that is there, and keeps its anchor in place of another.
pub async fn truncate(
    connection: &mut PgConnection,
    stream: &StreamId,
    before: Version,
    anchor: &StoredSnapshot,
) -> sqlx::Result<()> {
    let query = values(TRUNCATE, stream, anchor).bind(signed(before.0));
    query.execute(connection).await.map(|_| ())
}

/// Removes the mark of a stream, and its anchor.
pub async fn make_whole(connection: &mut PgConnection, stream: &StreamId) -> sqlx::Result<()> {
    let query = sqlx::query(MAKE_WHOLE).bind(stream.as_str());
    query.execute(connection).await.map(|_| ())
}

/// A statement of `put!` with its values.
fn values<'q>(
    sql: &'static str,
    stream: &'q StreamId,
    snapshot: &'q StoredSnapshot,
) -> sqlx::query::Query<'q, Postgres, PgArguments> {
    sqlx::query(sql)
        .bind(stream.as_str())
        .bind(stream.category())
        .bind(signed(snapshot.version.0))
        .bind(i64::from(snapshot.state_schema_version))
        .bind(&snapshot.content_type)
        .bind(&snapshot.data[..])
        .bind(&snapshot.fold.0[..])
        .bind(signed(snapshot.taken_at.0))
        .bind(&snapshot.checksum[..])
}

/// The columns of `snapshots!` that don't belong to a snapshot.
const STREAM: usize = 8;
const BEFORE: usize = 9;

/// A row of `snapshots!`. What no snapshot can hold becomes one whose checksum fails.
fn snapshot(row: &PgRow) -> Result<StoredSnapshot> {
    let version = u64::try_from(row.cell::<i64>(0)?).ok();
    let state_schema_version = u32::try_from(row.cell::<i64>(1)?).ok();
    let fold = <[u8; 32]>::try_from(row.cell::<&[u8]>(4)?).ok();
    let taken_at = u64::try_from(row.cell::<i64>(5)?).ok();
    let checksum = <[u8; 32]>::try_from(row.cell::<&[u8]>(6)?).ok();
    let fits =
        version.is_some() && state_schema_version.is_some() && fold.is_some() && taken_at.is_some();
    Ok(StoredSnapshot {
        version: Version(version.unwrap_or_default()),
        state_schema_version: state_schema_version.unwrap_or_default(),
        content_type: row.cell(2)?,
        data: Bytes::from(row.cell::<Vec<u8>>(3)?),
        fold: Digest(fold.unwrap_or_default()),
        taken_at: Timestamp(taken_at.unwrap_or_default()),
        // Nothing has a sum of zeros.
        checksum: checksum.filter(|_| fits).unwrap_or_default(),
        is_anchor: row.cell(7)?,
    })
}
