//! The state of a stream, now and in the past.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::failure::{Failure, Result};
use super::params::{Params, StreamPath, Time, digest};
use super::payload::PayloadQuery;
use super::request::away;
use super::{App, answer, headers};
use quipu::engine::At;
use quipu::model::Version;
use quipu_api::{Problem, masked};

/// The state of a stream.
#[derive(Serialize, ToSchema)]
pub struct StreamState<'a> {
    /// The stream.
    stream: &'a str,
    /// The version of the state; 0 before the first event.
    version: u64,
    /// The state as the decider renders it.
    #[schema(value_type = serde_json::Value)]
    state: &'a RawValue,
    /// Digest of the module that rendered it.
    module: String,
}

/// Which state of a stream to show.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StateQuery {
    /// The state at this version; 0: before the first event
    at_version: Option<u64>,
    /// The state at this time, for example 2026-01-31T12:00:00Z; excludes `at_version`
    #[param(value_type = Option<String>)]
    at_time: Option<Time>,
    /// As the module with this digest renders it, which decides the same category; by default the active one
    module: Option<String>,
}

/// Shows the state of a stream as its decider renders it.
///
/// The state is the current one, or a past one: at a version, or at a time. The state at a time
/// includes the longest prefix of the stream whose events were all recorded at that time or
/// before. States before the mark of a truncated stream are not available.
#[utoipa::path(
    get, path = "/v1/streams/{stream}/state", tag = "streams",
    security(("token" = ["read-payload"])),
    params(StreamPath, StateQuery, PayloadQuery, headers::CacheHeaders),
    responses(
        (status = 200, body = StreamState, description = "The committed state", headers(("ETag" = String, description = "The stream's version, for If-Match and If-None-Match; not with `at_version` or `at_time`"))),
        (status = 304, description = "The stream has a version that If-None-Match names; not with `at_version` or `at_time`. An activation can change the state at a version", headers(("ETag" = String, description = "The stream's version"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn state(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    Params((query, payload)): Params<(StateQuery, PayloadQuery)>,
    headers: HeaderMap,
) -> Result<Response> {
    let module = match query.module {
        Some(module) => {
            let found = digest(&app, &module).await;
            Some(found.map_err(|mut failure| {
                failure.0.detail = format!("query: module: {}", failure.0.detail);
                failure
            })?)
        }
        None => None,
    };
    let at = match (query.at_version, query.at_time) {
        (None, None) => At::Now,
        (Some(version), None) => At::Version(Version(version)),
        (None, Some(Time(time))) => At::Time(time),
        (Some(_), Some(_)) => {
            let detail = "query: at_version and at_time exclude each other";
            return Err(Failure::bad_request(detail));
        }
    };
    let view = app.host.state_at(&stream, at, module).await;
    let mut view = view.map_err(|error| payload.failure(error.into()))?;
    if payload.is_masked() {
        view.state = away(view.state.len(), || masked::json(&view.state));
    }
    let state = serde_json::from_str(&view.state).map_err(|error| Failure::internal(&error))?;
    let shown = StreamState {
        stream: view.stream.as_str(),
        version: view.version.0,
        state,
        module: view.module.to_string(),
    };
    match at {
        At::Now if headers::has_seen(&headers, view.version) => answer::unchanged(view.version),
        At::Now => answer::tagged(view.version, &shown),
        _ => answer::json(StatusCode::OK, &shown),
    }
}
