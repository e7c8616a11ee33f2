//! The status of projections, and the commands to control them.

use std::time::{Duration, Instant};

use quipu_tests::probe::{Probe, probe};
use quipu_tests::{PATIENCE, Place};
use serde_json::{Value, json};

use crate::server::{Answered, Server, send};

/// A decider of notes with the projection `notes`, which has a document for each stream.
pub fn notes(version: u32, other: Value) -> Probe {
    probe("note")
        .event("noted", 1)
        .projection("notes", version, other)
}

/// A host on which the decider is active, with its projection in this lifecycle.
pub async fn projected(probe: &Probe, settings: Value) -> Server {
    let host = Place::memory().host().await;
    let server = Server::start(host, quipu_server::Options::default()).await;
    deploy(&server, probe, settings).await.ok();
    server
}

/// Deploys it with these settings of its projection.
pub async fn deploy(server: &Server, probe: &Probe, settings: Value) -> Answered {
    let module = server.host.upload(probe.component()).await.unwrap().module;
    let digest = module.digest().to_string();
    let body = json!({"digest": digest, "projections": {"notes": settings}});
    send(server.post("/v1/deployments", &body.to_string())).await
}

/// Appends a note; returns the position of the event.
pub async fn note(server: &Server, stream: &str, body: &Value) -> u64 {
    let data = json!([["noted", body]]).to_string();
    let noted = send(server.command(stream, "note", &data)).await.ok();
    noted["position"].as_u64().unwrap()
}

async fn order(server: &Server, order: &str) -> Answered {
    send(server.request("POST", &format!("/v1/projections/notes/{order}"))).await
}

/// The status of the projection, once this condition is true.
pub async fn once(server: &Server, holds: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let view = server.get("/v1/projections/notes").await.ok();
        if holds(&view) {
            return view;
        }
        assert!(Instant::now() < until, "{view}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn an_unknown_projection_is_a_problem() {
    let server = Server::empty().await;
    assert_eq!(
        server.get("/v1/projections").await.ok(),
        json!({"projections": []})
    );
    assert_eq!(
        server.get("/v1/status").await.ok()["projections"],
        json!([])
    );
    for path in ["", "/parked", "/skipped", "/live/note-1", "/changes"] {
        let answer = server.get(&format!("/v1/projections/notes{path}")).await;
        let problem = answer.problem(404, "projection-not-found");
        assert_eq!(problem["projection"], "notes", "{path}");
    }
    for order in [
        "pause",
        "resume",
        "rebuild",
        "switch",
        "rollback",
        "retry-parked",
        "detach",
        "cancel",
        "drop",
    ] {
        let path = format!("/v1/projections/notes/{order}");
        let answer = send(server.request("POST", &path)).await;
        answer.problem(404, "projection-not-found");
        server.get(&path).await.problem(405, "method-not-allowed");
    }
    let unknown = send(server.request("POST", "/v1/projections/notes/explode")).await;
    unknown.problem(404, "not-found");
}

#[tokio::test]
async fn a_malformed_projection_command_is_refused() {
    let server = Server::empty().await;
    for (path, body, said) in [
        ("rebuild", "[true]", "JSON object"),
        ("rebuild", "{\"hold\":1}", "invalid type"),
        ("rebuild", "{\"keep\":true}", "keep"),
        ("drop-parked", "{}", "reason"),
        ("drop-parked", "{\"reason\":\"\"}", "1 to 1024 bytes"),
        (
            "drop-parked",
            "{\"reason\":\"a\\nb\"}",
            "control characters",
        ),
        (
            "drop-parked",
            "{\"reason\":\"x\",\"document\":\"a\",\"stream\":\"b\"}",
            "exclude each other",
        ),
        ("drop-parked", "{\"reason\":\"x\",\"key\":\"a\"}", "key"),
        (
            "drop-parked",
            "{\"reason\":\"x\",\"position\":1}",
            "position goes with document or stream",
        ),
        (
            "retry-parked",
            "{\"position\":1}",
            "position goes with document or stream",
        ),
        (
            "retry-parked",
            "{\"document\":\"a\",\"position\":9223372036854775808}",
            "not a whole number",
        ),
        (
            "retry-parked",
            "{\"document\":\"a\",\"stream\":\"b\"}",
            "exclude each other",
        ),
        ("retry-parked", "{\"reason\":\"x\"}", "reason"),
    ] {
        let path = format!("/v1/projections/notes/{path}");
        let answer = send(server.post(&path, body)).await;
        let problem = answer.problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{body}: {detail}");
    }
    for path in ["rebuild", "drop-parked", "retry-parked"] {
        let path = format!("/v1/projections/notes/{path}");
        let plain = server.request("POST", &path).body("{}");
        send(plain).await.problem(415, "bad-request");
    }
    for path in [
        "?x=1",
        "/parked?limit=0",
        "/parked?limit=1001",
        "/parked?build=last",
        "/parked?cursor=7",
        "/parked?position=7",
        "/parked?document=a&position=x",
        "/parked?document=a&stream=b",
        "/skipped?cursor=document.x.a",
        "/changes?after=7",
        "/live/?x=1",
        "/live/note-1?x=1",
    ] {
        let answer = server.get(&format!("/v1/projections/notes{path}")).await;
        if path == "/live/?x=1" {
            answer.problem(404, "not-found");
            continue;
        }
        answer.problem(400, "bad-request");
    }
    let changes = server.request("GET", "/v1/projections/notes/changes");
    let changes = changes.header("Last-Event-ID", "7");
    send(changes).await.problem(400, "bad-request");
}

#[tokio::test]
async fn malformed_settings_are_refused() {
    let server = Server::bank().await;
    let digest = server.get("/v1/deployments").await.ok()["deployments"][0]["digest"].clone();
    for (projections, said) in [
        (json!([]), "invalid type"),
        (json!({"notes": ["inline", "park"]}), "JSON object"),
        (
            json!({"notes": {"lifecycle": "eager"}}),
            "notes: lifecycle \"eager\"",
        ),
        (
            json!({"notes": {"on_error": "hope"}}),
            "notes: on-error \"hope\"",
        ),
        (json!({"notes": {"on-error": "skip"}}), "on-error"),
    ] {
        let body = json!({"digest": digest, "projections": projections});
        let answer = send(server.post("/v1/deployments", &body.to_string())).await;
        let problem = answer.problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{body}: {detail}");
    }
}

#[tokio::test]
async fn a_projection_is_shown_with_its_builds() {
    let server = projected(&notes(3, json!({})), json!({"on_error": "park"})).await;
    let position = note(&server, "note-1", &json!({"n": 1})).await;
    let view = once(&server, |view| view["builds"][0]["position"] == position).await;
    let settings = ["name", "lifecycle", "on_error", "paused", "held"].map(|it| view[it].clone());
    let expected = [
        json!("notes"),
        json!("async"),
        json!("park"),
        json!(false),
        json!(false),
    ];
    assert_eq!(settings, expected);
    assert_eq!(view["deployed"]["component"], "note");
    assert_eq!(view["deployed"]["version"], 3);
    assert_eq!(
        (&view["state"], &view["log_head"]),
        (&json!("caught-up"), &json!(position))
    );
    let build = &view["builds"][0];
    assert_eq!(
        (&build["role"], &build["version"]),
        (&json!("active"), &json!(3))
    );
    assert_eq!(build["module"], view["deployed"]["module"]);
    let counts = ["lag", "documents", "parked", "skipped"].map(|it| build[it].as_u64().unwrap());
    assert_eq!(counts, [0, 1, 0, 0]);
    assert_eq!(build.get("trouble"), None);
    let list = server.get("/v1/projections").await.ok();
    assert_eq!(list["projections"][0]["name"], "notes");
    let short = server.get("/v1/status").await.ok()["projections"].clone();
    assert_eq!(
        short,
        json!([{"name": "notes", "state": "caught-up", "lag": 0}])
    );
}

#[tokio::test]
async fn settings_apply_until_they_are_changed() {
    let guest = notes(1, json!({}));
    let server = projected(&guest, json!({"lifecycle": "inline", "on_error": "skip"})).await;
    let settings = |deployed: &Value| deployed["projections"]["notes"].clone();
    let inline = json!({"lifecycle": "inline", "on_error": "skip"});
    let list = server.get("/v1/deployments").await.ok();
    assert_eq!(settings(&list["deployments"][0]), inline);
    once(&server, |view| view["state"] == "inline").await;
    let deployed = deploy(&server, &guest, json!({"on_error": "park"}))
        .await
        .ok();
    let expected = json!({"lifecycle": "inline", "on_error": "park"});
    assert_eq!(settings(&deployed), expected);
    let detached = order(&server, "detach").await.ok();
    assert_eq!(detached["lifecycle"], "async");
    let list = server.get("/v1/deployments").await.ok();
    let last = list["deployments"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(
        settings(&last),
        json!({"lifecycle": "async", "on_error": "park"})
    );
    let body = json!({"digest": last["digest"], "projections": {"nobody": {}}}).to_string();
    let unknown = send(server.post("/v1/deployments", &body)).await;
    let problem = unknown.problem(422, "module-refused");
    assert!(
        problem["detail"].as_str().unwrap().contains("nobody"),
        "{problem}"
    );
}

#[tokio::test]
async fn an_operator_pauses_rebuilds_switches_and_rolls_back() {
    let server = projected(&notes(1, json!({})), json!({})).await;
    let position = note(&server, "note-1", &json!({"n": 1})).await;
    once(&server, |view| view["builds"][0]["position"] == position).await;
    assert_eq!(order(&server, "pause").await.ok()["paused"], true);
    assert_eq!(order(&server, "resume").await.ok()["paused"], false);
    for early in ["switch", "rollback", "cancel", "drop", "detach"] {
        let problem = order(&server, early)
            .await
            .problem(409, "projection-refused");
        assert_eq!(problem["projection"], "notes");
    }
    let hold = server.post("/v1/projections/notes/rebuild", "{\"hold\":true}");
    let begun = send(hold).await.ok();
    assert_eq!(
        (&begun["held"], &begun["builds"][1]["role"]),
        (&json!(true), &json!("next"))
    );
    let ready = once(&server, |view| view["builds"][1]["state"] == "ready").await;
    assert_eq!(ready["builds"][0]["role"], "active");
    order(&server, "switch").await.ok();
    let switched = once(&server, |view| view["builds"][1]["role"] == "previous").await;
    assert_eq!(switched["builds"][1]["state"], "kept");
    assert_eq!(switched["builds"][0]["comparison"]["same"], 1);
    let back = order(&server, "rollback").await.ok();
    assert_eq!(
        back["builds"][0]["started_at"],
        switched["builds"][1]["started_at"]
    );
    let dropped = order(&server, "drop").await.ok();
    assert_eq!(dropped["builds"].as_array().unwrap().len(), 1);
    order(&server, "rebuild").await.ok();
    once(&server, |view| view["builds"][1]["role"] == "previous").await;
}

#[tokio::test]
async fn parked_events_are_listed_by_page_and_dropped_with_a_reason() {
    let server = projected(&notes(1, json!({})), json!({"on_error": "park"})).await;
    let bad = json!({"bad": {"apply": "bad-event"}});
    let first = note(&server, "note-1", &bad).await;
    for body in [json!({"n": 1}), json!({"n": 2})] {
        note(&server, "note-1", &body).await;
    }
    note(&server, "note-2", &json!({"bad": {"keys": "trap"}})).await;
    once(&server, |view| view["builds"][0]["parked"] == 4).await;
    let path = "/v1/projections/notes/parked?build=active&limit=3";
    let page = server.get(path).await.ok();
    let events = page["events"].as_array().unwrap();
    assert_eq!(events.len(), 3);
    assert_eq!(
        (&events[0]["document"], &events[0]["position"]),
        (&json!("note-1"), &json!(first))
    );
    assert!(
        events[0]["error"].as_str().unwrap().contains("bad"),
        "{page}"
    );
    assert_eq!(events[1].get("error"), None, "{page}");
    let next = page["next"].as_str().unwrap();
    let rest = server.get(&format!("{path}&cursor={next}")).await.ok();
    assert_eq!(rest["events"][0]["stream"], "note-2");
    assert_eq!(
        (rest["events"].as_array().unwrap().len(), &rest["next"]),
        (1, &Value::Null)
    );

    let view = server.get("/v1/views/notes").await.ok();
    assert_eq!(view["parked"], 2);
    for path in ["", "/note-1"] {
        let path = format!("/v1/views/notes{path}?after={first}&timeout=20000");
        let problem = server.get(&path).await.problem(504, "not-fresh");
        assert_eq!(problem["reason"], "parked");
        assert_eq!(problem["position"], first - 1);
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("`quipu projection notes parked`"),
            "{detail}"
        );
    }

    let path = "/v1/projections/notes/parked?document=note-1";
    let of_one = server.get(path).await.ok();
    assert_eq!(of_one["events"].as_array().unwrap().len(), 3);
    let second = of_one["events"][1]["position"].as_u64().unwrap();
    let one = server.get(&format!("{path}&position={second}")).await.ok();
    assert_eq!(one["events"], json!([of_one["events"][1]]));
    let retry = json!({"document": "note-1", "position": second}).to_string();
    let retry = server.post("/v1/projections/notes/retry-parked", &retry);
    let problem = send(retry).await.problem(409, "projection-refused");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains(&format!("wait those at {first};")),
        "{detail}"
    );

    let drop = json!({"document": "note-1", "reason": "a typo", "position": second}).to_string();
    let path = "/v1/projections/notes/drop-parked";
    send(server.post(path, &drop)).await.ok();
    let drop = json!({"document": "note-1", "reason": "a typo"}).to_string();
    send(server.post(path, &drop)).await.ok();
    let left = server.get("/v1/projections/notes/parked").await.ok();
    assert_eq!(left["events"].as_array().unwrap().len(), 1);
    let skipped = server.get("/v1/projections/notes/skipped").await.ok();
    assert_eq!(skipped["events"].as_array().unwrap().len(), 3);
    assert_eq!(skipped["events"][0]["reason"], "a typo");
    send(server.post(path, &drop))
        .await
        .problem(409, "projection-refused");
    order(&server, "retry-parked").await.ok();
    let none = server.get("/v1/projections/notes/parked?build=next").await;
    none.problem(409, "projection-refused");
}

#[tokio::test]
async fn a_stopped_projection_shows_at_which_event_it_stopped() {
    let server = projected(&notes(1, json!({})), json!({})).await;
    let position = note(&server, "note-1", &json!({"bad": {"apply": "trap"}})).await;
    let view = once(&server, |view| view["state"] == "stopped").await;
    let trouble = &view["builds"][0]["trouble"];
    assert_eq!(
        (&trouble["stopped"], &trouble["position"]),
        (&json!(true), &json!(position))
    );
    assert_eq!(
        (&trouble["stream"], &trouble["document"]),
        (&json!("note-1"), &json!("note-1"))
    );
    assert!(trouble["attempts"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn an_inline_projection_fails_an_append_that_it_cannot_fold() {
    let server = projected(&notes(1, json!({})), json!({"lifecycle": "inline"})).await;
    let data = json!([["noted", {"bad": {"apply": "trap"}}]]).to_string();
    let refused = send(server.command("note-1", "note", &data)).await;
    let problem = refused.problem(502, "guest-fault");
    assert_eq!(problem["projection"], "notes");
    assert_eq!(server.get("/v1/streams/note-1/events").await.status, 404);
}

#[tokio::test]
async fn a_stream_is_folded_live() {
    let server = projected(&notes(1, json!({})), json!({"lifecycle": "live"})).await;
    note(&server, "note-1", &json!({"n": 2})).await;
    let live = server.get("/v1/projections/notes/live/note-1").await.ok();
    assert_eq!(
        (&live["stream"], &live["version"]),
        (&json!("note-1"), &json!(1))
    );
    assert_eq!(live["documents"]["note-1"]["sum"], 2);
    let problem = server.get("/v1/views/notes/note-1").await;
    let problem = problem.problem(409, "projection-refused");
    assert!(
        problem["detail"].as_str().unwrap().contains("/live/STREAM"),
        "{problem}"
    );
    let none = server.get("/v1/projections/notes/live/note-2").await;
    none.problem(404, "stream-not-found");
    let view = server.get("/v1/projections/notes").await.ok();
    assert_eq!(
        (&view["state"], &view["builds"]),
        (&json!("live"), &json!([]))
    );
    note(&server, "note-3", &json!({"bad": {"apply": "trap"}})).await;
    let faulty = server.get("/v1/projections/notes/live/note-3").await;
    faulty.problem(502, "guest-fault");
}
