//! Lists of streams, archiving and restoring.

use quipu_tests::build::{append, event, events, stream};
use serde_json::{Value, json};

use crate::server::{Server, send};

async fn with(streams: &[&str]) -> Server {
    let server = Server::empty().await;
    for id in streams {
        let appended = server.host.append(&stream(id), append(events(1))).await;
        appended.unwrap();
    }
    server
}

async fn mark(server: &Server, stream: &str, act: &str) -> Value {
    let path = format!("/v1/streams/{stream}/{act}");
    send(server.request("POST", &path)).await.ok()
}

async fn listed(server: &Server, query: &str) -> Vec<String> {
    let list = server.get(&format!("/v1/streams{query}")).await.ok();
    let streams = list["streams"].as_array().unwrap();
    let name = |one: &Value| one["stream"].as_str().unwrap().to_owned();
    streams.iter().map(name).collect()
}

#[tokio::test]
async fn streams_are_listed_in_pages_by_their_ids() {
    let server = with(&["b-2", "a-1", "b-1", "c"]).await;
    assert_eq!(listed(&server, "").await, ["a-1", "b-1", "b-2", "c"]);
    assert_eq!(listed(&server, "?category=b").await, ["b-1", "b-2"]);
    assert_eq!(listed(&server, "?category=none").await, [""; 0]);
    assert_eq!(listed(&server, "?after=b-1").await, ["b-2", "c"]);
    let page = server.get("/v1/streams?limit=3").await.ok();
    assert_eq!(page["next"], "b-2");
    let page = server.get("/v1/streams?limit=3&after=b-2").await.ok();
    assert_eq!(page["next"], Value::Null);
    let one = &page["streams"][0];
    assert_eq!((&one["stream"], &one["version"]), (&json!("c"), &json!(1)));
    assert!(one["recorded_at"].as_str().unwrap().ends_with('Z'));
    assert!(!one.as_object().unwrap().contains_key("archived_at"));
}

#[tokio::test]
async fn an_archived_stream_refuses_events_until_it_is_restored() {
    let server = with(&["note-1"]).await;
    let answer = mark(&server, "note-1", "archive").await;
    assert_eq!(
        answer,
        json!({"stream": "note-1", "archived": true, "position": 2})
    );
    let again = mark(&server, "note-1", "archive").await;
    assert_eq!(again["position"], Value::Null);
    let noted = "{\"events\":[{\"type\":\"n\",\"data\":1}]}";
    let refused = send(server.post("/v1/streams/note-1/events", noted)).await;
    let problem = refused.problem(409, "stream-archived");
    assert_eq!(problem["stream"], "note-1");
    server.get("/v1/streams/note-1/events").await.ok();

    let answer = mark(&server, "note-1", "restore").await;
    assert_eq!(
        answer,
        json!({"stream": "note-1", "archived": false, "position": 3})
    );
    assert_eq!(
        mark(&server, "note-1", "restore").await["position"],
        Value::Null
    );
    let appended = send(server.post("/v1/streams/note-1/events", noted)).await;
    assert_eq!(appended.ok()["version"], 2);
}

#[tokio::test]
async fn archived_streams_are_listed_on_request() {
    let server = with(&["a-1", "a-2", "b-1"]).await;
    mark(&server, "a-2", "archive").await;
    assert_eq!(listed(&server, "?category=a").await, ["a-1"]);
    assert_eq!(
        listed(&server, "?category=a&archived=without").await,
        ["a-1"]
    );
    assert_eq!(
        listed(&server, "?category=a&archived=with").await,
        ["a-1", "a-2"]
    );
    assert_eq!(listed(&server, "?archived=only").await, ["a-2"]);
    let page = server.get("/v1/streams?archived=only").await.ok();
    let since = page["streams"][0]["archived_at"].as_str().unwrap();
    assert!(since.ends_with('Z'), "{since}");
}

#[tokio::test]
async fn pages_by_category_leave_out_archived_streams_by_default() {
    let server = with(&["a-1", "a-2", "b-1"]).await;
    mark(&server, "a-2", "archive").await;
    let read = async |query: &str| {
        let page = server.get(&format!("/v1/events{query}")).await.ok();
        let events = page["events"].as_array().unwrap();
        let position = |event: &Value| event["position"].as_u64().unwrap();
        events.iter().map(position).collect::<Vec<_>>()
    };
    assert_eq!(read("").await, [1, 2, 3, 4]);
    assert_eq!(read("?prefix=a").await, [1, 2]);
    assert_eq!(read("?type=noted").await, [1, 2, 3]);
    assert_eq!(read("?category=a").await, [1]);
    assert_eq!(read("?category=a&archived=without").await, [1]);
    assert_eq!(read("?category=a&archived=with").await, [1, 2]);
    assert_eq!(read("?archived=with").await, [1, 2, 3, 4]);
    assert_eq!(read("?archived=without").await, [1, 3, 4]);
    mark(&server, "a-2", "restore").await;
    assert_eq!(read("?category=a").await, [1, 2]);
}

#[tokio::test]
async fn events_are_filtered_by_any_of_the_tags() {
    let server = Server::empty().await;
    for (index, tags) in [&["a:1"][..], &["b:2", "a:1"], &["b:3"], &[]]
        .iter()
        .enumerate()
    {
        let mut tagged = event("noted", "{}");
        tagged.tags = tags.iter().map(|tag| (*tag).into()).collect();
        let stream = stream(&format!("note-{index}"));
        server
            .host
            .append(&stream, append(vec![tagged]))
            .await
            .unwrap();
    }
    let read = async |query: &str| {
        let page = server.get(&format!("/v1/events{query}")).await.ok();
        let events = page["events"].as_array().unwrap();
        let position = |event: &Value| event["position"].as_u64().unwrap();
        events.iter().map(position).collect::<Vec<_>>()
    };
    assert_eq!(read("?tag=a:1").await, [1, 2]);
    assert_eq!(read("?tag=b:2&tag=b:3").await, [2, 3]);
    assert_eq!(read("?tag=a%3A1&prefix=note-1").await, [2]);
    assert_eq!(read("?tag=c:1").await, [0; 0]);
}

#[tokio::test]
async fn archiving_is_recorded_in_a_stream_of_the_host() {
    let server = with(&["dé/p?-a b%"]).await;
    let path = "/v1/streams/d%C3%A9%2Fp%3F-a%20b%25/archive";
    let archive = server.request("POST", path);
    let archive = archive.header("Quipu-Correlation-Id", "clean-up");
    send(archive.header("Quipu-Causation-Id", "ticket-9"))
        .await
        .ok();
    let page = server.get("/v1/streams/%24streams/events").await.ok();
    let event = &page["events"][0];
    assert_eq!(event["type"], "archived");
    assert_eq!(event["data"], json!({"stream": "dé/p?-a b%"}));
    assert_eq!(event["commit"]["correlation_id"], "clean-up");
    assert_eq!(event["commit"]["causation_id"], "ticket-9");
    let list = server.get("/v1/streams?archived=only").await.ok();
    assert_eq!(list["streams"][0]["stream"], "dé/p?-a b%");
}

#[tokio::test]
async fn invalid_archivings_and_lists_are_refused() {
    let server = with(&["note-1"]).await;
    for act in ["archive", "restore"] {
        let path = format!("/v1/streams/note-2/{act}");
        send(server.request("POST", &path))
            .await
            .problem(404, "stream-not-found");
        let path = format!("/v1/streams/%24streams/{act}");
        send(server.request("POST", &path))
            .await
            .problem(400, "bad-request");
    }
    for (query, said) in [
        ("?category=", "category"),
        ("?category=a%00", "control character"),
        ("?category=a&category=b", "more than once"),
        (
            "?archived=yes",
            "archived: expected without, with or only, found \"yes\"",
        ),
        ("?archived=", "archived"),
        ("?after=", "1 to 255 bytes"),
        ("?after=a%0A", "control character"),
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?from=1", "from"),
    ] {
        let answer = server.get(&format!("/v1/streams{query}")).await;
        let problem = answer.problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{query}: {detail}");
    }
}
