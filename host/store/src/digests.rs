//! The digests of commits as they are stored: reading them with the bytes that they prove, and
//! adding those of older commits.

use std::sync::Arc;

use async_trait::async_trait;

use super::commit_digest::{CommitFields, EventFields};
use super::follow::{Follower, Step};
use super::{EventReader, LOG_PAGE_MAX, Result};
use quipu_model::{Digest, Position};

/// Reads rows of the log without interpreting them, and adds digests.
#[async_trait]
pub trait DigestStore: Send + Sync {
    /// Returns up to `limit` rows of the log, at most [`LOG_PAGE_MAX`], after one position and up
    /// to another. A page ends early at the bytes of a page. It is empty only at the end.
    async fn rows(&self, after: Position, until: Position, limit: usize) -> Result<Vec<LogRow>>;

    /// Returns the part of a stream in which the commits of two of its versions are; none when the
    /// first one has no event.
    async fn span(&self, stream: &str, from: u64, to: u64) -> Result<Option<CommitSpan>>;

    /// Returns up to `limit` rows of a stream from one version to another, at most
    /// [`LOG_PAGE_MAX`], in their order. A page ends early at the bytes of a page.
    async fn stream_rows(
        &self,
        stream: &str,
        from: u64,
        to: u64,
        limit: usize,
    ) -> Result<Vec<LogRow>>;

    /// Returns up to `limit` documents, at most [`LOG_PAGE_MAX`], in the order of their builds and
    /// keys, after a build and a key. A page ends early at the bytes of a page.
    async fn documents(&self, after: Option<(u64, &str)>, limit: usize)
    -> Result<Vec<DocumentRow>>;

    /// Returns what is known about digests that are absent.
    async fn marks(&self) -> Result<DigestMarks>;

    /// Adds the digests of commits that have none. Others are left as they are.
    async fn add(&self, digests: &[AddedDigest]) -> Result<()>;

    /// Records that every commit has a digest, unless other commits without one were imported since
    /// the marks were read.
    async fn finish(&self, marks: DigestMarks) -> Result<()>;
}

/// What is known about digests, and about positions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DigestMarks {
    /// Commits up to this position may have no digest: they are older than digests, or were
    /// imported without.
    pub unproved: Position,
    /// Digests of commits up to this position may have been added after the commit that follows
    /// them in their stream.
    pub proved: Position,
    /// After this position, no position is missing; none when positions may be missing anywhere.
    pub gapless_after: Option<Position>,
}

/// A part of a stream that consists of whole commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSpan {
    /// Version of the first event of the first commit.
    pub first: u64,
    /// Version of the last event of the last commit.
    pub last: u64,
    /// The commit before the first one; none when the first one begins the stream.
    pub before: Option<(Position, Option<Vec<u8>>)>,
}

/// A stored document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentRow {
    /// Its projection.
    pub projection: Box<str>,
    /// The build.
    pub build: u64,
    /// The key.
    pub key: Box<str>,
    /// JSON; none for a deleted document.
    pub document: Option<Box<str>>,
    /// The number of its last change.
    pub change: u64,
    /// The digest.
    pub digest: Option<Vec<u8>>,
    /// Whether it must have a digest, because its build began with digests.
    pub needs_digest: bool,
}

/// A digest that is added to a stored commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedDigest {
    /// Position of the first event of the commit.
    pub first: Position,
    /// The stream.
    pub stream: Box<str>,
    /// Version of the last event of the commit.
    pub last_version: u64,
    /// The digest.
    pub digest: Digest,
}

/// A row of the log.
#[derive(Debug)]
pub struct LogRow {
    /// The position.
    pub position: Position,
    /// The stream; none when it is unknown.
    pub stream: Option<Box<str>>,
    /// The version in the stream.
    pub version: u64,
    /// The rest; the reason when it can't be read.
    pub content: std::result::Result<RowContent, String>,
}

/// The event of a row, as it is stored.
#[derive(Debug)]
pub struct RowContent {
    /// Its place in its commit, from 0.
    pub offset: u64,
    /// The id.
    pub id: Vec<u8>,
    /// Whether the caller chose the id.
    pub id_is_callers: bool,
    /// The type.
    pub name: Box<str>,
    /// Version of the data's form.
    pub schema_version: u64,
    /// Content type of the data.
    pub content_type: Box<str>,
    /// When it was recorded.
    pub recorded_at: u64,
    /// The data.
    pub data: Vec<u8>,
    /// The event's own metadata.
    pub metadata: Option<Vec<u8>>,
    /// The tags.
    pub tags: Vec<Arc<str>>,
    /// On the first event of a commit: the commit.
    pub commit: Option<RowCommit>,
}

/// The commit of a row, as it is stored.
#[derive(Debug)]
pub struct RowCommit {
    /// Number of its events.
    pub events: u64,
    /// The plan under which it was made.
    pub plan: u64,
    /// Digest of the module that decided.
    pub module: Option<Vec<u8>>,
    /// Fuel of the decision.
    pub fuel: Option<u64>,
    /// The caller's idempotency key.
    pub command_id: Option<Box<str>>,
    /// The command.
    pub command: Option<Vec<u8>>,
    /// The digest.
    pub digest: Option<Vec<u8>>,
}

impl RowContent {
    /// The parts of the event that its commit's digest includes.
    pub fn fields(&self) -> EventFields<'_> {
        EventFields {
            id: &self.id,
            id_is_callers: self.id_is_callers,
            name: &self.name,
            schema_version: self.schema_version,
            content_type: &self.content_type,
            recorded_at: self.recorded_at,
            data: &self.data,
            metadata: self.metadata.as_deref(),
            tags: &self.tags,
        }
    }
}

impl RowCommit {
    /// The parts of the commit that its digest includes.
    pub fn fields<'a>(&'a self, stream: &'a str, first_version: u64) -> CommitFields<'a> {
        CommitFields {
            stream,
            first_version,
            events: self.events,
            plan: self.plan,
            module: self.module.as_deref(),
            fuel: self.fuel,
            command_id: self.command_id.as_deref(),
            command: self.command.as_deref(),
        }
    }
}

/// The progress of adding digests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proving {
    /// Everything up to here has a digest.
    pub position: Position,
    /// The last position of the log.
    pub head: Position,
    /// Digests that were added.
    pub added: u64,
    /// Commits that have a digest already.
    pub present: u64,
    /// Commits whose bytes could not be read, or whose stored digest is another. They are left as
    /// they are; a verification names them.
    pub wrong: u64,
}

/// Adds digests to all commits that have none, in batches. What an earlier, interrupted run has
/// added is kept. `report` receives the progress after each batch.
///
/// # Errors
/// When the store fails.
pub async fn prove(
    reader: &dyn EventReader,
    digests: &dyn DigestStore,
    report: &mut (dyn FnMut(Proving) + Send),
) -> Result<Proving> {
    let marks = digests.marks().await?;
    let head = reader.log_head().await?;
    let mut proving = Proving {
        head,
        ..Proving::default()
    };
    let mut follower = Follower::proving(marks);
    while proving.position < head {
        let rows = digests.rows(proving.position, head, LOG_PAGE_MAX).await?;
        let Some(last) = rows.last().map(|row| row.position) else {
            break;
        };
        let mut added = Vec::new();
        for row in rows {
            for step in follower.take(row, true) {
                match step {
                    Step::Proved => proving.present += 1,
                    Step::Wrong(_) => proving.wrong += 1,
                    Step::Unproved(digest) => added.extend(digest),
                }
            }
        }
        digests.add(&added).await?;
        proving.added += added.len() as u64;
        proving.position = last;
        report(proving);
    }
    if proving.wrong == 0 {
        digests.finish(marks).await?;
    }
    Ok(proving)
}
