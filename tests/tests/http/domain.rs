//! The description of the active domain, and commands under paths of their own.

use std::collections::BTreeSet;

use quipu::engine::{self, Validation};
use quipu_server::Options;
use quipu_tests::coin::coin;
use quipu_tests::probe::probe;
use quipu_tests::{Place, examples, golden, guest};
use serde_json::{Value, json};

use crate::server::{Server, send};

async fn coins() -> Server {
    let host = Place::memory().host().await;
    examples::deploy(&host, coin()).await;
    Server::start(host, Options::default()).await
}

async fn described(server: &Server) -> Value {
    server.get("/v1/domain/openapi.json").await.ok()
}

/// Generators of clients are tried on this document.
#[tokio::test]
async fn the_description_of_coins_equals_the_published_file() {
    let server = coins().await;
    let text = server.get("/v1/domain/openapi.json").await.text;
    golden::check("domain.json", &(text + "\n"));
}

/// Collects the references within a value.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(value["$ref"].as_str().map(str::to_owned));
            members.values().for_each(|it| references(it, found));
        }
        Value::Array(elements) => elements.iter().for_each(|it| references(it, found)),
        _ => {}
    }
}

#[tokio::test]
async fn each_command_has_a_path_with_its_schema_and_codes() {
    let server = coins().await;
    let document = described(&server).await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["x-quipu-plan"], 1);
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    let expected = ["check", "deposit", "spend"].map(|it| format!("/v1/domain/coin/{{key}}/{it}"));
    assert!(paths.into_iter().eq(&expected));
    let deposit = &document["paths"]["/v1/domain/coin/{key}/deposit"]["post"];
    assert_eq!(deposit["operationId"], "coin_deposit");
    let schemas = &document["components"]["schemas"];
    let body = &deposit["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body, &json!({"$ref": "#/components/schemas/CoinDeposit"}));
    assert!(schemas["CoinDeposit"]["properties"]["wei"].is_object());
    assert!(schemas["CoinDepositedEvent"]["properties"]["wei"].is_object());
    assert_eq!(schemas["CoinRejectionCode"]["enum"], json!(["too-little"]));
    let rejected = deposit["responses"]["422"]["description"].as_str().unwrap();
    assert!(rejected.ends_with(": too-little"), "{rejected}");
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() >= 8, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn a_typed_path_executes_like_the_path_of_the_stream() {
    let server = coins().await;
    let path = "/v1/domain/coin/a%2F1/deposit";
    let deposit = || {
        server
            .post(path, "{\"wei\":5}")
            .header("Idempotency-Key", "d1")
    };
    let answer = send(deposit()).await;
    assert_eq!(answer.header("etag"), "\"1\"");
    let first = answer.ok();
    assert_eq!(first["stream"], "coin-a/1");
    assert_eq!(send(deposit()).await.ok()["replayed"], true);
    let same = server
        .command("coin-a%2F1", "deposit", "{\"wei\":5}")
        .header("Idempotency-Key", "d1");
    assert_eq!(send(same).await.ok()["replayed"], true);
    let spend = server.post("/v1/domain/coin/a%2F1/spend", "{\"wei\":6}");
    let rejected = send(spend).await.problem(422, "rejected");
    assert_eq!(rejected["rejection"]["code"], "too-little");
    let late = deposit().header("If-None-Match", "*");
    send(late.header("Idempotency-Key", "d1"))
        .await
        .problem(400, "bad-request");
    let stale = server.post(path, "{\"wei\":5}").header("If-Match", "\"7\"");
    send(stale).await.problem(412, "wrong-expected-version");
}

#[tokio::test]
async fn a_typed_path_refuses_what_is_no_command() {
    let server = coins().await;
    for (path, body, status, code) in [
        ("/v1/domain/coin/1/deposit", "{", 400, "bad-request"),
        (
            "/v1/domain/coin/1/deposit",
            "{\"wei\":\"x\"}",
            400,
            "invalid-command",
        ),
        ("/v1/domain/coin/1/steal", "{}", 400, "invalid-command"),
        ("/v1/domain/note/1/deposit", "{}", 404, "unknown-category"),
        ("/v1/domain/coin-1/1/deposit", "{}", 400, "bad-request"),
        ("/v1/domain/Coin/1/deposit", "{}", 400, "bad-request"),
        ("/v1/domain/coin/1/a%0Ab", "{}", 400, "bad-request"),
    ] {
        send(server.post(path, body)).await.problem(status, code);
    }
    let wrong = send(server.request("POST", "/v1/domain/coin/1/deposit")).await;
    wrong.problem(415, "bad-request");
}

#[tokio::test]
async fn the_description_follows_the_plan_and_has_the_reads_of_projections() {
    let server = Server::empty().await;
    let empty = described(&server).await;
    assert_eq!(
        (&empty["paths"], &empty["x-quipu-plan"]),
        (&json!({}), &json!(0))
    );
    examples::deploy(&server.host, coin()).await;
    let first = server.get("/v1/domain/openapi.json").await.text;
    assert!(first.contains("coin_deposit"));
    let second = server.get("/v1/domain/openapi.json").await.text;
    assert_eq!(first, second);
    let notes = probe("note")
        .event("noted", 1)
        .projection("notes", 1, json!({}));
    examples::deploy(&server.host, notes.component()).await;
    let document = described(&server).await;
    for path in ["/v1/views/notes", "/v1/views/notes/{key}"] {
        assert!(document["paths"][path]["get"].is_object(), "{path}");
    }
    assert!(document["paths"]["/v1/domain/coin/{key}/deposit"].is_object());
}

/// A decider without schemas and without codes.
#[tokio::test]
async fn a_command_without_a_schema_takes_any_json() {
    let host = Place::memory().host().await;
    examples::deploy(&host, guest::component("moody")).await;
    let server = Server::start(host, Options::default()).await;
    let document = described(&server).await;
    let paths = document["paths"].as_object().unwrap();
    assert!(!paths.is_empty());
    for path in paths.values() {
        assert!(path["post"]["responses"].get("422").is_none());
    }
    assert_eq!(document["x-quipu-notes"], json!([]));
}

#[tokio::test]
async fn a_command_that_does_not_match_its_schema_is_counted() {
    const SERIES: &str =
        "quipu_command_schema_mismatches_total{category=\"note\",command=\"note\"} ";
    let options = engine::Options {
        validate: [("note".to_owned(), Validation::Report)].into(),
        ..engine::Options::default()
    };
    let builder = Place::memory().builder().engine(options);
    let host = builder.build().await.unwrap();
    let schema = json!({"type": "array", "maxItems": 1}).to_string();
    let note = probe("note").event("noted", 1).schema(&schema);
    examples::deploy(&host, note.component()).await;
    let server = Server::start(host, Options::default()).await;
    let counted = async || {
        let page = crate::metrics::page(&server).await;
        let mut lines = page.lines();
        lines.find_map(|line| line.strip_prefix(SERIES)?.parse::<f64>().ok())
    };
    let one = server.command("note-1", "note", r#"[["noted",{}]]"#);
    send(one).await.ok();
    assert_eq!(counted().await, None);
    let two = server.command("note-1", "note", r#"[["noted",{}],["noted",{}]]"#);
    send(two).await.ok();
    assert_eq!(counted().await, Some(1.0));
}

/// The types that clients generate for documents.
#[tokio::test]
async fn documents_have_the_schema_that_their_projection_declares() {
    let schema = json!({
        "type": "object", "required": ["count"],
        "properties": {"count": {"$ref": "#/$defs/count"}},
        "$defs": {"count": {"type": "integer", "minimum": 0}},
    });
    let notes = probe("note")
        .event("noted", 1)
        .projection("notes", 1, json!({}))
        .projection("others", 1, json!({}))
        .document_schema("notes", &schema.to_string());
    let server = Server::empty().await;
    examples::deploy(&server.host, notes.component()).await;
    let document = described(&server).await;
    let answer = |path: &str| {
        let read = &document["paths"][path]["get"]["responses"]["200"];
        let name = read["content"]["application/json"]["schema"]["$ref"].as_str();
        name.unwrap().rsplit('/').next().unwrap().to_owned()
    };
    assert_eq!(answer("/v1/views/notes/{key}"), "NotesDocumentView");
    assert_eq!(answer("/v1/views/notes"), "NotesDocumentPage");
    assert_eq!(answer("/v1/views/others/{key}"), "DocumentView");
    let schemas = &document["components"]["schemas"];
    let declared = json!({"$ref": "#/components/schemas/NotesDocument"});
    for view in ["NotesDocumentView", "NotesDocumentEntry"] {
        assert_eq!(schemas[view]["properties"]["document"], declared, "{view}");
    }
    let entry = json!({"$ref": "#/components/schemas/NotesDocumentEntry"});
    let page = &schemas["NotesDocumentPage"]["properties"]["documents"];
    assert_eq!(page["items"], entry);
    let count = &schemas["NotesDocument"]["properties"]["count"];
    assert_eq!(
        count,
        &json!({"$ref": "#/components/schemas/NotesDocumentCount"})
    );
    assert_eq!(schemas["NotesDocumentCount"]["minimum"], 0);
}

#[tokio::test]
async fn a_schema_of_documents_must_be_json() {
    let server = Server::empty().await;
    let notes = probe("note")
        .projection("notes", 1, json!({}))
        .document_schema("notes", "{");
    let upload = server
        .request("POST", "/v1/modules")
        .header("Content-Type", "application/wasm")
        .body(notes.component());
    let refused = send(upload).await.problem(422, "module-refused");
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains("JSON Schema of the documents of"),
        "{detail}"
    );
}
