use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Error, Permit};
use crate::commit::Deciding;
use crate::model::{
    CommandId, CommandRecord, Digest, ExpectedVersion, Name, NewEvent, Position, StreamId, Version,
};
use crate::runtime::Manifest;
use crate::store::{Appended, Decided, KnownCommit, KnownEvent};

/// A command that was executed, or a raw append.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The stream.
    pub stream: StreamId,
    /// Its version after the last of the events; without events, its version.
    pub version: Version,
    /// Position of the last event; none without events.
    pub position: Option<Position>,
    /// Its events.
    pub events: Vec<KnownEvent>,
    /// Whether this is the recorded outcome of an earlier request.
    pub replayed: bool,
    /// The module that decided; none when the id belongs to a raw append.
    pub module: Option<Digest>,
    /// Fuel that the decision took.
    pub fuel: Option<u64>,
}

impl Executed {
    /// Whether it has made the stream: its first event is the stream's first.
    pub fn has_created(&self) -> bool {
        let first = self.events.first();
        first.is_some_and(|event| event.version == Version(1))
    }
}

/// A command on its way through a worker.
pub struct Request {
    pub stream: StreamId,
    pub command: Arc<CommandRecord>,
    /// The command's type as the caller gave it: a name that may be an alias by now.
    pub given_name: Name,
    /// The schema version as the caller gave it.
    pub given_version: Option<u32>,
    pub expected: ExpectedVersion,
    /// Until when it is decided again after conflicts.
    pub deadline: Instant,
    pub reply: oneshot::Sender<Result<Executed, Error>>,
    /// Its place among the commands in flight, given back with the answer.
    pub permit: Permit,
    /// Held while it is about to be staged.
    pub deciding: Option<Deciding>,
    /// Its number in the order in which the worker got its commands.
    pub arrival: u64,
    /// The worker's number when its id was looked up and not found.
    pub looked_up_at: Option<u64>,
    /// How often others wrote to the stream before it was committed.
    pub conflicts: u32,
    /// A fault has given it one more try in a fresh instance.
    pub was_tried_again: bool,
    /// The store was asked whether there is a newer snapshot than its worker knows.
    pub snapshot_was_sought: bool,
}

impl Request {
    /// The caller's id, if the caller chose one.
    pub fn callers_id(&self) -> Option<&CommandId> {
        Some(&self.command.id).filter(|id| id.is_callers())
    }

    /// Answers; the caller may have gone.
    pub fn answer(self, answer: Result<Executed, Error>) {
        drop(self.permit);
        _ = self.reply.send(answer);
    }

    /// Gives the command the canonical type and, where the caller named none, the
    /// current schema version, both by the manifest of the decider that is about to
    /// decide: another one may have been deployed since the command came.
    pub fn fit(&mut self, manifest: &Manifest) {
        let known = manifest.command(self.given_name.as_str());
        let name = known.map_or(&self.given_name, |known| &known.name);
        let current = known.map_or(1, |known| known.schema_version);
        let schema_version = self.given_version.unwrap_or(current);
        if self.command.name != *name || self.command.schema_version != schema_version {
            let command = Arc::make_mut(&mut self.command);
            command.name = name.clone();
            command.schema_version = schema_version;
        }
    }

    /// Answers with what was recorded under its id.
    pub fn replay(self, known: &KnownCommit) {
        let recorded = known.record.as_ref().map(|record| &record.name);
        let answer = if recorded == Some(&self.given_name) {
            let record = CommandRecord {
                name: self.given_name.clone(),
                ..(*self.command).clone()
            };
            replayed(self.stream.clone(), &record, known)
        } else {
            replayed(self.stream.clone(), &self.command, known)
        };
        self.answer(answer);
    }
}

/// The answer to a request whose id is known: what was recorded, if it was the same
/// request.
pub fn replayed(
    stream: StreamId,
    record: &CommandRecord,
    known: &KnownCommit,
) -> Result<Executed, Error> {
    let recorded = known.record.as_ref();
    if !recorded.is_some_and(|recorded| recorded.is_repeated_by(record)) {
        let id = record.id.clone();
        return Err(Error::IdempotencyKeyReused { stream, id });
    }
    Ok(replay(stream, known))
}

/// A recorded outcome as the answer to a repeated request.
pub fn replay(stream: StreamId, known: &KnownCommit) -> Executed {
    let last = known.events.last();
    Executed {
        stream,
        version: last.map(|event| event.version).unwrap_or_default(),
        position: last.map(|event| event.position),
        events: known.events.clone(),
        replayed: true,
        module: known.data.module,
        fuel: known.data.fuel,
    }
}

/// The answer to a request that has been committed.
pub fn executed(
    stream: StreamId,
    events: Vec<NewEvent>,
    appended: &Appended,
    decided: Option<Decided>,
) -> Executed {
    let events: Vec<KnownEvent> = events
        .into_iter()
        .zip(&appended.positions)
        .enumerate()
        .map(|(offset, (event, position))| KnownEvent {
            id: event.id,
            name: event.name,
            version: appended.first_version.plus(offset),
            position: *position,
            body: event.body,
        })
        .collect();
    Executed {
        stream,
        version: Version((appended.first_version.0 + events.len() as u64).saturating_sub(1)),
        position: appended.positions.last().copied(),
        events,
        replayed: false,
        module: decided.map(|decided| decided.module),
        fuel: decided.map(|decided| decided.fuel),
    }
}
