//! Streams: the list of streams, and their events.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::answering::Visit;
use super::failure::{Result, not_lifted};
use super::long_read::{LongRead, Range};
use super::params::{Limit, Params, StreamPath};
use super::{App, answer, headers};
use quipu::model::{StreamId, Version};
use quipu::store::{
    Direction, STREAM_PAGE_MAX, STREAMS_PAGE_MAX, StreamFilter, StreamInfo, Versions,
};
use quipu_api::{Problem, choices, event};

/// Streams in the order of the bytes of their ids.
#[derive(Serialize, ToSchema)]
pub struct StreamList<'a> {
    /// The streams.
    streams: Vec<StreamEntry<'a>>,
    /// The value of `after` for the next page; null at the end.
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
    /// When it was archived; absent when it is not archived.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    archived_at: Option<String>,
    /// Events before this version are truncated; absent when the stream is not truncated.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated_before: Option<u64>,
}

/// Lists streams.
#[utoipa::path(
    get, path = "/v1/streams", operation_id = "list_streams", tag = "streams",
    params(
        ("category" = Option<String>, Query, description = "Only streams of this category"),
        ("archived" = Option<choices::Archived>, Query, description = "Archived streams: `without` them (the default), `with` them, or `only` them"),
        ("after" = Option<String>, Query, description = "Only streams after this id; by default all"),
        ("limit" = Option<u64>, Query, description = "Maximum number of streams: 1 to 1000, by default 100"),
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
            truncated_before: mark(info.truncated_before),
        }
    }
}

/// The mark of a truncated stream.
pub fn mark(before: Version) -> Option<u64> {
    (before > Version::NONE).then_some(before.0)
}

/// Events of a stream.
#[derive(Serialize, ToSchema)]
pub struct StreamEvents<'a> {
    /// The stream.
    stream: &'a str,
    /// Its version.
    version: u64,
    /// Events before this version are truncated; absent when the stream is not truncated.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated_before: Option<u64>,
    /// Its events, in the direction of the request.
    events: Vec<event::Event<'a>>,
    /// The value of `from` for the next page; null at the end.
    next: Option<u64>,
}

/// Reads a stream.
///
/// Events are lifted to the versions that the active decider reads. The parts of a split event
/// follow each other on one page, which may therefore have more events than `limit`; a dropped
/// event is left out. Truncated events are left out, too.
///
/// With `direction=backward&limit=1` the answer contains only the newest event. With `Accept:
/// application/x-ndjson` all events of the range are sent as lines, each an `EventLine`: up to the
/// stream's version when the request arrives, or at most `limit` events. The last line is `end`, or
/// `problem` if the range was not read to its end. An answer without either was cut off.
#[utoipa::path(
    get, path = "/v1/streams/{stream}/events", operation_id = "read_stream", tag = "streams",
    params(
        ("stream" = String, Path, description = "The stream"),
        ("from" = Option<u64>, Query, description = "The first version to read; by default the oldest, or backward the newest"),
        ("to" = Option<u64>, Query, description = "No events after this version, in either direction; by default up to the newest"),
        ("limit" = Option<u64>, Query, description = "Maximum number of events: 1 to 1000, by default 100; as lines any number, by default all"),
        ("direction" = Option<choices::Direction>, Query, description = "`forward` (the default) or `backward`"),
        ("form" = Option<choices::Form>, Query, description = "`lifted` (the default), or `stored`: events as they are stored"),
        headers::Known,
    ),
    responses(
        (status = 200, body = StreamEvents, description = "Events", headers(("ETag" = String, description = "The stream's version, for If-Match and If-None-Match"))),
        (status = 304, description = "The stream has a version that If-None-Match names. An activation or a truncation can change the events that are read at a version", headers(("ETag" = String, description = "The stream's version"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn read(
    State(app): State<App>,
    visit: Visit,
    StreamPath(stream): StreamPath,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    let direction = params.direction()?;
    let from = params.number("from")?.unwrap_or(match direction {
        Direction::Forward => 1,
        Direction::Backward => i64::MAX.unsigned_abs(),
    });
    let versions = Versions {
        from: Version(from),
        to: params.number("to")?.map(Version),
        direction,
    };
    let limit = params.limit_for(&headers, STREAM_PAGE_MAX)?;
    let form = params.form()?;
    params.finish()?;
    if headers.contains_key(header::IF_NONE_MATCH)
        && let Some(version) = app.host.version(&stream).await?
        && headers::has_seen(&headers, version)
    {
        return Ok(answer::varying(answer::unchanged(version)?));
    }
    let limit = match limit {
        Limit::Page(limit) => limit,
        Limit::Lines(limit) => {
            let range = Range::Stream(stream, versions);
            return LongRead::new(&app, form, range, limit).answer().await;
        }
    };
    let room = visit.room(&app).await?;
    let page = app
        .host
        .read_versions(form, &stream, versions, limit)
        .await
        .map_err(not_lifted)?;
    let view = StreamEvents {
        stream: stream.as_str(),
        version: page.version.0,
        truncated_before: mark(page.truncated_before),
        events: page.events.iter().map(event::Event::of).collect(),
        next: page.next.map(|version| version.0),
    };
    let answer = || answer::tagged(page.version, &view);
    Ok(answer::varying(room.with(&page.events, answer)?))
}
