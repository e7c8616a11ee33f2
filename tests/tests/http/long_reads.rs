//! Reads longer than a page, as lines.

use quipu_tests::build::{append, event, events, stream};
use quipu_tests::{examples, guest};
use serde_json::{Value, json};

use crate::server::{Answered, Server, send};

/// Two streams with 2,501 events and 1 event.
async fn long() -> Server {
    let server = Server::empty().await;
    for (to, count) in [
        ("note-1", 1_000),
        ("other-1", 1),
        ("note-1", 1_000),
        ("note-1", 501),
    ] {
        let append = append(events(count));
        server.host.append(&stream(to), append).await.unwrap();
    }
    server
}

async fn lines(server: &Server, path: &str) -> Answered {
    let request = server.request("GET", path);
    send(request.header("Accept", "application/x-ndjson")).await
}

/// A member of each event, and the last line.
fn read(answer: &Answered, member: &str) -> (Vec<u64>, Value) {
    let mut lines = answer.lines();
    let last = lines.pop().unwrap();
    let members = lines.iter().map(|event| event[member].as_u64().unwrap());
    (members.collect(), last)
}

#[tokio::test]
async fn all_events_of_a_stream_are_read_as_lines() {
    let server = long().await;
    let path = "/v1/streams/note-1/events";
    let answer = lines(&server, path).await;
    assert_eq!(answer.header("etag"), "\"2501\"");
    assert_eq!(answer.header("vary"), "accept");
    let (versions, last) = read(&answer, "version");
    assert_eq!(versions, (1..=2_501).collect::<Vec<_>>());
    assert_eq!(last, json!({"end": {"version": 2_501, "next": null}}));
    // Each line equals the event in a page.
    let page = server.get(&format!("{path}?from=2000&limit=1")).await.ok();
    assert_eq!(answer.lines()[1_999], page["events"][0]);
    for (query, first, end, next) in [
        ("from=2400", 2_400, 2_501, Value::Null),
        ("from=2&to=1500", 2, 1_500, Value::Null),
        ("limit=1200", 1, 1_200, json!(1_201)),
        ("limit=2501", 1, 2_501, Value::Null),
        ("limit=100000", 1, 2_501, Value::Null),
    ] {
        let (versions, last) = read(&lines(&server, &format!("{path}?{query}")).await, "version");
        assert_eq!(versions, (first..=end).collect::<Vec<_>>(), "{query}");
        assert_eq!(last["end"]["next"], next, "{query}");
    }
    let backward = format!("{path}?direction=backward&to=2100");
    let (versions, last) = read(&lines(&server, &backward).await, "version");
    assert_eq!(versions, (1..=2_100).rev().collect::<Vec<_>>());
    assert_eq!(last["end"]["next"], Value::Null);
}

#[tokio::test]
async fn all_events_of_the_log_are_read_as_lines() {
    let server = long().await;
    let (positions, last) = read(&lines(&server, "/v1/events").await, "position");
    assert_eq!(positions, (1..=2_502).collect::<Vec<_>>());
    assert_eq!(last, json!({"end": {"head": 2_502, "next": null}}));
    let filtered = lines(&server, "/v1/events?not_category=other&after=1000&to=2100").await;
    let (positions, last) = read(&filtered, "position");
    assert_eq!(positions, (1_002..=2_100).collect::<Vec<_>>());
    assert_eq!(last, json!({"end": {"head": 2_502, "next": null}}));
    let limited = lines(&server, "/v1/events?direction=backward&limit=1001").await;
    let (positions, last) = read(&limited, "position");
    assert_eq!(positions, (1_502..=2_502).rev().collect::<Vec<_>>());
    assert_eq!(last["end"]["next"], 1_502);
    let none = lines(&server, "/v1/events?category=none").await;
    assert_eq!(read(&none, "position").0, [0; 0]);
}

#[tokio::test]
async fn an_error_is_the_response_before_the_first_line_and_the_last_line_after_it() {
    let server = long().await;
    for (path, status, code) in [
        ("/v1/streams/note-9/events", 404, "stream-not-found"),
        ("/v1/streams/note-1/events?limit=0", 400, "bad-request"),
        ("/v1/streams/note-1/events?from=0", 400, "bad-request"),
        ("/v1/events?prefix=", 400, "bad-request"),
        ("/v1/events?x=1", 400, "bad-request"),
    ] {
        lines(&server, path).await.problem(status, code);
    }
    let upcaster = guest::component_of("note-lifter", "upcaster-guest");
    examples::deploy(&server.host, upcaster).await;
    let broken = append(vec![event("kept", "{}"), event("broken", "{}")]);
    server.host.append(&stream("note-2"), broken).await.unwrap();
    let mut read = lines(&server, "/v1/events?prefix=note-2").await.lines();
    let last = read.pop().unwrap();
    assert_eq!(last["problem"]["code"], "guest-fault", "{last}");
    assert_eq!((read.len(), &read[0]["type"]), (1, &json!("kept")));
    let stored = lines(&server, "/v1/events?prefix=note-2&form=stored").await;
    assert_eq!(stored.lines().len(), 3);
}

#[tokio::test]
async fn data_with_line_breaks_is_one_line() {
    let server = Server::empty().await;
    let body = "{\"events\":[{\"type\":\"n\",\"data\":{\n\"a\":\r\n1}}]}";
    send(server.post("/v1/streams/note-1/events", body))
        .await
        .ok();
    let answer = lines(&server, "/v1/streams/note-1/events").await;
    let read = answer.lines();
    assert_eq!((read.len(), &read[0]["data"]), (2, &json!({"a": 1})));
}

#[tokio::test]
async fn a_read_that_does_not_accept_lines_returns_a_page() {
    let server = long().await;
    for accept in ["application/json", "*/*", "application/x-ndjson;q=0"] {
        let request = server.request("GET", "/v1/events");
        let page = send(request.header("Accept", accept)).await;
        assert_eq!(page.header("content-type"), "application/json", "{accept}");
        assert_eq!(page.header("vary"), "accept");
        assert_eq!(page.ok()["events"].as_array().unwrap().len(), 100);
    }
    let seen = server.request("GET", "/v1/streams/note-1/events");
    let seen = seen.header("Accept", "application/x-ndjson");
    assert_eq!(
        send(seen.header("If-None-Match", "\"2501\"")).await.status,
        304
    );
}
