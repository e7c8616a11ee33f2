//! A host to which far more commands come than it executes: it refuses some at once, takes no more
//! memory after a while, and what it has executed is there once. With `QUIPU_LONG=1` for ten minutes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quipu_tests::{Place, on_every_store, seed};
use reqwest::Client;
use serde_json::{Value, json};

use crate::program::Served;
use crate::steady::Held;

on_every_store!(an_overloaded_host_takes_no_more_memory_and_loses_nothing);

const ACCOUNTS: usize = 32;
/// Clients of each account, each with one command in flight: far more than are admitted.
const CLIENTS: usize = 8;

/// How often a kind of answer came.
#[derive(Default)]
struct Answers {
    executed: [AtomicU64; ACCOUNTS],
    refused: AtomicU64,
    is_over: AtomicBool,
}

impl Answers {
    fn executed(&self) -> u64 {
        let each = self.executed.iter();
        each.map(|one| one.load(Ordering::SeqCst)).sum()
    }

    /// Sends commands, each as soon as the one before it was answered or refused.
    async fn send(self: Arc<Self>, client: Client, url: String, account: usize) {
        let commands = format!("{url}/v1/streams/account-{account}/commands");
        let deposit = json!({"type": "deposit", "data": {"amount": 1}}).to_string();
        while !self.is_over.load(Ordering::SeqCst) {
            let request = client.post(&commands).body(deposit.clone());
            let request = request.header("content-type", "application/json");
            let answered = request.send().await.unwrap();
            match answered.status().as_u16() {
                200 => _ = self.executed[account].fetch_add(1, Ordering::SeqCst),
                503 => {
                    let text = answered.text().await.unwrap();
                    assert!(text.contains("\"code\":\"overloaded\""), "{text}");
                    self.refused.fetch_add(1, Ordering::SeqCst);
                }
                status => panic!("{status}: {}", answered.text().await.unwrap()),
            }
        }
    }
}

async fn an_overloaded_host_takes_no_more_memory_and_loses_nothing(place: Place) {
    let (executed, time) = match seed::is_long() {
        true => (0, Duration::from_secs(600)),
        false => (4_000, Duration::ZERO),
    };
    let host = Served::start_on(&place, "[engine]\nin_flight_max = 4\n");
    let client = Client::builder().no_proxy().build().unwrap();
    for account in 0..ACCOUNTS {
        let open = json!({"type": "open", "data": {"owner": "ann"}});
        let path = format!("{}/v1/streams/account-{account}/commands", host.url);
        let opened = client.post(path).json(&open).send().await.unwrap();
        assert_eq!(opened.status().as_u16(), 200);
    }
    let answers = Arc::new(Answers::default());
    let sending: Vec<_> = (0..ACCOUNTS * CLIENTS)
        .map(|number| {
            let (client, url) = (client.clone(), host.url.clone());
            let sending = Arc::clone(&answers).send(client, url, number % ACCOUNTS);
            tokio::spawn(sending)
        })
        .collect();
    let (begun, mut before) = (Instant::now(), None);
    while answers.executed() < executed || begun.elapsed() < time {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let is_warm = answers.executed() >= executed / 4 && begun.elapsed() >= time / 4;
        if is_warm && before.is_none() {
            before = Some(Held::by(&host));
        }
    }
    let (before, after) = (before.unwrap(), Held::by(&host));
    answers.is_over.store(true, Ordering::SeqCst);
    for one in sending {
        one.await.unwrap();
    }
    let refused = answers.refused.load(Ordering::SeqCst);
    eprintln!(
        "{} executed, {refused} refused: {before:?} {after:?}",
        answers.executed()
    );
    assert!(refused > 0);
    assert!(after.handles <= before.handles + 16, "{before:?} {after:?}");
    let more = after.resident.saturating_sub(before.resident);
    assert!(more <= 64, "{before:?} {after:?}");
    for account in 0..ACCOUNTS {
        let path = format!("{}/v1/streams/account-{account}/state", host.url);
        let state = client.get(path).send().await.unwrap();
        let state: Value = state.json().await.unwrap();
        let executed = answers.executed[account].load(Ordering::SeqCst);
        assert_eq!(
            state["state"]["balance"], executed,
            "account {account}: {state}"
        );
    }
}
