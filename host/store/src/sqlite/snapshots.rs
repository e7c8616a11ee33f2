//! Snapshots of streams, as they are stored.

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::cell::Cells;
use super::encode::signed;
use super::rows::stream_id;
use super::side::Side;
use super::streams::{first_behind, ranges};
use crate::{Anchor, Result, SNAPSHOTS_PAGE_MAX, SnapshotStore, StoredSnapshot};
use quipu_model::{Digest, StreamId, Timestamp, Version};

/// A statement whose rows are snapshots with the names and marks of their streams.
macro_rules! snapshots {
    ($rest:literal) => {
        concat!(
            "SELECT s.name, s.truncated_before, p.anchor, p.version, p.state_schema_version, \
             p.content_type, p.fold, p.taken_at, p.checksum, p.data ",
            $rest
        )
    };
}

const FIND: &str = snapshots!(
    "FROM streams AS s JOIN snapshots AS p ON p.stream_id = s.stream_id \
     WHERE s.name = ?1 ORDER BY p.version DESC, p.anchor"
);
/// The newest first; the index says which they are before a state is read.
const NEWEST: &str = snapshots!(
    "FROM snapshots AS p INDEXED BY newest_snapshot \
     CROSS JOIN streams AS s ON s.stream_id = p.stream_id \
     WHERE p.category = ?1 ORDER BY p.taken_at DESC LIMIT ?2"
);
/// Anchors of the streams of a range of names, from ?1 on and before ?2, at most ?3.
const ANCHORS: &str = snapshots!(
    "FROM streams AS s INDEXED BY truncated_stream \
     CROSS JOIN snapshots AS p ON p.stream_id = s.stream_id AND p.anchor = 1 \
     WHERE s.name >= ?1 AND s.name < ?2 AND s.truncated_before IS NOT NULL \
     ORDER BY s.name LIMIT ?3"
);
/// A row whose version is beyond its stream is damaged, and keeps nothing out.
const KEEP: &str = "INSERT INTO snapshots (stream_id, anchor, category, version, \
         state_schema_version, content_type, fold, taken_at, checksum, data) \
     SELECT s.stream_id, 0, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM streams AS s \
     WHERE s.name = ?1 \
         AND ?3 <= (SELECT max(version) FROM events WHERE stream_id = s.stream_id) \
     ON CONFLICT (stream_id, anchor) DO UPDATE SET \
         category = excluded.category, version = excluded.version, \
         state_schema_version = excluded.state_schema_version, \
         content_type = excluded.content_type, fold = excluded.fold, \
         taken_at = excluded.taken_at, checksum = excluded.checksum, data = excluded.data \
     WHERE snapshots.fold <> excluded.fold OR snapshots.version <= excluded.version \
         OR snapshots.version > \
             (SELECT max(version) FROM events WHERE stream_id = excluded.stream_id)";

/// Reads through the pool, and keeps what policy takes through the side connection: a
/// snapshot that is lost with the power costs time alone. Anchors are the writer's.
pub struct Snapshots {
    pool: SqlitePool,
    side: Side,
}

impl Snapshots {
    /// Snapshots of the store behind these connections.
    pub fn new(pool: SqlitePool, side: Side) -> Self {
        Self { pool, side }
    }
}

/// The snapshot of a row. What was damaged there becomes something else than what the
/// checksum was made of, and never an error: who asks goes on without it.
fn snapshot(row: &SqliteRow) -> StoredSnapshot {
    let number = |column| row.cell::<i64>(column).unwrap_or(-1);
    let bytes = |column| row.cell::<&[u8]>(column).unwrap_or_default();
    let digest = |column| <[u8; 32]>::try_from(bytes(column)).unwrap_or_default();
    StoredSnapshot {
        is_anchor: number(2) == 1,
        version: Version(number(3).cast_unsigned()),
        state_schema_version: u32::try_from(number(4)).unwrap_or(u32::MAX),
        content_type: String::from_utf8_lossy(bytes(5)).into_owned(),
        fold: Digest(digest(6)),
        taken_at: Timestamp(number(7).cast_unsigned()),
        checksum: digest(8),
        data: Bytes::copy_from_slice(bytes(9)),
    }
}

#[async_trait]
impl SnapshotStore for Snapshots {
    async fn find(&self, stream: &StreamId) -> Result<Vec<StoredSnapshot>> {
        let rows = sqlx::query(FIND)
            .bind(stream.as_str())
            .fetch_all(&self.pool)
            .await?;
        Ok(rows.iter().map(snapshot).collect())
    }

    async fn keep(&self, stream: &StreamId, snapshot: &StoredSnapshot) -> Result<bool> {
        let done = sqlx::query(KEEP)
            .bind(stream.as_str())
            .bind(stream.category())
            .bind(signed(snapshot.version.0))
            .bind(i64::from(snapshot.state_schema_version))
            .bind(&snapshot.content_type)
            .bind(snapshot.fold.0.to_vec())
            .bind(signed(snapshot.taken_at.0))
            .bind(snapshot.checksum.to_vec())
            .bind(snapshot.data.to_vec())
            .execute(&mut *self.side.turn().await?.connection)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn newest(
        &self,
        category: &str,
        limit: usize,
    ) -> Result<Vec<(StreamId, StoredSnapshot)>> {
        let rows = sqlx::query(NEWEST)
            .bind(category)
            .bind(signed(limit.min(SNAPSHOTS_PAGE_MAX) as u64))
            .fetch_all(&self.pool)
            .await?;
        rows.iter()
            .map(|row| Ok((stream_id(row.cell(0)?)?, snapshot(row))))
            .collect()
    }

    async fn anchors(
        &self,
        category: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Anchor>> {
        let limit = limit.min(SNAPSHOTS_PAGE_MAX);
        let first = first_behind(after);
        let mut anchors = Vec::new();
        for (begin, end) in ranges(category) {
            let begin = begin.max(first.clone());
            let rows = sqlx::query(ANCHORS)
                .bind(begin)
                .bind(end)
                .bind(signed((limit - anchors.len()) as u64))
                .fetch_all(&self.pool)
                .await?;
            for row in rows {
                anchors.push(Anchor {
                    stream: stream_id(row.cell(0)?)?,
                    before: Version(row.number(1)?),
                    snapshot: snapshot(&row),
                });
            }
        }
        Ok(anchors)
    }
}
