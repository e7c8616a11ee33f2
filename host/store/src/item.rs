//! Requests of a host to its writer, and their results.

use std::sync::Arc;

use super::Member;
use super::{Deployment, PreflightSummary, ProjectionPlan, StoredSnapshot, Turn, Unprojected};
use quipu_model::{
    Body, CommandId, CommandRecord, CommitData, Digest, EventId, ExpectedVersion, Name, NewEvent,
    Position, StreamId, Timestamp, Version,
};

/// Identifies the state that a chain of speculative decisions was made on.
///
/// A version is not enough: if the first of a chain fails and a foreign event takes its version,
/// the second would pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId(pub u64);

/// One request in a batch.
#[derive(Debug)]
pub enum Item {
    /// Appends to one or several streams, all or nothing.
    Append {
        /// The run that decided it; none for a raw append.
        run: Option<RunId>,
        /// One for each stream; no stream twice.
        writes: Vec<Write>,
    },
    /// Checks whether a negative answer may be given, or finds a record.
    Check(Check),
    /// Raises the plan.
    Activate(Box<Activation>),
    /// Archives or truncates a stream, or undoes it.
    Mark(Mark),
}

/// The events that are appended to one stream.
#[derive(Debug)]
pub struct Write {
    /// The stream.
    pub stream: StreamId,
    /// The expected version.
    pub expected: ExpectedVersion,
    /// The commit. Without events it is only a check.
    pub commit: Commit,
}

/// The events of one append, and the command that led to them.
#[derive(Debug)]
pub struct Commit {
    /// The command, if it came with one or was decided.
    pub command: Option<Arc<CommandRecord>>,
    /// The module that decided; none for a raw append.
    pub decided: Option<Decided>,
    /// The plan under which it was made.
    pub plan: u64,
    /// When the host staged it. The store uses the stream's last time when that is later.
    pub recorded_at: Timestamp,
    /// The events.
    pub events: Vec<NewEvent>,
    /// Whether the host has made sure that this store holds no record under the command's id.
    pub id_is_new: bool,
}

/// The module that decided, and the cost of the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// The module.
    pub module: Digest,
    /// Fuel that the decision took.
    pub fuel: u64,
}

/// Checks whether a condition still applies.
#[derive(Debug)]
pub struct Check {
    /// The run on which the answer was found, if any.
    pub run: Option<RunId>,
    /// The stream.
    pub stream: StreamId,
    /// The version on which the answer rests; none when it rests on no version.
    pub version: Option<Version>,
    /// Whether the stream was archived when the answer was found; checked together with the
    /// version.
    pub archived: bool,
    /// The caller's id, when its record is to be looked up.
    pub command_id: Option<CommandId>,
    /// The plan under which the answer was found; none when it rests on no plan.
    pub plan: Option<u64>,
}

/// Makes a module the active one under its name.
#[derive(Debug)]
pub struct Activation {
    /// Name of its manifest.
    pub name: String,
    /// The module, already in the store.
    pub digest: Digest,
    /// The others of its release.
    pub others: Vec<Member>,
    /// Categories whose decider or upcasters it changes.
    pub categories: Vec<String>,
    /// The folds whose snapshots the new modules may open.
    pub trusted: Vec<Digest>,
    /// The plan's settings of projections from then on.
    pub projections: ProjectionPlan,
    /// Builds that change how they are folded.
    pub turns: Vec<Turn>,
    /// The plan under which it was checked. Under another plan it is refused.
    pub plan: u64,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Option<String>,
    /// The summary of its preflight; none without one.
    pub preflight: Option<PreflightSummary>,
}

impl Activation {
    /// Returns the part that is stored when it has led to a plan.
    pub fn deployment(&self, plan: u64) -> Deployment {
        Deployment {
            plan,
            name: self.name.clone(),
            digest: self.digest,
            others: self.others.clone(),
            activated_at: self.at,
            activated_by: self.by.clone(),
            categories: self.categories.clone(),
            trusted: self.trusted.clone(),
            projections: self.projections.clone(),
            preflight: self.preflight.clone(),
        }
    }
}

/// Sets a mark of a stream, or removes it.
#[derive(Debug)]
pub struct Mark {
    /// The stream.
    pub stream: StreamId,
    /// The change.
    pub change: Change,
    /// The event that records it, in a stream of the host; written when the mark changes.
    pub write: Write,
}

/// The content of a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The stream takes no appends from now on, or takes them again.
    Archived(bool),
    /// Hides the events before a version from stream reads and replay.
    Truncated {
        /// The version, not beyond the stream's.
        before: Version,
        /// The state that replaces them, at that version or a later one of the stream.
        anchor: Box<StoredSnapshot>,
    },
    /// Shows the events again, and removes the anchor.
    Whole,
}

/// The result of an item.
#[derive(Debug)]
pub enum Outcome {
    /// Appended, and durable. One for each write.
    Appended(Vec<Appended>),
    /// The check passed: the stream is at the version that the check named, and the id is unknown.
    /// Without a version in the check, the number has no meaning.
    Holds(Version),
    /// The command's id is known: the first outcome in the stream of each write, or of the check;
    /// none where it is unknown. Whether it was the same request is still to be checked.
    Known(Vec<Option<Arc<KnownCommit>>>),
    /// The same events were appended before under the same ids: the first outcome of
    /// each write, none for one without events.
    Repeated(Vec<Option<Arc<KnownCommit>>>),
    /// The id belongs to another event in this stream.
    EventIdReused(StreamId, EventId),
    /// This event was appended to the stream before, but not in the same append.
    PartialDuplicate(StreamId, EventId),
    /// The stream is not at the expected version.
    WrongVersion {
        /// The stream.
        stream: StreamId,
        /// The expected version.
        expected: ExpectedVersion,
        /// The actual version at that moment.
        found: Version,
    },
    /// The stream is archived.
    Archived(StreamId),
    /// The part of the plan under which it was decided has changed; for an activation, the plan.
    PlanMoved,
    /// An earlier item of its run was refused, so its state never existed.
    RunDead,
    /// An inline projection can't fold its events.
    Unprojected(Unprojected),
    /// A build that is to become inline lags too far, or has changed.
    NotSettled(String),
    /// The request must be repeated in the next batch, because a command with the same id is in
    /// this one.
    Again,
    /// Activated: the new plan.
    Activated(u64),
    /// The mark is set. If it was set now: the position of the event that records it; none when it
    /// was set before.
    Marked(Option<Position>),
    /// There is no such stream to be marked.
    NoStream(StreamId),
}

/// The place of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Version of its first event; for a commit without events, one above the stream's.
    pub first_version: Version,
    /// Positions of its events, in order.
    pub positions: Vec<Position>,
}

/// A recorded commit, found by the id of its command or of one of its events.
#[derive(Debug)]
pub struct KnownCommit {
    /// The command; none for events that came without one.
    pub record: Option<CommandRecord>,
    /// The origin of the commit.
    pub data: CommitData,
    /// Its events.
    pub events: Vec<KnownEvent>,
}

/// An event as the answer to a command shows it.
#[derive(Debug, Clone)]
pub struct KnownEvent {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub name: Name,
    /// The version in the stream.
    pub version: Version,
    /// The position in the log.
    pub position: Position,
    /// The data.
    pub body: Body,
}
