//! Answers that are not problems.

use axum::body::Body;
use axum::http::header::InvalidHeaderValue;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::App;
use super::failure::{Failure, Result};
use quipu::model::{StreamId, Version};

/// A value as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Response> {
    let bytes = serde_json::to_vec(value).map_err(|error| Failure::internal(&error))?;
    let json = HeaderValue::from_static("application/json");
    Ok((status, [(header::CONTENT_TYPE, json)], bytes).into_response())
}

/// A value as JSON, with the stream's version as its entity tag.
pub fn tagged(version: Version, value: &impl Serialize) -> Result<Response> {
    with_tag(version, json(StatusCode::OK, value)?)
}

/// A value as JSON about a stream that was changed, with its version as the entity tag. The change
/// is done even if the version can't be read.
pub async fn about(app: &App, stream: &StreamId, value: &impl Serialize) -> Result<Response> {
    let answer = json(StatusCode::OK, value)?;
    match app.host.version(stream).await {
        Ok(Some(version)) => with_tag(version, answer),
        _ => Ok(answer),
    }
}

/// The answer to a reader who has already seen this version of the stream.
pub fn unchanged(version: Version) -> Result<Response> {
    with_tag(version, StatusCode::NOT_MODIFIED.into_response())
}

/// An answer with the stream's version as its entity tag.
pub fn with_tag(version: Version, mut response: Response) -> Result<Response> {
    let tag = tag(version).map_err(|error| Failure::internal(&error))?;
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

/// A stream's version as an entity tag.
pub fn tag(version: Version) -> std::result::Result<HeaderValue, InvalidHeaderValue> {
    HeaderValue::try_from(format!("\"{version}\""))
}

/// Says that the answer to the same address depends on `Accept`.
pub fn varying(mut response: Response) -> Response {
    let accept = HeaderValue::from_static("accept");
    response.headers_mut().insert(header::VARY, accept);
    response
}

/// NDJSON lines.
pub fn ndjson(body: Body) -> Response {
    let ndjson = HeaderValue::from_static("application/x-ndjson");
    ([(header::CONTENT_TYPE, ndjson)], body).into_response()
}

/// A document of a projection, which is written unchanged.
pub fn raw(json: &str) -> Result<&RawValue> {
    serde_json::from_str(json).map_err(|error| Failure::internal(&error))
}
