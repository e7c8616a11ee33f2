use serde_json::json;

use crate::server::{Server, send};

/// Spaces, an exponent, an escape and the order of members are all preserved.
const ODD: &str = r#"{"b" : 1.50e+0,  "a":[ "\u00e9é" , null ]}"#;

#[tokio::test]
async fn data_and_metadata_are_returned_byte_for_byte() {
    let server = Server::empty().await;
    let body = format!(
        r#"{{"events":[{{"type":"noted","data": {ODD} ,"metadata":{ODD},"tags":["a:b"]}}]}}"#
    );
    let answer = send(server.post("/v1/streams/note-1/events", &body))
        .await
        .ok();
    assert_eq!(
        (&answer["version"], &answer["events"][0]["position"]),
        (&json!(1), &json!(1))
    );
    let read = server.get("/v1/streams/note-1/events").await;
    assert!(
        read.text.contains(&format!("\"data\":{ODD},")),
        "{}",
        read.text
    );
    assert!(
        read.text.contains(&format!("\"metadata\":{ODD},")),
        "{}",
        read.text
    );
    assert_eq!(read.json()["events"][0]["tags"], json!(["a:b"]));
}

#[tokio::test]
async fn null_is_valid_data_and_binary_data_needs_a_content_type() {
    let server = Server::empty().await;
    let body = r#"{"events":[{"type":"n","data":null},{"type":"n","data_base64":"AP8K","content_type":"a/b","schema_version":3}]}"#;
    send(server.post("/v1/streams/note-1/events", body))
        .await
        .ok();
    let read = server.get("/v1/streams/note-1/events").await.ok();
    let events = &read["events"];
    assert!(events[0].as_object().unwrap().contains_key("data"));
    assert!(!events[0].as_object().unwrap().contains_key("content_type"));
    assert_eq!(
        (&events[1]["data_base64"], &events[1]["content_type"]),
        (&json!("AP8K"), &json!("a/b"))
    );
    assert_eq!(events[1]["schema_version"], 3);
    // An append without an id gets one from the host, which is its correlation id as well.
    let id = events[1]["commit"]["command_id"].as_str().unwrap();
    assert!(id.starts_with("quipu."), "{id}");
    assert_eq!(
        events[1]["commit"],
        json!({"command_id": id, "module": null, "plan": 0,
        "fuel": null, "correlation_id": id, "causation_id": null, "principal": null,
        "traceparent": null})
    );
}

#[tokio::test]
async fn an_append_has_preconditions_and_an_idempotency_key() {
    let server = Server::empty().await;
    let append = |n: u32| {
        let body = format!("{{\"events\":[{{\"type\":\"n\",\"data\":{n}}}]}}");
        server.post("/v1/streams/note-1/events", &body)
    };
    let first = send(
        append(1)
            .header("Idempotency-Key", "k")
            .header("If-None-Match", "*"),
    )
    .await
    .ok();
    let again = send(
        append(1)
            .header("Idempotency-Key", "k")
            .header("If-None-Match", "*"),
    )
    .await
    .ok();
    assert_eq!(
        (&first["replayed"], &again["replayed"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(first["events"], again["events"]);
    assert_eq!(
        (&first["created"], &again["created"]),
        (&json!(true), &json!(true))
    );
    send(append(2).header("Idempotency-Key", "k"))
        .await
        .problem(422, "idempotency-key-reused");
    let stale = send(append(2).header("If-Match", "\"4\"")).await;
    assert_eq!(stale.header("etag"), "\"1\"");
    stale.problem(412, "wrong-expected-version");
    let taken = send(append(2).header("If-None-Match", "*")).await;
    assert_eq!(taken.header("etag"), "\"1\"");
    taken.problem(412, "wrong-expected-version");
    let empty = server.post("/v1/streams/note-1/events", "{\"events\":[]}");
    let checked = send(empty.header("If-Match", "W/\"1\"")).await;
    assert_eq!(checked.header("etag"), "\"1\"");
    let checked = checked.ok();
    assert_eq!(checked["created"], false);
    let next = send(append(3).header("If-Match", "1")).await;
    assert_eq!(next.header("etag"), "\"2\"");
    assert_eq!(next.ok()["created"], false);
    assert_eq!(
        (&checked["version"], &checked["position"]),
        (&json!(1), &json!(null))
    );
}

#[tokio::test]
async fn a_category_with_a_decider_takes_raw_events_only_on_request() {
    let server = Server::bank().await;
    let append = |event: &str| {
        let body = format!("{{\"events\":[{event}]}}");
        server.post("/v1/streams/account-1/events", &body)
    };
    let opened = r#"{"type":"opened","data":{"owner":"ann"}}"#;
    send(append(opened)).await.problem(409, "category-owned");
    send(append(opened).header("Quipu-Raw", "yes"))
        .await
        .problem(400, "bad-request");
    send(append(opened).header("Quipu-Raw", "allow")).await.ok();
    let unreadable = r#"{"type":"deposited","data":{"amount":-3}}"#;
    let problem = send(append(unreadable).header("Quipu-Raw", "allow"))
        .await
        .problem(400, "bad-request");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("account-1: event 0 (deposited)"),
        "{detail}"
    );
    let listed = r#"{"type":"deposited","data":[3]}"#;
    let problem = send(append(listed).header("Quipu-Raw", "allow")).await;
    let problem = problem.problem(400, "bad-request");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("as a JSON object"), "{detail}");
    let unknown = r#"{"type":"renamed","data":{}}"#;
    send(append(unknown).header("Quipu-Raw", "allow"))
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn a_malformed_event_is_reported_with_its_index() {
    let server = Server::empty().await;
    let good = r#"{"type":"n","data":1}"#;
    for (wrong, said) in [
        (r#"{"type":"n"}"#, "data or data_base64"),
        (
            r#"{"type":"n","data":1,"data_base64":""}"#,
            "exclude each other",
        ),
        (
            r#"{"type":"n","data":1,"content_type":"a/b"}"#,
            "goes with data_base64",
        ),
        (r#"{"type":"n","data_base64":"!"}"#, "data_base64"),
        (r#"{"type":"","data":1}"#, "must not be empty"),
        (r#"{"type":"n","data":1,"schema_version":0}"#, "begin at 1"),
        (r#"{"type":"n","data":1,"tags":["plain"]}"#, "name:value"),
        (r#"{"type":"n","data":1,"metadata":3}"#, "object"),
        (r#"{"type":"n","data":1,"id":"x"}"#, "no UUID"),
        (r#"{"type":"n","data":1,"id":""}"#, "no UUID"),
        (
            r#"{"type":"n","data":1,"id":"0198c5b29f3a7c418d2e5b6a7c8d9e0f"}"#,
            "no UUID",
        ),
        (
            r#"{"type":"n","data":1,"id":"{0198c5b2-9f3a-7c41-8d2e-5b6a7c8d9e0f}"}"#,
            "no UUID",
        ),
        (
            r#"{"type":"n","data":1,"id":"g198c5b2-9f3a-7c41-8d2e-5b6a7c8d9e0f"}"#,
            "no UUID",
        ),
    ] {
        let body = format!("{{\"events\":[{good},{wrong}]}}");
        let problem = send(server.post("/v1/streams/note-1/events", &body)).await;
        let problem = problem.problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("event 1: ") && detail.contains(said),
            "{detail}"
        );
    }
    server
        .get("/v1/streams/note-1/events")
        .await
        .problem(404, "stream-not-found");
}

#[tokio::test]
async fn an_append_has_limits() {
    let server = Server::empty().await;
    let events = |count: usize| {
        let events = vec![r#"{"type":"n","data":1}"#; count].join(",");
        server.post(
            "/v1/streams/note-1/events",
            &format!("{{\"events\":[{events}]}}"),
        )
    };
    send(events(1_000)).await.ok();
    send(events(1_001)).await.problem(413, "too-large");
}

#[tokio::test]
async fn the_limit_of_events_is_judged_while_the_body_is_read() {
    let server = Server::empty().await;
    let events = |count: usize, last: &str| {
        let events = r#"{"type":"n","data":1},"#.repeat(count) + last;
        let one = format!("{{\"events\":[{events}]}}");
        let part =
            |events: &str| format!(r#"{{"stream":"n-1","expected_version":"any",{events}}}"#);
        let all = format!("{{\"streams\":[{}]}}", part(&one[1..one.len() - 1]));
        [("/v1/streams/n-1/events", one), ("/v1/appends", all)]
    };
    // What follows after the first event above the limit is not read.
    for (path, body) in events(1_001, r#"{"type":7}"#) {
        let answer = send(server.post(path, &body)).await;
        let problem = answer.problem(413, "too-large");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("events per append"), "{detail}");
    }
    for (path, body) in events(999, r#"{"type":7}"#) {
        send(server.post(path, &body))
            .await
            .problem(400, "bad-request");
    }
    let streams = r#"{"stream":"s-1","expected_version":"any"},"#.repeat(1_001);
    let body = format!("{{\"streams\":[{streams} 7]}}");
    let answer = send(server.post("/v1/appends", &body)).await;
    answer.problem(413, "too-large");
}

/// Events with these ids, which are the last digits of a UUID.
fn with_ids(ids: &[u32]) -> String {
    let event = |id: &u32| {
        let id = format!("0198C5B2-9f3a-7c41-8d2e-{id:012}");
        json!({"type": "n", "data": 1, "id": id})
    };
    let events: Vec<_> = ids.iter().map(event).collect();
    json!({ "events": events }).to_string()
}

#[tokio::test]
async fn the_same_events_with_the_same_ids_are_one_append() {
    let server = Server::empty().await;
    let append = |stream: &str, ids: &[u32]| {
        let path = format!("/v1/streams/{stream}/events");
        server.post(&path, &with_ids(ids))
    };
    let first = send(append("note-1", &[1, 2])).await.ok();
    let id = &first["events"][0]["id"];
    assert_eq!(id, "0198c5b2-9f3a-7c41-8d2e-000000000001");
    assert_eq!(&server.get("/v1/events/1").await.ok()["id"], id);
    let again = send(append("note-1", &[1, 2]).header("If-None-Match", "*"))
        .await
        .ok();
    assert_eq!(again["replayed"], true);
    for member in ["version", "position", "events"] {
        assert_eq!(first[member], again[member]);
    }
    for partial in [&[2, 1][..], &[1], &[2, 3], &[1, 2, 3], &[3, 1]] {
        let problem = send(append("note-1", partial)).await;
        let problem = problem.problem(409, "partial-duplicate");
        assert_eq!(problem["stream"], "note-1");
        let named = problem["event_id"].as_str().unwrap();
        assert!(["1", "2"].iter().any(|id| named.ends_with(id)), "{named}");
    }
    let problem = send(append("note-1", &[4, 5, 4])).await;
    let problem = problem.problem(400, "duplicate-in-append");
    assert_eq!(problem["event_id"], "0198c5b2-9f3a-7c41-8d2e-000000000004");
    // Another stream has its own ids.
    let other = send(append("note-2", &[1])).await.ok();
    assert_eq!(
        (&other["version"], &other["replayed"]),
        (&json!(1), &json!(false))
    );
}

#[tokio::test]
async fn an_event_id_identifies_one_type_and_data() {
    let server = Server::empty().await;
    let append = |name: &str, data: &str| {
        let id = "0198c5b2-9f3a-7c41-8d2e-5b6a7c8d9e0f";
        let body = format!(r#"{{"events":[{{"id":"{id}","type":"{name}","data":{data}}}]}}"#);
        server.post("/v1/streams/note-1/events", &body)
    };
    send(append("n", "1")).await.ok();
    for (name, data) in [("n", "2"), ("m", "1"), ("n", " 1.0")] {
        let problem = send(append(name, data)).await;
        let problem = problem.problem(422, "idempotency-key-reused");
        assert!(problem["event_id"].is_string(), "{problem}");
    }
    assert_eq!(send(append("n", "1")).await.ok()["replayed"], true);
}
