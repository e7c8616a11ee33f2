//! An operation is in the audit although its host died before it recorded it.

use std::time::Duration;

use quipu_server::Options;
use quipu_tests::{Place, on_every_store};
use serde_json::Value;

use crate::access::{admin, append, get};
use crate::connections::{bounded, raw};
use crate::server::{Server, send};

on_every_store!(
    what_was_done_without_a_record_is_recorded_later,
    nothing_is_done_that_could_not_be_recorded,
    an_operation_that_is_not_recorded_leaves_nothing,
    an_operation_whose_caller_leaves_is_recorded,
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

async fn an_operation_whose_caller_leaves_is_recorded(place: Place) {
    let open = server(&place).await;
    let root = admin(&open).await;
    let begun = || place.number("SELECT count(*) FROM audit_begun");
    let token = |left: &str, length: usize| {
        format!(
            "POST /v1/tokens HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {root}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{left}"
        )
    };
    // It leaves before its body is complete.
    let socket = raw(&open, &token("{", 100)).await;
    bounded(async { while begun().await == 0 {} }).await;
    drop(socket);
    bounded(async { while begun().await > 0 {} }).await;
    // It does not wait for the answer.
    for number in 0..40 {
        let body = format!(r#"{{"name":"ghost{number}","role":"viewer"}}"#);
        let socket = raw(&open, &token(&body, body.len())).await;
        tokio::time::sleep(Duration::from_millis(number % 8)).await;
        drop(socket);
    }
    let made = async || {
        let tokens = get(&open, "/v1/tokens", &root).await.ok();
        let tokens = tokens["tokens"].as_array().unwrap().iter();
        let is_ghost = |it: &&Value| it["name"].as_str().unwrap().starts_with("ghost");
        (tokens.filter(is_ghost).count(), begun().await)
    };
    let recorded = async || {
        let records = records(&open, &root).await;
        let is_done = |it: &&[String; 3]| it[0] == "create_token" && it[2] == "done";
        records.iter().filter(is_done).count()
    };
    // Requests whose callers have left may still arrive.
    let settled = async {
        loop {
            let (tokens, begun) = made().await;
            if begun == 0 && recorded().await == tokens {
                return;
            }
        }
    };
    bounded(settled).await;
}
