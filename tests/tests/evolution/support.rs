use quipu::Host;
use quipu::app::Builder;
use quipu::engine::{Options, Policies, Policy};
use quipu::model::{Command, Digest, NewEvent, Position, RecordedEvent, StreamId, Version};
use quipu::store::{Direction, Filter};
use quipu_tests::probe::Probe;
use quipu_tests::{PATIENCE, Place, build, examples};
use serde_json::Value;

/// The stream of most tests.
pub fn thing() -> StreamId {
    build::stream("thing-1")
}

/// An event as it is stored, of any schema version.
pub fn stored(name: &str, schema_version: u32, json: &str) -> NewEvent {
    NewEvent {
        schema_version,
        ..build::event(name, json)
    }
}

/// A host whose workers read pages of few events, with snapshot policies.
pub fn engine(place: &Place, others: Policy) -> Builder {
    place.builder().engine(Options {
        load_page: 7,
        snapshots: Policies {
            others,
            ..Policies::default()
        },
        ..Options::default()
    })
}

/// Uploads a probe and activates it.
pub async fn deploy(host: &Host, probe: &Probe) -> Digest {
    examples::deploy(host, probe.component()).await
}

/// The command that records events, each a type and its data.
pub fn note(events: &Value) -> Command {
    Command::new("note", events.to_string()).unwrap()
}

/// The events of a stream that the active probe has folded.
pub async fn seen(host: &Host, stream: &StreamId) -> Vec<String> {
    seen_in(&host.state(stream).await.unwrap().state)
}

/// The events in a probe's view.
pub fn seen_in(view: &str) -> Vec<String> {
    let view: Value = serde_json::from_str(view).unwrap();
    serde_json::from_value(view["seen"].clone()).unwrap()
}

/// Events as `type@version body`, as a probe folds them.
pub fn texts(events: &[RecordedEvent]) -> Vec<String> {
    let text = |event: &RecordedEvent| {
        let body = event.body.as_json().unwrap();
        format!("{}@{} {body}", event.name, event.schema_version)
    };
    events.iter().map(text).collect()
}

/// A stream's events as a reader of the host sees them.
pub async fn read(host: &Host, stream: &StreamId) -> Vec<RecordedEvent> {
    let page = host.read_stream(stream, Version(1), Direction::Forward, 1_000);
    page.await.unwrap().events
}

/// The events of the log that pass the filter.
pub async fn log(host: &Host, filter: &Filter) -> Vec<RecordedEvent> {
    let page = host.read_log(Position(0), Direction::Forward, 1_000, filter);
    page.await.unwrap().events
}

/// Waits for a background action that is visible only in a count.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        if is_so() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}
