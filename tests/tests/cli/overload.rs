//! A host to which far more commands come than it executes: it refuses some at once, takes no more
//! memory after a while, and what it has executed is there once. With `QUIPU_LONG=1` for ten minutes.
//!
//! The number in flight has no bound that is reached here, so what is refused is refused because it
//! would wait for longer than `engine.wait_max_ms`. How long the others wait depends on the machine:
//! `cargo xtask bench --load overload` measures it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use quipu_tests::{Place, on_every_store, seed};
use reqwest::Client;
use serde_json::{Value, json};

use crate::program::Served;
use crate::steady::Held;

on_every_store!(an_overloaded_host_takes_no_more_memory_and_loses_nothing);

/// However slow the machine is, a command of a request with many is executed in time.
const CONFIGURATION: &str = "[engine]\nwait_max_ms = 10\n[http]\nrequest_time_max_ms = 180000\n";
/// Requests with many commands. A host takes fewer than 16,384 commands at once, which is the
/// default of `engine.in_flight_max`, and more than 256, from which on the longest wait counts.
const SENDERS: usize = 4;
/// Streams of each of them. A request has one command for each stream, all in flight at once.
const STREAMS: usize = 256;
/// Clients with one command in flight each. Only these are refused: commands of a request with many
/// wait.
const CLIENTS: usize = 32;
/// Without a refusal among so many commands, the host refuses nothing.
const EXECUTED_MAX: u64 = 100_000;

/// How often a kind of answer came.
#[derive(Default)]
struct Answers {
    executed: Mutex<BTreeMap<String, u64>>,
    refused: AtomicU64,
    is_over: AtomicBool,
}

impl Answers {
    fn executed(&self) -> u64 {
        self.executed.lock().unwrap().values().sum()
    }

    fn refused(&self) -> u64 {
        self.refused.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    fn add(&self, stream: &str) {
        let mut executed = self.executed.lock().unwrap();
        *executed.entry(stream.to_owned()).or_default() += 1;
    }

    /// Sends commands, each as soon as the one before it was answered or refused.
    async fn send(self: Arc<Self>, client: Client, url: String, stream: String) {
        let commands = format!("{url}/v1/streams/{stream}/commands");
        let deposit = json!({"type": "deposit", "data": {"amount": 1}}).to_string();
        while !self.is_over() {
            let request = client.post(&commands).body(deposit.clone());
            let request = request.header("content-type", "application/json");
            let answered = request.send().await.unwrap();
            match answered.status().as_u16() {
                200 => self.add(&stream),
                503 => {
                    let text = answered.text().await.unwrap();
                    assert!(text.contains("\"code\":\"overloaded\""), "{text}");
                    self.refused.fetch_add(1, Ordering::SeqCst);
                }
                status => panic!("{status}: {}", answered.text().await.unwrap()),
            }
        }
    }

    /// Sends requests with a command for each of some streams.
    async fn send_many(self: Arc<Self>, client: Client, url: String, streams: Vec<String>) {
        let deposit = json!({"amount": 1});
        while !self.is_over() {
            for answer in many(&client, &url, &streams, "deposit", &deposit).await {
                match answer["status"].as_u64() {
                    Some(200) => self.add(answer["stream"].as_str().unwrap()),
                    _ => assert_eq!(answer["code"], "overloaded", "{answer}"),
                }
            }
        }
    }
}

/// Sends a command to each of some streams in one request. Returns the answers.
async fn many(
    client: &Client,
    url: &str,
    streams: &[String],
    name: &str,
    data: &Value,
) -> Vec<Value> {
    let mut lines = String::new();
    for stream in streams {
        let line = json!({"stream": stream, "type": name, "data": data});
        lines += &format!("{line}\n");
    }
    let request = client.post(format!("{url}/v1/commands")).body(lines);
    let request = request.header("content-type", "application/x-ndjson");
    let answered = request.send().await.unwrap();
    assert_eq!(answered.status().as_u16(), 200);
    let text = answered.text().await.unwrap();
    let answers: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), streams.len(), "{text}");
    answers
}

/// Names of accounts.
fn accounts(name: &str, number: usize) -> Vec<String> {
    (0..number)
        .map(|it| format!("account-{name}x{it}"))
        .collect()
}

async fn an_overloaded_host_takes_no_more_memory_and_loses_nothing(place: Place) {
    let (executed, time) = match seed::is_long() {
        true => (0, Duration::from_secs(600)),
        false => (8_000, Duration::ZERO),
    };
    let host = Served::start_on(&place, CONFIGURATION);
    let client = Client::builder().no_proxy().build().unwrap();
    let groups: Vec<_> = (0..SENDERS)
        .map(|number| accounts(&number.to_string(), STREAMS))
        .collect();
    let single = accounts("single", CLIENTS);
    let open = json!({"owner": "ann"});
    for streams in groups.iter().chain([&single]) {
        for answer in many(&client, &host.url, streams, "open", &open).await {
            assert_eq!(answer["status"], 200, "{answer}");
        }
    }
    let answers = Arc::new(Answers::default());
    let mut sending = Vec::new();
    for streams in &groups {
        let (client, url) = (client.clone(), host.url.clone());
        let sender = Arc::clone(&answers).send_many(client, url, streams.clone());
        sending.push(tokio::spawn(sender));
    }
    for stream in &single {
        let (client, url) = (client.clone(), host.url.clone());
        let sender = Arc::clone(&answers).send(client, url, stream.clone());
        sending.push(tokio::spawn(sender));
    }
    let (begun, mut before) = (Instant::now(), None);
    while answers.executed() < executed || begun.elapsed() < time || answers.refused() == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let is_warm = answers.executed() >= executed / 4 && begun.elapsed() >= time / 4;
        if is_warm && before.is_none() {
            before = Some(Held::by(&host));
        }
        let number = answers.executed();
        assert!(
            number < EXECUTED_MAX || answers.refused() > 0,
            "{number} commands were executed, and none was refused"
        );
        assert!(sending.iter().all(|it| !it.is_finished()), "a client ended");
    }
    let (before, after) = (before.unwrap(), Held::by(&host));
    answers.is_over.store(true, Ordering::SeqCst);
    for one in sending {
        one.await.unwrap();
    }
    let (number, refused) = (answers.executed(), answers.refused());
    eprintln!("{number} executed, {refused} refused: {before:?} {after:?}");
    assert!(after.handles <= before.handles + 16, "{before:?} {after:?}");
    let more = after.resident.saturating_sub(before.resident);
    assert!(more <= 64, "{before:?} {after:?}");
    let executed = answers.executed.lock().unwrap().clone();
    for stream in groups.iter().flatten().chain(&single) {
        let path = format!("{}/v1/streams/{stream}/state", host.url);
        let state = client.get(path).send().await.unwrap();
        let state: Value = state.json().await.unwrap();
        let executed = executed.get(stream).copied().unwrap_or(0);
        assert_eq!(state["state"]["balance"], executed, "{stream}: {state}");
    }
}
