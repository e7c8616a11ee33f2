//! Causes and consequences.

use quipu::access::{Grant, Role};
use quipu_server::Options;
use quipu_tests::{Place, on_every_store};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::access::{get, token};
use crate::server::{Server, send};

on_every_store!(
    causes_and_consequences_are_a_tree,
    ids_of_every_kind_lead_to_the_same_tree,
    a_limited_caller_sees_its_categories_and_how_many_others,
    a_trace_says_when_it_is_cut,
    an_id_is_found_in_its_stream,
    events_that_name_each_other_as_causes_end,
);

async fn bank(place: &Place) -> Server {
    Server::start(place.bank().await, Options::default()).await
}

/// A request of a conversation.
fn caused(request: RequestBuilder, cause: &str, correlation: &str) -> RequestBuilder {
    request
        .header("Quipu-Causation-Id", cause)
        .header("Quipu-Correlation-Id", correlation)
}

fn note(server: &Server, stream: &str) -> RequestBuilder {
    let body = r#"{"events":[{"type":"noted","data":{"secret":"payload"}}]}"#;
    server.post(&format!("/v1/streams/{stream}/events"), body)
}

/// The id of the first event of an answer.
async fn event_of(request: RequestBuilder) -> String {
    let answer = send(request).await.ok();
    answer["events"][0]["id"].as_str().unwrap().to_owned()
}

/// A conversation: account-1 is opened, which leads to note-1 and to a rejection, and note-1 leads to
/// note-2. Returns the ids of the events.
async fn conversation(server: &Server) -> [String; 3] {
    let open = server.command("account-1", "open", "{\"owner\":\"payload\"}");
    let opened = event_of(open.header("Idempotency-Key", "o-1")).await;
    // Something that does not belong to it.
    send(note(server, "note-9")).await.ok();
    let first = event_of(caused(note(server, "note-1"), &opened, "o-1")).await;
    let withdraw = server.command("account-1", "withdraw", "{\"amount\":1000000}");
    let withdraw = withdraw.header("Idempotency-Key", "w-1");
    let rejected = send(caused(withdraw, &opened, "o-1")).await;
    rejected.problem(422, "rejected");
    let second = event_of(caused(note(server, "note-2"), &first, "o-1")).await;
    [opened, first, second]
}

/// The streams of a tree with their depth, and what was rejected.
fn shown(trace: &Value) -> Vec<String> {
    let entries = trace["entries"].as_array().unwrap();
    let shown = entries.iter().map(|entry| {
        let what = match entry["rejection"].as_str() {
            Some(_) => " rejected",
            None => "",
        };
        let stream = entry["stream"].as_str().unwrap();
        format!("{} {stream}{what}", entry["depth"])
    });
    shown.collect()
}

const TREE: [&str; 4] = [
    "0 account-1",
    "1 note-1",
    "2 note-2",
    "1 account-1 rejected",
];

async fn causes_and_consequences_are_a_tree(place: Place) {
    let server = bank(&place).await;
    let [opened, ..] = conversation(&server).await;
    let answered = server.get("/v1/trace/1").await;
    assert!(!answered.text.contains("payload"), "{}", answered.text);
    let trace = answered.ok();
    assert_eq!(shown(&trace), TREE);
    assert_eq!(trace["found_as"], "position");
    assert_eq!(trace["left_out"], 0);
    assert_eq!(trace["cut"], Value::Null);
    let entries = &trace["entries"];
    assert_eq!(entries[0]["id"], opened);
    assert_eq!(entries[0]["is_match"], true);
    assert_eq!(entries[0]["type"], "opened");
    assert_eq!(entries[0]["command_id"], "o-1");
    assert_eq!(entries[0]["module"].as_str().unwrap().len(), 64);
    assert_eq!(entries[1]["cause"], 1);
    assert_eq!(entries[1]["causation_id"], opened);
    assert_eq!(entries[1]["module"], Value::Null);
    let rejected = &entries[3];
    assert_eq!(rejected["type"], "withdraw");
    assert_eq!(rejected["position"], Value::Null);
    assert!(rejected["rejection"].is_string());
}

async fn ids_of_every_kind_lead_to_the_same_tree(place: Place) {
    let server = bank(&place).await;
    let [opened, first, second] = conversation(&server).await;
    let upper = second.to_uppercase();
    for (id, found_as) in [
        (&*opened, "event"),
        (&*first, "event"),
        (&*upper, "event"),
        ("o-1", "command"),
        ("w-1", "command"),
        ("3", "position"),
    ] {
        let trace = server.get(&format!("/v1/trace/{id}")).await.ok();
        assert_eq!(shown(&trace), TREE, "{id}");
        assert_eq!(trace["found_as"], found_as, "{id}");
        let entries = trace["entries"].as_array().unwrap();
        let matches = entries.iter().filter(|entry| entry["is_match"] == true);
        assert_eq!(matches.count(), 1, "{id}");
    }
    // A message outside of the store, and a conversation that no command began.
    send(caused(note(&server, "note-3"), "mail-7", "talk-1"))
        .await
        .ok();
    for (id, found_as) in [("mail-7", "causation"), ("talk-1", "correlation")] {
        let trace = server.get(&format!("/v1/trace/{id}")).await.ok();
        assert_eq!(shown(&trace), ["0 note-3"], "{id}");
        assert_eq!(trace["found_as"], found_as, "{id}");
        assert_eq!(trace["entries"][0]["is_match"], true, "{id}");
    }
    for missing in ["nothing", "99999", "01a22ea3-17f3-774b-bf8a-902d4839dc02"] {
        let problem = server.get(&format!("/v1/trace/{missing}")).await;
        let problem = problem.problem(404, "event-not-found");
        assert!(problem["detail"].as_str().unwrap().contains(missing));
    }
}

async fn a_limited_caller_sees_its_categories_and_how_many_others(place: Place) {
    let server = bank(&place).await;
    let [opened, first, _] = conversation(&server).await;
    let notes = Grant {
        categories: vec!["note".to_owned()],
        ..Grant::of(Role::Viewer)
    };
    let notes = token(&server, "notes", notes).await;
    let scraper = token(&server, "scraper", Grant::of(Role::Scraper)).await;
    let trace = get(&server, &format!("/v1/trace/{first}"), &notes).await;
    assert!(!trace.text.contains("account-1"), "{}", trace.text);
    let trace = trace.ok();
    assert_eq!(shown(&trace), ["0 note-1", "1 note-2"]);
    assert_eq!(trace["left_out"], 2);
    assert_eq!(trace["entries"][0]["cause"], Value::Null);
    for hidden in [&*opened, "1", "w-1"] {
        let answered = get(&server, &format!("/v1/trace/{hidden}"), &notes).await;
        if answered.status == 200 {
            // Others may still name it as their cause.
            assert!(!answered.text.contains("account-1"), "{}", answered.text);
            continue;
        }
        answered.problem(404, "event-not-found");
    }
    let denied = get(&server, "/v1/trace/1", &scraper).await;
    denied.problem(403, "forbidden");
}

async fn a_trace_says_when_it_is_cut(place: Place) {
    let server = bank(&place).await;
    for _ in 0..30 {
        send(caused(note(&server, "note-1"), "mail-1", "talk"))
            .await
            .ok();
    }
    let all = server.get("/v1/trace/mail-1").await.ok();
    assert_eq!(all["entries"].as_array().unwrap().len(), 30);
    assert_eq!(all["cut"], Value::Null);
    let few = server.get("/v1/trace/mail-1?limit=10").await.ok();
    assert_eq!(few["entries"].as_array().unwrap().len(), 10);
    assert_eq!(few["cut"], "limit");
    let short = server.get("/v1/trace/5?search=3").await.ok();
    assert_eq!(short["cut"], "search");
    assert_eq!(
        (&short["searched_from"], &short["searched_to"]),
        (&json!(3), &json!(7))
    );
    // What is not found says where to continue.
    send(note(&server, "note-2")).await.ok();
    for _ in 0..3 {
        send(note(&server, "note-3")).await.ok();
    }
    let problem = server.get("/v1/trace/mail-1?search=2").await;
    let problem = problem.problem(404, "event-not-found");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("before="), "{detail}");
    server.get("/v1/trace/mail-1?search=2&before=20").await.ok();
    for wrong in [
        "1?limit=0",
        "1?limit=1001",
        "1?search=0",
        "1?search=50001",
        "1?before=x",
        "1?stream=",
        "1?payload=true",
        "%20",
        "a%0Ab",
        &"x".repeat(256),
    ] {
        let answered = server.get(&format!("/v1/trace/{wrong}")).await;
        answered.problem(400, "bad-request");
    }
}

async fn an_id_is_found_in_its_stream(place: Place) {
    let server = bank(&place).await;
    let keyed = |stream: &str| note(&server, stream).header("Idempotency-Key", "k-1");
    for stream in ["note-1", "note-2"] {
        send(keyed(stream)).await.ok();
    }
    for stream in ["note-1", "note-2"] {
        let trace = server
            .get(&format!("/v1/trace/k-1?stream={stream}"))
            .await
            .ok();
        let entries = trace["entries"].as_array().unwrap();
        assert!(
            entries
                .iter()
                .any(|it| it["stream"] == stream && it["is_match"] == true)
        );
    }
    let missing = server.get("/v1/trace/k-1?stream=note-3").await;
    let problem = missing.problem(404, "event-not-found");
    assert!(problem["detail"].as_str().unwrap().contains("note-3"));
}

async fn events_that_name_each_other_as_causes_end(place: Place) {
    let server = bank(&place).await;
    let ids = [
        "0198c5b2-9f3a-7c41-8d2e-5b6a7c8d9e01",
        "0198c5b2-9f3a-7c41-8d2e-5b6a7c8d9e02",
    ];
    for (own, other) in [(ids[0], ids[1]), (ids[1], ids[0])] {
        let body = format!("{{\"events\":[{{\"id\":\"{own}\",\"type\":\"noted\",\"data\":1}}]}}");
        let append = server.post("/v1/streams/note-1/events", &body);
        send(append.header("Quipu-Causation-Id", other)).await.ok();
    }
    for id in ids {
        let trace = server.get(&format!("/v1/trace/{id}")).await.ok();
        assert_eq!(shown(&trace), ["0 note-1", "1 note-1"], "{id}");
    }
}
