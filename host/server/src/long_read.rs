//! Long reads: all events of a range as lines, page by page.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::answering::{Room, Visit};
use super::failure::{Failure, Result, not_lifted};
use super::{App, answer, streams};
use quipu::engine;
use quipu::model::{Position, RecordedEvent, StreamId, Version};
use quipu::store::{Direction, Filter, LOG_PAGE_MAX, Versions};
use quipu::upcast::Form;
use quipu_api::{Problem, event, line};

/// A line of a long read: an event, or the last line.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(title = "EventLine")]
pub enum EventLine<'a> {
    /// An event, as in a page.
    Event(Box<event::Event<'a>>),
    /// The last line: the whole range was read.
    End {
        /// The range that was read.
        end: ReadEnd,
    },
    /// The last line: the read did not reach the end of the range.
    Problem {
        /// Why.
        problem: Box<Problem>,
    },
}

/// The end of a long read.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReadEnd {
    /// Of a stream: its version when the read began.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// Of a stream: events before this version are truncated; absent when the stream is not
    /// truncated.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated_before: Option<u64>,
    /// Of the log: position of the last event when the read began; 0 for an empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<u64>,
    /// If `limit` ended the read: where to continue, as `from` of a stream or `after` of the log;
    /// otherwise null.
    next: Option<u64>,
}

/// The range to read.
pub enum Range {
    /// Events of a stream.
    Stream(StreamId, Versions),
    /// Events of the log after a position, or before it when reading backward.
    Log(Position, Direction, Filter),
}

/// A long read in progress. It holds one page, and the memory that is reserved for it until the next
/// one is read.
pub struct LongRead {
    app: App,
    visit: Visit,
    room: Option<Room>,
    form: Form,
    range: Range,
    /// Number of stored events that may still be read.
    left: u64,
    end: ReadEnd,
    /// The last line was written.
    is_over: bool,
}

impl LongRead {
    /// A read of all events of a range, or of at most this many.
    pub fn new(app: &App, visit: Visit, form: Form, range: Range, limit: Option<u64>) -> Self {
        Self {
            app: app.clone(),
            visit,
            room: None,
            form,
            range,
            left: limit.unwrap_or(u64::MAX),
            end: ReadEnd {
                version: None,
                truncated_before: None,
                head: None,
                next: None,
            },
            is_over: false,
        }
    }

    /// Answers with the lines, up to the event that is the last one now. A problem on the first
    /// page becomes the answer, a later one the last line.
    pub async fn answer(mut self) -> Result<Response> {
        let first = self.page().await?;
        let version = self.end.version;
        let begun = Some((self, Some(first)));
        let chunks = futures::stream::unfold(begun, |state| async move {
            let (mut read, first) = state?;
            if read.is_over {
                return None;
            }
            let page = match first {
                Some(page) => Ok(page),
                None => read.next_page().await,
            };
            let mut chunk = Vec::new();
            read.is_over = !read.write(page, &mut chunk);
            if let Some(room) = &mut read.room {
                room.resize(chunk.len());
            }
            let chunk = Ok::<_, std::convert::Infallible>(Bytes::from(chunk));
            Some((chunk, Some((read, None))))
        });
        let response = answer::varying(answer::ndjson(Body::from_stream(chunks)));
        match version {
            Some(version) => answer::with_tag(Version(version), response),
            None => Ok(response),
        }
    }

    /// A page after the first one, once the one before it was sent.
    async fn next_page(&mut self) -> Result<Vec<RecordedEvent>> {
        self.room = None;
        self.visit.arrived = Instant::now();
        self.page().await
    }

    /// The next page, and where to continue after it.
    async fn page(&mut self) -> Result<Vec<RecordedEvent>> {
        if self.app.ending.is_cancelled() {
            return Err(engine::Error::Stopped.into());
        }
        self.room = Some(self.visit.room(&self.app).await?);
        let host = &self.app.host;
        let limit = usize::try_from(self.left).unwrap_or(LOG_PAGE_MAX);
        let limit = limit.min(LOG_PAGE_MAX);
        let events = match &mut self.range {
            Range::Stream(stream, versions) => {
                let page = host.read_stream(stream, versions.from, versions.direction, limit);
                let page = page
                    .to(versions.to)
                    .form(self.form)
                    .await
                    .map_err(not_lifted)?;
                self.end.version.get_or_insert(page.version.0);
                self.end.truncated_before = streams::mark(page.truncated_before);
                self.end.next = page.next.map(|version| version.0);
                let end = versions.to.map_or(page.version, |to| to.min(page.version));
                versions.to = Some(end);
                versions.from = page.next.unwrap_or(versions.from);
                page.events
            }
            Range::Log(after, direction, filter) => {
                let page = host.read_log(*after, *direction, limit, filter);
                let page = page.form(self.form).await.map_err(not_lifted)?;
                self.end.head.get_or_insert(page.head.0);
                self.end.next = page.next.map(|position| position.0);
                filter.to = Some(filter.end(page.head));
                *after = page.next.unwrap_or(*after);
                page.events
            }
        };
        // The parts of a split event count as one event.
        let mut places: Vec<Position> = events.iter().map(|event| event.position).collect();
        places.dedup();
        self.left = self.left.saturating_sub(places.len() as u64);
        Ok(events)
    }

    /// Writes the lines of a page; returns false when the last line is written.
    fn write(&self, page: Result<Vec<RecordedEvent>>, chunk: &mut Vec<u8>) -> bool {
        let events = match page {
            Ok(events) => events,
            Err(Failure(problem)) => {
                write(&EventLine::Problem { problem }, chunk);
                return false;
            }
        };
        for event in &events {
            write(&EventLine::Event(Box::new(event::Event::of(event))), chunk);
        }
        if self.end.next.is_some() && self.left > 0 {
            return true;
        }
        let end = self.end.clone();
        write(&EventLine::End { end }, chunk);
        false
    }
}

/// Writes a line.
fn write(value: &EventLine<'_>, chunk: &mut Vec<u8>) {
    match serde_json::to_vec(value) {
        Ok(mut text) => {
            line::one_line(&mut text);
            chunk.extend_from_slice(&text);
            chunk.push(b'\n');
        }
        // A view contains nothing that can't be serialized.
        Err(error) => tracing::error!(%error, "a line was not written"),
    }
}
