//! The data of projections that a store holds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Result;
use quipu_model::{Digest, Position, Timestamp};

/// Most documents or records in a page.
pub const DOCUMENTS_PAGE_MAX: usize = 1_000;

/// Most keys that are named as examples of lost documents.
pub const LOST_KEYS_MAX: usize = 10;

/// The reason that is recorded with an event that the policy `skip` skipped. Migration 0006
/// distinguishes operators' decisions from the policy's by this text.
pub const SKIPPED_BY_POLICY: &str = "the policy skips what fails";

/// One copy of a projection's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildId(pub u64);

/// The role of a build in its projection, which has at most one build of each role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The build that answers queries.
    Active,
    /// The build that is being built next to the active one.
    Next,
    /// The earlier active build, kept for a roll-back.
    Previous,
}

/// A projection as it is stored.
#[derive(Debug, Clone, Default)]
pub struct StoredProjection {
    /// The name.
    pub name: Box<str>,
    /// Whether it is paused: nothing is folded, except inline.
    pub is_paused: bool,
    /// Whether a next build waits for the operator's action to switch.
    pub is_held: bool,
    /// How many retries of parked events were requested.
    pub retries: u64,
    /// The builds, without dropped ones.
    pub builds: Vec<Build>,
}

/// One copy of a projection's documents, with its progress.
#[derive(Debug, Clone)]
pub struct Build {
    /// The build's id.
    pub id: BuildId,
    /// The role in its projection.
    pub role: Role,
    /// The version of its definition.
    pub version: u32,
    /// The module that folds it.
    pub module: Digest,
    /// All events up to this position are folded. For an inline build: the position at which it
    /// became inline.
    pub position: Position,
    /// The greatest change number of a document. For an inline build: that at `position`.
    pub changes: u64,
    /// Whether it is folded in the transactions of appends.
    pub is_inline: bool,
    /// When the build was started.
    pub started_at: Timestamp,
    /// Whether it has an owner now.
    pub is_owned: bool,
    /// Why it stopped, as its owner wrote it.
    pub trouble: Option<Box<str>>,
    /// How it compares with the active build, as its owner wrote it.
    pub comparison: Option<Box<str>>,
    /// The plan whose rules folded it. Unless the build is stale, a rebuild under that plan would
    /// make the same documents. None for a build that was started before this was recorded.
    pub plan: Option<u64>,
    /// Why its documents differ from those of a rebuild; none while they are the same.
    pub stale: Option<Box<str>>,
    /// Whether events are parked in it.
    pub has_parked: bool,
    /// Whether an operator ordered it to switch, whatever it lacks.
    pub is_confirmed: bool,
    /// Why it does not switch by itself, as its owner wrote it.
    pub waits: Option<Box<str>>,
}

impl Build {
    /// How much greater than positions the change numbers of an inline build are. A build may come
    /// with greater ones, because a retried event takes the next number and not its position.
    pub fn change_offset(&self) -> u64 {
        match self.is_inline {
            true => self.changes.saturating_sub(self.position.0),
            false => 0,
        }
    }
}

/// Counts of the contents of a build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BuildCounts {
    /// Documents.
    pub documents: u64,
    /// Parked events, each counted once per subject.
    pub parked: u64,
    /// Skipped and dropped events, each counted once per subject.
    pub skipped: u64,
    /// Those of them that the policy skipped, not an operator.
    pub skipped_by_policy: u64,
}

/// Documents of the active build that another build has never had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostDocuments {
    /// How many.
    pub count: u64,
    /// The first of their keys, at most [`LOST_KEYS_MAX`].
    pub keys: Vec<Arc<str>>,
}

/// An operator's action on a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// Pauses or resumes; also clears the reason why it stopped.
    Paused(bool),
    /// Sets whether a next build waits for the operator's action to switch.
    Held(bool),
    /// Retries all parked events.
    Retry,
    /// Clears the reasons why its builds stopped.
    Resume,
}

/// A build with an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildClaim {
    /// Proves the ownership.
    pub token: u64,
    /// All events up to this position are folded into the build.
    pub position: Position,
    /// The greatest change of a document.
    pub changes: u64,
    /// The module that folds it. A claim ends when the build is handed to another one.
    pub module: Digest,
    /// See [`Build::plan`].
    pub plan: Option<u64>,
    /// See [`Build::stale`].
    pub stale: Option<Box<str>>,
}

/// A document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDocument {
    /// Its key.
    pub key: Arc<str>,
    /// JSON; none for a deleted document.
    pub document: Option<Arc<str>>,
    /// A number that rises with each change within its build: the position of the event that
    /// changed the document, or more.
    pub change: u64,
}

/// A document that changed, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedDocument {
    /// Its key.
    pub key: Arc<str>,
    /// Its last change.
    pub change: u64,
    /// Length of its content in bytes; 0 if it was deleted.
    pub bytes: u64,
}

/// A value by which a document is found: the number of the index and the encoded value.
pub type IndexEntry = (u16, Box<[u8]>);

/// The new content of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentWrite {
    /// The build.
    pub build: BuildId,
    /// Its key.
    pub key: Arc<str>,
    /// JSON; none deletes the document.
    pub document: Option<Arc<str>>,
    /// The number of this change.
    pub change: u64,
    /// Index entries that are removed.
    pub removed: Vec<IndexEntry>,
    /// Index entries that are added.
    pub added: Vec<IndexEntry>,
}

/// The document or stream for which an event is parked, skipped or dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A document, by its key.
    Document(Arc<str>),
    /// A stream: it is not known which documents the event concerns.
    Stream(Arc<str>),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(key) => write!(f, "document {key:?}"),
            Self::Stream(stream) => write!(f, "stream {stream}"),
        }
    }
}

/// An event that is parked, skipped or dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedEvent {
    /// The subject.
    pub subject: Subject,
    /// The event's position in the log.
    pub position: Position,
    /// When.
    pub at: Timestamp,
    /// The error; none for an event that waits after another parked event.
    pub error: Option<Box<str>>,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was skipped or dropped; none while it is parked.
    pub reason: Option<Box<str>>,
}

/// Selects parked events of a projection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParkedFilter {
    /// Events that are parked for this document or stream; none for all subjects.
    pub subject: Option<Subject>,
    /// The event at this position in the log; none for all positions.
    pub position: Option<Position>,
}

impl ParkedFilter {
    /// Returns whether a parked event is selected.
    pub fn holds(&self, subject: &Subject, position: Position) -> bool {
        self.subject.as_ref().is_none_or(|of| of == subject)
            && self.position.is_none_or(|at| at == position)
    }
}

/// The events that are parked for one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedDocument {
    /// The number of events, at least one.
    pub events: u64,
    /// The first of them, for which the others wait.
    pub first_position: Position,
    /// Why the first event could not be folded; none when it was never tried.
    pub error: Option<Box<str>>,
}

/// A summary of the parked events of a build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParkedHeads {
    /// Documents and streams for which events are parked.
    pub subjects: u64,
    /// The first event that is parked for a document.
    pub documents: Option<Position>,
    /// The first event that is parked for a stream: it may concern any document.
    pub streams: Option<Position>,
}

/// An event that an operator dropped from a projection: every build skips it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedEvent {
    /// The subject: a document, or a stream, for all of which the event is skipped.
    pub subject: Subject,
    /// The event's position in the log.
    pub position: Position,
    /// When it was dropped.
    pub at: Timestamp,
    /// Why, in the operator's words.
    pub reason: Box<str>,
}

impl DroppedEvent {
    /// Returns the selection of the same event where it is parked.
    pub(super) fn filter(&self) -> ParkedFilter {
        ParkedFilter {
            subject: Some(self.subject.clone()),
            position: Some(self.position),
        }
    }
}

/// The changes of a build that are written together.
#[derive(Debug, Clone, Default)]
pub struct BuildBatch {
    /// The new checkpoint, which never moves back.
    pub position: Position,
    /// The greatest change number of a document after the batch.
    pub changes: u64,
    /// Documents, each once.
    pub writes: Vec<DocumentWrite>,
    /// Events that are parked from now on, or whose error has changed.
    pub parked: Vec<FailedEvent>,
    /// Events that are no longer parked.
    pub unparked: Vec<(Subject, Position)>,
    /// Returns skipped events.
    pub skipped: Vec<FailedEvent>,
    /// Completed requests to retry: see [`DocumentStore::retries`].
    pub retried: Vec<(Subject, u64)>,
    /// Why the build stopped at this position; none clears the reason.
    pub trouble: Option<Box<str>>,
    /// The plan whose rules folded everything up to the position; none leaves it unchanged.
    pub plan: Option<u64>,
    /// Why the build is stale; none leaves it unchanged. The first reason stays.
    pub stale: Option<Box<str>>,
    /// Why the build does not switch by itself; none clears the reason.
    pub waits: Option<Box<str>>,
}

/// The result of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchOutcome {
    /// The whole batch is stored. Reports how many retries of parked events were requested, and
    /// whether the projection is paused.
    Done {
        /// See [`StoredProjection::retries`].
        retries: u64,
        /// See [`StoredProjection::is_paused`].
        is_paused: bool,
    },
    /// The build has another owner by now, is inline or dropped. Nothing is stored.
    Lost,
}

/// Selects documents of a build to read.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// The index; none to read by key. Then the values are the bytes of the keys.
    pub index: Option<u16>,
    /// The lower bound of values, inclusive.
    pub from: Option<Box<[u8]>>,
    /// The upper bound of values, inclusive.
    pub to: Option<Box<[u8]>>,
    /// Reads in descending order.
    pub is_descending: bool,
    /// Reads after this value and key.
    pub after: Option<(Box<[u8]>, Arc<str>)>,
    /// The limit of documents, at most [`DOCUMENTS_PAGE_MAX`].
    pub limit: usize,
}

impl Scan {
    /// Excludes values before `from` and after `to`.
    pub fn narrow(&mut self, from: Option<&[u8]>, to: Option<&[u8]>) {
        if let Some(value) = from
            && self.from.as_deref().is_none_or(|from| from < value)
        {
            self.from = Some(value.into());
        }
        if let Some(value) = to
            && self.to.as_deref().is_none_or(|to| to > value)
        {
            self.to = Some(value.into());
        }
    }

    /// Returns whether a value is within the bounds.
    pub fn admits(&self, value: &[u8]) -> bool {
        self.from.as_deref().is_none_or(|from| from <= value)
            && self.to.as_deref().is_none_or(|to| to >= value)
    }
}

/// A document that a scan found, once for each entry of its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedDocument {
    /// The value by which it was found.
    pub value: Box<[u8]>,
    /// Its key.
    pub key: Arc<str>,
    /// JSON.
    pub document: Arc<str>,
    /// See [`StoredDocument::change`].
    pub change: u64,
}

/// Stores the data of projections: their builds, documents and parked events.
///
/// The writer of events writes the documents of inline builds: see
/// [`InlineFold`](super::InlineFold).
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// Returns every projection that was ever built or controlled, in the order of their names.
    async fn projections(&self) -> Result<Vec<StoredProjection>>;

    /// Returns one projection.
    async fn projection(&self, name: &str) -> Result<Option<StoredProjection>>;

    /// Starts a build from the first event, under a plan, and creates the projection's view for
    /// SQL. None when the projection has a build of this role.
    async fn begin(
        &self,
        name: &str,
        role: Role,
        version: u32,
        module: Digest,
        begun: (Timestamp, u64),
    ) -> Result<Option<Build>>;

    /// Records that an inline build, which was judged under the plan `from` (0 when none is known),
    /// was judged under a later plan, and why it is stale if it is. Changes nothing when another
    /// host was first.
    async fn judge(&self, build: BuildId, plans: (u64, u64), stale: Option<&str>) -> Result<()>;

    /// Changes the module of a build, and clears the reason why it stopped. The owner loses the
    /// build.
    async fn hand_over(&self, build: BuildId, module: Digest) -> Result<()>;

    /// Performs an operator's action. Owners are notified with their next batch.
    async fn steer(&self, name: &str, steer: Steer) -> Result<()>;

    /// Switches: the next build becomes the active one, the active one becomes the previous one,
    /// and the previous one is dropped. Returns false and changes nothing when `next` is not the
    /// next build, when either is inline, or when the checkpoint of `next` is before that of the
    /// active build.
    async fn switch(&self, name: &str, next: BuildId, comparison: Option<&str>) -> Result<bool>;

    /// Records that an operator ordered a next build to switch, whatever it lacks, and clears the
    /// reason why it waits. Returns false when it is not the next build.
    async fn confirm(&self, build: BuildId) -> Result<bool>;

    /// Returns live documents of one build under whose keys another build has neither a document
    /// nor a tombstone; with `up_to`, without documents that changed after that change.
    async fn lost(
        &self,
        active: BuildId,
        next: BuildId,
        up_to: Option<u64>,
    ) -> Result<LostDocuments>;

    /// Rolls back: swaps the previous build and the active one. Returns false and changes nothing
    /// when there is no previous one or either is inline.
    async fn roll_back(&self, name: &str) -> Result<bool>;

    /// Drops the build of a role. Returns false when there is none, or it is inline.
    /// [`sweep`](Self::sweep) removes its contents.
    async fn drop_build(&self, name: &str, role: Role) -> Result<bool>;

    /// Removes a part of the contents of dropped builds. Returns true when there is more.
    async fn sweep(&self) -> Result<bool>;

    /// Claims a build for a time, unless another owner's lease is still valid, or the build is
    /// inline or dropped.
    async fn claim(&self, build: BuildId, lease: Duration) -> Result<Option<BuildClaim>>;

    /// Writes a batch in one transaction, and holds the build for a time from now on. Each
    /// claim has a greater token than those before it, and only the last one writes.
    async fn keep(
        &self,
        build: BuildId,
        token: u64,
        batch: &BuildBatch,
        lease: Duration,
    ) -> Result<BatchOutcome>;

    /// Releases a build, if the token is still the last one.
    async fn release(&self, build: BuildId, token: u64) -> Result<()>;

    /// Returns the documents under some keys: result i belongs to key i. None where there never was
    /// one.
    async fn documents(
        &self,
        build: BuildId,
        keys: &[Arc<str>],
    ) -> Result<Vec<Option<StoredDocument>>>;

    /// Returns documents in the order of an index, or of their keys. A page ends early at
    /// [`PAGE_BYTES_MAX`](super::PAGE_BYTES_MAX).
    async fn scan(&self, build: BuildId, scan: &Scan) -> Result<Vec<ScannedDocument>>;

    /// Returns documents that changed after a change, in the order of their changes, including
    /// deleted ones, without their contents. The documents of one change are returned together,
    /// unless they exceed the limit by themselves.
    async fn changed(
        &self,
        build: BuildId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<ChangedDocument>>;

    /// Returns parked events, in order of subject (documents first) and position, after one of
    /// them.
    async fn parked(
        &self,
        build: BuildId,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<FailedEvent>>;

    /// Returns skipped and dropped events, in order of position and subject, after one of them.
    async fn skipped(
        &self,
        build: BuildId,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<FailedEvent>>;

    /// Returns the events that are parked for a document of a build; none when there are none.
    async fn parked_for(&self, build: BuildId, key: &str) -> Result<Option<ParkedDocument>>;

    /// A summary of the parked events of a build.
    async fn parked_heads(&self, build: BuildId) -> Result<ParkedHeads>;

    /// Drops parked events of every build of a projection, for good and with a reason, and records
    /// them for the projection. Returns how many were parked, counted once for each build. If any
    /// was, the owners of all builds of the projection lose them, so that they are notified. With a
    /// position, events that waited only for that event are retried.
    async fn drop_parked(
        &self,
        name: &str,
        which: &ParkedFilter,
        reason: &str,
        at: Timestamp,
    ) -> Result<u64>;

    /// Asks the owners of a projection's builds to retry the parked events of a subject, or all of
    /// them. Returns the number of subjects, counted once for each build.
    async fn retry_parked(&self, name: &str, of: Option<&Subject>) -> Result<u64>;

    /// Returns the subjects whose parked events of a build are to be retried, streams first, each
    /// with the number of the request. A request is returned until a batch reports it as done.
    async fn retries(&self, build: BuildId, limit: usize) -> Result<Vec<(Subject, u64)>>;

    /// Records an event as dropped from a projection, as an import contains it. Where the event is
    /// parked, it is dropped as by [`drop_parked`](Self::drop_parked). Changes nothing when it is
    /// recorded already, with the same time and reason.
    async fn record_drop(&self, name: &str, event: &DroppedEvent) -> Result<()>;

    /// Returns projections from which events were dropped, in the order of their names.
    async fn dropped_from(&self) -> Result<Vec<String>>;

    /// Returns events that operators dropped from a projection, in order of position and subject,
    /// after one of them. They are removed with the projection's last build.
    async fn dropped(
        &self,
        name: &str,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<DroppedEvent>>;

    /// Returns the counts of the contents.
    async fn counts(&self, build: BuildId) -> Result<BuildCounts>;
}
