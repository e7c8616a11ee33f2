//! Truncating streams, and undoing it.

use quipu_tests::build::{deposit, stream};
use quipu_tests::{examples, guest};
use serde_json::{Value, json};

use crate::server::{Answered, Server, send};

/// Account 1 at version 4, with a balance of 3.
async fn account() -> Server {
    let server = Server::bank().await.opened().await;
    for _ in 0..3 {
        let account = stream("account-1");
        server.host.execute(&account, deposit(1)).await.unwrap();
    }
    server
}

async fn truncate(server: &Server, stream: &str, body: &str) -> Answered {
    send(server.post(&format!("/v1/streams/{stream}/truncate"), body)).await
}

async fn versions(server: &Server, query: &str) -> Vec<u64> {
    let page = server
        .get(&format!("/v1/streams/account-1/events{query}"))
        .await
        .ok();
    let events = page["events"].as_array().unwrap().iter();
    events
        .map(|event| event["version"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn events_before_a_mark_are_hidden_from_the_stream_and_stay_in_the_log() {
    let server = account().await;
    let answer = truncate(&server, "account-1", "{\"before\":3}").await.ok();
    let done = json!({"stream": "account-1", "truncated_before": 3, "position": 5});
    assert_eq!(answer, done);
    assert_eq!(versions(&server, "").await, [3, 4]);
    assert_eq!(versions(&server, "?from=1").await, [3, 4]);
    assert_eq!(versions(&server, "?direction=backward").await, [4, 3]);
    let page = server.get("/v1/streams/account-1/events").await.ok();
    assert_eq!(
        (&page["version"], &page["truncated_before"]),
        (&json!(4), &json!(3))
    );
    let log = server.get("/v1/events?prefix=account").await.ok();
    assert_eq!(log["events"].as_array().unwrap().len(), 4);
    let list = server.get("/v1/streams?category=account").await.ok();
    assert_eq!(list["streams"][0]["truncated_before"], 3);
    let event = server.get("/v1/events/5").await.ok();
    assert_eq!(event["type"], "truncated");
    assert_eq!(event["data"], json!({"stream": "account-1", "before": 3}));
}

#[tokio::test]
async fn a_truncated_stream_takes_commands_and_has_no_past_before_its_mark() {
    let server = account().await;
    truncate(&server, "account-1", "{\"before\":3}").await.ok();
    let paid = send(server.command("account-1", "deposit", "{\"amount\":1}")).await;
    assert_eq!(paid.ok()["version"], 5);
    let state = async |query: &str| {
        server
            .get(&format!("/v1/streams/account-1/state{query}"))
            .await
    };
    assert_eq!(state("").await.ok()["state"]["balance"], 4);
    assert_eq!(state("?at_version=3").await.ok()["state"]["balance"], 2);
    for query in [
        "?at_version=2",
        "?at_version=0",
        "?at_time=1970-01-01T00:00:00Z",
    ] {
        state(query).await.problem(400, "bad-request");
    }
}

#[tokio::test]
async fn truncating_before_zero_shows_all_events() {
    let server = account().await;
    truncate(&server, "account-1", "{\"before\":4}").await.ok();
    let origin = server.post("/v1/streams/account-1/truncate", "{\"before\":0}");
    let undone = send(origin.header("Quipu-Correlation-Id", "clean-up"))
        .await
        .ok();
    let done = json!({"stream": "account-1", "truncated_before": 0, "position": 6});
    assert_eq!(undone, done);
    assert_eq!(versions(&server, "").await, [1, 2, 3, 4]);
    let page = server.get("/v1/streams/account-1/events").await.ok();
    assert_eq!(page.get("truncated_before"), None);
    let event = server.get("/v1/events/6").await.ok();
    assert_eq!(event["commit"]["correlation_id"], "clean-up");
    let again = truncate(&server, "account-1", "{\"before\":0}").await.ok();
    assert_eq!(again["position"], Value::Null);
}

#[tokio::test]
async fn a_stream_is_truncated_only_where_a_snapshot_can_replace_its_events() {
    let server = account().await;
    let refused = truncate(&server, "account-1", "{\"before\":5}").await;
    let problem = refused.problem(409, "truncate-refused");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("account-1") && detail.contains("version 4"),
        "{detail}"
    );
    let most = format!("{{\"before\":{}}}", u64::MAX);
    truncate(&server, "account-1", &most)
        .await
        .problem(409, "truncate-refused");
    truncate(&server, "account-2", "{\"before\":1}")
        .await
        .problem(404, "stream-not-found");
    truncate(&server, "account-2", "{\"before\":0}")
        .await
        .problem(404, "stream-not-found");
    truncate(&server, "%24streams", "{\"before\":1}")
        .await
        .problem(400, "bad-request");
    let note = "{\"events\":[{\"type\":\"n\",\"data\":1}]}";
    send(server.post("/v1/streams/note-1/events", note))
        .await
        .ok();
    truncate(&server, "note-1", "{\"before\":1}")
        .await
        .problem(404, "unknown-category");

    let formless = guest::decider_with("(func $snapshot (type $snapshot) (i32.const 0x7b0))");
    examples::deploy(&server.host, formless).await;
    send(server.command("probe-1", "go", "{}")).await.ok();
    truncate(&server, "probe-1", "{\"before\":1}")
        .await
        .problem(409, "truncate-refused");
    assert_eq!(versions(&server, "").await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_malformed_truncation_is_refused() {
    let server = account().await;
    for body in [
        "",
        "3",
        "[3]",
        "{}",
        "{\"before\":null}",
        "{\"before\":-1}",
        "{\"before\":1.5}",
        "{\"before\":\"3\"}",
        "{\"before\":99999999999999999999}",
        "{\"before\":3,\"after\":1}",
        "{\"before\":3,\"before\":3}",
        "{\"before\":3",
    ] {
        truncate(&server, "account-1", body)
            .await
            .problem(400, "bad-request");
    }
    let bare = send(server.request("POST", "/v1/streams/account-1/truncate")).await;
    bare.problem(415, "bad-request");
    let path = "/v1/streams/account-1/truncate?before=3";
    send(server.post(path, "{\"before\":3}"))
        .await
        .problem(400, "bad-request");
    assert_eq!(versions(&server, "").await, [1, 2, 3, 4]);
}
