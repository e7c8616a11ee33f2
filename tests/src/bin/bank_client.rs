//! Deposits 1 repeatedly on a host in this process, and prints every answer, until it is done or
//! killed.
//!
//! `bank_client URL COMPONENT NAME ACCOUNTS COUNT ANSWERED`: deposit n goes to account n modulo
//! ACCOUNTS under the id `NAME-n`. Deposits listed in the file ANSWERED, one per line, are skipped.
//! An answer is a line on standard output: `n VERSION POSITION REPLAYED`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quipu::Host;
use quipu_tests::{build, examples, place};

/// Deposits in flight.
const LANES: usize = 32;

/// Codes of errors that pass, after which the same command may be sent again.
const PASSING: [&str; 3] = ["store-unavailable", "overloaded", "conflict"];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, component, name, accounts, count, answered] = &*arguments else {
        panic!("six arguments: URL COMPONENT NAME ACCOUNTS COUNT ANSWERED");
    };
    let host = Host::builder()
        .store(url.clone())
        .cache_dir(place::compiled())
        .build()
        .await
        .unwrap();
    if host.plan().decider("account").is_none() {
        examples::deploy(&host, std::fs::read(component).unwrap()).await;
    }
    let answered = std::fs::read_to_string(answered).unwrap();
    let answered: HashSet<usize> = answered.lines().map(|it| it.parse().unwrap()).collect();
    let work = Arc::new(Work {
        host: host.clone(),
        name: name.clone(),
        accounts: accounts.parse().unwrap(),
        left: (0..count.parse().unwrap())
            .filter(|n| !answered.contains(n))
            .collect(),
        next: AtomicUsize::new(0),
    });
    let lanes: Vec<_> = (0..LANES)
        .map(|_| tokio::spawn(Arc::clone(&work).lane()))
        .collect();
    for lane in lanes {
        lane.await.unwrap();
    }
    drop(work);
    host.shutdown().await.unwrap();
}

struct Work {
    host: Host,
    name: String,
    accounts: usize,
    left: Vec<usize>,
    next: AtomicUsize,
}

impl Work {
    async fn lane(self: Arc<Self>) {
        while let Some(n) = self.left.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let account = build::stream(&format!("account-{}", n % self.accounts));
            let id = format!("{}-{n}", self.name);
            let it = loop {
                let deposit = build::command("deposit", r#"{"amount":1}"#);
                let deposit = deposit.with_id(&id).unwrap();
                match self.host.execute(&account, deposit).await {
                    Ok(it) => break it,
                    // A client sends the command again after these.
                    Err(error) if PASSING.contains(&error.code()) => {}
                    Err(error) => panic!("{id}: {}: {error}", error.code()),
                }
            };
            let position = it.position.unwrap();
            let report = format!("{n} {} {position} {}\n", it.version, it.replayed);
            let mut output = std::io::stdout().lock();
            output.write_all(report.as_bytes()).unwrap();
            output.flush().unwrap();
        }
    }
}
