//! Snapshots as they are stored: at most two of a stream, of which one is an anchor.

use async_trait::async_trait;
use bytes::Bytes;

use super::Result;
use quipu_model::{Body, ContentType, Digest, StreamId, Timestamp, Version};

/// Most snapshots in an answer.
pub const SNAPSHOTS_PAGE_MAX: usize = 1_000;

/// The state of a stream at some version, as it was stored. Nothing of it may be
/// believed before its checksum has been looked at: bytes on a disk can change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The version that the state stands for.
    pub version: Version,
    /// Version of the state's form, as the manifest of the module counts it.
    pub state_schema_version: u32,
    /// Content type of `data`.
    pub content_type: String,
    /// The state.
    pub data: Bytes,
    /// What folded it: a digest over the decider and the upcaster steps of its category.
    pub fold: Digest,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// BLAKE3 of the stream's id and all of the above.
    pub checksum: [u8; 32],
    /// It stands for the events before a truncated stream's mark: kept until the mark
    /// goes, and never replaced by policy.
    pub is_anchor: bool,
}

/// The anchor of a truncated stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The stream.
    pub stream: StreamId,
    /// Its mark: events before this version have left its reads.
    pub before: Version,
    /// The state that stands for them.
    pub snapshot: StoredSnapshot,
}

/// Keeps snapshots of streams. Losing all but the anchors loses nothing but time.
#[async_trait]
pub trait SnapshotStore: Send + Sync {
    /// The snapshots of a stream, that of the latest version first, as they are stored:
    /// one that can't be used is given like any other. None for a stream that is not there.
    async fn find(&self, stream: &StreamId) -> Result<Vec<StoredSnapshot>>;

    /// Keeps a snapshot, which is no anchor, in place of the one that its stream has.
    /// False when nothing was stored: the one that is there has the same fold and a later
    /// version which the stream has reached, or the stream is not there or stands below the snapshot's version.
    async fn keep(&self, stream: &StreamId, snapshot: &StoredSnapshot) -> Result<bool>;

    /// Up to `limit` snapshots of a category, those taken last first, anchors among them;
    /// at most [`SNAPSHOTS_PAGE_MAX`].
    async fn newest(&self, category: &str, limit: usize)
    -> Result<Vec<(StreamId, StoredSnapshot)>>;

    /// Up to `limit` anchors, at most [`SNAPSHOTS_PAGE_MAX`], in the order of the bytes of
    /// their streams' ids, behind the id `after`; of one category, or of all.
    async fn anchors(
        &self,
        category: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Anchor>>;
}

impl StoredSnapshot {
    /// A snapshot of a stream, with its checksum.
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

    /// Whether it is, bit by bit, what was taken of this stream.
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
