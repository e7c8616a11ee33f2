//! What a host asks of its writer, and what it is told.

use std::sync::Arc;

use super::Member;
use super::{Deployment, PreflightSummary, ProjectionPlan, StoredSnapshot, Turn, Unprojected};
use quipu_model::{
    Body, CommandId, CommandRecord, CommitData, Digest, EventId, ExpectedVersion, Name, NewEvent,
    Position, StreamId, Timestamp, Version,
};

/// Identifies the state that a chain of speculative decisions was made on.
///
/// A version alone does not: if the first of a chain fails and a foreign event
/// takes its version, the second would pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId(pub u64);

/// One request in a batch.
#[derive(Debug)]
pub enum Item {
    /// Append to one or several streams: all of it, or nothing.
    Append {
        /// The run that decided it; none for a raw append.
        run: Option<RunId>,
        /// One for each stream; no stream twice.
        writes: Vec<Write>,
    },
    /// Look whether a negative answer may be given, or find a record.
    Check(Check),
    /// Raise the plan.
    Activate(Box<Activation>),
    /// Archive or truncate a stream, or undo it.
    Mark(Mark),
}

/// What is appended to one stream.
#[derive(Debug)]
pub struct Write {
    /// The stream.
    pub stream: StreamId,
    /// What it must stand at.
    pub expected: ExpectedVersion,
    /// The commit; without events it only checks.
    pub commit: Commit,
}

/// The events of one append, and what led to them.
#[derive(Debug)]
pub struct Commit {
    /// The command, if it came with one or was decided.
    pub command: Option<Arc<CommandRecord>>,
    /// Who decided; none for a raw append.
    pub decided: Option<Decided>,
    /// The plan under which it was made.
    pub plan: u64,
    /// When the host staged it. The store uses the stream's last time when that is later.
    pub recorded_at: Timestamp,
    /// The events.
    pub events: Vec<NewEvent>,
    /// The host has made sure that this store holds no record under the command's id.
    pub id_is_new: bool,
}

/// Who decided, and at what cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// The module.
    pub module: Digest,
    /// Fuel that the decision took.
    pub fuel: u64,
}

/// Asks whether something still holds.
#[derive(Debug)]
pub struct Check {
    /// The run on which the answer was found, if any.
    pub run: Option<RunId>,
    /// The stream.
    pub stream: StreamId,
    /// The version on which the answer rests; none when it rests on no version.
    pub version: Option<Version>,
    /// Whether the stream was archived when the answer was found; looked at with the version.
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
    /// Folds whose snapshots the new ones may open.
    pub trusted: Vec<Digest>,
    /// What the plan says of projections from then on.
    pub projections: ProjectionPlan,
    /// Builds that change how they are folded.
    pub turns: Vec<Turn>,
    /// The plan on which it was checked: under another it is refused.
    pub plan: u64,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Option<String>,
    /// What the preflight before it said; none without one.
    pub preflight: Option<PreflightSummary>,
}

impl Activation {
    /// What is kept of it when it has led to a plan.
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
    /// What changes.
    pub change: Change,
    /// What tells of it, in a stream of the host; written when the mark changes.
    pub write: Write,
}

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The stream takes no appends from now on, or takes them again.
    Archived(bool),
    /// The events before a version leave the stream's reads and loading.
    Truncated {
        /// The version, not beyond the stream's.
        before: Version,
        /// The state that stands for them, at that version or a later one of the stream.
        anchor: Box<StoredSnapshot>,
    },
    /// They are back, and the anchor is gone.
    Whole,
}

/// What became of an item.
#[derive(Debug)]
pub enum Outcome {
    /// Appended, and durable. One for each write.
    Appended(Vec<Appended>),
    /// The check holds: the stream stands at the version that the check named, and the
    /// id is unknown. Without a version in the check, the number says nothing.
    Holds(Version),
    /// The command's id is known: the first outcome in the stream of each write, or
    /// of the check; none where it is unknown. Whether it was the same request has
    /// still to be looked at.
    Known(Vec<Option<Arc<KnownCommit>>>),
    /// The same events were appended before under the same ids: the first outcome of
    /// each write, none for one without events.
    Repeated(Vec<Option<Arc<KnownCommit>>>),
    /// The id stands for another event in this stream.
    EventIdReused(StreamId, EventId),
    /// This event was appended to the stream before, but not in the same append.
    PartialDuplicate(StreamId, EventId),
    /// The stream does not stand where it was expected.
    WrongVersion {
        /// The stream.
        stream: StreamId,
        /// What was expected.
        expected: ExpectedVersion,
        /// Where it stood at that moment.
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
    /// A build that is to become inline is too far behind, or no longer what it was.
    NotSettled(String),
    /// Ask again in the next batch: a command with the same id is in this one.
    Again,
    /// Activated: the new plan.
    Activated(u64),
    /// The mark stands, and was set now: the position of the event that tells of it;
    /// none when it stood already.
    Marked(Option<Position>),
    /// There is no such stream to be marked.
    NoStream(StreamId),
}

/// Where a commit came to stand.
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
    /// What led to it.
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
    /// Its place in the stream.
    pub version: Version,
    /// Its place in the log.
    pub position: Position,
    /// The data.
    pub body: Body,
}
