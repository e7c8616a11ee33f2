//! Verifying the history.

use bytes::Bytes;
use futures::stream;
use quipu::model::Position;
use quipu_server::Options;
use quipu_tests::build::{self, deposit, open_account};
use quipu_tests::{Place, digests, examples};
use serde_json::{Value, json};

use crate::server::{Server, send};

/// A host with an account at version 3.
async fn bank() -> Server {
    let server = Server::bank().await;
    let account = build::stream("account-1");
    for command in [open_account(), deposit(5), deposit(7)] {
        server.host.execute(&account, command).await.unwrap();
    }
    server
}

/// The last line of an answer; the lines before it report progress.
fn last(text: &str) -> Value {
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let last = lines.pop().unwrap();
    assert!(lines.iter().all(|line| line["progress"]["head"].is_u64()));
    last
}

#[tokio::test]
async fn a_sound_history_is_reported_by_command_type() {
    let server = bank().await;
    let answered = send(server.request("POST", "/v1/verify")).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    assert_eq!(answered.headers["content-type"], "application/x-ndjson");
    let verified = &last(&answered.text)["verified"];
    assert_eq!(verified["sound"], true);
    assert_eq!(
        (&verified["events"], &verified["head"]),
        (&json!(3), &json!(3))
    );
    let tally = |command, same| {
        json!({
            "category": "account", "command": command, "same": same, "different": 0,
            "undecided": 0, "refused_same": 0, "refused_different": 0,
        })
    };
    assert_eq!(
        verified["commands"],
        json!([tally("deposit", 2), tally("open", 1)])
    );
    assert_eq!(
        (&verified["found"], &verified["findings"]),
        (&json!(0), &json!([]))
    );
    let body = json!({"category": "loan", "sample": 5}).to_string();
    let answered = send(server.post("/v1/verify", &body)).await;
    assert_eq!(last(&answered.text)["verified"]["events"], 0);
}

#[tokio::test]
async fn invalid_verify_parameters_are_refused() {
    let server = bank().await;
    for body in [
        r#"{"sample": 0}"#,
        r#"{"sample": 1000001}"#,
        r#"{"category": "No-Category"}"#,
        r#"{"streams": 5}"#,
        "[]",
    ] {
        let answered = send(server.post("/v1/verify", body)).await;
        assert_eq!(answered.status, 400, "{body}: {}", answered.text);
    }
    let answered = send(server.request("POST", "/v1/verify?sample=5")).await;
    assert_eq!(answered.status, 400, "{}", answered.text);
}

#[tokio::test]
async fn a_finding_shows_its_position_and_both_decisions() {
    let server = bank().await;
    let mut export = server.host.export(Position(0)).await.unwrap();
    let mut file = Vec::new();
    while let Some(chunk) = export.next().await.unwrap() {
        file.extend_from_slice(&chunk);
    }
    let file = String::from_utf8(file).unwrap();
    // The command precedes the event in its line.
    let (before, after) = file.rsplit_once(r#""data":{"amount":7}"#).unwrap();
    let changed = format!(r#"{before}"data":{{"amount":8}}{after}"#);
    let changed = digests::without(&changed);
    let host = Place::memory().host().await;
    let chunk = Ok::<_, String>(Bytes::from(changed));
    host.import(stream::iter([chunk]), &mut |_| {})
        .await
        .unwrap();
    let server = Server::start(host, Options::default()).await;
    let answered = send(server.post("/v1/verify", "{}")).await;
    let verified = &last(&answered.text)["verified"];
    assert_eq!(
        (&verified["sound"], &verified["found"]),
        (&json!(false), &json!(1))
    );
    let finding = &verified["findings"][0];
    assert_eq!(finding["kind"], "decision");
    assert_eq!(finding["name"], "decision:account-1@3");
    assert_eq!(
        (&finding["position"], &finding["version"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(
        (&finding["stream"], &finding["plan"]),
        (&json!("account-1"), &json!(1))
    );
    assert_eq!(finding["command"], "deposit");
    assert!(finding["command_id"].is_string());
    let digest = quipu::model::Digest::of(&examples::account()).to_string();
    assert_eq!(finding["module"], digest);
    assert_eq!(
        finding["text"],
        "- deposited 1 {\"amount\":8}\n+ deposited 1 {\"amount\":7}"
    );
}

#[tokio::test]
async fn findings_are_acknowledged_listed_and_withdrawn() {
    let server = Server::empty().await;
    let path = "/v1/verify/acknowledgements";
    let names = ["decision:loan-1@4", "document:notes/different/a/b é"];
    for name in names {
        let body = json!({"finding": name, "reason": "it is known"}).to_string();
        let answered = send(server.post(path, &body)).await.ok();
        assert_eq!(
            (&answered["finding"], &answered["reason"], &answered["by"]),
            (&json!(name), &json!("it is known"), &Value::Null)
        );
        assert!(answered["at"].as_str().unwrap().ends_with('Z'));
    }
    let list = server.get(&format!("{path}?limit=1")).await.ok();
    assert_eq!(list["acknowledgements"][0]["finding"], names[0]);
    assert_eq!(list["next"], names[0]);
    let list = server
        .get(&format!("{path}?limit=2&after=decision%3Aloan-1%404"))
        .await
        .ok();
    assert_eq!(list["acknowledgements"][0]["finding"], names[1]);
    assert_eq!(list["next"], Value::Null);
    let encoded = format!("{path}/document%3Anotes%2Fdifferent%2Fa%2Fb%20%C3%A9");
    let withdraw = || send(server.request("DELETE", &encoded));
    let withdrawn = withdraw().await;
    assert_eq!((withdrawn.status, withdrawn.text.as_str()), (204, ""));
    withdraw().await.problem(404, "finding-not-acknowledged");
    for body in [
        json!({"finding": "nonsense", "reason": "known"}),
        json!({"finding": names[0], "reason": ""}),
        json!({"finding": names[0], "reason": "x".repeat(100_000)}),
        json!({"finding": names[0], "reason": "known\u{0}"}),
        json!({"finding": names[0]}),
        json!({"finding": names[0], "reason": "known", "by": "me"}),
    ] {
        let answered = send(server.post(path, &body.to_string())).await;
        answered.problem(400, "bad-request");
    }
    // What was refused is in the audit without the reason.
    let audit = server.get("/v1/audit").await.text;
    assert!(
        !audit.contains("xxx") && audit.contains("bad-request"),
        "{audit}"
    );
    server
        .get(&format!("{path}?limit=1001"))
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn documents_are_compared_on_request() {
    use crate::projections::{note, notes, projected};
    let server = projected(&notes(1, json!({})), json!({"lifecycle": "async"})).await;
    let position = note(&server, "note-1", &json!({"n": 1})).await;
    let view = format!("/v1/views/notes/note-1?after={position}&timeout=20000");
    server.get(&view).await.ok();
    let answered = send(server.post("/v1/verify", r#"{"projections": true}"#)).await;
    let verified = &last(&answered.text)["verified"];
    assert_eq!(verified["sound"], true);
    let tally = json!({
        "projection": "notes", "position": position, "same": 1, "different": 0, "parked": 0,
        "complete": true,
    });
    assert_eq!(verified["projections"], json!([tally]));
    let answered = send(server.post("/v1/verify", "{}")).await;
    assert_eq!(last(&answered.text)["verified"]["projections"], json!([]));
}
