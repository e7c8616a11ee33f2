//! Requests that a proxy and the host could read in different ways, so that one hides another.

use crate::connections::{APPEND, NOTE, raw, rest};
use crate::server::Server;

/// A request that an attacker hides after another.
const HIDDEN: &str = "GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n";

/// What the host answers to these bytes until it closes the connection.
async fn answered(server: &Server, bytes: &str) -> String {
    let mut socket = raw(server, bytes).await;
    rest(&mut socket).await
}

/// How many answers a text has.
fn answers(text: &str) -> usize {
    text.matches("HTTP/1.").count()
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len())
}

#[tokio::test]
async fn nothing_is_read_after_a_request_with_a_length_and_chunks() {
    let server = Server::empty().await;
    // By the length, the hidden request is a part of the body.
    let body = chunk(NOTE) + HIDDEN;
    let length = format!("content-length: {}", body.len());
    let chunked = "transfer-encoding: chunked";
    for framing in [
        format!("{length}\r\n{chunked}"),
        format!("{chunked}\r\n{length}"),
        format!("{length}\r\n{chunked}\r\n{length}"),
    ] {
        let request = format!(
            "POST {APPEND} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n\
             {framing}\r\n\r\n{body}"
        );
        let answer = answered(&server, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{framing}: {answer}");
        assert!(answer.contains("connection: close"), "{framing}: {answer}");
        assert_eq!(answers(&answer), 1, "{framing}: {answer}");
    }
    // Without a length the connection is used for the next request.
    let request = format!(
        "POST {APPEND} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n{chunked}\r\n\r\n\
         {}GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        chunk(NOTE)
    );
    let answer = answered(&server, &request).await;
    assert_eq!(answers(&answer), 2, "{answer}");
    let events = server.get(APPEND).await.ok();
    assert_eq!(events["events"].as_array().unwrap().len(), 4, "{events}");
}

#[tokio::test]
async fn lengths_and_encodings_that_can_be_read_in_two_ways_are_refused() {
    let server = Server::empty().await;
    for framing in [
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding:\u{b}chunked",
        "content-length: +2",
        "content-length: 2, 2",
        "content-length: 0x2",
        "content-length: 2\r\ncontent-length: 3",
        "content-length:",
    ] {
        let request = format!(
            "POST {APPEND} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n\
             connection: close\r\n{framing}\r\n\r\n{}",
            chunk(NOTE)
        );
        let answer = answered(&server, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{framing}: {answer}");
        assert_eq!(answers(&answer), 1, "{framing}: {answer}");
    }
    let old = format!(
        "POST {APPEND} HTTP/1.0\r\nhost: h\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n{}",
        chunk(NOTE)
    );
    let answer = answered(&server, &old).await;
    assert!(answer.contains(" 400 "), "{answer}");
    server.get(APPEND).await.problem(404, "stream-not-found");
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let server = Server::empty().await;
    for (version, hosts, is_answered) in [
        ("1.1", "", false),
        ("1.1", "host: h\r\n", true),
        ("1.1", "host: h\r\nhost: h\r\n", false),
        ("1.1", "host: h\r\nhost: localhost\r\n", false),
        ("1.0", "", true),
        ("1.0", "host: h\r\nhost: h\r\n", false),
    ] {
        let request = format!("GET /healthz HTTP/{version}\r\n{hosts}connection: close\r\n\r\n");
        let answer = answered(&server, &request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        if is_answered {
            assert!(head.contains(" 200 "), "{request}: {answer}");
            continue;
        }
        assert!(head.contains(" 400 "), "{request}: {answer}");
        assert!(
            head.contains("content-type: application/problem+json"),
            "{request}: {answer}"
        );
        assert!(body.contains("\"code\":\"bad-request\""), "{answer}");
        assert!(body.contains("Host header"), "{request}: {answer}");
    }
    // The address of a proxy's request does not take the place of the header.
    let whole = "GET http://h/healthz HTTP/1.1\r\nconnection: close\r\n\r\n";
    let answer = answered(&server, whole).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}
