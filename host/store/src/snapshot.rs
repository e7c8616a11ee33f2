//! Snapshots as they are stored: at most two of a stream, of which one is an anchor.

use async_trait::async_trait;
use bytes::Bytes;

use super::Result;
use quipu_model::{Body, ContentType, Digest, StreamId, Timestamp, Version};

/// Most snapshots in an answer.
pub const SNAPSHOTS_PAGE_MAX: usize = 1_000;

/// The state of a stream at some version, as it was stored. Check its checksum before you use any
/// of it, because bytes on a disk can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The stream's version of the state.
    pub version: Version,
    /// Version of the state's form, as the manifest of the module counts it.
    pub state_schema_version: u32,
    /// Content type of `data`.
    pub content_type: String,
    /// The state.
    pub data: Bytes,
    /// The fold that made it: a digest over the decider and the upcaster steps of its category.
    pub fold: Digest,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// BLAKE3 of the stream's id and all of the above.
    pub checksum: [u8; 32],
    /// Whether it is an anchor: it replaces the events before a truncated stream's mark. It is kept
    /// until the mark is removed, and never replaced by policy.
    pub is_anchor: bool,
}

/// The anchor of a truncated stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The stream.
    pub stream: StreamId,
    /// The mark: events before this version are hidden from its reads.
    pub before: Version,
    /// The snapshot that replaces these events.
    pub snapshot: StoredSnapshot,
}

/// Stores snapshots of streams. Losing snapshots that are not anchors costs only time.
#[async_trait]
pub trait SnapshotStore: Send + Sync {
    /// Returns the snapshots of a stream as they are stored, the latest version first. Unusable
    /// snapshots are returned like any other. None for a stream that does not exist.
    async fn find(&self, stream: &StreamId) -> Result<Vec<StoredSnapshot>>;

    /// Stores a snapshot, which is not an anchor, in place of the one that its stream has. Returns
    /// false when nothing was stored: the stored one has the same fold and a later version which
    /// the stream has reached, or the stream does not exist, or its version is before the
    /// snapshot's version.
    async fn keep(&self, stream: &StreamId, snapshot: &StoredSnapshot) -> Result<bool>;

    /// Returns up to `limit` snapshots of a category, the latest first, including anchors; at most
    /// [`SNAPSHOTS_PAGE_MAX`].
    async fn newest(&self, category: &str, limit: usize)
    -> Result<Vec<(StreamId, StoredSnapshot)>>;

    /// Returns up to `limit` anchors, at most [`SNAPSHOTS_PAGE_MAX`], in the order of the bytes of
    /// their streams' ids, after the id `after`; of one category, or of all.
    async fn anchors(
        &self,
        category: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Anchor>>;
}

impl StoredSnapshot {
    /// Makes a snapshot of a stream, with its checksum.
    pub fn new(
        stream: &StreamId,
        version: Version,
        state_schema_version: u32,
        body: &Body,
        fold: Digest,
        taken_at: Timestamp,
    ) -> Self {
        let mut snapshot = Self {
            version,
            state_schema_version,
            content_type: body.content_type().as_str().to_owned(),
            data: body.bytes().clone(),
            fold,
            taken_at,
            checksum: [0; 32],
            is_anchor: false,
        };
        snapshot.checksum = snapshot.summed(stream);
        snapshot
    }

    /// Returns whether it is unchanged since it was taken of this stream.
    pub fn is_intact(&self, stream: &StreamId) -> bool {
        self.checksum == self.summed(stream)
    }

    /// The state; none when its content type or its JSON is damaged.
    pub fn body(&self) -> Option<Body> {
        let content_type = ContentType::new(&self.content_type).ok()?;
        Body::new(content_type, self.data.clone()).ok()
    }

    fn summed(&self, stream: &StreamId) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for text in [stream.as_str(), &self.content_type] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        for number in [
            self.version.0,
            u64::from(self.state_schema_version),
            self.taken_at.0,
        ] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(&self.fold.0);
        hasher.update(&self.data);
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_covers_every_field_and_the_stream() {
        let stream = StreamId::new("account-1").unwrap();
        let body = Body::json("{}".to_owned()).unwrap();
        let snapshot =
            StoredSnapshot::new(&stream, Version(7), 1, &body, Digest([1; 32]), Timestamp(5));
        assert!(snapshot.is_intact(&stream));
        assert!(!snapshot.is_intact(&StreamId::new("account-2").unwrap()));
        let changes: [fn(&mut StoredSnapshot); 6] = [
            |it| it.version = Version(8),
            |it| it.state_schema_version = 2,
            |it| it.content_type = "application/x-thing".to_owned(),
            |it| it.data = Bytes::from_static(b"[]"),
            |it| it.fold = Digest([2; 32]),
            |it| it.taken_at = Timestamp(6),
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut changed = snapshot.clone();
            change(&mut changed);
            assert!(!changed.is_intact(&stream), "change {index}");
        }
    }
}
