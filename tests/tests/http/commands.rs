use quipu_tests::guest;
use serde_json::json;

use crate::server::{Server, send};

#[tokio::test]
async fn the_answer_to_a_command_has_its_events() {
    let server = Server::bank().await;
    let answer = send(server.command("account-1", "open", "{\"owner\":\"ann\"}"))
        .await
        .ok();
    assert_eq!(answer["stream"], "account-1");
    assert_eq!(
        (&answer["version"], &answer["position"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(answer["replayed"], false);
    assert_eq!(answer["created"], true);
    assert_eq!(answer["module"].as_str().unwrap().len(), 64);
    assert!(answer["fuel"].as_u64().unwrap() > 0);
    let event = &answer["events"][0];
    assert_eq!(
        (&event["type"], &event["version"]),
        (&json!("opened"), &json!(1))
    );
    assert_eq!(event["data"], json!({"owner": "ann"}));
    assert_eq!(event["id"].as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn the_same_idempotency_key_returns_the_first_outcome() {
    let server = Server::bank().await.opened().await;
    let pay = |amount: u64| {
        let data = format!("{{\"amount\":{amount}}}");
        server
            .command("account-1", "deposit", &data)
            .header("Idempotency-Key", "d1")
    };
    let first = send(pay(5)).await;
    let again = send(pay(5)).await;
    assert_eq!(first.header("etag"), again.header("etag"));
    let (first, again) = (first.ok(), again.ok());
    assert_eq!(again["replayed"], true);
    assert_eq!(again["created"], false);
    for member in ["version", "position", "events", "module", "fuel"] {
        assert_eq!(first[member], again[member]);
    }
    send(pay(6)).await.problem(422, "idempotency-key-reused");
}

#[tokio::test]
async fn a_failed_precondition_reports_the_version_found() {
    let server = Server::bank().await.opened().await;
    let pay = || server.command("account-1", "deposit", "{\"amount\":5}");
    let paid = send(pay().header("If-Match", "\"1\"")).await;
    assert_eq!(paid.header("etag"), "\"2\"");
    paid.ok();
    send(pay().header("If-Match", "*")).await.ok();
    let problem = send(pay().header("If-Match", "\"1\"")).await;
    assert_eq!(problem.header("etag"), "\"3\"");
    let problem = problem.problem(412, "wrong-expected-version");
    assert_eq!(
        (&problem["expected"], &problem["found"]),
        (&json!(1), &json!(3))
    );
    let problem = send(pay().header("If-None-Match", "*")).await;
    let problem = problem.problem(412, "wrong-expected-version");
    assert_eq!(problem["expected"], "no-stream");
    let other = server.command("account-2", "deposit", "{\"amount\":5}");
    let problem = send(other.header("If-Match", "*")).await;
    assert_eq!(problem.header("etag"), "\"0\"");
    let problem = problem.problem(412, "wrong-expected-version");
    assert_eq!(
        (&problem["expected"], &problem["found"]),
        (&json!("stream-exists"), &json!(0))
    );
    // As proxies and clients may write it.
    for (found, tag) in [(3, "W/\"3\""), (4, "4")] {
        let paid = send(pay().header("If-Match", tag)).await.ok();
        assert_eq!(paid["version"], found + 1, "{tag}");
        let stale = send(pay().header("If-Match", tag)).await;
        stale.problem(412, "wrong-expected-version");
    }
    for (name, value) in [
        ("If-Match", "W/1"),
        ("If-Match", "\"1"),
        ("If-Match", "-1"),
        ("If-None-Match", "\"1\""),
    ] {
        send(pay().header(name, value))
            .await
            .problem(400, "bad-request");
    }
    let both = pay().header("If-Match", "*").header("If-None-Match", "*");
    send(both).await.problem(400, "bad-request");
    let twice = pay()
        .header("If-Match", "\"1\"")
        .header("If-Match", "\"2\"");
    send(twice).await.problem(400, "bad-request");
}

#[tokio::test]
async fn a_rejection_has_the_code_message_and_details_of_the_guest() {
    let server = Server::bank().await.opened().await;
    let problem = send(server.command("account-1", "withdraw", "{\"amount\":5}")).await;
    let problem = problem.problem(422, "rejected");
    let rejection = &problem["rejection"];
    assert_eq!(rejection["code"], "insufficient-funds");
    assert_eq!(rejection["details"], json!({"balance": 0}));
    assert_eq!(rejection["message"], problem["detail"]);
    // The list of the latest rejections has the same texts.
    let list = server.get("/v1/rejections").await.ok();
    let listed = &list["rejections"][0];
    for member in ["code", "message", "details"] {
        assert_eq!(listed[member], rejection[member], "{member}");
    }
    assert!(listed.get("details_content_type").is_none(), "{listed}");
}

#[tokio::test]
async fn a_fault_of_a_guest_reports_its_kind_and_component() {
    let server = Server::probe("trap").await;
    let problem = send(server.command("probe-1", "go", "{}")).await;
    let problem = problem.problem(502, "guest-fault");
    assert_eq!(
        (&problem["fault"], &problem["component"]),
        (&json!("trap"), &json!("probe"))
    );
    let digest = quipu::model::Digest::of(&guest::component("trap"));
    assert_eq!(problem["digest"], digest.to_string());
}

#[tokio::test]
async fn a_command_that_no_decider_can_read_is_refused() {
    let server = Server::bank().await;
    send(server.command("nobody-1", "go", "{}"))
        .await
        .problem(404, "unknown-category");
    let unreadable = server.command("account-1", "open", "{\"owner\":7}");
    send(unreadable).await.problem(400, "invalid-command");
    // A JSON array of the fields is not accepted for a struct.
    let listed = server.command("account-1", "open", "[\"ann\"]");
    let problem = send(listed).await.problem(400, "invalid-command");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("as a JSON object"), "{detail}");
    send(server.command("$quipu-1", "go", "{}"))
        .await
        .problem(400, "bad-request");
    let large = format!("{{\"owner\":\"{}\"}}", "x".repeat(1 << 20));
    let problem = send(server.command("account-1", "open", &large)).await;
    problem.problem(413, "too-large");
}

#[tokio::test]
async fn a_command_without_data_gets_an_empty_object() {
    let server = Server::bank().await;
    let command = server
        .post("/v1/streams/account-1/commands", "{\"type\":\"open\"}")
        .header("Idempotency-Key", "o1");
    // The decider reads `{}`, which has no owner.
    let problem = send(command).await;
    let problem = problem.problem(400, "invalid-command");
    assert!(
        problem["detail"].as_str().unwrap().contains("owner"),
        "{problem}"
    );
}

#[tokio::test]
async fn a_body_with_a_content_encoding_is_415() {
    let server = Server::bank().await;
    for (encoding, is_taken) in [("gzip", false), ("br, identity", false), ("identity", true)] {
        let command = server.command("account-1", "open", "{\"owner\":\"ann\"}");
        let answer = send(command.header("Content-Encoding", encoding)).await;
        match is_taken {
            true => _ = answer.ok(),
            false => {
                let problem = answer.problem(415, "bad-request");
                let detail = problem["detail"].as_str().unwrap();
                assert!(detail.contains("Content-Encoding"), "{detail}");
            }
        }
    }
}

#[tokio::test]
async fn subscribing_after_a_version_beyond_the_stream_is_refused() {
    let server = Server::bank().await.opened().await;
    for (header, query) in [(Some("100"), ""), (None, "?from=3")] {
        let path = format!("/v1/streams/account-1/subscribe{query}");
        let request = server.request("GET", &path);
        let request = match header {
            Some(id) => request.header("Last-Event-ID", id),
            None => request,
        };
        let problem = send(request).await.problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("does not exist, the last one is 1"),
            "{detail}"
        );
    }
}
