//! Sends a simulated loan log to a store and prints every answer, until it is killed.
//!
//! `loan_client URL COMPONENT SEED LINES ANSWERED`: ANSWERED is a file with the numbers of the
//! lines that were answered before, one per line. An answer is a line on standard output: `LINE
//! VERSION POSITION REPLAYED`, or `LINE rejected CODE`. It is written before the next command of
//! the same application is sent.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

use quipu::Host;
use quipu::engine::Error;
use quipu_tests::lines::{self, Line};
use quipu_tests::{examples, place};

/// Commands in flight. All commands of an application use the same lane, and a lane sends a command
/// only after the previous one was answered.
const LANES: usize = 64;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, component, seed, count, answered] = &*arguments else {
        panic!("five arguments: URL COMPONENT SEED LINES ANSWERED");
    };
    let host = Host::builder()
        .store(url.clone())
        .cache_dir(place::compiled())
        .build()
        .await
        .unwrap();
    if host.plan().decider("loan").is_none() {
        examples::deploy(&host, std::fs::read(component).unwrap()).await;
    }
    let answered = std::fs::read_to_string(answered).unwrap();
    let answered: HashSet<usize> = answered.lines().map(|it| it.parse().unwrap()).collect();

    let mut lanes: Vec<Vec<(usize, Line)>> = (0..LANES).map(|_| Vec::new()).collect();
    let lines = lines::simulated(seed.parse().unwrap(), count.parse().unwrap());
    for (number, line) in lines.into_iter().enumerate() {
        if !answered.contains(&number) {
            let application: usize = line.id.parse().unwrap();
            lanes[application % LANES].push((number, line));
        }
    }
    let output = Arc::new(std::io::stdout());
    let lanes: Vec<_> = lanes
        .into_iter()
        .map(|lane| tokio::spawn(follow(host.clone(), lane, Arc::clone(&output))))
        .collect();
    for lane in lanes {
        lane.await.unwrap();
    }
    host.shutdown().await.unwrap();
}

async fn follow(host: Host, lane: Vec<(usize, Line)>, output: Arc<std::io::Stdout>) {
    for (number, line) in lane {
        let report = match lines::start(&host, &line, number).await {
            Ok(it) => {
                let position = it.position.expect("every command has an event");
                format!("{number} {} {position} {}\n", it.version, it.replayed)
            }
            Err(Error::Rejected { rejection, .. }) => {
                format!("{number} rejected {}\n", rejection.code)
            }
            Err(error) => panic!("line {number}: {error}"),
        };
        let mut output = output.lock();
        output.write_all(report.as_bytes()).unwrap();
        output.flush().unwrap();
    }
}
