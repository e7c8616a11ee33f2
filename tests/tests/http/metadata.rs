//! Metadata, and the context of a request.

use quipu::engine::{Additions, Enrichment};
use quipu_server::Options;
use quipu_tests::{Place, examples};
use serde_json::{Value, json};

use crate::server::{Server, send};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A bank whose host adds metadata to requests.
async fn enriched(
    enricher: impl Fn(&Enrichment<'_>) -> Additions + Send + Sync + 'static,
) -> Server {
    let builder = Place::memory().builder().enrich(enricher);
    let host = builder.build().await.unwrap();
    examples::deploy(&host, examples::account()).await;
    Server::start(host, Options::default()).await
}

fn additions(metadata: &[(&str, &str)]) -> Additions {
    let member = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Additions {
        metadata: metadata.iter().map(member).collect(),
        principal: Some("batch".into()),
    }
}

#[tokio::test]
async fn the_context_of_a_request_is_stored_with_its_commit_and_shown_in_every_read() {
    let server = Server::bank().await;
    let open = server.command("account-1", "open", "{\"owner\":\"ann\"}");
    let note = r#"{"events":[{"type":"n","data":1}]}"#;
    let append = server.post("/v1/streams/note-1/events", note);
    let all = r#"{"streams":[{"stream":"note-2","expected_version":"any","events":[{"type":"n","data":1}]},
        {"stream":"note-3","expected_version":"any","events":[{"type":"n","data":1}]}]}"#;
    let all = server.post("/v1/appends", all);
    let lines = server
        .request("POST", "/v1/commands")
        .header("Content-Type", "application/x-ndjson")
        .body(r#"{"stream":"account-2","type":"open","data":{"owner":"bob"},"command_id":"k1"}"#);
    for (request, key) in [(open, true), (append, true), (all, true), (lines, false)] {
        let request = request
            .header("Quipu-Correlation-Id", "visit-7")
            .header("Quipu-Causation-Id", "click-9")
            .header("traceparent", TRACEPARENT);
        let answer = match key {
            true => send(request.header("Idempotency-Key", "k1")).await,
            false => send(request).await,
        };
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let log = server.get("/v1/events").await.ok();
    let events = log["events"].as_array().unwrap();
    assert_eq!(events.len(), 5);
    for event in events {
        let commit = &event["commit"];
        for (member, value) in [
            ("command_id", json!("k1")),
            ("correlation_id", json!("visit-7")),
            ("causation_id", json!("click-9")),
            ("traceparent", json!(TRACEPARENT)),
            ("principal", Value::Null),
        ] {
            assert_eq!(commit[member], value, "{member} of {event}");
        }
        let position = &event["position"];
        let one = server.get(&format!("/v1/events/{position}")).await.ok();
        assert_eq!(one["commit"], *commit);
        let (stream, version) = (event["stream"].as_str().unwrap(), &event["version"]);
        let path = format!("/v1/streams/{stream}/events?from={version}");
        assert_eq!(server.get(&path).await.ok()["events"][0]["commit"], *commit);
    }
}

#[tokio::test]
async fn an_invalid_traceparent_is_ignored() {
    let server = Server::empty().await;
    let zeros = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
    let note = r#"{"events":[{"type":"n","data":1}]}"#;
    for bad in ["", "00", "nonsense", &zeros, &TRACEPARENT.to_uppercase()] {
        let append = server.post("/v1/streams/note-1/events", note);
        let position = send(append.header("traceparent", bad)).await.ok()["position"].clone();
        let event = server.get(&format!("/v1/events/{position}")).await.ok();
        assert_eq!(event["commit"]["traceparent"], Value::Null, "{bad}");
    }
}

#[tokio::test]
async fn metadata_must_be_an_object_without_reserved_names() {
    let server = Server::bank().await;
    let with = |metadata: &str| {
        let body = format!(r#"{{"type":"open","data":{{"owner":"a"}},"metadata":{metadata}}}"#);
        server.post("/v1/streams/account-1/commands", &body)
    };
    for wrong in ["[1]", "\"text\"", "{\"quipu.principal\":\"root\"}"] {
        send(with(wrong)).await.problem(400, "bad-request");
    }
    send(with("{\"from\" : 1.50}")).await.ok();
    let event = server.get("/v1/events/1").await;
    assert!(
        event.text.contains("\"metadata\":{\"from\" : 1.50}"),
        "{}",
        event.text
    );
}

#[tokio::test]
async fn metadata_of_the_caller_takes_precedence_over_additions_of_the_host() {
    let region = [
        ("region", "eu-1"),
        ("actor", "host"),
        ("quipu.principal", "root"),
    ];
    let server = enriched(move |_| additions(&region)).await;
    let body = r#"{"type":"open","data":{"owner":"a"},"metadata":{"actor" : "ann"}}"#;
    send(server.post("/v1/streams/account-1/commands", body))
        .await
        .ok();
    let notes = r#"{"events":[{"type":"n","data":1},{"type":"n","data":1,"metadata":{}}]}"#;
    send(server.post("/v1/streams/note-1/events", notes))
        .await
        .ok();
    send(server.request("POST", "/v1/streams/note-1/archive"))
        .await
        .ok();
    let log = server.get("/v1/events").await;
    let expected = r#""metadata":{"actor" : "ann","region":"eu-1"}"#;
    assert!(log.text.contains(expected), "{}", log.text);
    let log = log.ok();
    for event in &log["events"].as_array().unwrap()[1..] {
        assert_eq!(
            event["metadata"],
            json!({"region": "eu-1", "actor": "host"})
        );
    }
    for event in log["events"].as_array().unwrap() {
        assert_eq!(event["commit"]["principal"], "batch");
    }
}

#[tokio::test]
async fn an_enricher_sees_the_request() {
    let server = enriched(|request| {
        let seen = match request {
            Enrichment::Command(stream, command) => format!("{stream} {}", command.name),
            Enrichment::Append(append) => format!("{} streams", append.streams.len()),
            Enrichment::Archive(stream, _) => format!("archive {stream}"),
        };
        let correlation = request.context().correlation_id.as_deref();
        additions(&[("seen", &seen), ("visit", correlation.unwrap_or("none"))])
    })
    .await;
    let open = server.command("account-1", "open", "{\"owner\":\"ann\"}");
    send(open.header("Quipu-Correlation-Id", "v-1")).await.ok();
    let note = r#"{"events":[{"type":"n","data":1}]}"#;
    send(server.post("/v1/streams/note-1/events", note))
        .await
        .ok();
    send(server.request("POST", "/v1/streams/note-1/archive"))
        .await
        .ok();
    let log = server.get("/v1/events").await.ok();
    let metadata = |index: usize| log["events"][index]["metadata"].clone();
    assert_eq!(
        metadata(0),
        json!({"seen": "account-1 open", "visit": "v-1"})
    );
    assert_eq!(metadata(1), json!({"seen": "1 streams", "visit": "none"}));
    assert_eq!(
        metadata(2),
        json!({"seen": "archive note-1", "visit": "none"})
    );
}

#[tokio::test]
async fn the_limit_of_metadata_applies_to_additions_of_the_host() {
    let server = enriched(|_| additions(&[("m", &"x".repeat(100))])).await;
    let of_length = |length: usize| {
        let pad = "x".repeat(length - "{\"n\":\"\"}".len());
        let body = json!({"events": [{"type": "n", "data": 1, "metadata": {"n": pad}}]});
        server.post("/v1/streams/note-1/events", &body.to_string())
    };
    let added = format!(",\"m\":\"{}\"", "x".repeat(100)).len();
    send(of_length((64 << 10) - added)).await.ok();
    send(of_length((64 << 10) - added + 1))
        .await
        .problem(413, "too-large");
}

#[tokio::test]
async fn different_additions_do_not_make_a_different_request() {
    let calls = std::sync::atomic::AtomicU32::new(0);
    let server = enriched(move |_| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        additions(&[("call", &call.to_string())])
    })
    .await;
    let id = "0198c5b2-9f3a-7c41-8d2e-5b6a7c8d9e0f";
    let by_id = format!(r#"{{"events":[{{"type":"n","data":1,"id":"{id}"}}]}}"#);
    let by_key = r#"{"events":[{"type":"n","data":1}]}"#;
    let keyed = |request: reqwest::RequestBuilder| request.header("Idempotency-Key", "k1");
    let requests = || {
        [
            keyed(server.command("account-1", "open", "{\"owner\":\"ann\"}")),
            keyed(server.post("/v1/streams/note-1/events", by_key)),
            server.post("/v1/streams/note-2/events", &by_id),
        ]
    };
    for request in requests() {
        assert_eq!(send(request).await.ok()["replayed"], false);
    }
    for request in requests() {
        assert_eq!(send(request).await.ok()["replayed"], true);
    }
    let log = server.get("/v1/events").await.ok();
    for (index, call) in ["0", "1", "2"].iter().enumerate() {
        assert_eq!(log["events"][index]["metadata"]["call"], *call);
    }
}
