//! The log as it grows: rows of its newest events as server-sent events.
//!
//! Each page reads a few events a second, however fast the log grows. So a busy host can have many
//! open pages.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::log::{FILTERS, filters};
use super::session::Watched;
use super::views::{self, Log};
use super::visitor::Visitor;
use crate::failure::{Failure, Result};
use crate::limits::{Excess, Key, Seat, Seats};
use crate::sse;
use quipu_api::Code;

/// Live pages of all readers together.
const LIVE_MAX: usize = 32;
/// Live pages of one reader, so that nobody takes the places of all others.
const OF_READER_MAX: u32 = 8;
/// Pause between two checks of the log.
const PAUSE: Duration = Duration::from_secs(1);
/// Rows that are sent after each check. Further events are counted.
const ROWS_MAX: usize = 10;
/// A page whose filters let few events pass continues at the end of the log when its lag is larger.
const LAG_MAX: u64 = 10_000;
/// Checks without a new event after which something is sent, so that the connection stays open.
const QUIET_MAX: u32 = 15;

/// The places of live pages.
pub struct Places {
    all: Arc<Semaphore>,
    of_readers: Seats,
}

/// The place of one live page, until it is dropped.
struct Place {
    _all: OwnedSemaphorePermit,
    _of_reader: Seat,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(LIVE_MAX)),
            of_readers: Seats::default(),
        }
    }
}

impl Places {
    fn take(&self, reader: &Key) -> Result<Place> {
        let of_reader = self.of_readers.take(reader, OF_READER_MAX);
        let of_reader = of_reader.ok_or_else(|| Excess {
            name: "live_pages",
            value: OF_READER_MAX.into(),
            what: format!("a reader may have {OF_READER_MAX} pages that follow the log"),
            remedy: "close one of them first".to_owned(),
            wait: PAUSE,
        })?;
        let all = Arc::clone(&self.all).try_acquire_owned().map_err(|_| {
            let detail = format!("{LIVE_MAX} pages follow the log already; close one of them");
            Failure::new(Code::Overloaded, detail)
        })?;
        Ok(Place {
            _all: all,
            _of_reader: of_reader,
        })
    }
}

/// Follows the log from now on.
pub async fn show(visitor: Visitor, headers: HeaderMap) -> Response {
    let followed = follow(visitor, &headers).await;
    followed.unwrap_or_else(IntoResponse::into_response)
}

async fn follow(visitor: Visitor, headers: &HeaderMap) -> Result<Response> {
    let place = visitor.shared.live.take(&visitor.key())?;
    let query = filters(&visitor, &FILTERS).0;
    let newest = format!("/v1/events?direction=backward&limit=1{query}");
    let (newest, _) = views::lifted_or_stored::<Log>(&visitor, &newest).await?;
    let (meters, slow_reader_max, ending) = (
        Arc::clone(&visitor.app.meters),
        visitor.app.options.slow_reader_max,
        visitor.app.ending.clone(),
    );
    let mut ticks = interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let following = Following {
        session: visitor.watched(headers),
        visitor,
        query,
        after: newest.head,
        ticks,
        quiet: 0,
        is_over: false,
        _place: place,
    };
    let rows = Rows(Box::pin(stream::unfold(following, next)));
    Ok(sse::answer(rows, meters, slow_reader_max, ending))
}

/// Rows of new events.
struct Rows(Pin<Box<dyn Stream<Item = Vec<u8>> + Send>>);

impl sse::Source for Rows {
    /// The last event says why it ends.
    const END: &[u8] = b"";

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        chunk: &mut Vec<u8>,
    ) -> Poll<Option<Result<()>>> {
        let rows = ready!(self.0.poll_next_unpin(context));
        Poll::Ready(rows.map(|rows| {
            chunk.extend_from_slice(&rows);
            Ok(())
        }))
    }
}

/// A page that follows the log.
struct Following {
    visitor: Visitor,
    /// The session of the reader, if there is one.
    session: Option<Watched>,
    query: String,
    /// The position up to which events were read or counted.
    after: u64,
    ticks: Interval,
    /// Checks without a new event.
    quiet: u32,
    is_over: bool,
    _place: Place,
}

/// Waits until there is something to send.
async fn next(mut following: Following) -> Option<(Vec<u8>, Following)> {
    let mut chunk = Vec::new();
    while chunk.is_empty() {
        if following.is_over {
            return None;
        }
        following.ticks.tick().await;
        following.check(&mut chunk).await;
    }
    Some((chunk, following))
}

impl Following {
    /// Reads what is new.
    async fn check(&mut self, chunk: &mut Vec<u8>) {
        if self.session.as_ref().is_some_and(|it| !it.is_open()) {
            return self.end("you signed out, or your session has ended", chunk);
        }
        // Each check has the time of a request.
        self.visitor.renew();
        let path = format!(
            "/v1/events?after={}&limit={ROWS_MAX}{}",
            self.after, self.query
        );
        match views::lifted_or_stored::<Log>(&self.visitor, &path).await {
            Ok((page, _)) => self.add(&page, chunk),
            // It passes.
            Err(Failure(problem)) if [429, 503].contains(&problem.status) => {}
            Err(Failure(problem)) => return self.end(&problem.detail, chunk),
        }
        self.quiet = match chunk.is_empty() {
            true => self.quiet + 1,
            false => 0,
        };
        if self.quiet >= QUIET_MAX {
            self.quiet = 0;
            chunk.extend_from_slice(b": nothing new\n\n");
        }
    }

    /// Writes the rows of a page, and how many events after it are left out.
    fn add(&mut self, page: &Log, chunk: &mut Vec<u8>) {
        for event in &page.events {
            write("row", &views::event_row(event, true).into_string(), chunk);
        }
        let last = page.events.last().map_or(self.after, |last| last.position);
        // Without a next page, everything up to the head was read.
        let read = page.next.unwrap_or(page.head).max(last);
        let lag = page.head.saturating_sub(read);
        self.after = read;
        if lag > 0 && (page.events.len() >= ROWS_MAX || lag > LAG_MAX) {
            write("omitted", &lag.to_string(), chunk);
            self.after = page.head;
        }
    }

    fn end(&mut self, why: &str, chunk: &mut Vec<u8>) {
        self.is_over = true;
        write("over", why, chunk);
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

#[cfg(test)]
mod tests {
    use super::*;

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
