//! An operation is in the audit although its host died before it recorded it.

use quipu_server::Options;
use quipu_tests::{Place, on_every_store};
use serde_json::Value;

use crate::access::{admin, append, get};
use crate::server::{Server, send};

on_every_store!(
    what_was_done_without_a_record_is_recorded_later,
    nothing_is_done_that_could_not_be_recorded,
    an_operation_that_is_not_recorded_leaves_nothing,
);

async fn server(place: &Place) -> Server {
    Server::start(place.host().await, Options::default()).await
}

async fn records(server: &Server, token: &str) -> Vec<[String; 3]> {
    let audit = get(server, "/v1/audit", token).await.ok();
    let records = audit["records"].as_array().unwrap();
    let text = |record: &Value, name: &str| record[name].as_str().unwrap_or("-").to_owned();
    let row = |record| ["operation", "principal", "result"].map(|name| text(record, name));
    records.iter().map(row).collect()
}

async fn what_was_done_without_a_record_is_recorded_later(place: Place) {
    let server_before = server(&place).await;
    let root = admin(&server_before).await;
    let sent = append(&server_before, "sensor-1").bearer_auth(&root);
    send(sent).await.ok();
    server_before.host.shutdown().await.unwrap();
    // From here on no record can be stored: as if the host died before each.
    place.tamper("ALTER TABLE audit RENAME TO away").await;
    let dying = server(&place).await;
    let archive = dying.request("POST", "/v1/streams/sensor-1/archive");
    send(archive.bearer_auth(&root)).await.ok();
    dying.host.shutdown().await.unwrap();
    place.tamper("ALTER TABLE away RENAME TO audit").await;
    let waiting = server(&place).await;
    if place.url().starts_with("postgres") {
        // Another host may still be at it.
        assert_eq!(records(&waiting, &root).await, [[""; 3]; 0]);
    }
    waiting.host.shutdown().await.unwrap();
    place.tamper("UPDATE audit_begun SET at = 1").await;
    let after = server(&place).await;
    let unknown = [["archive", "root", "unknown"]];
    assert_eq!(records(&after, &root).await, unknown);
    let restore = after.request("POST", "/v1/streams/sensor-1/restore");
    send(restore.bearer_auth(&root)).await.ok();
    after.host.shutdown().await.unwrap();
    // What has its record gets no second one.
    place.tamper("UPDATE audit_begun SET at = 1").await;
    let last = server(&place).await;
    let both = [unknown[0], ["restore", "root", "done"]];
    assert_eq!(records(&last, &root).await, both);
    let checked = get(&last, "/v1/audit/check", &root).await.ok();
    assert_eq!(checked["broken"], Value::Null, "{checked}");
}

async fn nothing_is_done_that_could_not_be_recorded(place: Place) {
    let open = server(&place).await;
    let root = admin(&open).await;
    let sent = append(&open, "sensor-1").bearer_auth(&root);
    send(sent).await.ok();
    open.host.shutdown().await.unwrap();
    place.tamper("ALTER TABLE audit_begun RENAME TO away").await;
    let open = server(&place).await;
    let archive = open.request("POST", "/v1/streams/sensor-1/archive");
    let refused = send(archive.bearer_auth(&root)).await;
    assert!(refused.status >= 500, "{}", refused.text);
    let stream = get(&open, "/v1/streams?archived=only", &root).await.ok();
    assert_eq!(stream["streams"].as_array().unwrap().len(), 0, "{stream}");
    // What changes nothing goes on.
    let sent = append(&open, "sensor-1").bearer_auth(&root);
    send(sent).await.ok();
}

async fn an_operation_that_is_not_recorded_leaves_nothing(place: Place) {
    let open = server(&place).await;
    let root = admin(&open).await;
    // A shipper reports every minute.
    let report = open.post("/v1/backups", r#"{"kind":"ship"}"#);
    send(report.bearer_auth(&root)).await.ok();
    open.host.shutdown().await.unwrap();
    place.tamper("UPDATE audit_begun SET at = 1").await;
    let open = server(&place).await;
    assert_eq!(records(&open, &root).await, [[""; 3]; 0]);
}
