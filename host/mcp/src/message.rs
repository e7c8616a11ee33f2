//! Messages of JSON-RPC 2.0, as MCP uses them.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Longest message in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Longest id in bytes.
const ID_BYTES_MAX: usize = 255;

/// An error of the protocol. The number is that of JSON-RPC.
#[derive(Debug)]
pub struct Wrong {
    pub code: i32,
    pub message: String,
}

impl Wrong {
    pub fn parse(why: impl Into<String>) -> Self {
        Self::new(-32700, why)
    }

    pub fn request(why: impl Into<String>) -> Self {
        Self::new(-32600, why)
    }

    pub fn method(name: &str) -> Self {
        let name: String = name.chars().take(100).collect();
        Self::new(-32601, format!("there is no method {name:?}"))
    }

    pub fn params(why: impl Into<String>) -> Self {
        Self::new(-32602, why)
    }

    fn new(code: i32, why: impl Into<String>) -> Self {
        Self {
            code,
            message: why.into(),
        }
    }
}

/// A message of a client.
#[derive(Debug)]
pub enum Message<'a> {
    /// It wants an answer with this id.
    Request {
        id: &'a RawValue,
        method: Cow<'a, str>,
        params: Option<&'a RawValue>,
    },
    /// It wants no answer.
    Notification,
    /// An answer, although nothing was asked.
    Response,
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default)]
    jsonrpc: Cow<'a, str>,
    /// Null is not the same as no id.
    #[serde(borrow, default, deserialize_with = "given")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    error: Option<&'a RawValue>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl<'a> Message<'a> {
    /// Reads a message. With an error comes the id to answer with, if there is a valid one.
    pub fn read(bytes: &'a [u8]) -> Result<Self, (Option<&'a RawValue>, Wrong)> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            let why = format!("a message has at most {MESSAGE_BYTES_MAX} bytes");
            return Err((None, Wrong::request(why)));
        }
        let text: &RawValue = serde_json::from_slice(bytes)
            .map_err(|error| (None, Wrong::parse(error.to_string())))?;
        if text.get().starts_with('[') {
            let why = "batches are not taken; send one message at a time";
            return Err((None, Wrong::request(why)));
        }
        let parts: Parts<'_> = serde_json::from_str(text.get())
            .map_err(|error| (None, Wrong::request(error.to_string())))?;
        let id = match parts.id.map(checked_id) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(wrong)) => return Err((None, wrong)),
        };
        if parts.jsonrpc != "2.0" {
            let why = "the member jsonrpc must be \"2.0\"";
            return Err((id, Wrong::request(why)));
        }
        let Some(method) = parts.method else {
            return match parts.result.or(parts.error) {
                Some(_) if id.is_some() => Ok(Self::Response),
                _ => Err((id, Wrong::request("the member method is missing"))),
            };
        };
        Ok(match id {
            Some(id) => Self::Request {
                id,
                method,
                params: parts.params,
            },
            None => Self::Notification,
        })
    }
}

/// An id is a text or a whole number.
fn checked_id(id: &RawValue) -> Result<&RawValue, Wrong> {
    let text = id.get();
    let is_text = text.starts_with('"');
    let is_number = text.parse::<i64>().is_ok();
    if text.len() > ID_BYTES_MAX || !(is_text || is_number) {
        return Err(Wrong::request(format!(
            "an id is a text or a whole number of at most {ID_BYTES_MAX} bytes"
        )));
    }
    Ok(id)
}

#[derive(Serialize)]
struct Response<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Error<'a>>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: i32,
    message: &'a str,
}

/// The answer to a request.
pub fn answer(id: &RawValue, result: &RawValue) -> String {
    written(&Response {
        jsonrpc: "2.0",
        id: Some(id),
        result: Some(result),
        error: None,
    })
}

/// The answer to a message that is wrong.
pub fn refusal(id: Option<&RawValue>, wrong: &Wrong) -> String {
    written(&Response {
        jsonrpc: "2.0",
        id,
        result: None,
        error: Some(Error {
            code: wrong.code,
            message: &wrong.message,
        }),
    })
}

/// The answer to a message that was not read because it is too large.
pub fn too_large() -> String {
    let why = format!("a message has at most {MESSAGE_BYTES_MAX} bytes");
    refusal(None, &Wrong::request(why))
}

fn written(response: &Response<'_>) -> String {
    // Texts, numbers and JSON can always be written.
    serde_json::to_string(response).unwrap_or_default()
}
