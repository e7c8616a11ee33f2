//! A host is killed while it catches up, rebuilds, or switches builds: afterwards each event is
//! counted once.

use std::collections::BTreeMap;
use std::time::Duration;

use quipu::Host;
use quipu::engine::Append;
use quipu::model::{Lifecycle, OnError};
use quipu::projection::{Action, Status};
use quipu::store::Role;
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, build, log, on_every_store, seed};
use rand::Rng;
use serde_json::{Value, json};

use super::child::{Projector, written};
use super::support::{NOTES, build_of, deploy, documents, host, settings, until};

on_every_store!(
    a_killed_catch_up_counts_each_event_once,
    a_killed_rebuild_continues_and_counts_each_event_once,
    a_killed_switch_is_done_completely_or_not_at_all,
    a_killed_change_of_lifecycle_counts_each_event_once,
);

const LEASE: Duration = Duration::from_millis(500);
const STREAMS: u64 = 20;

fn notes() -> Probe {
    probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({}))
}

/// Appends many events in one batch.
async fn fill(host: &Host, events: u64) {
    for n in 0..events / 50 {
        let append = Append {
            events: build::events(50),
            into_owned_category: true,
            ..Append::default()
        };
        let stream = build::stream(&format!("note-{}", n % STREAMS));
        host.append(&stream, append).await.unwrap();
    }
}

/// Checks that the documents match the log, and the result of a rebuild.
pub async fn check(host: &Host) {
    let mut expected: BTreeMap<String, (u64, i64, u64)> = BTreeMap::new();
    for event in log::whole(host).await {
        if event.stream.category() == "note" {
            let body: Value = serde_json::from_slice(event.body.bytes()).unwrap();
            let (count, sum, last) = expected.entry(event.stream.to_string()).or_default();
            *count += 1;
            *sum += body["n"].as_i64().unwrap_or_default();
            *last = event.position.0;
        }
    }
    let found = documents(host, NOTES).await;
    let counts = found.iter().map(|(key, document)| {
        let document: Value = serde_json::from_str(document).unwrap();
        let number = |name: &str| document[name].as_u64().unwrap();
        let sum = document["sum"].as_i64().unwrap();
        (key.clone(), (number("count"), sum, number("last")))
    });
    assert_eq!(counts.collect::<BTreeMap<_, _>>(), expected);
    rebuild(host).await;
    assert!(documents(host, NOTES).await == found, "a rebuild differs");
}

/// Rebuilds, and waits until the new build is active.
pub async fn rebuild(host: &Host) {
    host.control_projection(NOTES, Action::Rebuild { hold: false })
        .await
        .unwrap();
    until(host, "rebuilt", has_no_next).await;
}

fn has_no_next(status: &Status) -> bool {
    build_of(status, Role::Next).is_none() && build_of(status, Role::Active).is_some()
}

/// Kills a process repeatedly, at most this long after it reported an action; then checks that
/// everything is correct.
async fn killed(place: &Place, orders: &[&str], after: &str, pause_ms: u64) {
    let mut random = seed::random(seed::seeds(1)[0]);
    let rounds = if seed::is_long() { 20 } else { 3 };
    let path = written(place, &notes());
    let orders: Vec<String> = orders
        .iter()
        .map(|order| order.replace("PATH", path.to_str().unwrap()))
        .collect();
    let after = after.replace("PATH", path.to_str().unwrap());
    for round in 0..rounds {
        let mut projector = Projector::start(place, LEASE, &orders);
        projector.until(&after);
        let pause = Duration::from_micros(random.random_range(0..pause_ms * 1_000));
        std::thread::sleep(pause);
        projector.kill();
        eprintln!("round {round}: killed {pause:?} after {after}");
    }
    let host = host(place).await;
    // The action given last continues.
    let status = host.projection(NOTES).await.unwrap();
    if status.is_held {
        host.control_projection(NOTES, Action::Switch).await.ok();
    }
    until(&host, "done", has_no_next).await;
    check(&host).await;
    host.shutdown().await.unwrap();
}

/// Semantics 9.2.
async fn a_killed_catch_up_counts_each_event_once(place: Place) {
    let first = host(&place).await;
    fill(&first, 3_000).await;
    first.shutdown().await.unwrap();
    killed(&place, &["async=PATH"], "async=PATH", 200).await;
}

/// A store with a projection that has caught up.
async fn prepare(place: &Place, lifecycle: Lifecycle, events: u64) {
    let first = host(place).await;
    fill(&first, events).await;
    deploy(&first, &notes(), settings(lifecycle, OnError::Stop)).await;
    documents(&first, NOTES).await;
    first.shutdown().await.unwrap();
}

async fn a_killed_rebuild_continues_and_counts_each_event_once(place: Place) {
    prepare(&place, Lifecycle::Async, 2_000).await;
    killed(&place, &["noting", "rebuild"], "rebuild", 200).await;
}

async fn a_killed_switch_is_done_completely_or_not_at_all(place: Place) {
    prepare(&place, Lifecycle::Async, 500).await;
    let orders = ["noting", "hold", "ready", "switch"];
    killed(&place, &orders, "ready", 60).await;
    // For an inline projection, the switch is a change of the plan.
    let another = place.another();
    prepare(&another, Lifecycle::Inline, 500).await;
    killed(&another, &orders, "ready", 60).await;
}

async fn a_killed_change_of_lifecycle_counts_each_event_once(place: Place) {
    prepare(&place, Lifecycle::Async, 500).await;
    let orders = [
        "noting",
        "inline=PATH",
        "detach",
        "inline=PATH",
        "detach",
        "inline=PATH",
    ];
    killed(&place, &orders, "noting", 250).await;
}
