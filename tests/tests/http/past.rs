//! Time travel: the state of a stream at a version, at a time, or by another module.

use std::sync::Arc;

use quipu::model::{ManualClock, Timestamp};
use quipu_server::Options;
use quipu_tests::build::{deposit, open_account, stream};
use quipu_tests::{Place, examples};
use serde_json::{Value, json};

use crate::server::Server;

const SECOND: u64 = 1_000_000;

/// An account that was opened at 10 s, and received 1 at 20 s, 30 s and 40 s.
async fn account() -> Server {
    let clock = Arc::new(ManualClock::default());
    let builder = Place::memory()
        .builder()
        .clock(Arc::<ManualClock>::clone(&clock));
    let host = builder.build().await.unwrap();
    examples::deploy(&host, examples::account()).await;
    let account = stream("account-1");
    for (index, command) in [open_account(), deposit(1), deposit(1), deposit(1)]
        .into_iter()
        .enumerate()
    {
        clock.set(Timestamp((index as u64 + 1) * 10 * SECOND));
        host.execute(&account, command).await.unwrap();
    }
    Server::start(host, Options::default()).await
}

async fn state(server: &Server, query: &str) -> (u64, Value) {
    let state = server
        .get(&format!("/v1/streams/account-1/state{query}"))
        .await
        .ok();
    (
        state["version"].as_u64().unwrap(),
        state["state"]["balance"].clone(),
    )
}

#[tokio::test]
async fn a_state_at_a_version_is_the_state_after_that_version() {
    let server = account().await;
    for (version, balance) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 3)] {
        let query = format!("?at_version={version}");
        assert_eq!(state(&server, &query).await, (version, json!(balance)));
    }
    let none = server
        .get("/v1/streams/account-1/state?at_version=0")
        .await
        .ok();
    assert_eq!(none["state"]["status"], "none");
    let beyond = server.get("/v1/streams/account-1/state?at_version=5").await;
    let problem = beyond.problem(400, "bad-request");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("account-1") && detail.contains('5') && detail.contains('4'),
        "{detail}"
    );
}

#[tokio::test]
async fn a_state_at_a_time_includes_events_recorded_up_to_that_time() {
    let server = account().await;
    for (time, version) in [
        ("1960-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:09.999999Z", 0),
        ("1970-01-01T00:00:10Z", 1),
        ("1970-01-01T00:00:29.999999Z", 2),
        ("1970-01-01T02:00:30%2B02:00", 3),
        ("1969-12-31T19:00:30-05:00", 3),
        ("9999-12-30T00:00:00Z", 4),
    ] {
        let (found, _) = state(&server, &format!("?at_time={time}")).await;
        assert_eq!(found, version, "{time}");
    }
}

#[tokio::test]
async fn a_past_state_has_no_etag() {
    let server = account().await;
    let tag = async |query: &str| {
        let answer = server
            .get(&format!("/v1/streams/account-1/state{query}"))
            .await;
        answer.ok();
        answer.header("etag").to_owned()
    };
    assert_eq!(tag("").await, "\"4\"");
    assert_eq!(tag("?at_version=4").await, "");
    assert_eq!(tag("?at_time=1970-01-01T00:00:10Z").await, "");
}

#[tokio::test]
async fn a_state_is_rendered_by_the_requested_module() {
    let server = account().await;
    let first = server.get("/v1/streams/account-1/state").await.ok()["module"].clone();
    let mut other = examples::account();
    other.extend([0, 3, 1, b'x', 0]);
    let active = examples::deploy(&server.host, other).await.to_string();
    let module = async |query: &str| {
        let path = format!("/v1/streams/account-1/state{query}");
        server.get(&path).await.ok()["module"].clone()
    };
    assert_eq!(module("").await, active);
    let query = format!("?at_version=2&module={}", first.as_str().unwrap());
    assert_eq!(module(&query).await, first);

    let absent = format!("?module={}", "0".repeat(64));
    let loan = server.host.upload(examples::loan()).await.unwrap().module;
    let of_loans = format!("?module={}", loan.digest());
    for (query, said) in [(absent, "000000"), (of_loans, "category account")] {
        let answer = server
            .get(&format!("/v1/streams/account-1/state{query}"))
            .await;
        let problem = answer.problem(404, "module-not-found");
        assert!(
            problem["detail"].as_str().unwrap().contains(said),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn invalid_parameters_of_a_past_state_are_refused() {
    let server = account().await;
    for (query, said) in [
        ("at_version=", "at_version"),
        ("at_version=-1", "at_version"),
        ("at_version=1.5", "at_version"),
        ("at_version=9223372036854775807", "9223372036854775807"),
        ("at_version=9223372036854775808", "at_version"),
        ("at_version=99999999999999999999999", "at_version"),
        ("at_version=1&at_version=2", "more than once"),
        ("at_time=", "at_time"),
        ("at_time=yesterday", "yesterday"),
        ("at_time=1970-01-01", "at_time"),
        ("at_time=1970-01-01T00:00:10", "at_time"),
        ("at_time=1970-01-01T00:00:10+02:00", "%2B"),
        ("at_time=1970-13-01T00:00:10Z", "at_time"),
        (
            "at_version=1&at_time=1970-01-01T00:00:10Z",
            "exclude each other",
        ),
        ("module=", "module"),
        ("module=abc", "module"),
        ("version=1", "version"),
    ] {
        let answer = server
            .get(&format!("/v1/streams/account-1/state?{query}"))
            .await;
        let problem = answer.problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{query}: {detail}");
    }
    for query in ["at_version=1", "at_time=1970-01-01T00:00:10Z"] {
        let path = |stream: &str| format!("/v1/streams/{stream}/state?{query}");
        server
            .get(&path("account-2"))
            .await
            .problem(404, "stream-not-found");
        server
            .get(&path("nobody-1"))
            .await
            .problem(404, "unknown-category");
    }
}
