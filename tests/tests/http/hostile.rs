use quipu_server::Options;
use quipu_tests::{PATIENCE, Place};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Server, send};

const STREAM: &str = "/v1/streams/note-1/events";

fn noted(data: &str) -> String {
    format!("{{\"events\":[{{\"type\":\"n\",\"data\":{data}}}]}}")
}

#[tokio::test]
async fn the_size_of_a_body_is_bounded() {
    let options = Options {
        body_bytes_max: 1_000,
        ..Options::default()
    };
    let server = Server::start(Place::memory().host().await, options).await;
    let of_length = |length: usize| {
        let frame = noted("\"\"").len();
        noted(&format!("\"{}\"", "x".repeat(length - frame)))
    };
    send(server.post(STREAM, &of_length(1_000))).await.ok();
    send(server.post(STREAM, &of_length(1_001)))
        .await
        .problem(413, "too-large");
    send(server.post(STREAM, &of_length(3_000)))
        .await
        .problem(413, "too-large");
}

#[tokio::test]
async fn the_nesting_of_json_is_bounded() {
    let server = Server::empty().await;
    let nested = |depth: usize| noted(&("[".repeat(depth) + &"]".repeat(depth)));
    send(server.post(STREAM, &nested(128))).await.ok();
    for depth in [129, 1_000_000] {
        send(server.post(STREAM, &nested(depth)))
            .await
            .problem(400, "bad-request");
    }
    let deep = "[".repeat(1_000_000);
    send(server.post(STREAM, &deep))
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn text_that_is_not_json_is_refused() {
    let server = Server::empty().await;
    for body in [
        "",
        "{",
        "[]",
        "null",
        "{\"events\":[]} {}",
        "{\"events\":[],\"events\":[]}",
        "{\"events\":[],\"more\":1}",
        "{\"events\":{}}",
    ] {
        send(server.post(STREAM, body))
            .await
            .problem(400, "bad-request");
    }
    let bytes = b"{\"events\":[{\"type\":\"n\",\"data\":\"\xff\"}]}";
    let request = server
        .request("POST", STREAM)
        .header("Content-Type", "application/json");
    send(request.body(bytes.to_vec()))
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn an_unknown_member_is_named() {
    let server = Server::empty().await;
    let body = r#"{"type":"n","data":1,"Data":2}"#;
    let problem = send(server.post("/v1/streams/note-1/commands", body)).await;
    let problem = problem.problem(400, "bad-request");
    assert!(problem["detail"].as_str().unwrap().contains("`Data`"));
}

#[tokio::test]
async fn an_array_in_place_of_an_object_is_refused() {
    let server = Server::empty().await;
    for body in ["[[]]", "{\"events\":[[null,\"n\",1,1,null,null,null,[]]]}"] {
        let problem = send(server.post(STREAM, body)).await;
        let problem = problem.problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("a JSON object"), "{detail}");
    }
}

#[tokio::test]
async fn a_body_needs_the_right_content_type() {
    let server = Server::empty().await;
    for (given, is_taken) in [
        (Some("application/json"), true),
        (Some("Application/JSON; charset=utf-8"), true),
        (Some("text/json"), false),
        (Some("application/jsonx"), false),
        (Some(""), false),
        (None, false),
    ] {
        let mut request = server.request("POST", STREAM).body(noted("1"));
        if let Some(given) = given {
            request = request.header("Content-Type", given);
        }
        let answer = send(request).await;
        match is_taken {
            true => _ = answer.ok(),
            false => _ = answer.problem(415, "bad-request"),
        }
    }
}

#[tokio::test]
async fn a_path_must_decode_to_text() {
    let server = Server::empty().await;
    let host = server.url.trim_start_matches("http://");
    for target in [
        "/v1/streams/%zz/events",
        "/v1/streams/%/events",
        "/v1/streams/%FF/events",
        "/v1/streams/a%00b/events",
        "/v1/events?prefix=%C3",
        "/v1/events?%xx=1",
    ] {
        let answer = raw(
            host,
            &format!("GET {target} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target}: {answer}");
        assert!(
            answer.contains("\"code\":\"bad-request\""),
            "{target}: {answer}"
        );
    }
    let long = format!("/v1/streams/{}/events", "x".repeat(256));
    server.get(&long).await.problem(400, "bad-request");
}

#[tokio::test]
async fn invalid_headers_are_refused() {
    let server = Server::empty().await;
    let append = || server.post(STREAM, &noted("1"));
    let long = "x".repeat(256);
    for (name, value) in [
        ("Idempotency-Key", ""),
        ("Idempotency-Key", long.as_str()),
        ("Idempotency-Key", "quipu.mine"),
        ("If-Match", ""),
        ("Quipu-Correlation-Id", long.as_str()),
        ("Quipu-Causation-Id", ""),
        ("Quipu-Raw", "maybe"),
    ] {
        send(append().header(name, value))
            .await
            .problem(400, "bad-request");
    }
    let bytes = reqwest::header::HeaderValue::from_bytes(b"\xff").unwrap();
    send(append().header("Idempotency-Key", bytes))
        .await
        .problem(400, "bad-request");
    server.get(STREAM).await.problem(404, "stream-not-found");
}

#[tokio::test]
async fn a_truncated_body_does_not_affect_the_host() {
    let server = Server::empty().await;
    let host = server.url.trim_start_matches("http://").to_owned();
    let mut socket = TcpStream::connect(&host).await.unwrap();
    let head = format!(
        "POST {STREAM} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{{"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    drop(socket);
    let garbage = raw(&host, "\0\u{1}\u{2} nonsense\r\n\r\n").await;
    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    send(server.post(STREAM, &noted("1"))).await.ok();
}

async fn raw(host: &str, request: &str) -> String {
    let mut socket = TcpStream::connect(host).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = socket.read_to_end(&mut answer);
    tokio::time::timeout(PATIENCE, reading)
        .await
        .unwrap()
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
