//! The last lines of the host's log, over HTTP.

use std::time::Duration;

use quipu::access::{Grant, Role};
use quipu_server::{LogLevel, LogRing, Options};
use quipu_tests::{PATIENCE, Place};
use serde_json::{Value, json};

use crate::access::{get, token};
use crate::server::Server;

async fn server() -> (Server, LogRing) {
    let ring = LogRing::default();
    let options = Options {
        logs: Some(ring.clone()),
        ..Options::default()
    };
    (
        Server::start(Place::memory().host().await, options).await,
        ring,
    )
}

fn numbers(answer: &Value) -> Vec<u64> {
    let lines = answer["lines"].as_array().unwrap();
    lines
        .iter()
        .map(|line| line["n"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn lines_are_read_by_level_and_module() {
    let (server, ring) = server().await;
    let lines = [
        (LogLevel::INFO, "quipu::engine", 1),
        (LogLevel::WARN, "quipu_server", 2),
        (LogLevel::ERROR, "quipu::engine::worker", 3),
    ];
    for (level, target, n) in lines {
        ring.push(level, target, json!({"n": n}).to_string());
    }
    for (query, expected) in [
        ("", vec![1, 2, 3]),
        ("?limit=1", vec![3]),
        ("?level=warn", vec![2, 3]),
        ("?target=quipu", vec![1, 3]),
        ("?target=quipu::engine&level=error", vec![3]),
        ("?after=1", vec![2, 3]),
        ("?after=3", vec![]),
    ] {
        let answer = server.get(&format!("/v1/logs{query}")).await.ok();
        assert_eq!(numbers(&answer), expected, "{query}");
        assert_eq!((&answer["next"], &answer["lost"]), (&json!(3), &json!(0)));
    }
    for wrong in [
        "level=loud",
        "level=5",
        "limit=0",
        "wait_ms=1",
        "after=1&wait_ms=20001",
        "x=1",
    ] {
        let answered = server.get(&format!("/v1/logs?{wrong}")).await;
        answered.problem(400, "bad-request");
    }
}

#[tokio::test]
async fn a_reader_waits_for_the_next_line() {
    let (server, ring) = server().await;
    let waiting = server.get("/v1/logs?after=0&wait_ms=20000&level=warn");
    let writing = async {
        for n in 1_u64.. {
            // Lines that were not requested wake no reader for good.
            let level = if n.is_multiple_of(3) {
                LogLevel::WARN
            } else {
                LogLevel::INFO
            };
            ring.push(level, "quipu", json!({"n": n}).to_string());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let answer = tokio::select! {
        answer = waiting => answer.ok(),
        () = writing => unreachable!(),
        () = tokio::time::sleep(PATIENCE) => panic!("no line came"),
    };
    let numbers = numbers(&answer);
    assert!(
        !numbers.is_empty() && numbers.iter().all(|n| n.is_multiple_of(3)),
        "{answer}"
    );
}

#[tokio::test]
async fn only_operators_read_the_log() {
    let (server, _) = server().await;
    for role in Role::ALL {
        let token = token(&server, role.as_str(), Grant::of(*role)).await;
        let status = get(&server, "/v1/logs", &token).await.status;
        let may = matches!(role, Role::Operator | Role::Admin);
        assert_eq!(status, if may { 200 } else { 403 }, "{role}");
    }
    let without = Server::start(Place::memory().host().await, Options::default()).await;
    without.get("/v1/logs").await.problem(403, "forbidden");
}
