//! Parses the data of commands and events.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use quipu::model::{Body, ContentType, check_json};

use crate::Problem;
use crate::problem::Result;

/// Parses the text of a JSON object. An array is rejected although its elements would fit.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Problem::bad_request(format!("the body is not UTF-8: {error}")))?;
    if !text.trim_start().starts_with('{') {
        return Err(Problem::bad_request("the body must be a JSON object"));
    }
    serde_json::from_str(text).map_err(|error| Problem::bad_request(format!("the body: {error}")))
}

/// The body of a command; a command without data has an empty one.
pub fn command_body(
    data: Option<&RawValue>,
    data_base64: Option<&str>,
    content_type: Option<&str>,
) -> Result<Body> {
    if data.is_none() && data_base64.is_none() && content_type.is_none() {
        return Ok(Body::json(b"{}".to_vec())?);
    }
    body(data, data_base64, content_type)
}

/// A body from `data`, or from `data_base64` and its content type.
pub fn body(
    data: Option<&RawValue>,
    data_base64: Option<&str>,
    content_type: Option<&str>,
) -> Result<Body> {
    match (data, data_base64) {
        (Some(data), None) => match content_type {
            None | Some(ContentType::JSON) => Ok(Body::json(data.get().as_bytes().to_vec())?),
            Some(other) => Err(Problem::bad_request(format!(
                "data is JSON; content type {other:?} goes with data_base64"
            ))),
        },
        (None, Some(text)) => {
            let bytes = STANDARD
                .decode(text)
                .map_err(|error| Problem::bad_request(format!("data_base64: {error}")))?;
            let content_type = content_type.unwrap_or("application/octet-stream");
            Ok(Body::new(ContentType::new(content_type)?, bytes)?)
        }
        (Some(_), Some(_)) => Err(Problem::bad_request(
            "data and data_base64 exclude each other",
        )),
        (None, None) => Err(Problem::bad_request("data or data_base64 is missing")),
    }
}

/// Bytes as text.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of metadata, which must be a JSON object.
pub fn metadata(raw: &RawValue) -> Result<bytes::Bytes> {
    let text = raw.get();
    if !text.starts_with('{') {
        return Err(Problem::bad_request("metadata must be a JSON object"));
    }
    check_json(text.as_bytes())?;
    Ok(bytes::Bytes::copy_from_slice(text.as_bytes()))
}

/// For a member that may be absent but is not null when it is given: `null` is data like any other.
pub fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}
