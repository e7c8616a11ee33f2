use std::time::Duration;

use bytes::Bytes;
use quipu_server::Options;
use quipu_tests::{PATIENCE, Place, build};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::{Server, send};

/// Short for a test, and long for a local connection.
pub const SHORT: Duration = Duration::from_millis(400);

pub async fn server(options: Options) -> Server {
    Server::start(Place::memory().host().await, options).await
}

/// A connection that sends the given text.
pub async fn raw(server: &Server, text: &str) -> TcpStream {
    let address = server.url.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(text.as_bytes()).await.unwrap();
    socket
}

pub async fn bounded<T>(work: impl Future<Output = T>) -> T {
    let worked = tokio::time::timeout(PATIENCE, work).await;
    worked.expect("it never came about")
}

/// The text received until the connection is closed, in whatever way.
pub async fn rest(socket: &mut TcpStream) -> String {
    let mut all = Vec::new();
    _ = bounded(socket.read_to_end(&mut all)).await;
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads until this text was received.
pub async fn until(socket: &mut TcpStream, text: &str) -> String {
    let mut all = String::new();
    let mut part = [0; 4_096];
    while !all.contains(text) {
        let read = bounded(socket.read(&mut part)).await.unwrap();
        assert!(read > 0, "closed after {all:?}");
        all += &String::from_utf8_lossy(&part[..read]);
    }
    all
}

/// The head of a request whose body has this number of bytes.
pub fn head(path: &str, content_type: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\ncontent-type: {content_type}\r\n\
         content-length: {length}\r\n\r\n"
    )
}

pub const APPEND: &str = "/v1/streams/note-1/events";
pub const NOTE: &str = "{\"events\":[{\"type\":\"n\",\"data\":1}]}";

#[tokio::test]
async fn a_connection_that_sends_nothing_or_half_a_head_is_closed() {
    let options = Options {
        head_time_max: SHORT,
        ..Options::default()
    };
    let server = server(options).await;
    for said in [
        "",
        "GET /healthz HT",
        "GET /healthz HTTP/1.1\r\nhost: h\r\n",
        "PRI * HTTP/2.0",
    ] {
        let mut socket = raw(&server, said).await;
        assert_eq!(rest(&mut socket).await, "", "{said}");
    }
    // One byte at a time, until nothing more can be sent.
    let mut socket = raw(&server, "GET /healthz HTTP/1.1\r\nlong: ").await;
    bounded(async { while socket.write_all(b"x").await.is_ok() {} }).await;
    server.get("/healthz").await.ok();
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_last_answer() {
    let options = Options {
        idle_max: SHORT,
        ..Options::default()
    };
    let server = server(options).await;
    let get = "GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n";
    let mut socket = raw(&server, get).await;
    until(&mut socket, "{\"status\":\"ok\"}").await;
    socket.write_all(get.as_bytes()).await.unwrap();
    let answer = rest(&mut socket).await;
    assert!(answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
    // The same with half the head of the next request.
    let options = Options {
        head_time_max: SHORT,
        ..Options::default()
    };
    let server = self::server(options).await;
    let mut socket = raw(&server, &format!("{get}GET")).await;
    until(&mut socket, "{\"status\":\"ok\"}").await;
    socket.write_all(b" /heal").await.unwrap();
    assert_eq!(rest(&mut socket).await, "");
}

#[tokio::test]
async fn a_connection_with_a_request_in_flight_is_not_idle() {
    let options = Options {
        head_time_max: SHORT,
        idle_max: SHORT,
        ..Options::default()
    };
    let server = server(options).await;
    let subscribe = "GET /v1/events/subscribe HTTP/1.1\r\nhost: h\r\n\r\n";
    let mut subscriber = raw(&server, subscribe).await;
    until(&mut subscriber, "event: caught-up").await;
    // Meanwhile other connections are closed, one after the other.
    for _ in 0..3 {
        assert_eq!(rest(&mut raw(&server, "").await).await, "");
    }
    send(server.post(APPEND, NOTE)).await.ok();
    until(&mut subscriber, "\"stream\":\"note-1\"").await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408() {
    let options = Options {
        body_wait_max: SHORT,
        ..Options::default()
    };
    let server = server(options).await;
    for (path, content_type) in [
        (APPEND, "application/json"),
        ("/v1/modules", "application/wasm"),
        ("/v1/import", "application/x-ndjson"),
    ] {
        for part in ["", "{\"events\":["] {
            let said = head(path, content_type, 500) + part;
            let answer = rest(&mut raw(&server, &said).await).await;
            assert!(answer.starts_with("HTTP/1.1 408"), "{path}: {answer}");
            assert!(answer.contains("\"code\":\"body-timeout\""), "{answer}");
        }
    }
    server.get(APPEND).await.problem(404, "stream-not-found");
}

#[tokio::test]
async fn an_import_that_sends_nothing_does_not_block_writes_forever() {
    let server = server(Options::default()).await;
    let silent = head("/v1/import", "application/x-ndjson", 500);
    // It sends nothing at all: no write waits.
    let _silent = raw(&server, &silent).await;
    let mut expects = raw(
        &server,
        &silent.replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n"),
    )
    .await;
    until(&mut expects, "100 Continue").await;
    send(server.post(APPEND, NOTE)).await.ok();

    let options = Options {
        body_wait_max: SHORT,
        ..Options::default()
    };
    let server = self::server(options).await;
    let mut import = raw(&server, &(silent + "{")).await;
    let answer = rest(&mut import).await;
    assert!(answer.contains("\"code\":\"body-timeout\""), "{answer}");
    send(server.post(APPEND, NOTE)).await.ok();
}

#[tokio::test]
async fn waiting_for_the_next_line_and_for_the_rest_of_a_line_have_different_limits() {
    let line = "{\"stream\":\"note-1\",\"type\":\"n\",\"data\":1}\n";
    for (lines_wait_max, body_wait_max, part) in [
        (SHORT, Duration::from_secs(60), ""),
        (Duration::from_secs(60), SHORT, "{\"stream\""),
    ] {
        let options = Options {
            lines_wait_max,
            body_wait_max,
            ..Options::default()
        };
        let server = server(options).await;
        let said = head("/v1/commands", "application/x-ndjson", 500) + line;
        let mut socket = raw(&server, &said).await;
        until(&mut socket, "\"code\":\"unknown-category\"").await;
        socket.write_all(part.as_bytes()).await.unwrap();
        let end = rest(&mut socket).await;
        assert!(end.contains("\"line\":2,\"status\":408"), "{end}");
        assert!(end.contains("\"code\":\"body-timeout\""), "{end}");
    }
}

#[tokio::test]
async fn at_the_limit_silent_connections_are_closed_and_busy_ones_are_not() {
    let options = Options {
        connections_max: 2,
        ..Options::default()
    };
    let server = server(options).await;
    let get = "GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    let mut silent = raw(&server, "").await;
    let mut half = raw(&server, "GET ").await;
    for _ in 0..2 {
        let answer = rest(&mut raw(&server, get).await).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let subscribe = "GET /v1/events/subscribe HTTP/1.1\r\nhost: h\r\n\r\n";
    let mut subscribers = Vec::new();
    for _ in 0..2 {
        let mut subscriber = raw(&server, subscribe).await;
        until(&mut subscriber, "event: caught-up").await;
        subscribers.push(subscriber);
    }
    for socket in [&mut silent, &mut half] {
        assert_eq!(rest(socket).await, "");
    }
    // Both are busy: a third connection waits until one of them ends.
    let mut waits = raw(&server, get).await;
    assert_eq!(server.host.subscriptions(), 2);
    drop(subscribers.pop());
    let answer = rest(&mut waits).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server
        .host
        .append(&build::stream("note-1"), build::append(build::events(1)))
        .await
        .unwrap();
    until(&mut subscribers[0], "\"stream\":\"note-1\"").await;
}

#[tokio::test]
async fn at_the_limit_connections_with_stalled_bodies_are_closed() {
    let options = Options {
        connections_max: 2,
        ..Options::default()
    };
    let server = server(options).await;
    let lines = head("/v1/commands", "application/x-ndjson", 500);
    let mut waiting = Vec::new();
    for said in [lines, head(APPEND, "application/json", 500) + "{"] {
        waiting.push(raw(&server, &said).await);
    }
    let get = "GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    for _ in 0..2 {
        let answer = rest(&mut raw(&server, get).await).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// An HTTP/2 client that reads no bytes of bodies.
pub async fn unreading(
    server: &Server,
) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<()>) {
    let socket = raw(server, "").await;
    let mut client = h2::client::Builder::new();
    client.initial_window_size(0);
    let (requests, connection) = client.handshake(socket).await.unwrap();
    let connected = tokio::spawn(async move { _ = connection.await });
    (requests, connected)
}

pub async fn ask(
    requests: h2::client::SendRequest<Bytes>,
    server: &Server,
    (path, accept): (&str, &str),
) -> Result<http::Response<h2::RecvStream>, h2::Error> {
    let request = http::Request::get(format!("{}{path}", server.url));
    let request = request.header("accept", accept);
    let mut requests = requests.ready().await?;
    let (response, _) = requests.send_request(request.body(()).unwrap(), true)?;
    response.await
}

#[tokio::test]
async fn an_http2_client_that_gives_no_window_is_disconnected() {
    let options = Options {
        slow_reader_max: SHORT,
        connection_requests_max: 7,
        ..Options::default()
    };
    let server = server(options).await;
    for path in ["/v1/events", "/v1/events/subscribe", "/v1/export"] {
        let (requests, connected) = unreading(&server).await;
        let answer = bounded(ask(requests.clone(), &server, (path, "*/*")))
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(requests.current_max_send_streams(), 7);
        bounded(connected).await.unwrap();
    }
    assert_eq!(server.host.subscriptions(), 0);
    // A page and an export are not subscriptions.
    let cut = "quipu_subscribers_cut_total{reason=\"closed\"}";
    crate::metrics::until(&server, cut, |it| it == 1.0).await;
}

#[tokio::test]
async fn an_http2_client_that_reads_is_served() {
    let options = Options {
        idle_max: SHORT,
        ..Options::default()
    };
    let server = server(options).await;
    send(server.post(
        APPEND,
        &format!(
            "{{\"events\":[{{\"type\":\"n\",\"data\":\"{}\"}}]}}",
            "x".repeat(900_000)
        ),
    ))
    .await
    .ok();
    let socket = raw(&server, "").await;
    let (requests, connection) = h2::client::handshake(socket).await.unwrap();
    let connected = tokio::spawn(async move { _ = connection.await });
    let answer = bounded(ask(requests.clone(), &server, ("/v1/events", "*/*")))
        .await
        .unwrap();
    let mut body = answer.into_body();
    let mut length = 0;
    while let Some(chunk) = bounded(body.data()).await {
        let chunk = chunk.unwrap();
        length += chunk.len();
        body.flow_control().release_capacity(chunk.len()).unwrap();
    }
    assert!(length > 900_000);
    // The connection is closed when it is idle.
    bounded(connected).await.unwrap();
}
