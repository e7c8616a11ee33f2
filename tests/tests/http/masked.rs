//! Payloads with masked values, for callers who may read but not see payloads.

use std::sync::Arc;

use quipu::access::{Grant, Role};
use quipu_policy::Policy;
use quipu_server::{InForce, Options, Rules};
use quipu_tests::probe::probe;
use quipu_tests::{Place, examples, on_every_store};
use serde_json::{Value, json};

use crate::access::{admin, get, token};
use crate::server::{Server, send};

on_every_store!(
    who_may_only_read_sees_the_form_of_payloads_and_no_value,
    what_a_guest_says_of_masked_data_is_left_out,
);

/// A value that nobody but those who may see payloads reads.
const CANARY: &str = "canary-4711";

/// A host, the token of its admin, and that of `eve`, who may read and may not see payloads.
async fn server(place: &Place) -> (Server, String, String) {
    let policy = r#"
        @id("no payloads") forbid (principal == Caller::"eve", action == Action::"read-payload", resource);
    "#;
    let (policy, _) = Policy::parse(policy)
        .map_err(|it| format!("{it:?}"))
        .unwrap();
    let rules = InForce {
        policy: Some(policy),
        ..InForce::default()
    };
    let options = Options {
        rules: Arc::new(Rules::new(rules)),
        ..Options::default()
    };
    let server = Server::start(place.host().await, options).await;
    let root = admin(&server).await;
    let eve = token(&server, "eve", Grant::of(Role::Viewer)).await;
    (server, root, eve)
}

async fn who_may_only_read_sees_the_form_of_payloads_and_no_value(place: Place) {
    let (server, root, eve) = server(&place).await;
    examples::deploy(&server.host, examples::account()).await;
    let open = json!({"type": "open", "data": {"owner": CANARY}, "metadata": {"by": CANARY}});
    let open = server.post("/v1/streams/account-1/commands", &open.to_string());
    send(open.bearer_auth(&root)).await.ok();
    let event = json!({"type": "noted", "data": {"text": CANARY, "list": [1, null, true]},
        "tags": [format!("owner:{CANARY}")], "metadata": {"by": CANARY}});
    let append = server.post(
        "/v1/streams/note-1/events",
        &json!({"events": [event]}).to_string(),
    );
    send(append.bearer_auth(&root)).await.ok();

    let masked = [
        "/v1/events?payload=masked",
        "/v1/events?payload=masked&form=stored&direction=backward",
        "/v1/events?category=account&payload=masked",
        "/v1/events/1?payload=masked",
        "/v1/events/2?payload=masked",
        "/v1/streams/account-1/events?payload=masked",
        "/v1/streams/account-1/state?payload=masked",
        "/v1/streams/account-1/state?payload=masked&at_version=1",
    ];
    for path in masked {
        let answer = get(&server, path, &eve).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert!(!answer.text.contains(CANARY), "{path}: {}", answer.text);
        assert!(
            answer.text.contains("\"string\""),
            "{path}: {}",
            answer.text
        );
        // Whoever may see payloads may ask for masked ones, too.
        let same = get(&server, path, &root).await;
        assert_eq!(same.text, answer.text, "{path}");
    }
    let noted = &get(&server, masked[4], &eve).await.ok();
    assert_eq!(
        noted["data"],
        json!({"text": "string", "list": ["number", null, "boolean"]})
    );
    assert_eq!(noted["metadata"], json!({"by": "string"}));
    assert_eq!(noted["tags"], json!(["owner:string"]));
    let opened = &get(&server, masked[3], &eve).await.ok();
    assert_eq!(opened["command"]["data"], json!({"owner": "string"}));
    assert_eq!(opened["command"]["seed"], "0".repeat(64));
    let principal = opened["commit"]["principal"].as_str().unwrap();
    assert!(principal.contains("root"), "{principal}");

    for path in [
        "/v1/events",
        "/v1/events?payload=full",
        "/v1/events/1",
        "/v1/streams/account-1/events?payload=full",
        "/v1/streams/account-1/state",
        // A value could be guessed.
        &format!("/v1/events?payload=masked&tag=owner:{CANARY}"),
        &format!("/v1/events?payload=masked&not_tag=owner:{CANARY}"),
        "/v1/events?payload=masked&payload=full",
        "/v1/events/subscribe?payload=masked",
        "/v1/rejections?payload=masked",
    ] {
        let refused = get(&server, path, &eve).await;
        refused.problem(403, "forbidden");
        let is_helped = refused
            .text
            .contains("`payload=masked` (in commands `--masked`)");
        let can_be_masked = !path.contains("subscribe") && !path.contains("rejections");
        assert_eq!(is_helped, can_be_masked, "{path}: {}", refused.text);
    }
    for path in [
        "/v1/events?payload=none",
        "/v1/streams/account-1/state?payload=",
    ] {
        get(&server, path, &root).await.problem(400, "bad-request");
    }
    let lines = server.request("GET", "/v1/events?payload=masked");
    let lines = lines
        .header("Accept", "application/x-ndjson")
        .bearer_auth(&eve);
    let refused = send(lines).await.problem(400, "bad-request");
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("lines are not masked")
    );
}

/// An upcaster that fails may quote what it reads.
async fn what_a_guest_says_of_masked_data_is_left_out(place: Place) {
    let (server, root, eve) = server(&place).await;
    let event = json!({"type": "noted", "data": {"bad": CANARY}});
    let append = server.post(
        "/v1/streams/note-1/events",
        &json!({"events": [event]}).to_string(),
    );
    send(append.bearer_auth(&root)).await.ok();
    let failing = probe("note").event("noted", 2).step_that(
        "note",
        ("noted", 1),
        &[("noted", 2)],
        "bad-event",
    );
    examples::deploy(&server.host, failing.component()).await;
    let clear = get(&server, "/v1/events/1", &root).await.ok();
    let masked = get(&server, "/v1/events/1?payload=masked", &eve).await;
    assert!(clear["not_lifted"].is_string(), "{clear}");
    let text = masked.ok()["not_lifted"].clone();
    assert!(
        text.as_str().unwrap().contains("the reason is left out"),
        "{text}"
    );
    assert!(!masked.text.contains(CANARY), "{}", masked.text);
    for path in [
        "/v1/events?payload=masked",
        "/v1/streams/note-1/events?payload=masked",
    ] {
        let refused = get(&server, path, &eve).await;
        let problem: Value = refused.json();
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("the reason is left out"),
            "{path}: {problem}"
        );
        let stored = get(&server, &format!("{path}&form=stored"), &eve)
            .await
            .ok();
        assert_eq!(stored["events"][0]["data"], json!({"bad": "string"}));
    }
}
