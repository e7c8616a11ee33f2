//! Anchors of truncated streams, and their marks.

use super::dialect::{Connection, Pool, Row};
use super::tables::signed;
use super::tables::snapshots::snapshots;
use crate::{Result, StoredSnapshot};
use quipu_model::{StreamId, Version};

/// As in the list of streams: between `-` and `.` are the names that have a key.
const ANCHORS: &str = snapshots!(
    "FROM snapshots AS p JOIN streams AS s ON s.stream_id = p.stream_id \
     WHERE p.anchor AND s.truncated_before > 0 AND ($1::text IS NULL OR s.name > $1) \
     AND ($2::text IS NULL \
         OR (s.name >= $2 AND s.name < $2 || '.' AND split_part(s.name, '-', 1) = $2)) \
     ORDER BY s.name LIMIT $3"
);

const TRUNCATE: &str = "WITH s AS (\
        UPDATE streams SET truncated_before = $10 WHERE name = $1 RETURNING stream_id) \
    INSERT INTO snapshots AS k (stream_id, anchor, category, version, state_schema_version, \
        content_type, data, fold, taken_at, checksum) \
    SELECT s.stream_id, true, $2, $3, $4, $5, $6, $7, $8, $9 FROM s \
    ON CONFLICT ON CONSTRAINT snapshot DO UPDATE SET \
        category = excluded.category, version = excluded.version, \
        state_schema_version = excluded.state_schema_version, \
        content_type = excluded.content_type, data = excluded.data, \
        fold = excluded.fold, taken_at = excluded.taken_at, checksum = excluded.checksum";
const MAKE_WHOLE: &str = "WITH s AS (UPDATE streams SET truncated_before = 0 WHERE name = $1 RETURNING stream_id) \
     DELETE FROM snapshots AS k USING s WHERE k.stream_id = s.stream_id AND k.anchor";

/// Rows of anchors, in the order of their streams, after a stream.
pub async fn rows(
    pool: &Pool,
    category: Option<&str>,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<Row>> {
    let rows = sqlx::query(ANCHORS)
        .bind(after)
        .bind(category)
        .bind(signed(limit as u64));
    Ok(rows.fetch_all(pool).await?)
}

/// Sets the mark of an existing stream, and stores its anchor in place of an earlier one.
pub async fn truncate(
    connection: &mut Connection,
    stream: &StreamId,
    before: Version,
    anchor: &StoredSnapshot,
) -> sqlx::Result<()> {
    let truncate = sqlx::query(TRUNCATE)
        .bind(stream.as_str())
        .bind(stream.category())
        .bind(signed(anchor.version.0))
        .bind(i64::from(anchor.state_schema_version))
        .bind(&anchor.content_type)
        .bind(&anchor.data[..])
        .bind(&anchor.fold.0[..])
        .bind(signed(anchor.taken_at.0))
        .bind(&anchor.checksum[..])
        .bind(signed(before.0));
    truncate.execute(connection).await.map(|_| ())
}

/// Removes the mark of a stream, and its anchor.
pub async fn make_whole(connection: &mut Connection, stream: &StreamId) -> sqlx::Result<()> {
    let query = sqlx::query(MAKE_WHOLE).bind(stream.as_str());
    query.execute(connection).await.map(|_| ())
}
