//! Subscriptions as server-sent events.

use std::convert::Infallible;
use std::fmt::Display;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::Stream;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use utoipa::ToSchema;

use super::failure::{Failure, Result};
use super::meters::Meters;
use quipu::subscribe::{Message, Place, Subscription};
use quipu_api::event;

/// A chunk of at least this size is sent.
const CHUNK_BYTES: usize = 16 << 10;
/// A client has the time limit of a slow reader once for each part of this many bytes of a chunk,
/// so that a large event gets through a slow network.
const UNHURRIED_BYTES: usize = 256 << 10;

/// Data of `caught-up` and `heartbeat`: how far the subscription is.
#[derive(Serialize, ToSchema)]
pub struct Reached {
    /// In the log: every event up to this position was sent or does not match.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    /// In a stream: every event up to this version was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

/// A source of messages.
pub trait Source: Send + Unpin + 'static {
    /// What the client reads after the last message. The messages of a subscription end when the
    /// host shuts down.
    const END: &[u8] = ENDING;

    /// Writes the next message as an event; returns none at the end. A problem is the last message.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        chunk: &mut Vec<u8>,
    ) -> Poll<Option<Result<()>>>;
}

impl Source for Subscription {
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        chunk: &mut Vec<u8>,
    ) -> Poll<Option<Result<()>>> {
        let polled = Pin::new(&mut *self).poll_next(context);
        polled.map(|next| {
            let message = next?.map_err(Into::into);
            Some(message.map(|message| write_message(&message, self.place(), chunk)))
        })
    }
}

const MEDIA_TYPE: &str = "text/event-stream";

/// Whether an answer is a subscription, which is endless.
pub fn is_subscription(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|it| it.as_bytes() == MEDIA_TYPE.as_bytes())
}

/// The answer of a subscription.
pub fn answer(
    source: impl Source,
    meters: Arc<Meters>,
    slow_reader_max: Duration,
    ending: CancellationToken,
) -> Response {
    let frames = Frames {
        source,
        meters,
        slow_reader_max,
        due: None,
        ending: Box::pin(ending.cancelled_owned()),
        is_done: false,
    };
    let headers = [
        (header::CONTENT_TYPE, MEDIA_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (headers, Body::from_stream(frames)).into_response()
}

/// The chunks of the answer. A chunk is made only when the connection asks for it, so nothing
/// accumulates for a client that does not read.
struct Frames<S> {
    source: S,
    meters: Arc<Meters>,
    slow_reader_max: Duration,
    /// The deadline for sending the last chunk; none when it is sent.
    due: Option<Instant>,
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
    is_done: bool,
}

impl<S: Source> Stream for Frames<S> {
    type Item = std::result::Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.is_done {
            return Poll::Ready(None);
        }
        let mut chunk = Vec::new();
        if this.due.take().is_some_and(|due| Instant::now() > due) {
            this.is_done = true;
            this.meters.subscribers_late.add(1);
            chunk.extend_from_slice(TOO_SLOW);
        } else if this.ending.as_mut().poll(context).is_ready() {
            this.is_done = true;
            chunk.extend_from_slice(ENDING);
        }
        while !this.is_done && chunk.len() < CHUNK_BYTES {
            match this.source.poll_write(context, &mut chunk) {
                Poll::Ready(Some(Ok(()))) => {}
                Poll::Ready(Some(Err(Failure(problem)))) => {
                    this.is_done = true;
                    write(None::<u64>, "error", &problem, &mut chunk);
                }
                Poll::Ready(None) => {
                    this.is_done = true;
                    chunk.extend_from_slice(S::END);
                }
                Poll::Pending => break,
            }
        }
        if chunk.is_empty() {
            return match this.is_done {
                true => Poll::Ready(None),
                false => Poll::Pending,
            };
        }
        let parts = 1 + u32::try_from(chunk.len() / UNHURRIED_BYTES).unwrap_or(u32::MAX - 1);
        let patience = this.slow_reader_max.saturating_mul(parts);
        this.due = Instant::now().checked_add(patience);
        Poll::Ready(Some(Ok(chunk.into())))
    }
}

const TOO_SLOW: &[u8] = b"event: too-slow\n\
    data: {\"detail\":\"the client did not read for too long; reconnect with Last-Event-ID\"}\n\n";
const ENDING: &[u8] = b": the host is shutting down\n\n";

fn write_message(message: &Message, place: Place, chunk: &mut Vec<u8>) {
    let id = match place {
        Place::Log(position) => position.0,
        Place::Stream(version) => version.0,
    };
    match message {
        Message::Event(event) => {
            // The position advances only after complete events, so an id never splits one.
            let is_whole = match place {
                Place::Log(position) => event.position == position,
                Place::Stream(version) => event.version == version,
            };
            let id = is_whole.then_some(id);
            write(id, "event", &event::Event::of(event), chunk);
        }
        Message::CaughtUp(place) => write(Some(id), "caught-up", &Reached::of(*place), chunk),
        Message::Heartbeat(place) => write(Some(id), "heartbeat", &Reached::of(*place), chunk),
    }
}

impl Reached {
    fn of(place: Place) -> Self {
        let (position, version) = match place {
            Place::Log(position) => (Some(position.0), None),
            Place::Stream(version) => (None, Some(version.0)),
        };
        Self { position, version }
    }
}

/// Writes an event. A line break within the data, which a caller's JSON may have between its parts,
/// begins another `data:` line; the client inserts `\n` there.
pub fn write(id: Option<impl Display>, name: &str, data: &impl Serialize, chunk: &mut Vec<u8>) {
    let json = match serde_json::to_vec(data) {
        Ok(json) => json,
        Err(error) => {
            // A view contains nothing that can't be serialized.
            tracing::error!(%error, name, "an event was not written");
            return;
        }
    };
    if let Some(id) = id {
        chunk.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    chunk.extend_from_slice(format!("event: {name}\n").as_bytes());
    let mut rest = &json[..];
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        chunk.extend_from_slice(b"data: ");
        chunk.extend_from_slice(&rest[..end.unwrap_or(rest.len())]);
        chunk.push(b'\n');
        let Some(end) = end else { break };
        let is_pair = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(is_pair)..];
    }
    chunk.push(b'\n');
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use serde_json::value::RawValue;

    use super::*;
    use quipu::model::Position;
    use quipu::store::Filter;
    use quipu::subscribe::Subscribe;

    #[tokio::test]
    async fn a_late_reader_is_notified_and_cut_off() {
        let host = quipu::Host::builder().build().await.unwrap();
        let to = Subscribe::log(Position(0), Filter::default());
        let mut frames = Frames {
            source: host.subscribe(to).await.unwrap(),
            meters: Arc::default(),
            slow_reader_max: Duration::ZERO,
            due: None,
            ending: Box::pin(CancellationToken::new().cancelled_owned()),
            is_done: false,
        };
        let first = frames.next().await.unwrap().unwrap();
        assert!(first.starts_with(b"id: 0\nevent: caught-up\n"), "{first:?}");
        while Instant::now() <= frames.due.unwrap() {}
        let last = frames.next().await.unwrap().unwrap();
        assert!(last.starts_with(b"event: too-slow\n"), "{last:?}");
        assert!(frames.next().await.is_none());
        assert_eq!(frames.meters.subscribers_late.get(), 1);
    }

    #[test]
    fn a_line_break_within_json_begins_another_line_of_data() {
        for (json, lines) in [
            ("{}", "data: {}\n"),
            ("{\n}", "data: {\ndata: }\n"),
            ("[1,\r\n2,\r3]", "data: [1,\ndata: 2,\ndata: 3]\n"),
            ("[\n\n]", "data: [\ndata: \ndata: ]\n"),
        ] {
            let json: Box<RawValue> = serde_json::from_str(json).unwrap();
            let mut chunk = Vec::new();
            write(Some(7), "event", &json, &mut chunk);
            let text = String::from_utf8(chunk).unwrap();
            assert_eq!(text, format!("id: 7\nevent: event\n{lines}\n"));
        }
    }
}
