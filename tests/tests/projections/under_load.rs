//! Releases of a decider, an upcaster and two projections, one of them inline, back and forth while
//! 64 clients send commands: no command fails, and the documents are right at the end. Runs for a
//! minute with `QUIPU_LONG=1`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quipu::deploy::{ProjectionChanges, Release};
use quipu::model::{Command, Lifecycle, OnError};
use quipu::projection::Action;
use quipu::{Demand, Deploy, Host};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{PATIENCE, Place, build};
use serde_json::json;

use super::support::{documents, is_settled, patient, settings};

const CLIENTS: u64 = 64;
const PAUSE: Duration = Duration::from_millis(500);
const PROJECTIONS: [(&str, Lifecycle); 2] = [
    ("movements", Lifecycle::Async),
    ("levels", Lifecycle::Inline),
];

fn time() -> Duration {
    match std::env::var_os("QUIPU_LONG") {
        Some(_) => Duration::from_secs(60),
        None => Duration::from_secs(4),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_back_and_forth_on_one_host() {
    let place = Place::sqlite();
    release_under_load(vec![patient(&place).await]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn releases_back_and_forth_on_two_hosts() {
    let place = Place::postgres();
    release_under_load(vec![patient(&place).await, patient(&place).await]).await;
}

/// Two releases: in the second, the type has another name, and the step does something else.
fn releases() -> [Vec<Probe>; 2] {
    let one = probe("stock").event("corrected", 1);
    let other = probe("stock")
        .version("2.0.0")
        .event_once_called("counted", 1, &["corrected"])
        .decides("rename");
    let step = |does: &str| {
        let to = &[("corrected", 1)];
        probe("stock_steps").step_that("stock", ("old", 1), to, does)
    };
    let views = |version: &str| {
        let sources = json!([{"category": "stock", "events": [["corrected", 0]]}]);
        PROJECTIONS.map(|(name, _)| {
            probe(&format!("stock_{name}")).version(version).projection(
                name,
                1,
                json!({"sources": sources}),
            )
        })
    };
    let [first, second] = [views("1.0.0"), views("1.0.1")];
    [
        [vec![one, step("lift")], first.into()].concat(),
        [vec![other, step("twice").version("2.0.0")], second.into()].concat(),
    ]
}

async fn release_under_load(hosts: Vec<Host>) {
    let host = hosts[0].clone();
    for client in 0..CLIENTS {
        let stream = build::stream(&format!("stock-{client}"));
        let old = build::event("old", r#"{"n":1}"#);
        host.append(&stream, build::append(vec![old]))
            .await
            .unwrap();
    }
    let mut prepared = Vec::new();
    for probes in releases() {
        let mut release = Release::default();
        for probe in probes {
            let uploaded = host.upload(probe.component()).await.unwrap();
            release.digests.push(uploaded.module.digest());
        }
        prepared.push(release);
    }
    let changes =
        PROJECTIONS.map(|(name, lifecycle)| (name.to_owned(), settings(lifecycle, OnError::Stop)));
    let keeping = ProjectionChanges {
        changes: BTreeMap::from(changes),
        ..ProjectionChanges::default()
    };
    let first = host.deploy(
        Deploy::new(prepared[0].clone())
            .preflight(Demand::Skip)
            .projections(keeping.clone()),
    );
    first.await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (hosts, is_over) = (hosts.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let stream = build::stream(&format!("stock-{client}"));
                let mut round = 0;
                while !is_over.load(Ordering::Relaxed) {
                    round += 1;
                    let command = json!([["corrected", {"n": 1}]]).to_string();
                    let command = Command::new("note", command).unwrap();
                    let host = &hosts[(client as usize + round) % hosts.len()];
                    let answer = host.execute(&stream, command).await;
                    answer.unwrap_or_else(|error| panic!("{client}, {round}: {error}"));
                }
            })
        })
        .collect();
    let (begun, mut number) = (Instant::now(), 0);
    while begun.elapsed() < time() || number <= 2 {
        tokio::time::sleep(PAUSE).await;
        number += 1;
        let release = prepared[number % 2].clone();
        let by = &hosts[number % hosts.len()];
        let keeping = ProjectionChanges::default();
        by.deploy(
            Deploy::new(release)
                .preflight(Demand::Skip)
                .projections(keeping.clone()),
        )
        .await
        .unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    for (name, _) in PROJECTIONS {
        settled(&host, name).await;
        let found = documents(&host, name).await;
        assert_eq!(found.len() as u64, CLIENTS);
        host.control_projection(name, Action::Rebuild { hold: false })
            .await
            .unwrap();
        settled(&host, name).await;
        assert_eq!(documents(&host, name).await, found, "{name}");
    }
    for host in hosts {
        host.shutdown().await.unwrap();
    }
}

async fn settled(host: &Host, name: &str) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let status = host.projection(name).await.unwrap();
        if is_settled(host, &status) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never settled: {:#?}", host.projection(name).await);
}
