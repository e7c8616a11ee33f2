//! Spans of commands, for traces.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::{Outcome, Phase};
use crate::model::{CommandId, Digest, Name, Position, StreamId, Version};

/// Receives the spans of commands. It must not block: the threads that decide and commit call it.
pub trait SpanSink: Send + Sync {
    /// Returns whether a command is traced, by the trace context of its caller.
    fn wants(&self, traceparent: Option<&str>) -> bool;

    /// Takes a command that was answered.
    fn take(&self, command: CommandSpans);
}

/// The time that a command spent in a phase.
#[derive(Debug, Clone, Copy)]
pub struct PhaseSpan {
    /// The phase.
    pub phase: Phase,
    /// When it began.
    pub begun: Instant,
    /// When it ended.
    pub ended: Instant,
}

/// A command that was answered, with the times of its phases. It has no data, so many of them take
/// little memory.
#[derive(Debug, Clone)]
pub struct CommandSpans {
    /// The stream.
    pub stream: StreamId,
    /// Type of the command.
    pub name: Name,
    /// Id of the command.
    pub id: CommandId,
    /// The trace context of the caller.
    pub traceparent: Option<Arc<str>>,
    /// How it ended.
    pub outcome: Outcome,
    /// The module that decided, if it was accepted.
    pub module: Option<Digest>,
    /// Fuel of the decision, if it was accepted.
    pub fuel: Option<u64>,
    /// Version of the stream after the command, if it was accepted.
    pub version: Option<Version>,
    /// Position of the last event, if there are events.
    pub position: Option<Position>,
    /// When the host took the command.
    pub begun: Instant,
    /// When it was answered.
    pub ended: Instant,
    /// The phases in their order. A command that was decided twice has some of them twice.
    pub phases: Vec<PhaseSpan>,
}

/// Where spans go; nowhere at first.
#[derive(Default)]
pub struct Spans(OnceLock<Arc<dyn SpanSink>>);

impl Spans {
    /// Sends spans to a sink from now on. The first one stays.
    pub fn send_to(&self, sink: Arc<dyn SpanSink>) {
        _ = self.0.set(sink);
    }

    /// Whether there is a sink.
    pub fn are_sent(&self) -> bool {
        self.0.get().is_some()
    }

    /// Begins to record the phases of a command, if it is traced.
    pub(crate) fn begin(&self, traceparent: Option<&str>) -> Option<Vec<PhaseSpan>> {
        let sink = self.0.get()?;
        sink.wants(traceparent).then(|| Vec::with_capacity(4))
    }

    /// Sends a command to the sink.
    pub(crate) fn end(&self, command: CommandSpans) {
        if let Some(sink) = self.0.get() {
            sink.take(command);
        }
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans")
            .field("are_sent", &self.are_sent())
            .finish()
    }
}
