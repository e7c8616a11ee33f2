use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::{Error, Permit};
use crate::commit::Deciding;
use crate::log_context::{self, LoggedCommand};
use crate::meters::{CommandSpans, Meters, Outcome, Phase, PhaseSpan, Recording};
use crate::model::{
    CommandId, CommandRecord, Digest, ExpectedVersion, Name, NewEvent, Position, StreamId, Version,
};
use crate::runtime::Manifest;
use crate::store::{Appended, Decided, KnownCommit, KnownEvent};

/// An executed command or direct append.
#[derive(Debug, Clone)]
pub struct Executed {
    /// The stream.
    pub stream: StreamId,
    /// Version of the stream after the last event, or its current version without events.
    pub version: Version,
    /// Position of the last event. `None` without events.
    pub position: Option<Position>,
    /// The events.
    pub events: Vec<KnownEvent>,
    /// Whether this is the recorded outcome of an earlier request.
    pub replayed: bool,
    /// The module that decided. `None` when the id belongs to a direct append.
    pub module: Option<Digest>,
    /// Fuel used by the decision.
    pub fuel: Option<u64>,
}

impl Executed {
    /// Whether the request created the stream: its first event is the first of the stream.
    pub fn has_created(&self) -> bool {
        let first = self.events.first();
        first.is_some_and(|event| event.version == Version(1))
    }
}

/// A command on its way through a worker.
pub struct Request {
    pub stream: StreamId,
    pub command: Arc<CommandRecord>,
    /// Type given by the caller. It may be an alias by now.
    pub given_name: Name,
    /// Schema version given by the caller.
    pub given_version: Option<u32>,
    pub expected: ExpectedVersion,
    /// End of the period in which the command is re-decided after conflicts.
    pub deadline: Instant,
    pub reply: oneshot::Sender<Result<Executed, Error>>,
    /// Permit for a command in flight, returned with the answer.
    pub permit: Permit,
    /// Present while the command is about to be staged.
    pub deciding: Option<Deciding>,
    /// Number in the order in which the worker received its commands.
    pub arrival: u64,
    /// The worker's number when the id was looked up and not found.
    pub looked_up_at: Option<u64>,
    /// How often others wrote to the stream before the command was committed.
    pub conflicts: u32,
    /// Whether a fault has caused a second try in a new instance.
    pub was_tried_again: bool,
    /// Whether the store was asked for a newer snapshot than the worker knows.
    pub snapshot_was_sought: bool,
    /// Whether it was reported that the data do not match their schema.
    pub was_reported: bool,
    pub meters: Arc<Meters>,
    /// When the host took the command.
    pub begun: Instant,
    /// The phase that the command is in, and since when.
    pub phase: (Phase, Instant),
    /// The phases so far; none for a command that is not traced.
    pub spans: Option<Recording>,
}

impl Request {
    /// Returns the id, if the caller chose it.
    pub fn callers_id(&self) -> Option<&CommandId> {
        Some(&self.command.id).filter(|id| id.is_callers())
    }

    /// Begins the next phase.
    pub fn enter(&mut self, next: Phase) {
        let (phase, since) = self.phase;
        let now = Instant::now();
        self.meters.phase(phase, now.duration_since(since));
        self.span(phase, since, now);
        self.phase = (next, now);
    }

    /// Adds a part of the command's time to its trace, if it is traced.
    pub fn span(&mut self, phase: Phase, begun: Instant, ended: Instant) {
        if let Some(spans) = &mut self.spans {
            spans.phases.push(PhaseSpan {
                phase,
                begun,
                ended,
            });
        }
    }

    /// The command, for lines of the log.
    pub fn logged(&self) -> LoggedCommand {
        let ids = self.spans.as_ref().map(|recording| recording.ids);
        LoggedCommand::new(&self.stream, &self.command, ids)
    }

    /// Sends the answer. The caller may have gone.
    pub fn answer(mut self, answer: Result<Executed, Error>) {
        let category = self.stream.category();
        let outcome = outcome(&answer);
        if let Err(error) = &answer {
            self.report(outcome, error);
        }
        self.meters.command(category, outcome, self.begun.elapsed());
        if let Some(Recording { ids, phases }) = self.spans.take() {
            let executed = answer.as_ref().ok();
            self.meters.spans.end(CommandSpans {
                stream: self.stream.clone(),
                name: self.command.name.clone(),
                id: self.command.id.clone(),
                ids,
                traceparent: self.command.context.traceparent.clone(),
                outcome,
                module: executed.and_then(|it| it.module),
                fuel: executed.and_then(|it| it.fuel),
                version: executed.map(|it| it.version),
                position: executed.and_then(|it| it.position),
                begun: self.begun,
                ended: Instant::now(),
                phases,
            });
        }
        drop(self.permit);
        _ = self.reply.send(answer);
    }

    /// Writes a line about a command that was not executed because of its guest, the store or other
    /// writers. Other errors are those of callers.
    fn report(&self, outcome: Outcome, error: &Error) {
        let message = match (outcome, error) {
            (Outcome::Fault, _) => "a command was not executed, because a guest failed",
            (Outcome::Failed, _) => "a command was not executed, because the store failed",
            (_, Error::Conflict(_)) => {
                "a command was not executed, because others wrote to its stream until its deadline"
            }
            _ => return,
        };
        if let Some(unreported) = log_context::may_report() {
            let _line = self.logged().enter();
            tracing::warn!(command = %self.command.name, %error, unreported, "{message}");
        }
    }

    /// Sets the canonical type and, if the caller gave none, the current schema version. Both come
    /// from the manifest of the decider that is about to decide, because another one may have been
    /// deployed since the command arrived.
    pub fn fit(&mut self, manifest: &Manifest) {
        let (name, schema_version) = fitting(manifest, &self.given_name, self.given_version);
        if self.command.name != *name || self.command.schema_version != schema_version {
            let command = Arc::make_mut(&mut self.command);
            command.name = name.clone();
            command.schema_version = schema_version;
        }
    }

    /// Answers with the recorded outcome of the id.
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

/// The canonical type of a command, and the schema version of its data, as a manifest says.
pub fn fitting<'a>(
    manifest: &'a Manifest,
    given_name: &'a Name,
    given_version: Option<u32>,
) -> (&'a Name, u32) {
    let known = manifest.command(given_name.as_str());
    let name = known.map_or(given_name, |known| &known.name);
    let current = known.map_or(1, |known| known.schema_version);
    (name, given_version.unwrap_or(current))
}

/// How a command ended.
pub fn outcome(answer: &Result<Executed, Error>) -> Outcome {
    let error = match answer {
        Ok(executed) if executed.replayed => return Outcome::Replayed,
        Ok(_) => return Outcome::Accepted,
        Err(error) => error,
    };
    match error.code() {
        "rejected" => Outcome::Rejected,
        "wrong-expected-version" | "conflict" => Outcome::Conflict,
        "guest-fault" | "projection-failing" => Outcome::Fault,
        "overloaded" => Outcome::Overloaded,
        "store-unavailable" | "store-damaged" | "events-lost" => Outcome::Failed,
        _ => Outcome::Refused,
    }
}

/// Returns the answer to a request whose id is known: the recorded outcome, if it was the same
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

/// Converts a recorded outcome to the answer to a repeated request.
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

/// Returns the answer to a request that has been committed.
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
