//! Snapshots of streams.

use async_trait::async_trait;
use bytes::Bytes;

use super::cell::Cells;
use super::dialect::{Connections, Row, newest_snapshots, stream_version};
use super::{anchors, signed};
use crate::assemble::stream_id;
use crate::{Anchor, Result, SNAPSHOTS_PAGE_MAX, SnapshotStore, StoredSnapshot};
use quipu_model::{Digest, StreamId, Timestamp, Version};

/// A statement whose rows are snapshots with the names and marks of their streams.
macro_rules! snapshots {
    ($($rest:expr),+) => {
        concat!(
            "SELECT s.name, s.truncated_before, p.anchor, p.version, p.state_schema_version, \
             p.content_type, p.fold, p.taken_at, p.checksum, p.data ",
            $($rest),+
        )
    };
}
pub(in super::super) use snapshots;

const FIND: &str = snapshots!(
    "FROM streams AS s JOIN snapshots AS p ON p.stream_id = s.stream_id \
     WHERE s.name = $1 ORDER BY p.version DESC, p.anchor"
);
/// The newest first. The index finds them before a state is read.
const NEWEST: &str = snapshots!(
    "FROM ",
    newest_snapshots!(),
    " WHERE p.category = $1 ORDER BY p.taken_at DESC LIMIT $2"
);
/// A row whose version is after the end of its stream is damaged, and does not prevent an insert.
const KEEP: &str = concat!(
    "INSERT INTO snapshots AS k (stream_id, anchor, category, version, \
     state_schema_version, content_type, fold, taken_at, checksum, data) \
     SELECT s.stream_id, false, $2, $3, $4, $5, $6, $7, $8, $9 FROM streams AS s \
     WHERE s.name = $1 AND $3 <= ",
    stream_version!("s"),
    " ON CONFLICT (stream_id, anchor) DO UPDATE SET \
     category = excluded.category, version = excluded.version, \
     state_schema_version = excluded.state_schema_version, \
     content_type = excluded.content_type, fold = excluded.fold, \
     taken_at = excluded.taken_at, checksum = excluded.checksum, data = excluded.data \
     WHERE k.fold <> excluded.fold OR k.version <= excluded.version OR k.version > ",
    stream_version!("excluded")
);

/// Losing a snapshot in a power failure costs only time. The writer of events writes the anchors.
pub struct Snapshots(pub Connections);

#[async_trait]
impl SnapshotStore for Snapshots {
    async fn find(&self, stream: &StreamId) -> Result<Vec<StoredSnapshot>> {
        let find = sqlx::query(FIND).bind(stream.as_str());
        let rows = find.fetch_all(self.0.pool()).await?;
        Ok(rows.iter().map(snapshot).collect())
    }

    async fn keep(&self, stream: &StreamId, snapshot: &StoredSnapshot) -> Result<bool> {
        let keep = sqlx::query(KEEP)
            .bind(stream.as_str())
            .bind(stream.category())
            .bind(signed(snapshot.version.0))
            .bind(i64::from(snapshot.state_schema_version))
            .bind(&snapshot.content_type)
            .bind(&snapshot.fold.0[..])
            .bind(signed(snapshot.taken_at.0))
            .bind(&snapshot.checksum[..])
            .bind(&snapshot.data[..]);
        Ok(self.0.execute(keep).await? == 1)
    }

    async fn newest(
        &self,
        category: &str,
        limit: usize,
    ) -> Result<Vec<(StreamId, StoredSnapshot)>> {
        let rows = sqlx::query(NEWEST)
            .bind(category)
            .bind(signed(limit.min(SNAPSHOTS_PAGE_MAX) as u64))
            .fetch_all(self.0.pool())
            .await?;
        rows.iter()
            .map(|row| Ok((stream_id(row.cell("name")?)?, snapshot(row))))
            .collect()
    }

    async fn anchors(
        &self,
        category: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Anchor>> {
        let limit = limit.min(SNAPSHOTS_PAGE_MAX);
        let rows = anchors::rows(self.0.pool(), category, after, limit).await?;
        rows.iter()
            .map(|row| {
                Ok(Anchor {
                    stream: stream_id(row.cell("name")?)?,
                    before: Version(row.number("truncated_before")?),
                    snapshot: snapshot(row),
                })
            })
            .collect()
    }
}

/// The snapshot of a row. A damaged value fails the checksum and is never an error: callers
/// continue without the snapshot.
fn snapshot(row: &Row) -> StoredSnapshot {
    let number = |column: &str| row.cell::<i64>(column).unwrap_or(-1);
    let bytes = |column: &str| row.cell::<&[u8]>(column).unwrap_or_default();
    let digest = |column: &str| <[u8; 32]>::try_from(bytes(column)).unwrap_or_default();
    StoredSnapshot {
        is_anchor: row.cell("anchor").unwrap_or_default(),
        version: Version(number("version").cast_unsigned()),
        state_schema_version: u32::try_from(number("state_schema_version")).unwrap_or(u32::MAX),
        content_type: row.cell("content_type").unwrap_or_default(),
        fold: Digest(digest("fold")),
        taken_at: Timestamp(number("taken_at").cast_unsigned()),
        checksum: digest("checksum"),
        data: Bytes::copy_from_slice(bytes("data")),
    }
}
