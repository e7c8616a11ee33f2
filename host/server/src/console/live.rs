//! The log as it grows: rows of its newest events as server-sent events.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::BodyDataStream;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};

use super::log::{FILTERS, filters};
use super::session::Watched;
use super::views::{self, Event};
use super::visitor::Visitor;
use crate::failure::{Failure, Result};
use crate::sse;
use quipu_api::{Code, Problem};

/// Live pages of all readers together.
pub const LIVE_MAX: usize = 32;
/// Rows that are sent in each span of time. Further events are counted.
const ROWS_MAX: usize = 10;
const SPAN: Duration = Duration::from_secs(1);
/// Longest event of the subscription, with its metadata and line breaks.
const FRAME_BYTES_MAX: usize = 8 << 20;

/// Follows the log from now on.
pub async fn show(visitor: Visitor, headers: HeaderMap) -> Response {
    let followed = follow(&visitor, &headers).await;
    followed.unwrap_or_else(IntoResponse::into_response)
}

async fn follow(visitor: &Visitor, headers: &HeaderMap) -> Result<Response> {
    let places = visitor.shared.live.clone();
    let place = places.try_acquire_owned().map_err(|_| {
        let detail = format!("{LIVE_MAX} pages follow the log already; close one of them");
        Failure::new(Code::Overloaded, detail)
    })?;
    let query = filters(visitor, &FILTERS).0;
    let path = format!("/v1/events/subscribe?after=now{query}");
    let rows = Rows {
        frames: Frames::new(visitor.open(&path).await?),
        session: visitor.watched(headers),
        sent: 0,
        omitted: 0,
        span_ends: Box::pin(sleep_until(Instant::now() + SPAN)),
        is_over: false,
        _place: place,
    };
    let options = &visitor.app.options;
    let ending = visitor.app.ending.clone();
    Ok(sse::answer(rows, options.slow_reader_max, ending))
}

/// Rows of a subscription.
struct Rows {
    frames: Frames,
    /// The session of the reader, if there is one.
    session: Option<Watched>,
    /// Rows that were sent in this span.
    sent: usize,
    /// Events that were not sent in this span.
    omitted: u64,
    span_ends: Pin<Box<Sleep>>,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

impl sse::Source for Rows {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        chunk: &mut Vec<u8>,
    ) -> Poll<Option<Result<()>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        while self.span_ends.as_mut().poll(context).is_ready() {
            self.span_ends.as_mut().reset(Instant::now() + SPAN);
            self.sent = 0;
            if self.session.as_ref().is_some_and(|it| !it.is_open()) {
                return self.end("you signed out, or your session has ended", chunk);
            }
            let omitted = std::mem::take(&mut self.omitted);
            if omitted > 0 {
                write("omitted", &omitted.to_string(), chunk);
                return Poll::Ready(Some(Ok(())));
            }
        }
        match self.frames.poll_next(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Frame { name, data })) => {
                match &*name {
                    "event" => self.add(&data, chunk),
                    "error" => return self.end(&detail(&data), chunk),
                    "too-slow" => return self.end("this page did not read for too long", chunk),
                    // Keeps the connection alive.
                    _ => chunk.extend_from_slice(b": nothing new\n\n"),
                }
                Poll::Ready(Some(Ok(())))
            }
            Poll::Ready(None) => self.end("the subscription has ended", chunk),
        }
    }
}

impl Rows {
    /// Sends the row of an event, or counts it.
    fn add(&mut self, data: &str, chunk: &mut Vec<u8>) {
        if self.sent >= ROWS_MAX {
            self.omitted += 1;
            return;
        }
        let Ok(event) = serde_json::from_str::<Event>(data) else {
            self.omitted += 1;
            return;
        };
        self.sent += 1;
        write("row", &views::event_row(&event, true).into_string(), chunk);
    }

    fn end(&mut self, why: &str, chunk: &mut Vec<u8>) -> Poll<Option<Result<()>>> {
        self.is_over = true;
        write("over", why, chunk);
        Poll::Ready(Some(Ok(())))
    }
}

/// Writes a server-sent event. Each line of the data has a line of its own.
fn write(name: &str, data: &str, chunk: &mut Vec<u8>) {
    chunk.extend_from_slice(format!("event: {name}\n").as_bytes());
    for line in data.split(['\n', '\r']) {
        chunk.extend_from_slice(format!("data: {line}\n").as_bytes());
    }
    chunk.push(b'\n');
}

/// What the problem of a subscription says.
fn detail(data: &str) -> String {
    let problem: std::result::Result<Problem, _> = serde_json::from_str(data);
    problem.map_or_else(
        |_| "the subscription has failed".to_owned(),
        |problem| problem.detail,
    )
}

/// A server-sent event.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    name: String,
    data: String,
}

/// Server-sent events of an answer.
struct Frames {
    body: BodyDataStream,
    buffer: Vec<u8>,
    /// Bytes of the buffer that have no end of an event.
    scanned: usize,
}

impl Frames {
    fn new(body: BodyDataStream) -> Self {
        Self {
            body,
            buffer: Vec::new(),
            scanned: 0,
        }
    }

    /// The next event; none at the end, and after what is not an event.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        loop {
            let rest = self.buffer.get(self.scanned..).unwrap_or_default();
            if let Some(at) = rest.windows(2).position(|pair| pair == b"\n\n") {
                let end = self.scanned + at + 2;
                let frame = frame(&self.buffer[..end]);
                self.buffer.drain(..end);
                self.scanned = 0;
                return Poll::Ready(Some(frame));
            }
            self.scanned = self.buffer.len().saturating_sub(1);
            if self.buffer.len() > FRAME_BYTES_MAX {
                return Poll::Ready(None);
            }
            match self.body.poll_next_unpin(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(part))) => self.buffer.extend_from_slice(&part),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(None),
            }
        }
    }
}

/// Reads an event. Its id and comments are left out.
fn frame(bytes: &[u8]) -> Frame {
    let text = String::from_utf8_lossy(bytes);
    let (mut name, mut data) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(given) = line.strip_prefix("event: ") {
            given.clone_into(&mut name);
        } else if let Some(given) = line.strip_prefix("data: ") {
            if !data.is_empty() {
                data.push('\n');
            }
            data.push_str(given);
        }
    }
    Frame { name, data }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures::stream;

    use super::*;

    #[test]
    fn frames_are_read_however_they_are_divided() {
        let text = ": x\n\nid: 7\nevent: event\ndata: {\ndata: }\n\nevent: error\ndata: a\n\nrest";
        let expected = [("", ""), ("event", "{\n}"), ("error", "a")];
        for size in [1, 2, 7, text.len()] {
            let parts: Vec<std::result::Result<Vec<u8>, std::io::Error>> = text
                .as_bytes()
                .chunks(size)
                .map(|part| Ok(part.to_vec()))
                .collect();
            let body = Body::from_stream(stream::iter(parts));
            let mut frames = Frames::new(body.into_data_stream());
            let mut context = Context::from_waker(futures::task::noop_waker_ref());
            for (name, data) in expected {
                let Poll::Ready(Some(frame)) = frames.poll_next(&mut context) else {
                    panic!("{name}");
                };
                assert_eq!((&*frame.name, &*frame.data), (name, data));
            }
            assert_eq!(frames.poll_next(&mut context), Poll::Ready(None));
        }
    }

    #[test]
    fn text_with_line_breaks_stays_in_its_event() {
        let mut chunk = Vec::new();
        write("row", "a\r\nevent: over\n\nb", &mut chunk);
        let text = String::from_utf8(chunk).unwrap();
        assert_eq!(
            text,
            "event: row\ndata: a\ndata: \ndata: event: over\ndata: \ndata: b\n\n"
        );
    }
}
