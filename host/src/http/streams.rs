//! Streams: their events and their state.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::params::{Params, StreamPath};
use super::problem::{Problem, Result};
use super::request::JsonBytes;
use super::{App, answer, headers, request, view};
use crate::engine::Append;
use crate::model::{Name, NewEvent, Version};
use crate::store::{Direction, STREAM_PAGE_MAX};

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

/// Events to be appended as they are.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendBody<'a> {
    /// In order. None: the expected version is checked, nothing is stored.
    #[serde(borrow, deserialize_with = "request::objects")]
    events: Vec<AppendEvent<'a>>,
}

/// An event to be appended.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendEvent<'a> {
    /// Not taken by this version: the host makes the ids.
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    /// Its type.
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    /// Schema version of the data; 1 without one.
    #[serde(default)]
    schema_version: Option<u32>,
    /// JSON, kept byte for byte. Either this or `data_base64`.
    #[serde(borrow, default, deserialize_with = "view::given")]
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<&'a RawValue>,
    /// Bytes that are no JSON.
    #[serde(borrow, default)]
    data_base64: Option<Cow<'a, str>>,
    /// Media type of `data_base64`; `application/octet-stream` without one.
    #[serde(borrow, default)]
    content_type: Option<Cow<'a, str>>,
    /// An object, kept byte for byte.
    #[serde(borrow, default)]
    #[schema(value_type = Option<Object>)]
    metadata: Option<&'a RawValue>,
    /// `name:value` labels.
    #[serde(borrow, default)]
    tags: Vec<Cow<'a, str>>,
}

/// Appends events as they are, without a decider.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/events", tag = "streams",
    params(
        ("stream" = String, Path, description = "The stream"),
        ("Idempotency-Key" = Option<String>, Header, description = "The append's id within its stream"),
        ("If-Match" = Option<String>, Header, description = "`\"n\"`: the stream is at version n; `*`: it exists"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: there is no such stream"),
        ("Quipu-Raw" = Option<String>, Header, description = "`allow`: also when a decider serves the category"),
        ("Quipu-Correlation-Id" = Option<String>, Header, description = "Stored with the commit"),
        ("Quipu-Causation-Id" = Option<String>, Header, description = "Stored with the commit"),
        ("traceparent" = Option<String>, Header, description = "Stored with the commit"),
    ),
    request_body = AppendBody,
    responses(
        (status = 200, body = view::AppendOutcome, description = "Appended; or, replayed, its first outcome"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing is stored"),
    ),
)]
pub async fn append(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    params: Params,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    params.finish()?;
    let given: AppendBody<'_> = body.parse()?;
    let events = given.events.into_iter().enumerate();
    let append = Append {
        expected_version: headers::expected_version(&headers)?,
        events: events
            .map(|(index, event)| event.into_new(index))
            .collect::<Result<_>>()?,
        id: headers::command_id(&headers)?,
        context: headers::context(&headers)?,
        into_owned_category: headers::allows_raw(&headers)?,
    };
    let appended = app.host.append(&stream, append).await?;
    answer::json(StatusCode::OK, &view::AppendOutcome::of(&appended))
}

impl AppendEvent<'_> {
    fn into_new(self, index: usize) -> Result<NewEvent> {
        self.new_event().map_err(|mut problem| {
            problem.detail = format!("event {index}: {}", problem.detail);
            problem
        })
    }

    fn new_event(self) -> Result<NewEvent> {
        if self.id.is_some() {
            let detail = "this version takes no event ids; use an Idempotency-Key for the append";
            return Err(Problem::bad_request(detail));
        }
        let schema_version = self.schema_version.unwrap_or(1);
        if schema_version == 0 {
            return Err(Problem::bad_request("schema versions begin at 1"));
        }
        let data_base64 = self.data_base64.as_deref();
        Ok(NewEvent {
            id: uuid::Uuid::now_v7(),
            name: Name::new(&self.r#type)?,
            schema_version,
            body: view::body(self.data, data_base64, self.content_type.as_deref())?,
            metadata: self.metadata.map(view::metadata).transpose()?,
            tags: self
                .tags
                .iter()
                .map(|tag| tag_of(tag))
                .collect::<Result<_>>()?,
        })
    }
}

fn tag_of(tag: &str) -> Result<Arc<str>> {
    let well_formed = tag
        .split_once(':')
        .is_some_and(|(name, value)| !name.is_empty() && !value.is_empty())
        && !tag.chars().any(char::is_control);
    if well_formed {
        Ok(tag.into())
    } else {
        let detail = format!("tag {tag:?} has not the form name:value");
        Err(Problem::bad_request(detail))
    }
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
