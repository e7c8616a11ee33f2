//! Checking a module before it is activated, and rolling back to the previous one.

use quipu_tests::probe::{Probe, probe};
use quipu_tests::{build, examples};
use serde_json::{Value, json};

use crate::server::{Answered, Server, send};

fn decider() -> Probe {
    probe("note").event("noted", 1)
}

/// A host on which the decider has decided two commands, one of them odd.
async fn notes() -> Server {
    let server = Server::empty().await;
    examples::deploy(&server.host, decider().component()).await;
    for word in ["plain", "odd"] {
        let events = json!([["noted", {"word": word}]]);
        let command = build::command("note", &events.to_string());
        let stream = build::stream("note-1");
        server.host.execute(&stream, command).await.unwrap();
    }
    server
}

async fn uploaded(server: &Server, candidate: &Probe) -> String {
    let uploaded = server.host.upload(candidate.component()).await.unwrap();
    uploaded.module.digest().to_string()
}

async fn post(server: &Server, path: &str, body: &Value) -> Answered {
    send(server.post(path, &body.to_string())).await
}

async fn preflight(server: &Server, body: &Value) -> Value {
    let answered = post(server, "/v1/preflights", body).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    let last: Value = serde_json::from_str(answered.text.lines().last().unwrap()).unwrap();
    last["preflight"].clone()
}

#[tokio::test]
async fn a_preflight_reports_the_decisions_that_would_differ() {
    let server = notes().await;
    let digest = uploaded(&server, &decider().decides("reject")).await;
    let found = preflight(&server, &json!({"digest": digest})).await;
    assert_eq!(
        (&found["passes"], &found["module"]),
        (&json!(false), &json!(digest))
    );
    assert_eq!(
        (&found["name"], &found["plan"]),
        (&json!("note"), &json!(1))
    );
    assert_eq!(found["categories"], json!(["note"]));
    assert_eq!(
        (&found["events"], &found["until"]),
        (&json!(2), &found["head"])
    );
    let objection = json!({
        "kind": "rejected", "count": 1, "blocks": true, "text": "note note: 1 of 2 are rejected",
    });
    assert_eq!(found["objections"], json!([objection]));
    let judged = &found["commands"][0];
    assert_eq!(
        (&judged["same"], &judged["rejected"]),
        (&json!(1), &json!(1))
    );
    let example = &found["examples"][0];
    assert_eq!(
        (&example["kind"], &example["version"]),
        (&json!("rejected"), &json!(2))
    );
    let allowing = json!({"digest": digest, "allow": ["rejected"], "events": 10, "sample": 3});
    assert_eq!(preflight(&server, &allowing).await["passes"], true);
}

#[tokio::test]
async fn invalid_preflight_parameters_are_refused() {
    let server = notes().await;
    let digest = uploaded(&server, &decider()).await;
    for body in [
        json!({"digest": digest, "allow": ["everything"]}),
        json!({"digest": digest, "sample": 0}),
        json!({"digest": digest, "events": 0}),
        json!({"digest": digest, "time_ms": 0}),
        json!({"digest": "abc"}),
        json!({}),
    ] {
        let answered = post(&server, "/v1/preflights", &body).await;
        answered.problem(400, "bad-request");
    }
    let unknown = json!({"digest": "0".repeat(64)});
    let answered = post(&server, "/v1/preflights", &unknown).await;
    answered.problem(404, "module-not-found");
}

#[tokio::test]
async fn a_decider_replaces_another_only_if_no_objection_blocks_it() {
    let server = notes().await;
    let digest = uploaded(&server, &decider().decides("other")).await;
    for body in [
        json!({"digest": digest}),
        json!({"digest": digest, "preflight": "require"}),
        json!({"digest": digest, "allow": ["rejected"]}),
    ] {
        let refused = post(&server, "/v1/deployments", &body).await;
        assert!(
            refused.text.contains("1 of 2 come to other events"),
            "{}",
            refused.text
        );
        refused.problem(409, "preflight-failed");
        assert_eq!(server.host.plan().number, 1);
    }
    let allowed = json!({"digest": digest, "allow": ["decision"]});
    let deployed = post(&server, "/v1/deployments", &allowed).await.ok();
    assert_eq!(
        (&deployed["plan"], &deployed["preflight"]["passes"]),
        (&json!(2), &json!(true))
    );
    let back = uploaded(&server, &decider()).await;
    let reported = json!({"digest": back, "preflight": "report"});
    let deployed = post(&server, "/v1/deployments", &reported).await.ok();
    assert_eq!(
        (&deployed["plan"], &deployed["preflight"]["passes"]),
        (&json!(3), &json!(true))
    );
    let skipped = json!({"digest": digest, "preflight": "skip"});
    let deployed = post(&server, "/v1/deployments", &skipped).await.ok();
    assert_eq!(
        (&deployed["plan"], deployed.get("preflight")),
        (&json!(4), None)
    );
}

#[tokio::test]
async fn a_rollback_activates_the_previous_module_of_a_name() {
    let server = notes().await;
    let path = "/v1/deployments/note/rollback";
    let nothing = send(server.request("POST", path)).await;
    nothing.problem(404, "module-not-found");
    let first = server.host.plan().active("note").unwrap().to_string();
    let second = decider().event("added", 1);
    examples::deploy(&server.host, second.component()).await;
    let deployed = send(server.request("POST", path)).await.ok();
    assert_eq!(
        (&deployed["plan"], &deployed["digest"]),
        (&json!(3), &json!(first))
    );
    assert_eq!(deployed["preflight"]["passes"], true);
    // A second rollback: to the second module, which then writes events that the first one cannot
    // read.
    send(server.request("POST", path)).await.ok();
    let events = json!([["added", {"word": "new"}]]).to_string();
    let stream = build::stream("note-2");
    let command = build::command("note", &events);
    server.host.execute(&stream, command).await.unwrap();
    let refused = send(server.request("POST", path)).await;
    assert!(
        refused
            .text
            .contains("note events added of schema version 1, it does not know: 1"),
        "{}",
        refused.text
    );
    refused.problem(409, "preflight-failed");
    let skipping = json!({"preflight": "skip"});
    let deployed = post(&server, path, &skipping).await.ok();
    assert_eq!(
        (&deployed["plan"], &deployed["digest"]),
        (&json!(5), &json!(first))
    );
    let unknown = send(server.request("POST", "/v1/deployments/nobody/rollback")).await;
    unknown.problem(404, "module-not-found");
}

#[tokio::test]
async fn a_preflight_and_an_activation_list_what_a_release_changes_for_others() {
    let server = notes().await;
    let digest = uploaded(&server, &decider().version("2.0.0").event("added", 1)).await;
    let changes = json!([{
        "component": "note", "breaks": false, "affected": "readers", "text": "event added is new",
    }]);
    let body = json!({"digest": digest});
    let found = preflight(&server, &body).await;
    assert_eq!(
        (&found["passes"], &found["changes"]),
        (&json!(true), &changes)
    );
    let deployed = post(&server, "/v1/deployments", &body).await.ok();
    assert_eq!(deployed["preflight"]["changes"], changes);
    // The history does not store them, and without a difference there is no list.
    let history = server.get("/v1/deployments").await.ok();
    assert_eq!(history["deployments"][1]["preflight"].get("changes"), None);
    let found = preflight(&server, &body).await;
    assert_eq!(found.get("changes"), None);
}
