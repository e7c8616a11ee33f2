//! Documents of projections: by key, by index, with a required freshness, and as they change.

use reqwest::Response;
use serde_json::{Value, json};

use crate::projections::{note, notes, once, projected};
use crate::server::{Server, send};

/// Notes with a status and a sum, under the keys that their bodies name.
async fn library() -> (Server, u64) {
    let other = json!({"keys": "body", "indexes": [
        {"name": "status", "pointer": "/status", "kind": "text"},
        {"name": "sum", "pointer": "/sum", "kind": "integer"},
    ]});
    let server = projected(&notes(1, other), json!({})).await;
    for (number, status) in ["open", "shut", "open", "open"].into_iter().enumerate() {
        let key = format!("a/{number}");
        let body = json!({"keys": [key], "status": status, "n": 10 * number});
        note(&server, "note-1", &body).await;
    }
    let head = note(&server, "note-1", &json!({"keys": []})).await;
    (server, head)
}

/// The frames of a subscription in order: id, event and data.
struct Frames(Response, String);

impl Frames {
    async fn begin(server: &Server, query: &str) -> Self {
        let path = format!("/v1/projections/notes/changes{query}");
        let begun = server.request("GET", &path).send().await.unwrap();
        assert_eq!(begun.status(), 200);
        assert_eq!(begun.headers()["content-type"], "text/event-stream");
        Self(begun, String::new())
    }

    async fn next(&mut self) -> (Option<String>, String, Value) {
        loop {
            if let Some((frame, rest)) = self.1.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = frame.lines();
                    lines
                        .find_map(|line| line.strip_prefix(name))
                        .map(str::to_owned)
                };
                let data = serde_json::from_str(&field("data: ").unwrap()).unwrap();
                let message = (field("id: "), field("event: ").unwrap(), data);
                self.1 = rest.to_owned();
                return message;
            }
            let chunk = self.0.chunk().await.unwrap().expect("the stream continues");
            self.1 += std::str::from_utf8(&chunk).unwrap();
        }
    }
}

#[tokio::test]
async fn a_malformed_query_is_refused() {
    let server = Server::empty().await;
    let many = "where=a%3D1&".repeat(17);
    for (path, said) in [
        ("notes/a?x=1", "no parameter \"x\""),
        ("notes/a?timeout=5", "without after"),
        ("notes/a?after=1&timeout=30001", "between 0 and 30000 ms"),
        ("notes/a?after=x", "not a whole number"),
        ("notes?where=status", "INDEX=VALUE"),
        ("notes?where=%3Dopen", "INDEX=VALUE"),
        ("notes?limit=0", "between 1 and 1000"),
        ("notes?limit=1001", "between 1 and 1000"),
        ("notes?order=", "order is empty"),
        ("notes?order=a&order=b", "more than once"),
        ("notes?cursor=", "cursor is empty"),
        (&format!("notes?{many}limit=1"), "more than 16 times"),
    ] {
        let problem = server.get(&format!("/v1/views/{path}")).await;
        let problem = problem.problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{path}: {detail}");
    }
    for path in ["notes", "notes/a", "notes/a%2Fb"] {
        let answer = server.get(&format!("/v1/views/{path}")).await;
        answer.problem(404, "projection-not-found");
    }
    let nested = server.get("/v1/views/notes/a/b").await;
    nested.problem(404, "not-found");
}

#[tokio::test]
async fn a_document_is_read_by_its_key_with_the_requested_freshness() {
    let (server, head) = library().await;
    let view = server
        .get(&format!("/v1/views/notes/a%2F1?after={head}&timeout=30000"))
        .await;
    let document = view.ok();
    assert_eq!(
        (&document["key"], &document["position"]),
        (&json!("a/1"), &json!(head))
    );
    assert_eq!(document["document"]["status"], "shut");
    assert_eq!(document["change"], document["document"]["last"]);
    let none = server.get("/v1/views/notes/a%2F9").await;
    let problem = none.problem(404, "document-not-found");
    assert_eq!(problem["projection"], "notes");
    send(server.request("POST", "/v1/projections/notes/pause"))
        .await
        .ok();
    let later = head + 1;
    let stale = server
        .get(&format!("/v1/views/notes/a%2F1?after={later}&timeout=20"))
        .await;
    let problem = stale.problem(504, "not-fresh");
    assert_eq!(problem["position"], head);
    let list = server
        .get(&format!("/v1/views/notes?after={later}&timeout=0"))
        .await;
    list.problem(504, "not-fresh");
}

#[tokio::test]
async fn documents_are_found_by_index_in_order_and_by_page() {
    let (server, head) = library().await;
    let keys = async |query: &str| {
        let page = server
            .get(&format!("/v1/views/notes?after={head}&{query}"))
            .await
            .ok();
        let documents = page["documents"].as_array().unwrap().clone();
        let keys: Vec<_> = documents
            .iter()
            .map(|it| it["key"].as_str().unwrap().to_owned())
            .collect();
        (keys.join(" "), page["next"].as_str().map(str::to_owned))
    };
    for (query, found) in [
        ("", "a/0 a/1 a/2 a/3"),
        ("order=-$key", "a/3 a/2 a/1 a/0"),
        ("where=status%3Dopen", "a/0 a/2 a/3"),
        ("where=status%3Dopen&where=sum%3E%3D20", "a/2 a/3"),
        ("where=sum%3C20&order=-sum", "a/1 a/0"),
        ("where=status%3Dlost", ""),
    ] {
        assert_eq!(keys(query).await.0, found, "{query}");
    }
    let (first, next) = keys("order=-sum&limit=3").await;
    let cursor = next.unwrap();
    let (second, _) = keys(&format!("order=-sum&limit=3&cursor={cursor}")).await;
    assert_eq!((first.as_str(), second.as_str()), ("a/3 a/2 a/1", "a/0"));
    for (query, said) in [
        ("where=colour%3Dred", "no index"),
        ("where=sum%3Dmany", "integer"),
        ("order=colour", "no index"),
        ("cursor=x", "cursor"),
    ] {
        let problem = server.get(&format!("/v1/views/notes?{query}")).await;
        let problem = problem.problem(400, "bad-request");
        assert!(
            problem["detail"].as_str().unwrap().contains(said),
            "{query}: {problem}"
        );
    }
}

#[tokio::test]
async fn changes_are_followed_in_order_and_resumed() {
    let (server, head) = library().await;
    once(&server, |view| view["builds"][0]["position"] == head).await;
    let mut frames = Frames::begin(&server, "").await;
    let mut ids = Vec::new();
    for number in 0..4 {
        let (id, name, data) = frames.next().await;
        assert_eq!(
            (name.as_str(), &data["key"]),
            ("document", &json!(format!("a/{number}")))
        );
        ids.push(id.unwrap());
    }
    note(
        &server,
        "note-1",
        &json!({"keys": ["a/0", "a/1"], "delete": true}),
    )
    .await;
    let (first, second) = (frames.next().await, frames.next().await);
    assert_eq!((first.0, second.0.is_some()), (None, true));
    assert_eq!(
        (&first.2["document"], &second.2["key"]),
        (&Value::Null, &json!("a/1"))
    );

    let mut again = Frames::begin(&server, &format!("?after={}", ids[2])).await;
    assert_eq!(again.next().await.2["key"], "a/3");
    send(server.request("POST", "/v1/projections/notes/rebuild"))
        .await
        .ok();
    once(&server, |view| view["builds"][1]["role"] == "previous").await;
    for frames in [
        &mut again,
        &mut Frames::begin(&server, &format!("?after={}", ids[3])).await,
    ] {
        loop {
            let (_, name, data) = frames.next().await;
            if name == "switched" {
                assert_eq!(data, json!({"version": 1, "change": 0}));
                break;
            }
        }
        assert_eq!(frames.next().await.2["key"], "a/2");
    }
}
