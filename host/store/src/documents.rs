//! What a store keeps of projections.

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

/// The reason that is recorded with an event that the policy `skip` left out. Migration 0006
/// tells operators' decisions from the policy's by this text.
pub const SKIPPED_BY_POLICY: &str = "the policy skips what fails";

/// One copy of a projection's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildId(pub u64);

/// What a build is to its projection, which has at most one of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Answered from.
    Active,
    /// Being built beside it.
    Next,
    /// Kept for a roll-back.
    Previous,
}

/// A projection as the store knows it.
#[derive(Debug, Clone, Default)]
pub struct StoredProjection {
    /// Its name.
    pub name: Box<str>,
    /// Nothing of it is folded, but inline.
    pub is_paused: bool,
    /// A next build waits for the order to take over.
    pub is_held: bool,
    /// How often parked events were asked to be tried again.
    pub retries: u64,
    /// Its builds; none that is dropped.
    pub builds: Vec<Build>,
}

/// One copy of a projection's documents, and how far it has come.
#[derive(Debug, Clone)]
pub struct Build {
    /// Which.
    pub id: BuildId,
    /// What it is to its projection.
    pub role: Role,
    /// Version of the definition that it is of.
    pub version: u32,
    /// The module that folds it.
    pub module: Digest,
    /// Everything up to here is in it. Of an inline one: where it became inline.
    pub position: Position,
    /// The greatest change of a document, but for an inline one.
    pub changes: u64,
    /// It is folded in the transactions of appends.
    pub is_inline: bool,
    /// When it was begun.
    pub started_at: Timestamp,
    /// Whether someone owns it now.
    pub is_owned: bool,
    /// Why it does not go on, as its owner wrote it.
    pub trouble: Option<Box<str>>,
    /// How it compares with the active one, as its owner wrote it.
    pub comparison: Option<Box<str>>,
    /// The plan whose rules folded it: what a rebuild under that plan would make of the same
    /// events, unless it is stale. None of one that was begun before this was recorded.
    pub plan: Option<u64>,
    /// Why its documents are not those of a rebuild; none while they are.
    pub stale: Option<Box<str>>,
    /// Whether events are parked in it.
    pub has_parked: bool,
    /// An operator ordered it to take over, whatever it lacks.
    pub is_confirmed: bool,
    /// Why it does not take over by itself, as its owner wrote it.
    pub waits: Option<Box<str>>,
}

/// How many there are of what in a build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BuildCounts {
    /// Documents.
    pub documents: u64,
    /// Events that wait, each once for each subject.
    pub parked: u64,
    /// Events that were left out, each once for each subject.
    pub skipped: u64,
    /// Those of them that the policy skipped, not an operator.
    pub skipped_by_policy: u64,
}

/// Documents of the active build of which another build has no trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostDocuments {
    /// How many.
    pub count: u64,
    /// The first of their keys, at most [`LOST_KEYS_MAX`].
    pub keys: Vec<Arc<str>>,
}

/// What an operator asks of a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// Fold nothing, or go on; also forgets why it stopped.
    Paused(bool),
    /// Let a next build wait for the order to take over, or don't.
    Held(bool),
    /// Retry all parked events.
    Retry,
    /// Forget why its builds stopped.
    Resume,
}

/// A build that is owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildClaim {
    /// Proves the ownership.
    pub token: u64,
    /// Everything up to here is in the build.
    pub position: Position,
    /// The greatest change of a document.
    pub changes: u64,
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
    /// JSON; none of one that was deleted.
    pub document: Option<Arc<str>>,
    /// A number that rises with each change within its build: the position of the event
    /// that changed it, or more.
    pub change: u64,
}

/// A value by which a document is found: number of the index, the value encoded.
pub type IndexEntry = (u16, Box<[u8]>);

/// A document as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentWrite {
    /// Of which build.
    pub build: BuildId,
    /// Its key.
    pub key: Arc<str>,
    /// JSON; none deletes it.
    pub document: Option<Arc<str>>,
    /// The number of this change.
    pub change: u64,
    /// Entries that it no longer has.
    pub removed: Vec<IndexEntry>,
    /// Entries that are new.
    pub added: Vec<IndexEntry>,
}

/// For whom an event waits, or was left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A document, by its key.
    Document(Arc<str>),
    /// A stream: nothing told which documents the event concerns.
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

/// An event that waits, or was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// For whom.
    pub subject: Subject,
    /// The event's place in the log.
    pub position: Position,
    /// When.
    pub at: Timestamp,
    /// What failed; none for what waits behind another.
    pub error: Option<Box<str>>,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was left out; none while it waits.
    pub reason: Option<Box<str>>,
}

/// Which parked events of a projection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParkedFilter {
    /// Those that wait for this document or stream; none: all.
    pub subject: Option<Subject>,
    /// The one at this position of the log; none: all.
    pub position: Option<Position>,
}

impl ParkedFilter {
    /// Whether an event that waits is one of them.
    pub fn holds(&self, subject: &Subject, position: Position) -> bool {
        self.subject.as_ref().is_none_or(|of| of == subject)
            && self.position.is_none_or(|at| at == position)
    }
}

/// The events that are parked for one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedDocument {
    /// How many there are: one at least.
    pub events: u64,
    /// The first of them, for which the others wait.
    pub first_position: Position,
    /// Why the first one could not be folded; none when it was never tried.
    pub error: Option<Box<str>>,
}

/// What is parked in a build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParkedHeads {
    /// Documents and streams for which events are parked.
    pub subjects: u64,
    /// The first event that is parked for a document.
    pub documents: Option<Position>,
    /// The first event that is parked for a stream: it may concern any document.
    pub streams: Option<Position>,
}

/// An event that an operator dropped from a projection: every build leaves it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedEvent {
    /// For whom: a document, or a stream, for which it is left out as a whole.
    pub subject: Subject,
    /// The event's place in the log.
    pub position: Position,
    /// When it was dropped.
    pub at: Timestamp,
    /// Why, in the operator's words.
    pub reason: Box<str>,
}

impl DroppedEvent {
    /// The same event where it is parked.
    pub(super) fn filter(&self) -> ParkedFilter {
        ParkedFilter {
            subject: Some(self.subject.clone()),
            position: Some(self.position),
        }
    }
}

/// What a build is given at once.
#[derive(Debug, Clone, Default)]
pub struct BuildBatch {
    /// Where the checkpoint moves; never back.
    pub position: Position,
    /// The greatest change of a document afterwards.
    pub changes: u64,
    /// Documents, each once.
    pub writes: Vec<DocumentWrite>,
    /// Events that wait from now on, or whose error is another by now.
    pub parked: Vec<SetAside>,
    /// Events that wait no longer.
    pub unparked: Vec<(Subject, Position)>,
    /// Events that were left out.
    pub skipped: Vec<SetAside>,
    /// Requests to retry that were done: see [`DocumentStore::retries`].
    pub retried: Vec<(Subject, u64)>,
    /// Why the build does not go on from here; none removes what was said.
    pub trouble: Option<Box<str>>,
    /// The plan whose rules folded everything up to the position; none leaves it.
    pub plan: Option<u64>,
    /// Why the build is stale; none leaves it. The first reason stays.
    pub stale: Option<Box<str>>,
    /// Why the build does not take over by itself; none removes what was said.
    pub waits: Option<Box<str>>,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is stored, all of it. Tells how often parked events were asked to be tried
    /// again, and whether the projection is paused.
    Done {
        /// See [`StoredProjection::retries`].
        retries: u64,
        /// See [`StoredProjection::is_paused`].
        is_paused: bool,
    },
    /// The build has another owner by now, is inline or dropped: nothing is stored.
    Lost,
}

/// Which documents of a build to read.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// By this index; none: by key, whose bytes are its values then.
    pub index: Option<u16>,
    /// Values from here on, which is inside.
    pub from: Option<Box<[u8]>>,
    /// Values up to here, which is inside.
    pub to: Option<Box<[u8]>>,
    /// From the greatest down.
    pub is_descending: bool,
    /// Behind this value and key.
    pub after: Option<(Box<[u8]>, Arc<str>)>,
    /// At most so many, and at most [`DOCUMENTS_PAGE_MAX`].
    pub limit: usize,
}

impl Scan {
    /// Leaves out values before `from` and after `to`.
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

    /// Whether a value is within the bounds.
    pub fn admits(&self, value: &[u8]) -> bool {
        self.from.as_deref().is_none_or(|from| from <= value)
            && self.to.as_deref().is_none_or(|to| to >= value)
    }
}

/// A document that a scan found: once for each entry of its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The value by which it was found.
    pub value: Box<[u8]>,
    /// Its key.
    pub key: Arc<str>,
    /// JSON.
    pub document: Arc<str>,
    /// See [`StoredDocument::change`].
    pub change: u64,
}

/// What a store keeps of projections: their builds, documents and what was set aside.
///
/// Documents of inline builds are written by the writer of events: see
/// [`InlineFold`](super::InlineFold).
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// Every projection that was ever built or steered, in the order of their names.
    async fn projections(&self) -> Result<Vec<StoredProjection>>;

    /// One of them.
    async fn projection(&self, name: &str) -> Result<Option<StoredProjection>>;

    /// Begins a build from the first event on, under a plan, and makes the projection's view
    /// for SQL. None when the projection has one of this role.
    async fn begin(
        &self,
        name: &str,
        role: Role,
        version: u32,
        module: Digest,
        begun: (Timestamp, u64),
    ) -> Result<Option<Build>>;

    /// Notes that an inline build, which was judged under the plan `from` (0: none is known),
    /// was judged under a later one, and why it is stale if it is. Nothing is changed when
    /// another host was first.
    async fn judge(&self, build: BuildId, plans: (u64, u64), stale: Option<&str>) -> Result<()>;

    /// Lets another module go on with a build, and forgets why it stopped. Its owner
    /// loses it.
    async fn hand_over(&self, build: BuildId, module: Digest) -> Result<()>;

    /// Does what an operator asks. Owners hear of it with their next batch.
    async fn steer(&self, name: &str, steer: Steer) -> Result<()>;

    /// Lets the next build take the active one's place, which is kept as the previous one;
    /// what was the previous one is dropped. False, and nothing is changed, when `next` is
    /// not the next build, either is inline, or it is behind the active one.
    async fn switch(&self, name: &str, next: BuildId, comparison: Option<&str>) -> Result<bool>;

    /// Notes that an operator ordered a next build to take over, whatever it lacks, and removes
    /// why it waits. False when it is not the next build.
    async fn confirm(&self, build: BuildId) -> Result<bool>;

    /// Living documents of one build under whose keys another one has neither a document nor
    /// a tombstone; with `up_to`, without those that changed after that change.
    async fn lost(
        &self,
        active: BuildId,
        next: BuildId,
        up_to: Option<u64>,
    ) -> Result<LostDocuments>;

    /// Lets the previous build and the active one change places. False, and nothing is
    /// changed, when there is no previous one or either is inline.
    async fn roll_back(&self, name: &str) -> Result<bool>;

    /// Drops a build of a role. False when there is none, or it is inline. What it holds is
    /// removed by [`sweep`](Self::sweep).
    async fn drop_build(&self, name: &str, role: Role) -> Result<bool>;

    /// Removes a part of what dropped builds hold. True when there is more.
    async fn sweep(&self) -> Result<bool>;

    /// Claims a build for a time, unless another owner's time is not over, it is inline or
    /// dropped.
    async fn claim(&self, build: BuildId, lease: Duration) -> Result<Option<BuildClaim>>;

    /// Writes a batch in one transaction, and holds the build for a time from now on. Each
    /// claim has a greater token than those before it, and only the last one writes.
    async fn keep(
        &self,
        build: BuildId,
        token: u64,
        batch: &BuildBatch,
        lease: Duration,
    ) -> Result<Kept>;

    /// Gives a build back, if the token is still the last one.
    async fn release(&self, build: BuildId, token: u64) -> Result<()>;

    /// The documents under some keys: result i belongs to key i; none where there never
    /// was one.
    async fn documents(
        &self,
        build: BuildId,
        keys: &[Arc<str>],
    ) -> Result<Vec<Option<StoredDocument>>>;

    /// Documents in the order of an index, or of their keys.
    async fn scan(&self, build: BuildId, scan: &Scan) -> Result<Vec<Found>>;

    /// Documents that changed after a change, in the order of their changes, deleted ones
    /// too; never a part of those of one change unless that alone is more than the limit.
    async fn changed(
        &self,
        build: BuildId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<StoredDocument>>;

    /// Events that wait, in order of subject (documents first) and position, behind one of
    /// them.
    async fn parked(
        &self,
        build: BuildId,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<SetAside>>;

    /// Events that were left out, in order of position and subject, behind one of them.
    async fn skipped(
        &self,
        build: BuildId,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<SetAside>>;

    /// What is parked for a document of a build; none when nothing is.
    async fn parked_for(&self, build: BuildId, key: &str) -> Result<Option<ParkedDocument>>;

    /// What is parked in a build.
    async fn parked_heads(&self, build: BuildId) -> Result<ParkedHeads>;

    /// Drops parked events of every build of a projection, for good and with a reason, and
    /// records them for the projection. Returns how many were parked, counted once for each
    /// build. If any was, the owners of all builds of the projection lose them, so that they
    /// learn of it. With a position, what waited for that event only is to be retried.
    async fn drop_parked(
        &self,
        name: &str,
        which: &ParkedFilter,
        reason: &str,
        at: Timestamp,
    ) -> Result<u64>;

    /// Asks the owners of a projection's builds to retry the parked events of a subject, or all
    /// there are. Returns for how many subjects, counted once for each build.
    async fn retry_parked(&self, name: &str, of: Option<&Subject>) -> Result<u64>;

    /// For whom parked events of a build are to be retried, streams first, each with the number
    /// of the request. They are asked for until a batch says that they were done.
    async fn retries(&self, build: BuildId, limit: usize) -> Result<Vec<(Subject, u64)>>;

    /// Records an event as dropped from a projection, as an import says it; where it is parked
    /// it is dropped as by [`drop_parked`](Self::drop_parked). Nothing is changed when it is
    /// recorded already, with the same time and reason.
    async fn record_drop(&self, name: &str, event: &DroppedEvent) -> Result<()>;

    /// Projections from which events were dropped, in the order of their names.
    async fn dropped_from(&self) -> Result<Vec<String>>;

    /// Events that operators dropped from a projection, in order of position and subject,
    /// after one of them. They are removed with the projection's last build.
    async fn dropped(
        &self,
        name: &str,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Result<Vec<DroppedEvent>>;

    /// How many there are of what.
    async fn counts(&self, build: BuildId) -> Result<BuildCounts>;
}
