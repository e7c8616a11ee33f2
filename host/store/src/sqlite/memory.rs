//! The writer's memory of its writes. Nobody else writes.

use hashlink::LruCache;
use sqlx::sqlite::SqliteConnection;

use super::cell::Cells;
use super::log::Holes;
use super::tables::modules::categories;
pub use crate::assemble::TypeKey;
use crate::classify::Parts;
use crate::{Change, Head, ProjectionPlan, Result};
use quipu_model::{Digest, StreamId, Timestamp, Version};

const LAST_IDS: &str = "SELECT \
    (SELECT coalesce(max(position), 0) FROM events), \
    (SELECT coalesce(max(stream_id), 0) FROM streams), \
    (SELECT coalesce(max(type_id), 0) FROM event_types)";
const PARTS: &str = "SELECT plan, name, categories, projections FROM deployments ORDER BY plan";

/// Streams whose heads are remembered from one batch to the next, at about 200 bytes each.
const HEADS_MAX: usize = 100_000;
/// Types of events that are remembered.
const TYPES_MAX: usize = 10_000;
/// Modules that are remembered.
const MODULES_MAX: usize = 1_000;

/// A stream's row and its head.
#[derive(Debug, Clone, Copy)]
pub struct Remembered {
    pub stream_id: i64,
    pub head: Head,
}

/// The head of the store, and values that are needed often.
pub struct Memory {
    pub last_position: i64,
    pub last_stream_id: i64,
    pub last_type_id: i64,
    /// Holds every stream of the batch under way, whatever its size: one that was
    /// forgotten meanwhile would be taken for new.
    pub heads: LruCache<StreamId, Remembered>,
    pub types: LruCache<TypeKey, i64>,
    pub modules: LruCache<Digest, i64>,
    pub parts: Parts,
}

impl Memory {
    /// Reads the head of the store.
    pub async fn read(connection: &mut SqliteConnection, holes: &Holes) -> Result<Self> {
        holes.read(connection).await?;
        let last = sqlx::query(LAST_IDS).fetch_one(&mut *connection).await?;
        let mut parts = Parts::default();
        let deployments = sqlx::query(PARTS).fetch_all(connection).await?;
        for row in deployments {
            let categories = categories(&row)?;
            let projections = ProjectionPlan::of_json(row.cell(3)?)?;
            parts.activated(row.number(0)?, &categories, &projections);
        }
        Ok(Self {
            last_position: last.cell(0)?,
            last_stream_id: last.cell(1)?,
            last_type_id: last.cell(2)?,
            heads: LruCache::new_unbounded(),
            types: LruCache::new(TYPES_MAX),
            modules: LruCache::new(MODULES_MAX),
            parts,
        })
    }

    /// Forgets the streams that were not written for the longest time. Called between
    /// batches.
    pub fn trim(&mut self) {
        while self.heads.len() > HEADS_MAX {
            self.heads.remove_lru();
        }
    }

    /// The digest of the last commit of a stream; none when it has none, or the stream is new.
    pub fn digest(&mut self, stream: &StreamId) -> Option<Digest> {
        self.heads.get(stream).and_then(|known| known.head.digest)
    }

    /// Remembers the head of a stream after events that are written to it. A stream that was not
    /// known is new.
    pub fn appended(
        &mut self,
        stream: &StreamId,
        stream_id: i64,
        version: Version,
        recorded_at: Timestamp,
        digest: Option<Digest>,
    ) {
        match self.heads.get_mut(stream) {
            Some(Remembered { head, .. }) => {
                head.version = version;
                head.recorded_at = recorded_at;
                head.digest = digest;
            }
            None => {
                let head = Head {
                    version,
                    recorded_at,
                    archived: false,
                    truncated_before: Version::NONE,
                    digest,
                };
                self.heads
                    .insert(stream.clone(), Remembered { stream_id, head });
            }
        }
    }

    /// Remembers a change of a stream's marks.
    pub fn mark(&mut self, stream: &StreamId, change: &Change) {
        let Some(Remembered { head, .. }) = self.heads.get_mut(stream) else {
            return;
        };
        match change {
            Change::Archived(archived) => head.archived = *archived,
            Change::Truncated { before, .. } => head.truncated_before = *before,
            Change::Whole => head.truncated_before = Version::NONE,
        }
    }
}
