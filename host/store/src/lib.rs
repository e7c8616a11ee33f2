//! The event store: the traits of a back-end, and the back-ends.
//!
//! [`EventReader`] reads streams and the log, [`EventWriter`] is the one writer of
//! a host, [`ModuleStore`] stores modules and the history of the plan. The rules of an
//! append that back-ends share are in `classify`, and the tables next to the log in
//! `tables`; each back-end has its own statements for the log.

#![cfg_attr(test, allow(clippy::unwrap_used))]
// `tables` is compiled once for each database.
#![allow(clippy::duplicate_mod)]

mod access;
mod acknowledged;
mod assemble;
mod builds;
mod checked;
pub(crate) mod classify;
pub mod commit_digest;
mod digests;
pub mod document_digest;
mod documents;
mod error;
mod follow;
mod inline;
mod item;
mod jobs;
mod last_write;
mod loss;
mod migrations;
mod page;
mod parts;
mod postgres;
mod preflight;
mod projected;
mod proposals;
mod record;
mod rejection;
mod scan;
mod seen;
mod signature;
mod snapshot;
mod sqlite;
mod stored;
mod streams;
mod tenants;
mod turns;
mod types;
mod url;
mod wake;

use std::sync::Arc;
use std::time::Duration;

pub use access::{
    AUDIT_PAGE_MAX, AuditEntry, AuditRecord, AuditStore, BegunEntry, Chain, StoredToken,
    TOKENS_MAX, TokenStore,
};
pub use acknowledged::{
    ACKNOWLEDGED_MAX, ACKNOWLEDGED_PAGE_MAX, Acknowledgement, AcknowledgementStore,
};
use async_trait::async_trait;
pub use checked::CheckedReader;
pub use digests::{
    AddedDigest, CommitSpan, DigestMarks, DigestStore, DocumentRow, LogRow, Proving, RowCommit,
    RowContent, prove,
};
pub use documents::{
    BatchOutcome, Build, BuildBatch, BuildClaim, BuildCounts, BuildId, ChangedDocument,
    DOCUMENTS_PAGE_MAX, DocumentStore, DocumentWrite, DroppedEvent, FailedEvent, IndexEntry,
    LOST_KEYS_MAX, LostDocuments, ParkedDocument, ParkedFilter, ParkedHeads, Role,
    SKIPPED_BY_POLICY, Scan, ScannedDocument, Steer, StoredDocument, StoredProjection, Subject,
};
pub use error::Error;
pub use follow::{Follower, Step, Wrong};
pub use inline::{
    Folded, InlineBuild, InlineFold, Pending, ProjectionPlan, Settle, Touched, Turn, Unprojected,
};
pub use item::{
    Activation, Appended, Change, Check, Commit, Decided, Item, KnownCommit, KnownEvent, Mark,
    Outcome, RunId, Write,
};
pub use jobs::{Job, JobStore, LastJobs};
pub use loss::Loss;
pub use migrations::is_additive;
pub use page::{
    Direction, Filter, Head, LOG_PAGE_MAX, LoadPage, LoadedEvent, LogPage, PAGE_BYTES_MAX,
    STREAM_PAGE_MAX, StreamPage, Versions,
};
pub use postgres::drop_schema;
pub use preflight::{PreflightSummary, SummaryObjection};
pub use proposals::{
    AddedProposal, Decision, PROPOSAL_BYTES_MAX, PROPOSALS_CLOSED_MAX, PROPOSALS_OPEN_MAX,
    PROPOSALS_OPEN_OF_ONE_MAX, PROPOSALS_PAGE_MAX, Proposal, ProposalFilter, ProposalResult,
    ProposalStore, StoredProposal,
};
pub use rejection::{
    DETAILS_BYTES_MAX, REJECTIONS_PAGE_MAX, Rejected, RejectionFilter, RejectionStore,
};
pub use snapshot::{Anchor, SNAPSHOTS_PAGE_MAX, SnapshotStore, StoredSnapshot};
pub use stored::{Import, StoredCommit, StoredEvent, StoredPage};
pub use streams::{ArchivedStreams, STREAMS_PAGE_MAX, StreamFilter, StreamInfo, StreamsPage};
pub use tenants::{StoredTenant, TENANTS_MAX, TenantStore};
pub use types::{TypeStore, TypeUse};
pub use url::{
    Backup, Migrated, StoreUrl, accept_loss, backup, check_exists, delete, finish_recovering,
    is_there, lost, migrate, open, open_bytes, open_reading, open_recovering, report,
};
pub use wake::Wakes;

use quipu_model::supervise::Supervisor;
use quipu_model::{Digest, Position, PublicKey, Signature, StreamId, Timestamp, Version};

/// The result of a read or a write.
pub type Result<T> = std::result::Result<T, Error>;

/// Reads committed events. It is shared by all readers, and never blocks the writer.
#[async_trait]
pub trait EventReader: Send + Sync {
    /// Returns the head of a stream; none when there is no such stream.
    async fn head(&self, stream: &StreamId) -> Result<Option<Head>>;

    /// Returns up to `limit` events of a stream, at most [`STREAM_PAGE_MAX`]: forward from version
    /// `from` on, backward from `from` down, without events before the mark of a truncated stream.
    /// None when there is no such stream. A page ends early at [`PAGE_BYTES_MAX`].
    async fn read_stream(
        &self,
        stream: &StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<Option<StreamPage>>;

    /// Returns up to `limit` events of the log, at most [`LOG_PAGE_MAX`]: forward those after
    /// position `after`, backward those before it. Neither reads after [`Filter::to`]. A page may
    /// hold fewer events than the limit, or none, before the end: continue from its `next`.
    async fn read_log(
        &self,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &Filter,
    ) -> Result<LogPage>;

    /// Returns the parts of events that a fold needs, after a version: at most `limit` events,
    /// whatever mark the stream has.
    async fn load(&self, stream: &StreamId, after: Version, limit: usize) -> Result<LoadPage>;

    /// Returns how far the log can be read; 0 for an empty log. No event will ever appear at or
    /// before this position. It is the position of the last event, or of a hole after it.
    async fn log_head(&self) -> Result<Position>;

    /// Returns the last position that an event has, or may get from a commit in progress: at least
    /// [`log_head`](Self::log_head). Nobody can know a later position of this log. A caller may
    /// know one after the head: that of its own append, while an earlier commit is in progress.
    async fn last_taken(&self) -> Result<Position> {
        self.log_head().await
    }

    /// Returns how many bytes the store takes; none if it does not know.
    async fn bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Returns which acknowledged events the store does not have any more, as far as this host
    /// knows.
    fn lost(&self) -> Option<Loss> {
        None
    }

    /// Returns up to `limit` streams, at most [`STREAMS_PAGE_MAX`], in the order of the bytes of
    /// their ids, after the id `after`.
    async fn streams(
        &self,
        after: Option<&str>,
        limit: usize,
        filter: &StreamFilter,
    ) -> Result<StreamsPage>;

    /// Returns up to `limit` events after a position, at most [`LOG_PAGE_MAX`], with all their
    /// stored data, for an export.
    async fn read_stored(&self, after: Position, limit: usize) -> Result<StoredPage>;
}

/// The one way into the log. A host has one writer for a store.
#[async_trait]
pub trait EventWriter: Send {
    /// Commits the items, all in one transaction. Items are processed in order, each passes or is
    /// refused by itself, and the result is durable. Outcome i belongs to item i. An activation
    /// with turns is the only item of its batch.
    ///
    /// `inline` are the inline projections of the plan under which the items were made, or of a
    /// later plan. Their documents are stored together with the events.
    ///
    /// # Errors
    /// When the transaction failed as a whole: then nothing of it is stored.
    async fn commit(
        &mut self,
        items: &[Item],
        inline: Option<&dyn InlineFold>,
    ) -> Result<Vec<Outcome>>;

    /// Imports a part of an export. Its events come after everything that is in the
    /// store, and keep their versions and positions; what is there already is refused.
    ///
    /// # Errors
    /// When the part can't come after what is there: then nothing of it is stored.
    async fn import(&mut self, part: &Import) -> Result<()>;

    /// Checks whether a commit would succeed. Only after one that failed it tries a small write, at
    /// most once in two seconds.
    ///
    /// # Errors
    /// When a commit would fail.
    async fn check(&mut self) -> Result<()>;

    /// Flushes what can be flushed and releases the store.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// Most signatures of a component.
pub const SIGNATURES_MAX: usize = 16;

/// Components and the history of the plan.
#[async_trait]
pub trait ModuleStore: Send + Sync {
    /// Stores a component's bytes. Returns false when they were stored already; the upload time of
    /// a component that was never activated is then updated.
    async fn put(&self, digest: Digest, bytes: &[u8], at: Timestamp) -> Result<bool>;

    /// Returns the bytes of a component.
    async fn get(&self, digest: Digest) -> Result<Option<Vec<u8>>>;

    /// Stores a signature of a component, in place of an earlier one of the same key. Stores
    /// nothing when the component is missing or has [`SIGNATURES_MAX`] others.
    async fn sign(&self, digest: Digest, signature: Signature) -> Result<()>;

    /// Removes the signature of a key.
    async fn unsign(&self, digest: Digest, key: PublicKey) -> Result<()>;

    /// Returns the signatures of a component, in the order of their keys.
    async fn signatures(&self, digest: Digest) -> Result<Vec<Signature>>;

    /// Removes components that were uploaded up to a time and that no activation and no event
    /// names. Only lists them unless `for_real`. Oldest first.
    async fn prune(&self, before: Timestamp, for_real: bool) -> Result<Vec<StoredModule>>;

    /// Returns every component: digest, size in bytes, time of upload.
    async fn list(&self) -> Result<Vec<StoredModule>>;

    /// Returns every activation, oldest first.
    async fn deployments(&self) -> Result<Vec<Deployment>>;
}

/// Checkpoints of named readers of the log. A name has one owner at a time: each claim has a token,
/// greater than those before it, and only the last one moves the checkpoint.
#[async_trait]
pub trait CheckpointStore: Send + Sync {
    /// Claims a name for a time, unless another owner's lease is still valid. A name that was never
    /// claimed begins at position 0.
    async fn claim(&self, name: &str, lease: Duration) -> Result<Option<Claim>>;

    /// Moves the checkpoint forward, never back, and extends the lease. Returns the stored
    /// position; none, and nothing is moved, when another owner has claimed the name since or
    /// it was removed.
    async fn advance(
        &self,
        name: &str,
        token: u64,
        position: Position,
        lease: Duration,
    ) -> Result<Option<Position>>;

    /// Releases a name, if the token is still the last one.
    async fn release(&self, name: &str, token: u64) -> Result<()>;

    /// Creates a checkpoint under a name that has none. Returns false when it has one.
    async fn create(&self, name: &str, position: Position) -> Result<bool>;

    /// Moves a checkpoint to any position, and takes the name from its owner. Returns false when
    /// there is no such name.
    async fn seek(&self, name: &str, position: Position) -> Result<bool>;

    /// Removes a name that nobody holds. Returns false when there is none. No later claim gets a
    /// token that an earlier one had.
    async fn forget(&self, name: &str) -> Result<bool>;

    /// Returns the checkpoint under a name.
    async fn checkpoint(&self, name: &str) -> Result<Option<Checkpoint>>;

    /// Checkpoints whose names are after one and before another, in the order of their bytes.
    async fn checkpoints(&self, between: (&str, &str), limit: usize) -> Result<Vec<Checkpoint>>;
}

/// The checkpoint of a named reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The name.
    pub name: String,
    /// All events up to this position are processed.
    pub position: Position,
    /// How long an owner still holds the name; none when nobody holds it.
    pub held_for: Option<Duration>,
}

/// Checkpoints that are read at once.
pub const CHECKPOINTS_PAGE_MAX: usize = 1_000;

/// A claimed name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Proves the ownership.
    pub token: u64,
    /// The reader's checkpoint.
    pub position: Position,
}

/// A component in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredModule {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub bytes: u64,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
}

/// One activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The plan that it led to.
    pub plan: u64,
    /// Name of the module's manifest.
    pub name: String,
    /// The module that became active.
    pub digest: Digest,
    /// The other modules of its release, which become active or retire together with it.
    pub others: Vec<Member>,
    /// When.
    pub activated_at: Timestamp,
    /// By whom, as far as the host knows.
    pub activated_by: Option<String>,
    /// Categories whose decider or upcasters it changed. For an activation that was made before
    /// this was recorded: only the name.
    pub categories: Vec<String>,
    /// The folds whose snapshots the new modules may open: a sample was compared.
    pub trusted: Vec<Digest>,
    /// Its settings of projections.
    pub projections: ProjectionPlan,
    /// The summary of its preflight; none without one.
    pub preflight: Option<PreflightSummary>,
}

/// A name whose module a release changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name of a manifest.
    pub name: String,
    /// The module that became active under it; none when nothing is active under it any more.
    pub digest: Option<Digest>,
}

/// Most names of event types of one category that are remembered to mean the same, in pairs.
pub const ALIASES_MAX: usize = 1_000;

/// Most components of one release.
pub const RELEASE_MAX: usize = 64;

impl Deployment {
    /// Returns every name that it changed, each once, with the module that is active since then.
    pub fn members(&self) -> impl Iterator<Item = (&str, Option<Digest>)> {
        let others = self.others.iter();
        let others = others.map(|member| (member.name.as_str(), member.digest));
        std::iter::once((self.name.as_str(), Some(self.digest))).chain(others)
    }

    /// Returns whether it made a module active.
    pub fn activates(&self, digest: Digest) -> bool {
        self.members().any(|(_, member)| member == Some(digest))
    }

    /// Returns the part that is exported: builds belong to the store that they are in.
    pub fn exported(&self) -> Self {
        let mut exported = self.clone();
        exported.projections.inline.clear();
        exported.projections.categories.clear();
        exported
    }
}

/// A store that has been opened only for reading.
pub struct Source {
    /// Reads.
    pub reader: Arc<dyn EventReader>,
    /// Components and plan.
    pub modules: Arc<dyn ModuleStore>,
    /// Snapshots, of which the anchors are exported.
    pub snapshots: Arc<dyn SnapshotStore>,
    /// Documents, of which the dropped events are exported.
    pub documents: Arc<dyn DocumentStore>,
    /// Digests, with which exported commits are compared.
    pub digests: Arc<dyn DigestStore>,
}

/// The parts of a store whose bytes have digests, opened only for reading.
pub struct StoredBytes {
    /// Reads.
    pub reader: Arc<dyn EventReader>,
    /// Digests of commits and documents.
    pub digests: Arc<dyn DigestStore>,
    /// Components and plan.
    pub modules: Arc<dyn ModuleStore>,
    /// Snapshots of streams.
    pub snapshots: Arc<dyn SnapshotStore>,
    /// The audit.
    pub audit: Arc<dyn AuditStore>,
    /// Acknowledged findings.
    pub acknowledgements: Arc<dyn AcknowledgementStore>,
}

/// A store that has been opened.
pub struct Store {
    /// Reads.
    pub reader: Arc<dyn EventReader>,
    /// Writes.
    pub writer: Box<dyn EventWriter>,
    /// Components and plan.
    pub modules: Arc<dyn ModuleStore>,
    /// The checkpoints of named readers.
    pub checkpoints: Arc<dyn CheckpointStore>,
    /// Snapshots of streams.
    pub snapshots: Arc<dyn SnapshotStore>,
    /// Counts of events by type.
    pub types: Arc<dyn TypeStore>,
    /// Documents of projections.
    pub documents: Arc<dyn DocumentStore>,
    /// The last rejections.
    pub rejections: Arc<dyn RejectionStore>,
    /// Acknowledged findings.
    pub acknowledgements: Arc<dyn AcknowledgementStore>,
    /// Tokens of callers.
    pub tokens: Arc<dyn TokenStore>,
    /// The audit.
    pub audit: Arc<dyn AuditStore>,
    /// Tenants of the host.
    pub tenants: Arc<dyn TenantStore>,
    /// Proposed commands.
    pub proposals: Arc<dyn ProposalStore>,
    /// When backups and verifications were last done.
    pub jobs: Arc<dyn JobStore>,
    /// Digests of commits.
    pub digests: Arc<dyn DigestStore>,
    /// Notifies that there may be something new.
    pub wakes: Wakes,
    /// A secret of the store, from which seeds are derived.
    pub secret: [u8; 32],
    /// The background parts of the store, and of the host that is built on it.
    pub supervisor: Supervisor,
}
