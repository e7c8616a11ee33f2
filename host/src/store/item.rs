//! What a host asks of its writer, and what it is told.

use std::sync::Arc;

use crate::model::{
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
    Activate(Activation),
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
    /// The caller's id, when its record is to be looked up.
    pub command_id: Option<CommandId>,
    /// The plan under which the answer was found.
    pub plan: u64,
}

/// Makes a module the active one under its name.
#[derive(Debug)]
pub struct Activation {
    /// Name of its manifest.
    pub name: String,
    /// The module, already in the store.
    pub digest: Digest,
    /// The category whose decider it is, if any.
    pub category: Option<String>,
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Option<String>,
}

/// What became of an item.
#[derive(Debug)]
pub enum Outcome {
    /// Appended, and durable. One for each write.
    Appended(Vec<Appended>),
    /// The check holds: the stream stands at this version and the id is unknown.
    Holds(Version),
    /// The command's id is known in this stream: its first outcome.
    Known(Arc<KnownCommit>),
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
    /// The part of the plan under which it was decided has changed.
    PlanMoved,
    /// An earlier item of its run was refused, so its state never existed.
    RunDead,
    /// Ask again in the next batch: a command with the same id is in this one.
    Again,
    /// Activated: the new plan.
    Activated(u64),
}

/// Where a commit came to stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// Version of its first event; for a commit without events, one above the stream's.
    pub first_version: Version,
    /// Positions of its events, in order.
    pub positions: Vec<Position>,
}

/// A recorded commit, found by the id of its command.
#[derive(Debug)]
pub struct KnownCommit {
    /// The command.
    pub record: CommandRecord,
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
