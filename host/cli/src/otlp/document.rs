//! Commands and folds as a document of OTLP.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quipu::meters::{CommandSpans, FoldSpan, Outcome, PhaseSpan, SpanIds};
use serde_json::{Value, json};

use super::Traced;
use super::settings::Settings;

/// Kinds of spans: within the host, what a caller asked for, and what is done with its result later.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const CONSUMER: u8 = 5;
/// The status of a span that failed.
const ERROR: u8 = 2;

/// Converts moments of the process to times of day.
pub struct Clock {
    then: Instant,
    at: u128,
}

impl Clock {
    pub fn new(then: Instant, at: SystemTime) -> Self {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self { then, at }
    }

    fn nanos(&self, moment: Instant) -> String {
        let after = moment.saturating_duration_since(self.then).as_nanos();
        let before = self.then.saturating_duration_since(moment).as_nanos();
        (self.at + after).saturating_sub(before).to_string()
    }
}

/// The document of a request.
pub fn of(batch: &[Traced], settings: &Settings, clock: &Clock) -> String {
    let spans = batch.iter().flat_map(|traced| match traced {
        Traced::Command(command) => spans(command, clock),
        Traced::Fold(fold) => vec![fold_span(fold, clock)],
    });
    let spans: Vec<Value> = spans.collect();
    let resource = settings.resource.iter();
    let resource: Vec<Value> = resource.map(|(name, value)| text(name, value)).collect();
    let document = json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{
            "scope": {"name": "quipu", "version": env!("CARGO_PKG_VERSION")},
            "spans": spans,
        }],
    }]});
    document.to_string()
}

/// A command and its phases. It belongs to the trace of its caller, or begins one.
fn spans(command: &CommandSpans, clock: &Clock) -> Vec<Value> {
    let parent = command.traceparent.as_deref().and_then(SpanIds::of_caller);
    let (trace, root) = (command.ids.trace(), command.ids.span());
    let name = command.name.as_str();
    let mut span = json!({
        "traceId": trace,
        "spanId": root,
        "name": format!("command {} {name}", command.stream.category()),
        "kind": SERVER,
        "startTimeUnixNano": clock.nanos(command.begun),
        "endTimeUnixNano": clock.nanos(command.ended),
        "attributes": attributes(command),
    });
    if let Some(parent) = parent {
        span["parentSpanId"] = parent.span().into();
    }
    if is_error(command.outcome) {
        span["status"] = json!({"code": ERROR, "message": command.outcome.as_str()});
    }
    let phases = command.phases.iter();
    let phases = phases.map(|phase| phase_span(phase, &trace, &root, clock));
    std::iter::once(span).chain(phases).collect()
}

fn phase_span(phase: &PhaseSpan, trace: &str, parent: &str, clock: &Clock) -> Value {
    json!({
        "traceId": trace,
        "spanId": span_id(),
        "parentSpanId": parent,
        "name": format!("quipu.{}", phase.phase.as_str()),
        "kind": INTERNAL,
        "startTimeUnixNano": clock.nanos(phase.begun),
        "endTimeUnixNano": clock.nanos(phase.ended),
    })
}

/// A fold is a trace of its own, with links to those of the requests whose events it folds.
fn fold_span(fold: &FoldSpan, clock: &Clock) -> Value {
    let links = fold.links.iter();
    let links = links.map(|it| json!({"traceId": it.trace(), "spanId": it.span()}));
    let links: Vec<Value> = links.collect();
    let mut span = json!({
        "traceId": fold.ids.trace(),
        "spanId": fold.ids.span(),
        "name": format!("fold {}", fold.projection),
        "kind": CONSUMER,
        "startTimeUnixNano": clock.nanos(fold.begun),
        "endTimeUnixNano": clock.nanos(fold.ended),
        "attributes": [
            text("quipu.projection", &fold.projection),
            text("quipu.module", &fold.module.to_string()),
            number("quipu.events", fold.events as u64),
            number("quipu.position.first", fold.first.0),
            number("quipu.position", fold.last.0),
        ],
        "links": links,
    });
    if fold.has_failed {
        span["status"] = json!({"code": ERROR, "message": "an event can't be folded"});
    }
    span
}

fn span_id() -> String {
    format!("{:016x}", rand::random::<u64>().max(1))
}

/// A rejection is an answer of the domain, not an error.
fn is_error(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Fault | Outcome::Overloaded | Outcome::Failed
    )
}

fn attributes(command: &CommandSpans) -> Vec<Value> {
    let mut attributes = vec![
        text("quipu.stream", command.stream.as_str()),
        text("quipu.category", command.stream.category()),
        text("quipu.command.type", command.name.as_str()),
        text("quipu.command.id", command.id.as_str()),
        text("quipu.outcome", command.outcome.as_str()),
    ];
    if let Some(module) = command.module {
        attributes.push(text("quipu.module", &module.to_string()));
    }
    let numbers = [
        ("quipu.fuel", command.fuel),
        ("quipu.version", command.version.map(|version| version.0)),
        (
            "quipu.position",
            command.position.map(|position| position.0),
        ),
    ];
    for (name, given) in numbers {
        attributes.extend(given.map(|given| number(name, given)));
    }
    attributes
}

/// 64-bit numbers are texts in the JSON of protocol buffers.
fn number(name: &str, value: u64) -> Value {
    json!({"key": name, "value": {"intValue": value.to_string()}})
}

fn text(name: &str, value: &str) -> Value {
    json!({"key": name, "value": {"stringValue": value}})
}
