//! Random releases, rollbacks, events and kills: once builds are settled, their documents equal
//! those of a rebuild from the first event and those of an imported copy. States equal the fold
//! from the first event. No read claims to be fresh while its documents differ.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream;
use quipu::deploy::{ProjectionChanges, Release};
use quipu::engine::At;
use quipu::model::{Command, Lifecycle, OnError, SettingsChange, StreamId};
use quipu::projection::{Action, Freshness, Query};
use quipu::store::Role;
use quipu::{Demand, Deploy, Host};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{PATIENCE, Place, build, on_every_store, seed};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::json;

use super::child::Projector;
use super::support::{NOTES, build_of, export, is_settled, patient};

on_every_store!(
    documents_equal_those_of_a_rebuild_after_random_releases,
    documents_equal_those_of_a_rebuild_after_random_releases_and_restarts,
    documents_equal_those_of_a_rebuild_after_releases_that_are_killed,
);

type Documents = BTreeMap<String, String>;

const STREAMS: usize = 4;

fn stream_of(number: usize) -> StreamId {
    build::stream(&format!("stock-{number}"))
}

async fn documents_equal_those_of_a_rebuild_after_random_releases(place: Place) {
    for seed in seed::seeds(1) {
        let own = place.another();
        let mut history = History::begin(&own, seed).await;
        for _ in 0..rounds() {
            history.round().await;
        }
        history.host.shutdown().await.unwrap();
    }
}

async fn documents_equal_those_of_a_rebuild_after_random_releases_and_restarts(place: Place) {
    for seed in seed::seeds(1) {
        let own = place.another();
        let mut history = History::begin(&own, seed).await;
        for _ in 0..rounds() {
            history.round().await;
            if history.random.random_bool(0.4) {
                history.restart(&own).await;
            }
        }
        history.host.shutdown().await.unwrap();
    }
}

async fn documents_equal_those_of_a_rebuild_after_releases_that_are_killed(place: Place) {
    for seed in seed::seeds(1) {
        let own = place.another();
        let mut history = History::begin(&own, seed).await;
        // Each round ends one process and starts two.
        for _ in 0..rounds().div_ceil(2) {
            history.round().await;
            history.killed(&own).await;
            history.check().await;
        }
        history.host.shutdown().await.unwrap();
    }
}

/// Rounds of one seed; more of them with `QUIPU_LONG`.
fn rounds() -> usize {
    match std::env::var_os("QUIPU_LONG") {
        None => 4,
        Some(_) => 60,
    }
}

/// One store, and the random actions on it.
struct History {
    host: Host,
    random: StdRng,
    seed: u64,
    place: Place,
    /// The version of the projection, which is incremented with each change of its sources.
    version: u32,
    builds: u32,
}

/// Deciders of one category with each other's names of events, aliases and steps.
fn decider(number: u32, version: u32) -> Probe {
    let probe = probe("stock").version(&format!("1.0.{version}"));
    let to = &[("goods-received", 1)];
    match number {
        0 => probe.event("received", 1).event("corrected", 1),
        1 => probe.event("goods-received", 1).event("corrected", 1).step(
            "stock",
            ("received", 1),
            to,
        ),
        2 => probe
            .event("goods-received", 1)
            .event("corrected", 1)
            .step_that("stock", ("received", 1), to, "twice"),
        3 => probe
            .event("received", 1)
            .event_once_called("counted", 1, &["corrected"]),
        4 => probe.event("received", 2).event("corrected", 1).step(
            "stock",
            ("received", 1),
            &[("received", 2)],
        ),
        _ => probe
            .event("corrected", 1)
            .step(
                "stock",
                ("received", 1),
                &[("corrected", 1), ("corrected", 1)],
            )
            .step("stock", ("goods-received", 1), &[]),
    }
}

impl History {
    async fn begin(place: &Place, seed: u64) -> Self {
        let host = patient(place).await;
        let mut history = Self {
            host,
            random: seed::random(seed),
            seed,
            place: place.another(),
            version: 0,
            builds: 0,
        };
        let release = [history.decider(), history.views()];
        history.release(&release).await;
        history
    }

    async fn restart(&mut self, place: &Place) {
        self.stop().await;
        self.open(place).await;
    }

    /// Leaves the store to others; a host on a temporary store replaces the one that had it.
    async fn stop(&mut self) {
        let memory = Place::memory();
        let host = std::mem::replace(&mut self.host, patient(&memory).await);
        host.shutdown().await.unwrap();
    }

    async fn open(&mut self, place: &Place) {
        let spare = std::mem::replace(&mut self.host, patient(place).await);
        spare.shutdown().await.unwrap();
    }

    /// Another process activates a release, and is killed during or soon after it.
    async fn killed(&mut self, place: &Place) {
        let probes = match self.random.random_range(0..3) {
            0 => vec![self.decider()],
            1 => vec![self.views()],
            _ => vec![self.views(), self.decider()],
        };
        let mut paths = Vec::new();
        for (number, probe) in probes.iter().enumerate() {
            let path = place.path(&format!("release-{number}.wasm"));
            std::fs::write(&path, probe.component()).unwrap();
            paths.push(path.to_str().unwrap().to_owned());
        }
        self.stop().await;
        let release = [format!("release={}", paths.join(","))];
        let mut process = Projector::start(place, Duration::from_millis(500), &release);
        process.until("started");
        if self.random.random_bool(0.5) {
            process.until(&release[0]);
        }
        let pause = Duration::from_micros(self.random.random_range(0..100_000));
        std::thread::sleep(pause);
        process.kill();
        eprintln!("seed {}: killed {pause:?} later", self.seed);
        self.open(place).await;
    }

    fn decider(&mut self) -> Probe {
        self.builds += 1;
        decider(self.random.random_range(0..6), self.builds)
    }

    /// The next version of the projection, with its own sources.
    fn views(&mut self) -> Probe {
        self.version += 1;
        let all = [
            ("received", 0),
            ("goods-received", 1),
            ("corrected", 0),
            ("counted", 1),
        ];
        let named: Vec<_> = all
            .into_iter()
            .filter(|_| self.random.random_bool(0.7))
            .collect();
        let sources = json!([{"category": "stock", "events": named}]);
        probe("stock_views")
            .version(&format!("1.0.{}", self.version))
            .projection(NOTES, self.version, json!({"sources": sources}))
    }

    async fn release(&mut self, probes: &[Probe]) {
        let mut release = Release::default();
        for probe in probes {
            let uploaded = self.host.upload(probe.component()).await.unwrap();
            release.digests.push(uploaded.module.digest());
        }
        let inline = self.random.random_bool(0.2);
        let change = SettingsChange {
            lifecycle: Some(if inline {
                Lifecycle::Inline
            } else {
                Lifecycle::Async
            }),
            on_error: Some(if self.random.random_bool(0.5) {
                OnError::Park
            } else {
                OnError::Skip
            }),
        };
        let has_views = probes.iter().any(|probe| probe.defines(NOTES));
        let keeping = ProjectionChanges {
            changes: has_views
                .then(|| (NOTES.to_owned(), change))
                .into_iter()
                .collect(),
            ..ProjectionChanges::default()
        };
        self.activate(release, &keeping).await;
    }

    /// Activates, and reads immediately: a read that claims to be fresh has to be right. A new
    /// version has its own documents; until it is active, those of the previous version are right.
    async fn activate(&mut self, release: Release, keeping: &ProjectionChanges) {
        let is_new = !keeping.changes.is_empty();
        self.host
            .deploy(
                Deploy::new(release)
                    .preflight(Demand::Skip)
                    .projections(keeping.clone()),
            )
            .await
            .unwrap();
        let early = fresh(&self.host).await;
        let found = self.settled().await;
        if let Some(early) = early.filter(|_| !is_new) {
            assert_eq!(early, found, "seed {}: a read was not fresh", self.seed);
        }
    }

    /// Rolls back to the previous release; its documents may be of another version.
    async fn go_back(&mut self, release: Release) {
        let keeping = ProjectionChanges::default();
        let gone = self
            .host
            .deploy(
                Deploy::new(release)
                    .preflight(Demand::Skip)
                    .projections(keeping.clone()),
            )
            .await;
        gone.unwrap();
        self.settled().await;
    }

    async fn round(&mut self) {
        for _ in 0..self.random.random_range(1..5) {
            self.record().await;
        }
        match self.random.random_range(0..6) {
            0 | 1 => {
                let decider = self.decider();
                self.release(&[decider]).await;
            }
            2 => {
                let views = self.views();
                self.release(&[views]).await;
            }
            3 => {
                let release = [self.views(), self.decider()];
                self.release(&release).await;
            }
            4 => {
                let name = ["stock", "stock_views"][self.random.random_range(0..2)];
                if let Some(back) = self.host.release_before(name).await.unwrap() {
                    self.go_back(back).await;
                }
            }
            _ => {}
        }
        for _ in 0..self.random.random_range(0..3) {
            self.record().await;
        }
        self.check().await;
    }

    /// Records an event that the active decider declares; the decider refuses a stream that it
    /// cannot read.
    async fn record(&mut self) {
        let digest = self.host.plan().active("stock").unwrap();
        let module = self.host.module(digest).await.unwrap();
        let events = &module.manifest().events;
        let event = &events[self.random.random_range(0..events.len())];
        let n = self.random.random_range(1..100);
        let command = json!([[event.name.as_str(), {"n": n}]]).to_string();
        let command = Command::new("note", command).unwrap();
        let stream = self.random.random_range(0..STREAMS);
        _ = self.host.execute(&stream_of(stream), command).await;
        if self.random.random_bool(0.2) {
            _ = self.host.snapshot(&stream_of(stream)).await;
        }
    }

    /// Checks that states read with snapshots equal the fold of all events.
    async fn check_states(&self) {
        let active = self.host.plan().active("stock");
        for stream in (0..STREAMS).map(stream_of) {
            let (host, stream) = (&self.host, &stream);
            let state = |module| async move {
                let view = host.state_at(stream, At::Now, module).await;
                view.map_or_else(
                    |error| format!("{}: {error}", error.code()),
                    |view| view.state,
                )
            };
            let (found, folded) = (state(None).await, state(active).await);
            assert_eq!(found, folded, "seed {}: the state of {stream}", self.seed);
        }
    }

    /// Waits until there is one build that matches the current plan. If it waits for an operator,
    /// because it has different sources, it is confirmed.
    async fn settled(&self) -> Documents {
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            let status = self.host.projection(NOTES).await.unwrap();
            let next = build_of(&status, Role::Next);
            if next.as_ref().is_some_and(|next| next.waits.is_some()) {
                _ = self.host.control_projection(NOTES, Action::Switch).await;
            }
            if is_settled(&self.host, &status) {
                return unread(&self.host).await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = self.host.projection(NOTES).await;
        panic!("seed {}: never settled: {status:#?}", self.seed);
    }

    async fn check(&mut self) {
        let found = self.settled().await;
        self.check_states().await;
        let file = export(&self.host).await;
        let place = self.place.another();
        let copy = History {
            host: patient(&place).await,
            random: seed::random(self.seed),
            seed: self.seed,
            place,
            version: 0,
            builds: 0,
        };
        let lines = stream::iter([Ok::<_, std::io::Error>(file.into())]);
        copy.host.import(lines, &mut |_| {}).await.unwrap();
        let imported = copy.settled().await;
        assert_eq!(imported, found, "seed {}: an imported copy", self.seed);
        copy.host.shutdown().await.unwrap();
        let order = Action::Rebuild { hold: false };
        self.host.control_projection(NOTES, order).await.unwrap();
        let rebuilt = self.settled().await;
        assert_eq!(rebuilt, found, "seed {}: a rebuild", self.seed);
    }
}

/// Every document, even with parked events.
async fn unread(host: &Host) -> Documents {
    let query = Query {
        limit: 1_000,
        ..Query::default()
    };
    let page = host
        .views(NOTES, &query, Freshness::default())
        .await
        .unwrap();
    let views = page.documents.into_iter();
    views
        .map(|view| (view.key.to_string(), view.document.to_string()))
        .collect()
}

/// Every document, if they are as fresh as the log without waiting.
async fn fresh(host: &Host) -> Option<Documents> {
    let freshness = Freshness {
        after: host.log_head().await.unwrap(),
        wait: Duration::ZERO,
    };
    let query = Query {
        limit: 1_000,
        ..Query::default()
    };
    let page = host.views(NOTES, &query, freshness).await.ok()?;
    assert!(!page.is_stale);
    let views = page.documents.into_iter();
    Some(
        views
            .map(|view| (view.key.to_string(), view.document.to_string()))
            .collect(),
    )
}
