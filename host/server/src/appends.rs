//! Raw appends: events without a decision by a decider, to one stream or to several.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::access::{self, By};
use super::administration::{self, Serves};
use super::failure::{Failure, Result};
use super::params::{Params, StreamPath};
use super::request::JsonBytes;
use super::{App, answer, headers, request};
use quipu::access::{Action, Caller};
use quipu::engine::{Append, AppendAll, StreamAppend};
use quipu::model::{EventId, ExpectedVersion, Name, NewEvent, StreamId, fresh_id};
use quipu_api::{Expected, Problem, body, outcome};

/// Events to append as given.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendBody<'a> {
    /// The events in order. If there are none, the expected version is checked and nothing is
    /// stored.
    #[serde(borrow, deserialize_with = "request::events")]
    events: Vec<AppendEvent<'a>>,
}

/// An event to append.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendEvent<'a> {
    /// A UUID that the caller chose. The same events with the same ids are appended once. By
    /// default the host generates one.
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    /// The event's type.
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    /// Schema version of the data; default 1.
    #[serde(default)]
    schema_version: Option<u32>,
    /// JSON, stored byte for byte. Either this or `data_base64`.
    #[serde(borrow, default, deserialize_with = "body::given")]
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<&'a RawValue>,
    /// Bytes that are not JSON.
    #[serde(borrow, default)]
    data_base64: Option<Cow<'a, str>>,
    /// Media type of `data_base64`; default `application/octet-stream`.
    #[serde(borrow, default)]
    content_type: Option<Cow<'a, str>>,
    /// An object, stored byte for byte.
    #[serde(borrow, default)]
    #[schema(value_type = Option<HashMap<String, serde_json::Value>>)]
    metadata: Option<&'a RawValue>,
    /// `name:value` labels.
    #[serde(borrow, default)]
    tags: Vec<Cow<'a, str>>,
}

/// Appends events as given, without a decision.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/events", tag = "streams",
    security(("token" = ["append"])),
    params(
        StreamPath,
        ("Idempotency-Key" = Option<String>, Header, description = "The append's id within its stream"),
        headers::Preconditions,
        ("Quipu-Raw" = Option<String>, Header, description = "`allow`: append even if a decider serves the category. The decider first folds the events; if it can't fold one, the answer is `bad-request` and nothing is stored"),
        headers::Origin,
    ),
    request_body = AppendBody,
    responses(
        (status = 200, body = outcome::AppendOutcome, description = "Appended; for a replay, the first outcome", headers(("ETag" = String, description = "The stream's version after the append, as in `version`"))),
        (status = 412, body = Problem, content_type = "application/problem+json", description = "The stream has another version", headers(("ETag" = String, description = "The stream's version, as in `found`; \"0\" if the stream does not exist"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing is stored"),
    ),
)]
pub async fn append(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    By(caller): By,
    Extension(serves): Extension<Serves>,
    _: Params<()>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    let events_max = app.host.events_per_append_max();
    let events = body.away(|bytes| {
        let given: AppendBody<'_> = request::parse_append(bytes, events_max)?;
        new_events(given.events)
    })?;
    let append = Append {
        expected_version: headers::expected_version(&headers)?,
        events,
        id: headers::command_id(&headers)?,
        context: headers::context(&headers, &caller)?,
        into_owned_category: allows_raw(&app, serves, &headers, (&caller, &[&stream]))?,
    };
    let appended = app.host.append(&stream, append).await?;
    answer::tagged(appended.version, &outcome::AppendOutcome::of(&appended))
}

/// Events to append to several streams.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendAllBody<'a> {
    /// The streams. Each may occur once.
    #[serde(borrow, deserialize_with = "request::streams")]
    streams: Vec<AppendPart<'a>>,
}

/// One stream's part of an append.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendPart<'a> {
    /// The stream.
    #[serde(borrow)]
    stream: Cow<'a, str>,
    /// The version that it must have, `any`, `no-stream` or `stream-exists`.
    #[serde(borrow)]
    #[schema(value_type = Expected)]
    expected_version: &'a RawValue,
    /// The events in order. If there are none, the expected version is checked and nothing is
    /// stored.
    #[serde(borrow, default, deserialize_with = "request::events")]
    events: Vec<AppendEvent<'a>>,
}

/// The outcome of an append to several streams.
#[derive(Serialize, ToSchema)]
pub struct AppendAllOutcome<'a> {
    /// The outcome for each stream, in the order of the request.
    streams: Vec<outcome::AppendOutcome<'a>>,
    /// Whether this is the recorded outcome of an earlier request. A stream that was only checked
    /// is then shown with its current version.
    replayed: bool,
}

/// Appends events to several streams without a decision.
///
/// All streams or none are written, each under its expected version, also when others append to
/// these streams at the same time.
#[utoipa::path(
    post, path = "/v1/appends", tag = "streams",
    security(("token" = ["append"])),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The append's id within each stream that it writes"),
        ("Quipu-Raw" = Option<String>, Header, description = "`allow`: append even if a decider serves a category. The decider first folds the events; if it can't fold one, the answer is `bad-request` and nothing is stored"),
        headers::Origin,
    ),
    request_body = AppendAllBody,
    responses(
        (status = 200, body = AppendAllOutcome, description = "Appended; for a replay, the first outcome"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing is stored"),
    ),
)]
pub async fn append_all(
    State(app): State<App>,
    By(caller): By,
    Extension(serves): Extension<Serves>,
    _: Params<()>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    if headers::expected_version(&headers)? != ExpectedVersion::Any {
        let detail = "If-Match and If-None-Match are for one stream; here each stream has \
            its expected_version";
        return Err(Failure::bad_request(detail));
    }
    let events_max = app.host.events_per_append_max();
    let streams = body.away(|bytes| {
        let given: AppendAllBody<'_> = request::parse_append(bytes, events_max)?;
        let streams = given.streams.into_iter().enumerate();
        let streams = streams.map(|(index, part)| part.into_append().map_err(at("stream", index)));
        streams.collect::<Result<_>>()
    })?;
    let streams: Vec<StreamAppend> = streams;
    for part in &streams {
        access::check_stream(&app, &caller, Action::Append, &part.stream)?;
    }
    let named: Vec<_> = streams.iter().map(|part| &part.stream).collect();
    let into_owned_category = allows_raw(&app, serves, &headers, (&caller, &named))?;
    let append = AppendAll {
        streams,
        id: headers::command_id(&headers)?,
        context: headers::context(&headers, &caller)?,
        into_owned_category,
    };
    let appended = app.host.append_all(append).await?;
    let outcome = AppendAllOutcome {
        streams: appended.iter().map(outcome::AppendOutcome::of).collect(),
        replayed: appended.iter().all(|one| one.replayed),
    };
    answer::json(StatusCode::OK, &outcome)
}

/// Whether events may go into a category that a decider serves. That passes over its rules, so it is
/// for those who operate the store.
fn allows_raw(
    app: &App,
    serves: Serves,
    headers: &HeaderMap,
    (caller, streams): (&Caller, &[&StreamId]),
) -> Result<bool> {
    let bypasses_decider = headers::allows_raw(headers)?;
    if bypasses_decider {
        administration::only(serves, "Quipu-Raw")?;
        for stream in streams {
            access::check_stream(app, caller, Action::Operate, stream).map_err(|mut failure| {
                failure.0.detail =
                    format!("Quipu-Raw needs the action operate: {}", failure.0.detail);
                failure
            })?;
        }
    }
    Ok(bypasses_decider)
}

impl AppendPart<'_> {
    fn into_append(self) -> Result<StreamAppend> {
        let expected = serde_json::from_str::<Expected>(self.expected_version.get());
        let expected = expected.ok().and_then(Expected::into_version);
        Ok(StreamAppend {
            stream: StreamId::new(&self.stream)?,
            expected_version: expected.ok_or_else(|| {
                let detail = "expected_version is a version, \"any\", \"no-stream\" or \
                    \"stream-exists\"";
                Failure::bad_request(detail)
            })?,
            events: new_events(self.events)?,
        })
    }
}

fn new_events(given: Vec<AppendEvent<'_>>) -> Result<Vec<NewEvent>> {
    let events = given.into_iter().enumerate();
    events
        .map(|(index, event)| event.into_new().map_err(at("event", index)))
        .collect()
}

/// Adds to a problem where in the body it is.
fn at(what: &'static str, index: usize) -> impl FnOnce(Failure) -> Failure {
    move |mut failure| {
        failure.0.detail = format!("{what} {index}: {}", failure.0.detail);
        failure
    }
}

impl AppendEvent<'_> {
    fn into_new(self) -> Result<NewEvent> {
        let id = self.id.as_deref().map(event_id).transpose()?;
        let schema_version = self.schema_version.unwrap_or(1);
        if schema_version == 0 {
            return Err(Failure::bad_request("schema versions begin at 1"));
        }
        let data_base64 = self.data_base64.as_deref();
        Ok(NewEvent {
            id: id.unwrap_or_else(fresh_id),
            id_is_callers: id.is_some(),
            name: Name::new(&self.r#type)?,
            schema_version,
            body: body::body(self.data, data_base64, self.content_type.as_deref())?,
            metadata: self.metadata.map(body::metadata).transpose()?,
            tags: self
                .tags
                .iter()
                .map(|tag| tag_of(tag))
                .collect::<Result<_>>()?,
        })
    }
}

/// The one form in which ids are shown: other forms of UUIDs are rejected.
fn event_id(text: &str) -> Result<EventId> {
    let id = Uuid::try_parse(text).ok().filter(|_| text.len() == 36);
    id.ok_or_else(|| {
        let detail = "the id is no UUID, as 0198c5b2-9f3a-7c41-8d2e-5b6a7c8d9e0f";
        Failure::bad_request(detail)
    })
}

/// A tag, which has the form `name:value`.
pub fn tag_of(tag: &str) -> Result<Arc<str>> {
    let well_formed = tag
        .split_once(':')
        .is_some_and(|(name, value)| !name.is_empty() && !value.is_empty())
        && !tag.chars().any(char::is_control);
    if well_formed {
        Ok(tag.into())
    } else {
        let detail = format!("tag {tag:?} does not have the form name:value");
        Err(Failure::bad_request(detail))
    }
}
