//! Spans of commands and of folds, for traces.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::{Outcome, Phase};
use crate::model::{CommandId, Digest, Name, Position, StreamId, Version};

/// Traces that the span of a fold links to, at most.
const LINKS_MAX: usize = 32;

/// Receives spans. It must not block: the threads that decide and commit call it.
pub trait SpanSink: Send + Sync {
    /// Returns whether a command is traced, by the trace context of its caller.
    fn wants(&self, traceparent: Option<&str>) -> bool;

    /// Takes a command that was answered.
    fn take(&self, command: CommandSpans);

    /// Takes a fold that has ended.
    fn take_fold(&self, fold: FoldSpan);
}

/// The ids of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanIds {
    trace: u128,
    span: u64,
}

impl SpanIds {
    /// A new span, in the trace of the caller or in a new one.
    pub(crate) fn begin(traceparent: Option<&str>) -> Self {
        let of_caller = traceparent.and_then(Self::of_caller);
        Self {
            trace: of_caller.map_or_else(|| rand::random::<u128>().max(1), |it| it.trace),
            span: rand::random::<u64>().max(1),
        }
    }

    /// The span of a `traceparent`; none when it is not well-formed.
    pub fn of_caller(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-').skip(1);
        let mut digits = |length: usize| {
            let part = parts.next().filter(|part| part.len() == length)?;
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            part.bytes().all(is_digit).then_some(part)
        };
        let trace = u128::from_str_radix(digits(32)?, 16).ok()?;
        let span = u64::from_str_radix(digits(16)?, 16).ok()?;
        (trace != 0 && span != 0).then_some(Self { trace, span })
    }

    /// The trace: 32 digits.
    pub fn trace(self) -> String {
        format!("{:032x}", self.trace)
    }

    /// The span: 16 digits.
    pub fn span(self) -> String {
        format!("{:016x}", self.span)
    }
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
    /// The ids of its span.
    pub ids: SpanIds,
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

/// A page of events that a projection folded. It is a trace of its own, because it folds the events
/// of many requests at once; it links to theirs.
#[derive(Debug, Clone)]
pub struct FoldSpan {
    /// The projection.
    pub projection: Arc<str>,
    /// The module that folded.
    pub module: Digest,
    /// The ids of the span.
    pub ids: SpanIds,
    /// Number of events.
    pub events: usize,
    /// Position of the first event.
    pub first: Position,
    /// Position of the last event.
    pub last: Position,
    /// Whether an event could not be folded.
    pub has_failed: bool,
    /// When it began.
    pub begun: Instant,
    /// When it ended. The documents are written later.
    pub ended: Instant,
    /// The spans of the callers that led to the events: the first 32 whose traces are sent. There
    /// is at least one.
    pub links: Vec<SpanIds>,
}

/// The phases of a command that is traced.
#[derive(Debug)]
pub(crate) struct Recording {
    pub ids: SpanIds,
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
    pub(crate) fn begin(&self, traceparent: Option<&str>) -> Option<Recording> {
        let sink = self.0.get()?;
        sink.wants(traceparent).then(|| Recording {
            ids: SpanIds::begin(traceparent),
            phases: Vec::with_capacity(4),
        })
    }

    /// Sends a command to the sink.
    pub(crate) fn end(&self, command: CommandSpans) {
        if let Some(sink) = self.0.get() {
            sink.take(command);
        }
    }

    /// The spans that a fold links to, by the trace contexts of its events.
    pub(crate) fn links<'a>(&self, traceparents: impl Iterator<Item = &'a str>) -> Vec<SpanIds> {
        let mut links = Vec::new();
        let Some(sink) = self.0.get() else {
            return links;
        };
        for traceparent in traceparents {
            if links.len() == LINKS_MAX {
                break;
            }
            if let Some(ids) = SpanIds::of_caller(traceparent)
                && !links.contains(&ids)
                && sink.wants(Some(traceparent))
            {
                links.push(ids);
            }
        }
        links
    }

    /// Sends a fold to the sink.
    pub(crate) fn end_fold(&self, fold: FoldSpan) {
        if let Some(sink) = self.0.get() {
            sink.take_fold(fold);
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

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn ids_are_those_of_a_trace_context() {
        let ids = SpanIds::of_caller(&format!("00-{TRACE}-00f067aa0ba902b7-01")).unwrap();
        assert_eq!(ids.trace(), TRACE);
        assert_eq!(ids.span(), "00f067aa0ba902b7");
        for bad in [
            String::new(),
            "00".to_owned(),
            "00-xyz-1-1".to_owned(),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-+{}-00f067aa0ba902b7-01", &TRACE[1..]),
        ] {
            assert_eq!(SpanIds::of_caller(&bad), None, "{bad}");
        }
    }

    /// Wants the traces that their callers send.
    struct Sampled;

    impl SpanSink for Sampled {
        fn wants(&self, traceparent: Option<&str>) -> bool {
            traceparent.is_some_and(|it| it.ends_with("-01"))
        }

        fn take(&self, _: CommandSpans) {}

        fn take_fold(&self, _: FoldSpan) {}
    }

    #[test]
    fn a_fold_links_to_each_of_the_first_traces_once() {
        let of = |number: usize, flags: &str| format!("00-{number:032x}-{number:016x}-{flags}");
        let sampled = (1..=LINKS_MAX + 1).flat_map(|number| [of(number, "01"), of(number, "01")]);
        let mut all = vec!["bad".to_owned(), of(900, "00")];
        all.extend(sampled);
        let spans = Spans::default();
        let links = |count: usize| spans.links(all.iter().take(count).map(String::as_str));
        assert!(links(all.len()).is_empty());
        spans.send_to(Arc::new(Sampled));
        assert!(links(2).is_empty());
        let expected = |number| SpanIds::of_caller(&of(number, "01")).unwrap();
        assert_eq!(links(6), [expected(1), expected(2)]);
        let expected: Vec<_> = (1..=LINKS_MAX).map(expected).collect();
        assert_eq!(links(all.len()), expected);
    }

    #[test]
    fn a_span_is_in_the_trace_of_its_caller() {
        let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let (one, other) = (
            SpanIds::begin(Some(&traceparent)),
            SpanIds::begin(Some(&traceparent)),
        );
        assert_eq!((one.trace(), other.trace()), (TRACE.into(), TRACE.into()));
        assert_ne!(one.span(), other.span());
        assert_ne!(SpanIds::begin(None).trace(), SpanIds::begin(None).trace());
    }
}
