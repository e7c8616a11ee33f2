//! Hostile requests, byte by byte, and what a host answers to each.

use std::sync::Arc;

use quipu::access::{Grant, Role};
use quipu_server::{Limiter, Limits, Options};
use quipu_tests::{PATIENCE, Place, golden};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::access::{get, token};
use crate::server::Server;

/// A request: what is wrong with it, and its bytes.
type Hostile = (&'static str, Vec<u8>);

/// Writes requests to one host.
struct Writer {
    address: String,
    token: String,
}

impl Writer {
    /// A request with a valid token. It asks the host to close the connection.
    fn request(&self, line: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
        let authorization = format!("authorization: Bearer {}\r\n", self.token);
        self.bare(line, &format!("{authorization}{headers}"), body)
    }

    fn bare(&self, line: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
        let address = &self.address;
        let head =
            format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}\r\n");
        [head.as_bytes(), body.as_ref()].concat()
    }

    fn get(&self, path: &str) -> Vec<u8> {
        self.request(&format!("GET {path}"), "", "")
    }

    fn with(&self, headers: &str) -> Vec<u8> {
        self.request("GET /v1/streams", headers, "")
    }

    fn json(&self, path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
        let length = body.as_ref().len();
        let headers = format!("content-type: application/json\r\ncontent-length: {length}\r\n");
        self.request(&format!("POST {path}"), &headers, body)
    }

    fn append(&self, body: impl AsRef<[u8]>) -> Vec<u8> {
        self.json("/v1/streams/note-1/events", body)
    }

    /// What is wrong with the connection, the first line and the framing.
    fn framing(&self) -> Vec<Hostile> {
        let Self { address, token } = self;
        let post = "POST /v1/streams/note-1/events";
        let json = "content-type: application/json\r\n";
        vec![
            (
                "bytes that are no HTTP",
                b"\x16\x03\x01\x02\0\x01\0\r\n\r\n".to_vec(),
            ),
            ("version 0.9", b"GET /v1/streams\r\n\r\n".to_vec()),
            (
                "version 9.9",
                format!("GET / HTTP/9.9\r\nhost: {address}\r\n\r\n").into(),
            ),
            (
                "no host",
                b"GET /v1/streams HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(),
            ),
            ("two hosts", self.with("host: evil.example\r\n")),
            (
                "the host of another site",
                b"GET /v1/streams HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n"
                    .to_vec(),
            ),
            (
                "the whole address of another site",
                self.request("GET http://evil.example/v1/streams", "", ""),
            ),
            ("a tunnel", self.request("CONNECT evil.example:443", "", "")),
            ("TRACE", self.request("TRACE /v1/streams", "", "")),
            (
                "an invented method",
                self.request("SEARCH /v1/streams", "", ""),
            ),
            (
                "a method in lower case",
                self.request("get /v1/streams", "", ""),
            ),
            (
                "a method of 10,000 letters",
                self.request(&format!("{} /", "A".repeat(10_000)), "", ""),
            ),
            (
                "a path of 100,000 letters",
                self.get(&format!("/{}", "a".repeat(100_000))),
            ),
            (
                "a header of 1 MB",
                self.with(&format!("x-more: {}\r\n", "a".repeat(1 << 20))),
            ),
            ("1,000 headers", self.with(&"x-more: 1\r\n".repeat(1_000))),
            ("a header without a name", self.with(": 1\r\n")),
            ("a header on two lines", self.with("x-more: 1\r\n  2\r\n")),
            ("NUL in a header", self.with("x-more: a\0b\r\n")),
            ("a space before a colon", self.with("x-more : 1\r\n")),
            (
                "two lengths",
                self.request(
                    post,
                    &format!("{json}content-length: 2\r\ncontent-length: 4\r\n"),
                    "{}{}",
                ),
            ),
            (
                "a length and parts",
                self.request(
                    post,
                    &format!("{json}content-length: 4\r\ntransfer-encoding: chunked\r\n"),
                    "0\r\n\r\n",
                ),
            ),
            (
                "an encoding that no host reads",
                self.request(
                    post,
                    &format!("{json}transfer-encoding: gzip, chunked\r\n"),
                    "0\r\n\r\n",
                ),
            ),
            (
                "a negative length",
                self.request(post, &format!("{json}content-length: -1\r\n"), "{}"),
            ),
            (
                "a length in words",
                self.request(post, &format!("{json}content-length: two\r\n"), "{}"),
            ),
            (
                "a length of 10^30",
                self.request(
                    post,
                    &format!("{json}content-length: 1{}\r\n", "0".repeat(30)),
                    "{}",
                ),
            ),
            (
                "a body of 10 GB",
                self.request(post, &format!("{json}content-length: 10000000000\r\n"), ""),
            ),
            (
                "a part whose size is no number",
                self.request(
                    post,
                    &format!("{json}transfer-encoding: chunked\r\n"),
                    "zz\r\n{}\r\n0\r\n\r\n",
                ),
            ),
            (
                "a part of 2^64 bytes",
                self.request(
                    post,
                    &format!("{json}transfer-encoding: chunked\r\n"),
                    "fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
                ),
            ),
            (
                "a packed body",
                self.request(
                    post,
                    &format!("{json}content-encoding: gzip\r\ncontent-length: 4\r\n"),
                    b"\x1f\x8b\x08\0",
                ),
            ),
            (
                "a token in the address",
                self.bare(&format!("GET /v1/streams?token={token}"), "", ""),
            ),
        ]
    }

    /// What is wrong with an address.
    fn addresses(&self) -> Vec<Hostile> {
        vec![
            ("a path out of the folder", self.get("/v1/../../etc/passwd")),
            (
                "the same, encoded",
                self.get("/v1/%2e%2e/%2e%2e/etc/passwd"),
            ),
            ("NUL in a path", self.get("/v1/streams/note-%00/events")),
            (
                "a path that is not UTF-8",
                self.get("/v1/streams/note-%ff/events"),
            ),
            (
                "a letter in too many bytes",
                self.get("/v1/streams/note-%c0%af/events"),
            ),
            (
                "half of an encoded letter",
                self.get("/v1/streams/note-%4/events"),
            ),
            (
                "a line break in a path",
                self.get("/v1/streams/note-%0d%0aset-cookie:a/events"),
            ),
            (
                "a stream without a category",
                self.get("/v1/streams/-1/events"),
            ),
            (
                "a stream of 2,000 letters",
                self.get(&format!("/v1/streams/{}-1/events", "a".repeat(2_000))),
            ),
            ("an unknown parameter", self.get("/v1/events?form=1")),
            ("a parameter twice", self.get("/v1/events?from=1&from=2")),
            ("a negative position", self.get("/v1/events?from=-1")),
            (
                "a position of 2^64",
                self.get("/v1/events?from=18446744073709551616"),
            ),
            ("a limit of 0", self.get("/v1/events?limit=0")),
            (
                "a limit of a billion",
                self.get("/v1/events?limit=1000000000"),
            ),
            (
                "a position with a sign and a dot",
                self.get("/v1/events/+1.0"),
            ),
            (
                "a digest as a path",
                self.get("/v1/modules/..%2f..%2fquipu.db/wasm"),
            ),
            (
                "a digest that is too long",
                self.get(&format!("/v1/modules/{}/wasm", "a".repeat(65))),
            ),
            (
                "SQL as a digest",
                self.get("/v1/modules/';drop%20table%20events;--/wasm"),
            ),
            (
                "10,000 parameters",
                self.get(&format!("/v1/events?{}", "category=a&".repeat(10_000))),
            ),
        ]
    }

    /// What is wrong with who asks.
    fn callers(&self) -> Vec<Hostile> {
        let get = "GET /v1/streams";
        vec![
            ("nobody", self.bare(get, "", "")),
            (
                "a password",
                self.bare(get, "authorization: Basic cm9vdDpyb290\r\n", ""),
            ),
            (
                "an empty token",
                self.bare(get, "authorization: Bearer \r\n", ""),
            ),
            (
                "a token of 60,000 letters",
                self.bare(
                    get,
                    &format!("authorization: Bearer {}\r\n", "a".repeat(60_000)),
                    "",
                ),
            ),
            ("two tokens", self.with("authorization: Bearer qp_a\r\n")),
            (
                "a token with a changed letter",
                self.bare(
                    get,
                    &format!("authorization: Bearer {}x\r\n", self.token),
                    "",
                ),
            ),
            (
                "a tenant where there are none",
                self.with("quipu-tenant: acme\r\n"),
            ),
            (
                "a page of another site",
                self.with("origin: https://evil.example\r\n"),
            ),
            ("a page of no site", self.with("origin: null\r\n")),
            (
                "a form of another site",
                self.with("sec-fetch-site: cross-site\r\n"),
            ),
        ]
    }

    /// What is wrong with a body.
    fn bodies(&self) -> Vec<Hostile> {
        let event = |data: &str| format!("{{\"events\":[{{\"type\":\"n\",\"data\":{data}}}]}}");
        let post = "POST /v1/streams/note-1/events";
        let form = "content-type: application/x-www-form-urlencoded\r\ncontent-length: 3\r\n";
        let plain = "content-type: text/plain\r\ncontent-length: 2\r\n";
        let key = format!("idempotency-key: {}\r\n", "k".repeat(5_000));
        vec![
            ("a form", self.request(post, form, "a=b")),
            ("plain text", self.request(post, plain, "{}")),
            ("no JSON", self.append("{")),
            ("UTF-16", self.append(b"\xff\xfe{\0}\0")),
            (
                "a control character in a text",
                self.append(event("\"\u{1}\"")),
            ),
            ("NaN", self.append(event("NaN"))),
            (
                "a member twice",
                self.append("{\"events\":[],\"events\":[]}"),
            ),
            ("1,000,000 brackets", self.append("[".repeat(1_000_000))),
            ("an unknown member", self.append("{\"event\":[]}")),
            (
                "an event without data",
                self.append("{\"events\":[{\"type\":\"n\"}]}"),
            ),
            (
                "100,000 events",
                self.append(format!(
                    "{{\"events\":[{}]}}",
                    vec!["{\"type\":\"n\",\"data\":1}"; 100_000].join(",")
                )),
            ),
            (
                "a type without a letter",
                self.append("{\"events\":[{\"type\":\"\",\"data\":1}]}"),
            ),
            (
                "a type with a line break",
                self.append("{\"events\":[{\"type\":\"a\\nb\",\"data\":1}]}"),
            ),
            (
                "a type of 10,000 letters",
                self.append(format!(
                    "{{\"events\":[{{\"type\":\"{}\",\"data\":1}}]}}",
                    "a".repeat(10_000)
                )),
            ),
            (
                "a command for nobody",
                self.json("/v1/streams/note-1/commands", "{\"type\":\"n\",\"data\":1}"),
            ),
            (
                "a key of 5,000 letters",
                self.request(
                    post,
                    &format!("content-type: application/json\r\ncontent-length: 0\r\n{key}"),
                    "",
                ),
            ),
            (
                "a role that does not exist",
                self.json("/v1/tokens", "{\"name\":\"a\",\"role\":\"god\"}"),
            ),
            (
                "the name of another caller",
                self.json(
                    "/v1/tokens",
                    "{\"name\":\"corp:\\u202eann\",\"role\":\"admin\"}",
                ),
            ),
            (
                "a module of nothing",
                self.request(
                    "POST /v1/modules",
                    "content-type: application/wasm\r\ncontent-length: 4\r\n",
                    "\0asm",
                ),
            ),
            (
                "an export of something else",
                self.request(
                    "POST /v1/import",
                    "content-type: application/x-ndjson\r\ncontent-length: 3\r\n",
                    "{}\n",
                ),
            ),
        ]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_get_their_refusals() {
    let options = Options {
        limits: Arc::new(Limiter::new(Limits {
            failed_logins_per_minute: 0,
            ..Limits::default()
        })),
        ..Options::default()
    };
    let server = Server::start(Place::memory().host().await, options).await;
    let token = token(&server, "root", Grant::of(Role::Admin)).await;
    let writer = Writer {
        address: server.url.trim_start_matches("http://").to_owned(),
        token,
    };
    let hostile = [
        writer.framing(),
        writer.addresses(),
        writer.callers(),
        writer.bodies(),
    ]
    .concat();
    assert!(hostile.len() >= 60, "{}", hostile.len());
    let mut table = String::new();
    for (what, request) in hostile {
        let answer = answer(&writer.address, &request).await;
        assert!(!answer.contains(&writer.token), "{what}: {answer}");
        let status = answer.split(' ').nth(1).unwrap_or("closed");
        assert!(
            status == "closed" || status.starts_with('4') || status == "501",
            "{what}: {answer}"
        );
        table += &format!("{what}: {}\n", said(&answer, &writer.address));
    }
    golden::check("refusals.txt", &table);
    // Nothing was stored, and the host goes on.
    let events = get(&server, "/v1/events", &writer.token).await.ok();
    assert_eq!(events["events"].as_array().unwrap().len(), 0, "{events}");
    let tokens = server.host.tokens().list().await.unwrap();
    assert_eq!(tokens.len(), 1);
}

/// Everything that a host answers until it closes the connection.
async fn answer(address: &str, request: &[u8]) -> String {
    let asking = async {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let mut answer = Vec::new();
        let (mut read, mut write) = socket.split();
        // A host may stop reading before it has got everything.
        let sending = async { _ = write.write_all(request).await };
        let reading = async { _ = read.read_to_end(&mut answer).await };
        tokio::join!(sending, reading);
        answer
    };
    let answer = timeout(PATIENCE, asking).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer, and code and detail of its problem.
fn said(answer: &str, address: &str) -> String {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return "closed".to_owned();
    };
    let status = head.split(' ').nth(1).unwrap_or_default();
    let problem: Option<Value> = serde_json::from_str(body).ok();
    let Some(problem) = problem else {
        return status.to_owned();
    };
    let (code, detail) = (problem["code"].as_str(), problem["detail"].as_str());
    let detail: String = detail.unwrap_or_default().chars().take(120).collect();
    let detail = detail.replace(address, "HOST");
    format!("{status} {} | {detail}", code.unwrap_or_default())
}
