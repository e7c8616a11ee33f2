//! Streams: the list of streams, and their events.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answering::Visit;
use super::failure::{Result, not_lifted};
use super::long_read::{LongRead, Range};
use super::params::{Limit, PageSize, Params, ReadSize, StreamPath, Text};
use super::payload::PayloadQuery;
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

/// Which streams to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamsQuery {
    /// Only streams of this category
    #[param(value_type = Option<String>)]
    category: Option<Text>,
    /// Archived streams: `without` them (the default), `with` them, or `only` them
    archived: Option<choices::Archived>,
    /// Only streams after this id; by default all
    after: Option<String>,
    /// Maximum number of streams: 1 to 1000, by default 100
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: PageSize<STREAMS_PAGE_MAX>,
}

/// Lists streams.
#[utoipa::path(
    get, path = "/v1/streams", operation_id = "list_streams", tag = "streams",
    security(("token" = ["read"])),
    params(StreamsQuery),
    responses(
        (status = 200, body = StreamList, description = "Streams"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(State(app): State<App>, Params(query): Params<StreamsQuery>) -> Result<Response> {
    let filter = StreamFilter {
        category: query.category.map(|category| category.0.into()),
        archived: query.archived.unwrap_or_default().into(),
    };
    let after = query.after.map(|after| StreamId::new(&after)).transpose()?;
    let after = after.as_ref().map(StreamId::as_str);
    let page = app.host.streams(after, query.limit.0, &filter).await?;
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

/// Which events of a stream to read, and how.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// The first version to read; by default the oldest, or backward the newest
    from: Option<u64>,
    /// No events after this version, in either direction; by default up to the newest
    to: Option<u64>,
    /// Maximum number of events: 1 to 1000, by default 100; as lines any number, by default all
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: ReadSize<STREAM_PAGE_MAX>,
    /// `forward` (the default) or `backward`
    direction: Option<choices::Direction>,
    /// `lifted` (the default), or `stored`: events as they are stored
    form: Option<choices::Form>,
}

impl StreamQuery {
    fn versions(&self) -> Versions {
        let direction = self.direction.unwrap_or_default().into();
        let from = self.from.unwrap_or(match direction {
            Direction::Forward => 1,
            Direction::Backward => i64::MAX.unsigned_abs(),
        });
        Versions {
            from: Version(from),
            to: self.to.map(Version),
            direction,
        }
    }
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
    security(("token" = ["read-payload"])),
    params(StreamPath, StreamQuery, PayloadQuery, headers::CacheHeaders),
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
    Params((query, payload)): Params<(StreamQuery, PayloadQuery)>,
    headers: HeaderMap,
) -> Result<Response> {
    let versions = query.versions();
    let limit = query.limit.limit(&headers)?;
    let form = query.form.unwrap_or_default().into();
    if headers.contains_key(header::IF_NONE_MATCH)
        && let Some(version) = app.host.version(&stream).await?
        && headers::has_seen(&headers, version)
    {
        return Ok(answer::varying(answer::unchanged(version)?));
    }
    let limit = match limit {
        Limit::Page(limit) => limit,
        Limit::Lines(limit) => {
            payload.refuse("lines")?;
            let range = Range::Stream(stream, versions);
            return LongRead::new(&app, visit, form, range, limit)
                .answer()
                .await;
        }
    };
    let room = visit.room(&app).await?;
    let mut page = app
        .host
        .read_stream(&stream, versions.from, versions.direction, limit)
        .to(versions.to)
        .form(form)
        .await
        .map_err(|error| payload.failure(not_lifted(error)))?;
    page.events = payload.events(page.events);
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
