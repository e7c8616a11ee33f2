//! Streams: which there are, their events and their state, whether they are archived.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::params::{Params, StreamPath};
use super::problem::{Problem, Result};
use super::{App, answer, headers, view};
use crate::model::{Position, StreamId, Version};
use crate::store::{Direction, STREAM_PAGE_MAX, STREAMS_PAGE_MAX, StreamFilter, StreamInfo};

/// Streams in the order of the bytes of their ids.
#[derive(Serialize, ToSchema)]
pub struct StreamList<'a> {
    /// The streams.
    streams: Vec<StreamEntry<'a>>,
    /// Where to go on `after`; null at the end.
    next: Option<&'a str>,
}

/// A stream in the list.
#[derive(Serialize, ToSchema)]
pub struct StreamEntry<'a> {
    /// The stream.
    stream: &'a str,
    /// Its version.
    version: u64,
    /// When its last event was recorded.
    #[schema(format = "date-time")]
    recorded_at: String,
    /// Since when it is archived; absent when it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    archived_at: Option<String>,
}

/// Lists streams.
#[utoipa::path(
    get, path = "/v1/streams", operation_id = "list_streams", tag = "streams",
    params(
        ("category" = Option<String>, Query, description = "Only of this category"),
        ("archived" = Option<String>, Query, description = "Archived streams: `without` them (the default), `with` them, or `only` them"),
        ("after" = Option<String>, Query, description = "Streams behind this id; by default all"),
        ("limit" = Option<u64>, Query, description = "Streams at most: 1 to 1000, by default 100"),
    ),
    responses(
        (status = 200, body = StreamList, description = "Streams"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(State(app): State<App>, mut params: Params) -> Result<Response> {
    let filter = StreamFilter {
        category: params.text("category")?.map(Into::into),
        archived: params.archived()?.unwrap_or_default(),
    };
    let after = params.one("after")?;
    let after = after.map(|after| StreamId::new(&after)).transpose()?;
    let limit = params.limit(STREAMS_PAGE_MAX)?;
    params.finish()?;
    let after = after.as_ref().map(StreamId::as_str);
    let page = app.host.streams(after, limit, &filter).await?;
    let view = StreamList {
        streams: page.streams.iter().map(StreamEntry::of).collect(),
        next: page.next.as_deref(),
    };
    answer::json(StatusCode::OK, &view)
}

impl<'a> StreamEntry<'a> {
    fn of(info: &'a StreamInfo) -> Self {
        Self {
            stream: info.stream.as_str(),
            version: info.version.0,
            recorded_at: info.recorded_at.to_string(),
            archived_at: info.archived_at.map(|since| since.to_string()),
        }
    }
}

/// Events of a stream.
#[derive(Serialize, ToSchema)]
pub struct StreamEvents<'a> {
    /// The stream.
    stream: &'a str,
    /// Its version.
    version: u64,
    /// Its events, in the direction of the request.
    events: Vec<view::Event<'a>>,
    /// Where to go on `from`; null at the end.
    next: Option<u64>,
}

/// Reads a stream.
#[utoipa::path(
    get, path = "/v1/streams/{stream}/events", operation_id = "read_stream", tag = "streams",
    params(
        ("stream" = String, Path, description = "The stream"),
        ("from" = Option<u64>, Query, description = "The first version to read; by default the oldest, or backward the newest"),
        ("limit" = Option<u64>, Query, description = "Events at most: 1 to 1000, by default 100"),
        ("direction" = Option<String>, Query, description = "`forward` (the default) or `backward`"),
    ),
    responses(
        (status = 200, body = StreamEvents, description = "Events", headers(("ETag" = String, description = "The stream's version, for If-Match"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn read(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    mut params: Params,
) -> Result<Response> {
    let direction = params.direction()?;
    let from = params.number("from")?.unwrap_or(match direction {
        Direction::Forward => 1,
        Direction::Backward => i64::MAX.unsigned_abs(),
    });
    let limit = params.limit(STREAM_PAGE_MAX)?;
    params.finish()?;
    let page = app
        .host
        .read_stream(&stream, Version(from), direction, limit)
        .await?;
    let view = StreamEvents {
        stream: stream.as_str(),
        version: page.version.0,
        events: page.events.iter().map(view::Event::of).collect(),
        next: page.next.map(|version| version.0),
    };
    answer::tagged(page.version, &view)
}

/// The state of a stream.
#[derive(Serialize, ToSchema)]
pub struct StreamState<'a> {
    /// The stream.
    stream: &'a str,
    /// The version that the state stands for.
    version: u64,
    /// As the decider renders it.
    #[schema(value_type = serde_json::Value)]
    state: &'a RawValue,
    /// Digest of the module that rendered it.
    module: String,
}

/// Shows the state of a stream as its decider renders it.
#[utoipa::path(
    get, path = "/v1/streams/{stream}/state", tag = "streams",
    params(("stream" = String, Path, description = "The stream")),
    responses(
        (status = 200, body = StreamState, description = "The committed state", headers(("ETag" = String, description = "The stream's version, for If-Match"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn state(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    params: Params,
) -> Result<Response> {
    params.finish()?;
    let view = app.host.state(&stream).await?;
    let state = serde_json::from_str(&view.state).map_err(|error| Problem::internal(&error))?;
    let shown = StreamState {
        stream: view.stream.as_str(),
        version: view.version.0,
        state,
        module: view.module.to_string(),
    };
    answer::tagged(view.version, &shown)
}

/// Whether a stream takes appends.
#[derive(Serialize, ToSchema)]
pub struct ArchivedStream<'a> {
    /// The stream.
    stream: &'a str,
    /// Whether it is archived.
    archived: bool,
    /// Position of the event in the stream `$streams` that tells of it; null when
    /// nothing had to be done.
    position: Option<u64>,
}

/// Archives a stream.
///
/// It takes no appends then, and lists and pages by category leave it out unless asked.
/// Its events stay in the log. Archiving it again does nothing.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/archive", tag = "streams",
    params(("stream" = String, Path, description = "The stream"), headers::Origin),
    responses(
        (status = 200, body = ArchivedStream, description = "It is archived"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn archive(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    params.finish()?;
    let context = headers::context(&headers)?;
    let position = app.host.archive(&stream, context).await?;
    archived_stream(&stream, true, position)
}

/// Restores an archived stream.
///
/// It takes appends again. Restoring it again does nothing.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/restore", tag = "streams",
    params(("stream" = String, Path, description = "The stream"), headers::Origin),
    responses(
        (status = 200, body = ArchivedStream, description = "It is not archived"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn restore(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    params.finish()?;
    let context = headers::context(&headers)?;
    let position = app.host.restore(&stream, context).await?;
    archived_stream(&stream, false, position)
}

fn archived_stream(
    stream: &StreamId,
    archived: bool,
    position: Option<Position>,
) -> Result<Response> {
    let view = ArchivedStream {
        stream: stream.as_str(),
        archived,
        position: position.map(|position| position.0),
    };
    answer::json(StatusCode::OK, &view)
}
