//! Taking snapshots, comparing them, and the snapshot counts in the status.

use std::sync::Arc;

use quipu::Host;
use quipu::model::{Body, Digest, Timestamp, Version};
use quipu::store::{SnapshotStore, StoredSnapshot};
use quipu_server::Options;
use quipu_tests::build::{deposit, open_account, stream};
use quipu_tests::{Place, examples, guest};
use serde_json::{Value, json};

use crate::server::{Answered, Server, send};

/// A host with two accounts at version 2, and its store of snapshots.
async fn accounts() -> (Server, Arc<dyn SnapshotStore>) {
    let store = Place::memory().open().await;
    let snapshots = Arc::clone(&store.snapshots);
    let host = Host::builder().opened_store(store).build().await.unwrap();
    examples::deploy(&host, examples::account()).await;
    for id in ["account-1", "account-2"] {
        for command in [open_account(), deposit(5)] {
            host.execute(&stream(id), command).await.unwrap();
        }
    }
    (Server::start(host, Options::default()).await, snapshots)
}

async fn take(server: &Server, stream: &str) -> Answered {
    let path = format!("/v1/streams/{stream}/snapshot");
    send(server.request("POST", &path)).await
}

async fn check(server: &Server, body: &str) -> Answered {
    send(server.post("/v1/snapshots/check", body)).await
}

/// Replaces the snapshot of a stream by a valid snapshot of another state.
async fn distort(snapshots: &Arc<dyn SnapshotStore>, id: &str, taken: &Value) {
    let state = "{\"status\":\"open\",\"owner\":\"ann\",\"balance\":6}";
    let body = Body::json(state.to_owned()).unwrap();
    let fold: Digest = taken["fold"].as_str().unwrap().parse().unwrap();
    let distorted = StoredSnapshot::new(&stream(id), Version(2), 1, &body, fold, Timestamp(7));
    assert!(snapshots.keep(&stream(id), &distorted).await.unwrap());
}

#[tokio::test]
async fn a_snapshot_is_taken_and_the_previous_one_is_compared() {
    let (server, _) = accounts().await;
    let first = take(&server, "account-1").await.ok();
    assert_eq!(first["stream"], "account-1");
    assert_eq!(
        (&first["version"], &first["state_schema_version"]),
        (&json!(2), &json!(1))
    );
    assert!(first["bytes"].as_u64().unwrap() > 0);
    assert_eq!(first["fold"].as_str().unwrap().len(), 64);
    assert!(first["taken_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(first["found"], json!([]));
    let again = take(&server, "account-1").await.ok();
    let found = &again["found"][0];
    assert_eq!(
        (&found["version"], &found["worth"]),
        (&json!(2), &json!("agrees"))
    );
    assert_eq!(
        (&found["fold"], &found["anchor"]),
        (&first["fold"], &json!(false))
    );
    assert_eq!(found["taken_at"], first["taken_at"]);
    assert_eq!(found.get("reason"), None);
}

#[tokio::test]
async fn a_snapshot_of_another_state_differs_until_a_new_one_is_taken() {
    let (server, snapshots) = accounts().await;
    let taken = take(&server, "account-1").await.ok();
    take(&server, "account-2").await.ok();
    distort(&snapshots, "account-1", &taken).await;
    let checked = check(&server, "{\"category\":\"account\"}").await.ok();
    let counts = ["agree", "differ", "unusable"].map(|name| checked[name].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 0]);
    let all = checked["snapshots"].as_array().unwrap();
    let differ: Vec<&Value> = all.iter().filter(|one| one["worth"] == "differs").collect();
    assert_eq!(
        (differ.len(), &differ[0]["stream"]),
        (1, &json!("account-1"))
    );
    let one = check(&server, "{\"category\":\"account\",\"sample\":1}")
        .await
        .ok();
    assert_eq!(one["snapshots"].as_array().unwrap().len(), 1);

    let mended = take(&server, "account-1").await.ok();
    assert_eq!(mended["found"][0]["worth"], "differs");
    let checked = check(&server, "{\"category\":\"account\",\"sample\":1000}")
        .await
        .ok();
    assert_eq!(
        (&checked["agree"], &checked["differ"]),
        (&json!(2), &json!(0))
    );
}

#[tokio::test]
async fn a_damaged_snapshot_is_reported_as_unusable_with_the_reason() {
    let (server, snapshots) = accounts().await;
    take(&server, "account-1").await.ok();
    let account = stream("account-1");
    let mut damaged = snapshots.find(&account).await.unwrap().remove(0);
    damaged.checksum = [0; 32];
    assert!(snapshots.keep(&account, &damaged).await.unwrap());
    let checked = check(&server, "{\"category\":\"account\"}").await.ok();
    assert_eq!(checked["unusable"], 1);
    let reason = checked["snapshots"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("damaged"), "{reason}");
}

#[tokio::test]
async fn the_anchor_of_a_truncated_stream_is_marked_as_an_anchor() {
    let (server, _) = accounts().await;
    let truncated = server.post("/v1/streams/account-1/truncate", "{\"before\":2}");
    send(truncated).await.ok();
    let found = take(&server, "account-1").await.ok()["found"].clone();
    assert_eq!(
        (&found[0]["anchor"], &found[0]["worth"]),
        (&json!(true), &json!("agrees"))
    );
}

#[tokio::test]
async fn snapshots_that_cannot_be_taken_are_refused() {
    let (server, _) = accounts().await;
    take(&server, "account-3")
        .await
        .problem(404, "stream-not-found");
    take(&server, "nobody-1")
        .await
        .problem(404, "unknown-category");
    let formless = guest::decider_with("(func $snapshot (type $snapshot) (i32.const 0x7b0))");
    examples::deploy(&server.host, formless).await;
    send(server.command("probe-1", "go", "{}")).await.ok();
    let refused = take(&server, "probe-1").await;
    let problem = refused.problem(409, "snapshot-refused");
    assert!(
        problem["detail"].as_str().unwrap().contains("probe-1"),
        "{problem}"
    );
    let unknown = send(server.request("POST", "/v1/streams/account-1/snapshot?now=1")).await;
    unknown.problem(400, "bad-request");
}

#[tokio::test]
async fn a_malformed_check_is_refused() {
    let (server, _) = accounts().await;
    for (body, said) in [
        ("", "JSON object"),
        ("[\"account\"]", "JSON object"),
        ("{}", "category"),
        ("{\"category\":7}", "invalid type"),
        ("{\"category\":\"\"}", "category \"\""),
        ("{\"category\":\"Account-1\"}", "category \"Account-1\""),
        (
            "{\"category\":\"account\",\"sample\":0}",
            "between 1 and 1000",
        ),
        (
            "{\"category\":\"account\",\"sample\":1001}",
            "between 1 and 1000",
        ),
        (
            "{\"category\":\"account\",\"sample\":18446744073709551615}",
            "between 1 and 1000",
        ),
        ("{\"category\":\"account\",\"sample\":-1}", "the body"),
        ("{\"category\":\"account\",\"sample\":\"1\"}", "the body"),
        ("{\"category\":\"account\",\"samples\":1}", "samples"),
    ] {
        let problem = check(&server, body).await.problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{body}: {detail}");
    }
    let unknown = check(&server, "{\"category\":\"nobody\"}").await;
    unknown.problem(404, "unknown-category");
    let bare = send(server.request("POST", "/v1/snapshots/check")).await;
    bare.problem(415, "bad-request");
    let none = check(&server, "{\"category\":\"account\"}").await.ok();
    assert_eq!(none["snapshots"], json!([]));
}

#[tokio::test]
async fn the_status_counts_used_taken_and_unusable_snapshots() {
    let (server, snapshots) = accounts().await;
    let status = server.get("/v1/status").await.ok();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let numbers = ["plan", "in_flight", "batches", "subscriptions"];
    let numbers = numbers.map(|name| status[name].as_u64().unwrap());
    assert_eq!((numbers[0], numbers[1], numbers[3]), (1, 0, 0));
    assert!(numbers[2] >= 4, "{status}");
    let none = json!({"used": 0, "taken": 0, "failed": 0, "near_length": 0, "ignored": {}});
    assert_eq!(status["snapshots"], none);

    take(&server, "account-1").await.ok();
    server.get("/v1/streams/account-1/state").await.ok();
    let account = stream("account-1");
    let mut damaged = snapshots.find(&account).await.unwrap().remove(0);
    damaged.checksum = [0; 32];
    assert!(snapshots.keep(&account, &damaged).await.unwrap());
    server.get("/v1/streams/account-1/state").await.ok();
    let counts = server.get("/v1/status").await.ok()["snapshots"].clone();
    assert_eq!((&counts["taken"], &counts["used"]), (&json!(1), &json!(1)));
    assert_eq!(counts["ignored"], json!({"damaged": 1}));
    server
        .get("/v1/status?x=1")
        .await
        .problem(400, "bad-request");
}
