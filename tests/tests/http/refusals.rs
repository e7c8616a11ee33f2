//! Hostile requests, byte by byte, and what a host answers to each.

use std::collections::BTreeMap;
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

/// An append.
const APPEND: &str = "POST /v1/streams/note-1/events";
/// Its body, which stores nothing.
const BODY: &str = "{\"events\":[]}";
/// The same in one part.
const PARTS: &str = "d\r\n{\"events\":[]}\r\n0\r\n\r\n";
/// Headers of the append.
const JSON: &str = "content-type: application/json\r\n";
const LENGTH: &str = "content-length: 13\r\n";
const CHUNKED: &str = "transfer-encoding: chunked\r\n";

/// Requests whose refusals have the same text, because they have the same kind of fault. All others
/// have a text of their own, so that no request is refused for the fault of another one.
const SAME: &[&[&str]] = &[
    // These are refused before there is a request that could be answered with a problem.
    &[
        "bytes that are no HTTP",
        "version 0.9",
        "version 9.9",
        "a header without a name",
        "a header on two lines",
        "NUL in a header",
        "a space before a colon",
        "two lengths",
        "parts in HTTP/1.0",
        "a negative length",
        "a length in words",
        "a length of 10^30",
    ],
    // The head is too large.
    &[
        "a path of 100,000 letters",
        "a header of 1 MB",
        "1,000 headers",
        "10,000 parameters",
    ],
    &[
        "the host of another site",
        "the whole address of another site",
    ],
    &["a part whose size is no number", "a part of 2^64 bytes"],
    &["a path that is not UTF-8", "a letter in too many bytes"],
    // A token in an address is not read.
    &["a token in the address", "nobody"],
    &["a password", "an empty token", "two tokens"],
    &["a token of 60,000 letters", "a token with a changed letter"],
];

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
        let headers = format!("{JSON}content-length: {length}\r\n");
        self.request(&format!("POST {path}"), &headers, body)
    }

    fn append(&self, body: impl AsRef<[u8]>) -> Vec<u8> {
        self.json("/v1/streams/note-1/events", body)
    }

    /// An append with other headers than its media type.
    fn framed(&self, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
        self.request(APPEND, &format!("{JSON}{headers}"), body)
    }

    /// What the hostile requests are made of, without a fault.
    fn sound(&self) -> Vec<Hostile> {
        let key = format!("{LENGTH}idempotency-key: k\r\n");
        vec![
            ("a header", self.with("x-more: 1\r\n")),
            ("50 headers", self.with(&"x-more: 1\r\n".repeat(50))),
            (
                "a page of this site",
                self.with("sec-fetch-site: same-origin\r\n"),
            ),
            ("a length", self.framed(LENGTH, BODY)),
            ("parts", self.framed(CHUNKED, PARTS)),
            ("a key", self.framed(&key, BODY)),
            (
                "parameters",
                self.get("/v1/events?after=0&limit=1&form=stored"),
            ),
            (
                "100 parameters",
                self.get(&format!("/v1/events?{}", "category=a&".repeat(100))),
            ),
        ]
    }

    /// What is wrong with the connection, the first line and the framing.
    fn framing(&self) -> Vec<Hostile> {
        let Self { address, token } = self;
        vec![
            (
                "bytes that are no HTTP",
                b"\x16\x03\x01\x02\0\x01\0\r\n\r\n".to_vec(),
            ),
            ("version 0.9", b"GET /v1/streams\r\n\r\n".to_vec()),
            (
                "version 9.9",
                format!("GET /healthz HTTP/9.9\r\nhost: {address}\r\n\r\n").into(),
            ),
            (
                "no host",
                b"GET /v1/streams HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(),
            ),
            ("two hosts", self.with("host: evil.example\r\n")),
            (
                "the host of another site",
                format!(
                    "GET /v1/streams HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\
                     authorization: Bearer {token}\r\n\r\n"
                )
                .into(),
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
                self.request(&format!("{} /v1/streams", "A".repeat(10_000)), "", ""),
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
                self.framed(
                    &format!("{LENGTH}content-length: 15\r\n"),
                    format!("{BODY}{{}}"),
                ),
            ),
            (
                "parts in HTTP/1.0",
                format!(
                    "{APPEND} HTTP/1.0\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
                     {JSON}{CHUNKED}\r\n{PARTS}"
                )
                .into(),
            ),
            (
                "an encoding that no host reads",
                self.framed("transfer-encoding: gzip, chunked\r\n", PARTS),
            ),
            (
                "a negative length",
                self.framed("content-length: -1\r\n", BODY),
            ),
            (
                "a length in words",
                self.framed("content-length: thirteen\r\n", BODY),
            ),
            (
                "a length of 10^30",
                self.framed(&format!("content-length: 1{}\r\n", "0".repeat(30)), BODY),
            ),
            (
                "a body of 10 GB",
                self.framed("content-length: 10000000000\r\n", ""),
            ),
            (
                "a part whose size is no number",
                self.framed(CHUNKED, PARTS.replacen('d', "zz", 1)),
            ),
            (
                "a part of 2^64 bytes",
                self.framed(CHUNKED, PARTS.replacen('d', "fffffffffffffffff", 1)),
            ),
            (
                "a packed body",
                self.framed(&format!("content-encoding: gzip\r\n{LENGTH}"), BODY),
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
                "a stream of the host",
                self.json("/v1/streams/$note-1/events", BODY),
            ),
            (
                "a stream of 2,000 letters",
                self.get(&format!("/v1/streams/{}-1/events", "a".repeat(2_000))),
            ),
            ("an unknown parameter", self.get("/v1/events?sort=1")),
            ("a parameter twice", self.get("/v1/events?after=1&after=2")),
            ("a negative position", self.get("/v1/events?after=-1")),
            (
                "a position of 2^64",
                self.get("/v1/events?after=18446744073709551616"),
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
                self.bare(get, &format!("authorization: Basic {}\r\n", self.token), ""),
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
            (
                "two tokens",
                self.with(&format!("authorization: Bearer {}\r\n", self.token)),
            ),
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
        let form = format!("content-type: application/x-www-form-urlencoded\r\n{LENGTH}");
        let plain = format!("content-type: text/plain\r\n{LENGTH}");
        let brackets = "[".repeat(500_000) + &"]".repeat(500_000);
        vec![
            ("a form", self.request(APPEND, &form, BODY)),
            ("plain text", self.request(APPEND, &plain, BODY)),
            ("a list in place of an object", self.append("[]")),
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
            ("1,000,000 brackets", self.append(event(&brackets))),
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
                self.framed(
                    &format!("{LENGTH}idempotency-key: {}\r\n", "k".repeat(5_000)),
                    BODY,
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
    for (what, request) in writer.sound() {
        let answer = answer(&writer.address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{what}: {answer}");
    }
    let hostile = [
        writer.framing(),
        writer.addresses(),
        writer.callers(),
        writer.bodies(),
    ]
    .concat();
    assert!(hostile.len() >= 60, "{}", hostile.len());
    let mut table = String::new();
    let mut texts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (what, request) in hostile {
        let answer = answer(&writer.address, &request).await;
        assert!(!answer.contains(&writer.token), "{what}: {answer}");
        let status = answer.split(' ').nth(1).unwrap_or("closed");
        assert!(
            status == "closed" || status.starts_with('4') || status == "501",
            "{what}: {answer}"
        );
        let said = said(&answer, &writer.address);
        table += &format!("{what}: {said}\n");
        texts.entry(said).or_default().push(what);
    }
    for (said, requests) in texts {
        let is_one = requests.len() == 1;
        let is_known = is_one || SAME.iter().any(|same| are_same(same, &requests));
        assert!(is_known, "{requests:?} have one refusal: {said}");
    }
    golden::check("refusals.txt", &table);
    // Nothing was stored, and the host goes on.
    let events = get(&server, "/v1/events", &writer.token).await.ok();
    assert_eq!(events["events"].as_array().unwrap().len(), 0, "{events}");
    let tokens = server.host.tokens().list().await.unwrap();
    assert_eq!(tokens.len(), 1);
}

/// Whether two lists have the same names in any order.
fn are_same(one: &[&str], other: &[&str]) -> bool {
    one.len() == other.len() && one.iter().all(|name| other.contains(name))
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
