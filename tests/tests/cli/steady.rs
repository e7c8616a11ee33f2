//! A host under mixed load with many deployments takes no more memory and no more handles
//! after a while. With `QUIPU_LONG=1` for ten minutes and with 500 deployments.
//!
//! The memory still rises by some MiB: the page caches of SQLite grow with the file, up to their
//! bounds, and the allocator holds what is free. What is allocated is flat, as a heap profiler
//! shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use quipu_tests::{Place, examples, on_every_store, seed};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::program::Served;

on_every_store!(memory_and_handles_are_flat_under_mixed_load_with_many_deployments);

/// What a process holds.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub handles: usize,
    /// Of its memory: what is its own, in MiB.
    pub resident: usize,
}

impl Held {
    pub fn by(host: &Served) -> Self {
        let process = format!("/proc/{}", host.child.id());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("RssAnon:"));
        let kibibytes = line.unwrap().trim().trim_end_matches(" kB");
        Self {
            handles: std::fs::read_dir(format!("{process}/fd")).unwrap().count(),
            resident: kibibytes.parse::<usize>().unwrap() / 1024,
        }
    }
}

/// Compiled modules that a host may keep, each with handles of its own.
const MODULES_KEPT: usize = 24;

struct Load {
    url: String,
    client: Client,
    /// A permit for each request. Closed at the end.
    permits: Semaphore,
    answered: AtomicU64,
}

impl Load {
    async fn post(&self, path: &str, body: Value) -> Response {
        let request = self.client.post(format!("{}{path}", self.url));
        request.json(&body).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.url));
        request.send().await.unwrap()
    }

    /// Commands, rejections, raw appends, reads and subscriptions, one after the other.
    async fn work(self: Arc<Self>, number: u64) {
        for n in 0.. {
            match self.permits.acquire().await {
                Ok(permit) => permit.forget(),
                Err(_) => return,
            }
            let account = format!("/v1/streams/account-{}", (number * 7 + n) % 500);
            let answer = match n % 8 {
                0 => {
                    let open = json!({"type": "open", "data": {"owner": "ann"}});
                    self.post(&format!("{account}/commands"), open).await
                }
                1 => {
                    let much = json!({"type": "withdraw", "data": {"amount": 1_000_000_000}});
                    self.post(&format!("{account}/commands"), much).await
                }
                2 => {
                    let noted = json!({"events": [{"type": "noted", "data": {"n": n}}]});
                    self.post(&format!("/v1/streams/note-{}/events", n % 50), noted)
                        .await
                }
                3 => self.get(&format!("{account}/events?limit=10")).await,
                4 => self.get("/v1/events?direction=backward&limit=50").await,
                5 => {
                    let subscribed = self.get("/v1/events/subscribe?after=now").await;
                    let mut parts = subscribed.bytes_stream();
                    // Until it has caught up; then the connection is closed.
                    parts.next().await.unwrap().unwrap();
                    continue;
                }
                _ => {
                    let deposit = json!({"type": "deposit", "data": {"amount": 1}});
                    self.post(&format!("{account}/commands"), deposit).await
                }
            };
            let status = answer.status().as_u16();
            assert!(
                matches!(status, 200 | 404 | 409 | 422 | 429 | 503),
                "{status}: {}",
                answer.text().await.unwrap()
            );
            answer.bytes().await.unwrap();
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Activates another module of the same component.
    async fn deploy(&self, number: u32) {
        let mut component = examples::account();
        // A custom section, so that its digest is another one.
        component.extend([0, 6, 1, b'x']);
        component.extend(number.to_le_bytes());
        let upload = self.client.post(format!("{}/v1/modules", self.url));
        let upload = upload.header("Content-Type", "application/wasm");
        let module = upload.body(component).send().await.unwrap();
        let module: Value = module.json().await.unwrap();
        let deployment = json!({"digest": module["digest"], "preflight": "skip"});
        let answer = self.post("/v1/deployments", deployment).await;
        assert_eq!(answer.status().as_u16(), 201, "{module}");
    }
}

async fn memory_and_handles_are_flat_under_mixed_load_with_many_deployments(place: Place) {
    let (deployments, pause, requests) = match seed::is_long() {
        true => (500, Duration::from_millis(1_200), 20_000),
        false => (40, Duration::ZERO, 400),
    };
    // By then the host keeps as many modules as it ever does.
    let warm = (deployments / 4).max(20);
    let host = Served::start_on(&place, "");
    let load = Arc::new(Load {
        url: host.url.clone(),
        client: Client::builder().no_proxy().build().unwrap(),
        permits: Semaphore::new(0),
        answered: AtomicU64::new(0),
    });
    let clients = (0..8).map(|number| tokio::spawn(Arc::clone(&load).work(number)));
    let clients: Vec<_> = clients.collect();
    let (mut before, begun) = (None, Instant::now());
    for number in 0..deployments {
        let (from, due) = (load.answered.load(Ordering::SeqCst), Instant::now() + pause);
        // Many of the requests arrive while the module is compiled.
        load.permits.add_permits(requests);
        load.deploy(number).await;
        // The module is used before the next one takes its place.
        while load.answered.load(Ordering::SeqCst) < from + 50 || Instant::now() < due {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let held = Held::by(&host);
        if number + 1 == warm {
            before = Some(held);
        }
        if number % (deployments / 20) == 0 {
            let (seconds, answered) = (begun.elapsed().as_secs(), &load.answered);
            eprintln!("{seconds} s, {number} deployments, {answered:?} answers: {held:?}");
        }
    }
    let (before, after) = (before.unwrap(), Held::by(&host));
    load.permits.close();
    for client in clients {
        client.await.unwrap();
    }
    eprintln!("{before:?} after {warm} deployments, {after:?} after {deployments}");
    assert!(
        after.handles <= before.handles + MODULES_KEPT,
        "{before:?} {after:?}"
    );
    let more = after.resident.saturating_sub(before.resident);
    assert!(more <= 64, "{before:?} {after:?}");
}
