//! The bounds of HTTP/2: requests at once, resets, and bytes of headers. Clients of libraries obey
//! them, so that frames are written here.

use quipu_server::Options;
use quipu_tests::clock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::connections::{bounded, raw, server};
use crate::server::Server;

/// Kinds of frames.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
/// Flags of frames.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Why a stream or a connection ends.
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;
/// How answers begin: the status 200, and the status 431.
const OK: &[u8] = &[0x88];
const HEADERS_TOO_LARGE: &[u8] = &[0x48, 0x83, 0x69, 0x90, 0xff];
/// Bytes of a frame.
const FRAME_BYTES_MAX: usize = 16_384;

/// A received frame.
#[derive(Debug)]
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    /// Why a stream or the connection ends.
    fn reason(&self) -> Option<u32> {
        let bytes = match self.kind {
            RST_STREAM => self.payload.get(..4)?,
            GOAWAY => self.payload.get(4..8)?,
            _ => return None,
        };
        bytes.try_into().ok().map(u32::from_be_bytes)
    }
}

/// A connection that obeys no bound.
struct Connection {
    socket: TcpStream,
    received: Vec<u8>,
    address: String,
}

impl Connection {
    async fn open(server: &Server) -> Self {
        let mut opened = Self {
            socket: raw(server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await,
            received: Vec::new(),
            address: server.url.trim_start_matches("http://").to_owned(),
        };
        opened.send(&frame(SETTINGS, 0, 0, &[])).await;
        opened
    }

    /// Sends frames. A host may close the connection before it has got all.
    async fn send(&mut self, frames: &[u8]) {
        _ = bounded(self.socket.write_all(frames)).await;
    }

    /// The next frame; none when the connection has ended.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            let mut part = [0; 4_096];
            match bounded(self.socket.read(&mut part)).await {
                Ok(read) if read > 0 => self.received.extend_from_slice(&part[..read]),
                _ => return None,
            }
        }
    }

    /// The first frame that was received completely.
    fn take(&mut self) -> Option<Frame> {
        let head = self.received.get(..9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let end = 9 + usize::try_from(length).unwrap();
        let kind = head[3];
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.received.get(9..end)?.to_vec();
        self.received.drain(..end);
        Some(Frame {
            kind,
            stream,
            payload,
        })
    }

    /// The first frame of this kind of a stream.
    async fn first(&mut self, kind: u8, stream: u32) -> Frame {
        loop {
            let frame = self.next().await.expect("the connection goes on");
            if frame.kind == kind && frame.stream == stream {
                return frame;
            }
        }
    }

    /// All frames until the connection ends.
    async fn all(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }

    /// A request without more headers.
    fn get(&self, stream: u32, path: &str) -> Vec<u8> {
        self.get_with(stream, path, &[])
    }

    /// A request with a block of more headers, in as many frames as it takes.
    fn get_with(&self, stream: u32, path: &str, more: &[u8]) -> Vec<u8> {
        // GET and http.
        let mut block = vec![0x82, 0x86];
        for (name, value) in [(0x01, &*self.address), (0x04, path)] {
            block.push(name);
            block.extend(text(value));
        }
        block.extend(more);
        let parts: Vec<&[u8]> = block.chunks(FRAME_BYTES_MAX).collect();
        let mut frames = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            let (kind, first) = match number {
                0 => (HEADERS, END_STREAM),
                _ => (CONTINUATION, 0),
            };
            let last = match number + 1 == parts.len() {
                true => END_HEADERS,
                false => 0,
            };
            frames.extend(frame(kind, first | last, stream, part));
        }
        frames
    }

    /// Requests that are given up at once, on streams from 1.
    fn given_up(&self, requests: u32) -> Vec<u8> {
        let streams = (0..requests).map(|number| 2 * number + 1);
        let given_up = streams.map(|stream| [self.get(stream, "/healthz"), reset(stream)].concat());
        given_up.flatten().collect()
    }

    /// Requests that follow the log, on streams from 1.
    fn following(&self, requests: u32) -> Vec<u8> {
        let streams = (0..requests).map(|number| 2 * number + 1);
        let following = streams.map(|stream| self.get(stream, "/v1/events/subscribe"));
        following.flatten().collect()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let stream = stream.to_be_bytes();
    let parts: [&[u8]; 4] = [&length[1..], &[kind, flags], &stream, payload];
    parts.concat()
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// A text with its length, as HPACK writes it.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut left = text.len();
    if left < 127 {
        bytes.push(u8::try_from(left).unwrap());
    } else {
        bytes.push(127);
        left -= 127;
        while left >= 128 {
            bytes.push(u8::try_from(left % 128 + 128).unwrap());
            left /= 128;
        }
        bytes.push(u8::try_from(left).unwrap());
    }
    bytes.extend(text.as_bytes());
    bytes
}

/// A header with a value of this many bytes.
fn header(bytes: usize) -> Vec<u8> {
    [vec![0], text("x-more"), text(&"a".repeat(bytes))].concat()
}

/// Checks that a connection ended because its client asked for too much.
fn check_ended(frames: &[Frame]) {
    let last = frames.iter().find(|frame| frame.kind == GOAWAY);
    let reason = last.and_then(Frame::reason);
    assert_eq!(reason, Some(ENHANCE_YOUR_CALM), "{frames:?}");
}

async fn of_7_requests() -> Server {
    server(Options {
        connection_requests_max: 7,
        ..Options::default()
    })
    .await
}

#[tokio::test]
async fn requests_beyond_the_bound_of_a_connection_are_refused() {
    let server = of_7_requests().await;
    let mut connection = Connection::open(&server).await;
    connection.send(&connection.following(7)).await;
    let mut answered = 0;
    while answered < 7 {
        let frame = connection.next().await.expect("the connection goes on");
        if frame.kind == HEADERS {
            assert!(frame.payload.starts_with(OK), "{frame:?}");
            answered += 1;
        }
    }
    connection.send(&connection.get(15, "/healthz")).await;
    let refused = connection.first(RST_STREAM, 15).await;
    assert_eq!(refused.reason(), Some(REFUSED_STREAM));
    // Other connections are served, and this one after one of its requests has ended.
    server.get("/healthz").await.ok();
    connection.send(&reset(1)).await;
    connection.send(&connection.get(17, "/healthz")).await;
    let answer = connection.first(HEADERS, 17).await;
    assert!(answer.payload.starts_with(OK), "{answer:?}");
}

#[tokio::test]
async fn a_connection_that_goes_on_beyond_its_bound_ends() {
    let server = of_7_requests().await;
    let mut connection = Connection::open(&server).await;
    connection.send(&connection.following(500)).await;
    let frames = connection.all().await;
    check_ended(&frames);
    let refused = frames.iter().filter(|frame| frame.kind == RST_STREAM);
    let refused: Vec<_> = refused.map(Frame::reason).collect();
    assert!(refused.len() <= 100, "{frames:?}");
    let is_refused = |reason: &Option<u32>| *reason == Some(REFUSED_STREAM);
    assert!(refused.iter().all(is_refused), "{frames:?}");
    // Nothing of it is left, and others are served.
    clock::until(|| server.host.subscriptions() == 0).await;
    server.get("/healthz").await.ok();
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let server = server(Options::default()).await;
    let mut other = Connection::open(&server).await;
    let mut few = Connection::open(&server).await;
    few.send(&[few.given_up(20), few.get(41, "/healthz")].concat())
        .await;
    let answer = few.first(HEADERS, 41).await;
    assert!(answer.payload.starts_with(OK), "{answer:?}");
    let mut many = Connection::open(&server).await;
    many.send(&many.given_up(1_000)).await;
    check_ended(&many.all().await);
    // Others are served.
    other.send(&other.get(1, "/healthz")).await;
    let answer = other.first(HEADERS, 1).await;
    assert!(answer.payload.starts_with(OK), "{answer:?}");
}

#[tokio::test]
async fn headers_beyond_the_bound_are_refused() {
    let server = server(Options::default()).await;
    for (bytes, expected) in [
        (60_000, OK),
        (66_000, HEADERS_TOO_LARGE),
        (70_000, HEADERS_TOO_LARGE),
    ] {
        let mut connection = Connection::open(&server).await;
        let large = connection.get_with(1, "/healthz", &header(bytes));
        connection.send(&large).await;
        let answer = connection.first(HEADERS, 1).await;
        assert!(answer.payload.starts_with(expected), "{bytes}: {answer:?}");
        // The next request of the connection is served.
        connection.send(&connection.get(3, "/healthz")).await;
        let answer = connection.first(HEADERS, 3).await;
        assert!(answer.payload.starts_with(OK), "{bytes}: {answer:?}");
    }
    // Many small headers count as well.
    let mut connection = Connection::open(&server).await;
    let many = connection.get_with(1, "/healthz", &header(10).repeat(1_500));
    connection.send(&many).await;
    let answer = connection.first(HEADERS, 1).await;
    assert!(answer.payload.starts_with(HEADERS_TOO_LARGE), "{answer:?}");
}

#[tokio::test]
async fn headers_without_an_end_end_the_connection() {
    let server = server(Options::default()).await;
    let mut large = Connection::open(&server).await;
    let megabyte = large.get_with(1, "/healthz", &header(1 << 20));
    large.send(&megabyte).await;
    check_ended(&large.all().await);
    let mut empty = Connection::open(&server).await;
    let begin = frame(HEADERS, END_STREAM, 1, &[0x82, 0x86]);
    let parts = frame(CONTINUATION, 0, 1, &[]).repeat(10_000);
    empty.send(&[begin, parts].concat()).await;
    check_ended(&empty.all().await);
    server.get("/healthz").await.ok();
}
