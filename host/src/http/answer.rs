//! Answers that are not problems.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::problem::{Problem, Result};
use crate::model::Version;

/// A value as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Response> {
    let bytes = serde_json::to_vec(value).map_err(|error| Problem::internal(&error))?;
    let json = HeaderValue::from_static("application/json");
    Ok((status, [(header::CONTENT_TYPE, json)], bytes).into_response())
}

/// A value as JSON, with the stream's version as its entity tag.
pub fn tagged(version: Version, value: &impl Serialize) -> Result<Response> {
    let mut response = json(StatusCode::OK, value)?;
    let tag = HeaderValue::try_from(format!("\"{version}\""))
        .map_err(|error| Problem::internal(&error))?;
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

/// A document of a projection, to be written as it is.
pub fn raw(json: &str) -> Result<&RawValue> {
    serde_json::from_str(json).map_err(|error| Problem::internal(&error))
}
