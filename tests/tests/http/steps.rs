//! A projection event by event, over HTTP and in the console.

use quipu_tests::{Place, on_every_store};
use serde_json::{Value, json};

use crate::console::check_page;
use crate::projections::{deploy, note, notes};
use crate::server::Server;

on_every_store!(
    each_step_has_the_documents_before_and_after_its_event,
    an_event_that_can_not_be_folded_is_the_last_step,
);

async fn start(place: &Place) -> Server {
    let options = quipu_server::Options::default();
    let server = Server::start(place.host().await, options).await;
    deploy(&server, &notes(1, json!({})), json!({})).await.ok();
    server
}

async fn steps(server: &Server, query: &str) -> Value {
    let path = format!("/v1/projections/notes/steps/note-1{query}");
    server.get(&path).await.ok()
}

async fn each_step_has_the_documents_before_and_after_its_event(place: Place) {
    let server = start(&place).await;
    for n in 1..=3 {
        note(&server, "note-1", &json!({ "n": n })).await;
        note(&server, "note-2", &json!({ "n": n })).await;
    }
    let all = steps(&server, "").await;
    assert_eq!(all["version"], 3);
    assert_eq!(all["next"], Value::Null);
    let listed = all["steps"].as_array().unwrap();
    assert_eq!(listed.len(), 3);
    let mut before = Value::Null;
    for (step, version) in listed.iter().zip(1..) {
        assert_eq!(step["version"], version);
        assert_eq!(step["type"], "noted");
        let changes = step["changes"].as_array().unwrap();
        assert_eq!(changes.len(), 1, "{step}");
        assert_eq!(changes[0]["key"], "note-1");
        assert_eq!(changes[0]["before"], before);
        before = changes[0]["after"].clone();
        assert!(before.is_object(), "{step}");
        // A page that begins later has the same.
        let later = steps(&server, &format!("?from={version}&limit=1")).await;
        assert_eq!(later["steps"], json!([step]));
        let next = Some(version + 1).filter(|next| *next <= 3);
        assert_eq!(later["next"], json!(next));
    }
    let whole = server.get("/v1/projections/notes/live/note-1").await.ok();
    assert_eq!(whole["documents"]["note-1"], before);
    assert_eq!(steps(&server, "?from=4").await["steps"], json!([]));
    for (path, status, code) in [
        ("notes/steps/note-9", 404, "stream-not-found"),
        ("none/steps/note-1", 404, "projection-not-found"),
        ("notes/steps/note-1?from=x", 400, "bad-request"),
        ("notes/steps/note-1?limit=51", 400, "bad-request"),
        ("notes/steps/note-1?limit=0", 400, "bad-request"),
    ] {
        let path = format!("/v1/projections/{path}");
        server.get(&path).await.problem(status, code);
    }

    for (query, texts) in [
        ("", &["Choose a stream"][..]),
        ("?stream=note-1", &["Event 1: noted", "The event makes it."]),
        (
            "?stream=note-1&at=2",
            &["Event 2: noted", "<del>", "<ins>", "Next event"],
        ),
        ("?stream=note-1&at=9", &["no event of this version"]),
        ("?stream=note-9", &["class=\"problem\""]),
    ] {
        let path = format!("/console/projections/notes/steps{query}");
        let answer = server.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        check_page(&path, &answer);
        for text in texts {
            assert!(answer.text.contains(text), "{path}: {}", answer.text);
        }
    }
    let page = server.get("/console/projections/notes").await.text;
    assert!(page.contains("/console/projections/notes/steps"), "{page}");
}

async fn an_event_that_can_not_be_folded_is_the_last_step(place: Place) {
    let server = start(&place).await;
    note(&server, "note-1", &json!({"n": 1})).await;
    note(&server, "note-1", &json!({"bad": {"apply": "bad-event"}})).await;
    note(&server, "note-1", &json!({"n": 2})).await;
    let all = steps(&server, "").await;
    let listed = all["steps"].as_array().unwrap();
    assert_eq!(listed.len(), 2, "{all}");
    assert!(listed[0].get("error").is_none(), "{all}");
    assert!(listed[1]["error"].is_string(), "{all}");
    assert_eq!(listed[1]["changes"], json!([]));
    assert_eq!(all["next"], Value::Null);
    let text = server
        .get("/console/projections/notes/steps?stream=note-1&at=2")
        .await
        .text;
    assert!(text.contains("It can't be folded"), "{text}");
}
