//! Appends to several streams.

use serde_json::{Value, json};

use crate::server::{Answered, Server, send};

async fn append(server: &Server, streams: &Value) -> Answered {
    let body = json!({ "streams": streams }).to_string();
    send(server.post("/v1/appends", &body)).await
}

fn part(stream: &str, expected: impl Into<Value>, events: usize) -> Value {
    let events = vec![json!({"type": "n", "data": 1}); events];
    json!({"stream": stream, "expected_version": expected.into(), "events": events})
}

async fn version(server: &Server, stream: &str) -> Value {
    let answer = server.get(&format!("/v1/streams/{stream}/events")).await;
    answer.json()["version"].clone()
}

#[tokio::test]
async fn an_append_to_several_streams_returns_a_result_for_each() {
    let server = Server::empty().await;
    let streams = json!([part("a-1", "no-stream", 2), part("b-1", "any", 1)]);
    let answer = append(&server, &streams).await.ok();
    assert_eq!(answer["replayed"], false);
    let of = |index: usize| {
        let one = &answer["streams"][index];
        let events = one["events"].as_array().unwrap();
        let ids = events.iter().map(|event| event["id"].as_str().unwrap());
        assert!(ids.into_iter().all(|id| id.len() == 36));
        json!([
            one["stream"],
            one["version"],
            one["position"],
            events.len(),
            one["replayed"]
        ])
    };
    assert_eq!(of(0), json!(["a-1", 2, 2, 2, false]));
    assert_eq!(of(1), json!(["b-1", 1, 3, 1, false]));
    // Some streams are only checked; `events` may be omitted then.
    let checked = json!({"stream": "b-1", "expected_version": 1});
    let streams = json!([part("a-1", 2, 1), checked, part("c-1", "no-stream", 0)]);
    let answer = append(&server, &streams).await.ok();
    let found: Vec<_> = (0..3)
        .map(|index| {
            let one = &answer["streams"][index];
            json!([
                one["version"],
                one["position"],
                one["events"].as_array().unwrap().len()
            ])
        })
        .collect();
    assert_eq!(
        found,
        [json!([3, 4, 1]), json!([1, null, 0]), json!([0, null, 0])]
    );
}

#[tokio::test]
async fn one_conflict_refuses_the_whole_append_and_names_its_stream() {
    let server = Server::empty().await;
    append(&server, &json!([part("a-1", 0, 1), part("b-1", 0, 2)]))
        .await
        .ok();
    for (expected, word) in [
        (json!(1), json!(1)),
        (json!("no-stream"), json!("no-stream")),
        (json!(u64::MAX), json!(u64::MAX)),
    ] {
        let streams = json!([part("a-1", "stream-exists", 1), part("b-1", expected, 0)]);
        let problem = append(&server, &streams).await;
        let problem = problem.problem(412, "wrong-expected-version");
        assert_eq!(
            (&problem["stream"], &problem["expected"], &problem["found"]),
            (&json!("b-1"), &word, &json!(2))
        );
    }
    let missing = json!([part("a-1", "any", 1), part("c-1", "stream-exists", 1)]);
    let problem = append(&server, &missing).await;
    let problem = problem.problem(412, "wrong-expected-version");
    assert_eq!(
        (&problem["stream"], &problem["expected"]),
        (&json!("c-1"), &json!("stream-exists"))
    );
    assert_eq!(version(&server, "a-1").await, 1);
}

#[tokio::test]
async fn the_same_key_returns_the_first_outcome_of_all_streams() {
    let server = Server::empty().await;
    let keyed = |streams: Value| {
        let body = json!({ "streams": streams }).to_string();
        server
            .post("/v1/appends", &body)
            .header("Idempotency-Key", "k1")
    };
    let streams = json!([part("a-1", "no-stream", 1), part("b-1", "no-stream", 1)]);
    let first = send(keyed(streams.clone())).await.ok();
    let again = send(keyed(streams)).await.ok();
    assert_eq!(again["replayed"], true);
    for index in 0..2 {
        assert_eq!(
            first["streams"][index]["events"],
            again["streams"][index]["events"]
        );
        assert_eq!(again["streams"][index]["replayed"], true);
    }
    let other = json!([part("a-1", "any", 2), part("b-1", "any", 1)]);
    send(keyed(other))
        .await
        .problem(422, "idempotency-key-reused");
    let event = server.get("/v1/events/2").await.ok();
    assert_eq!(event["commit"]["command_id"], "k1");
}

#[tokio::test]
async fn a_category_with_a_decider_takes_a_part_only_on_request() {
    let server = Server::bank().await;
    let opened = json!({"type": "opened", "data": {"owner": "ann"}});
    let owned = json!({"stream": "account-1", "expected_version": 0, "events": [opened]});
    let body = json!({"streams": [part("note-1", 0, 1), owned]}).to_string();
    let request = || server.post("/v1/appends", &body);
    send(request()).await.problem(409, "category-owned");
    server
        .get("/v1/streams/note-1/events")
        .await
        .problem(404, "stream-not-found");
    send(request().header("Quipu-Raw", "allow")).await.ok();
}

#[tokio::test]
async fn a_malformed_part_is_reported_with_its_index() {
    let server = Server::empty().await;
    let bad_id = json!({"stream": "b-1", "expected_version": 0,
        "events": [{"type": "n", "data": 1}, {"type": "n", "data": 1, "id": "x"}]});
    for (wrong, said) in [
        (part("", 0, 1), "stream 1: a stream id"),
        (part("b\u{1}", 0, 1), "stream 1: stream id"),
        (part("b-1", "exact", 1), "stream 1: expected_version is"),
        (part("b-1", -1, 1), "stream 1: expected_version is"),
        (part("b-1", 1.0, 1), "stream 1: expected_version is"),
        (part("b-1", Value::Null, 1), "stream 1: expected_version is"),
        (part("b-1", json!([0]), 1), "stream 1: expected_version is"),
        (bad_id, "stream 1: event 1: the id is no UUID"),
        (json!({"stream": "b-1", "events": []}), "`expected_version`"),
        (json!({"expected_version": 0, "events": []}), "`stream`"),
        (json!(["b-1", 0, []]), "a JSON object"),
        (part("a-1", 0, 1), "stream a-1 occurs twice"),
        (part("$streams", "any", 1), "belong to the host"),
    ] {
        let problem = append(&server, &json!([part("a-1", 0, 1), wrong])).await;
        let problem = problem.problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{detail}");
    }
    append(&server, &json!([]))
        .await
        .problem(400, "bad-request");
    let request = || server.post("/v1/appends", r#"{"streams":[]}"#);
    for header in ["If-Match", "If-None-Match"] {
        let problem = send(request().header(header, "*")).await;
        let problem = problem.problem(400, "bad-request");
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("expected_version")
        );
    }
    let deep = format!(
        r#"{{"streams":[{{"stream":"a-1","events":[],"expected_version":{}"#,
        "[".repeat(1_000_000)
    );
    send(server.post("/v1/appends", &deep))
        .await
        .problem(400, "bad-request");
    server
        .get("/v1/streams/a-1/events")
        .await
        .problem(404, "stream-not-found");
}

#[tokio::test]
async fn the_numbers_of_streams_and_events_of_one_append_are_bounded() {
    let server = Server::empty().await;
    let streams = |count: usize, events| {
        let parts = (1..=count).map(|n| part(&format!("s-{n}"), "no-stream", events));
        Value::Array(parts.collect())
    };
    let problem = append(&server, &streams(1_001, 0)).await;
    let problem = problem.problem(413, "too-large");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("streams per append")
    );
    let events = json!([part("a-1", 0, 500), part("b-1", 0, 501)]);
    let problem = append(&server, &events).await;
    let problem = problem.problem(413, "too-large");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("events per append")
    );
    let answer = append(&server, &streams(1_000, 1)).await.ok();
    assert_eq!(answer["streams"][999]["position"], 1_000);
}
