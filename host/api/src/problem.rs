//! Errors as problem documents.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{CheckView, Code, choices};

/// An error as clients see it: a problem document (RFC 9457) with a stable `code`.
///
/// `title` describes the code for people, `detail` this occurrence. The other members are present
/// only with the code that they belong to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:quipu:problem:` and the code.
    pub r#type: String,
    /// The title of the code.
    pub title: String,
    /// The status of the response, repeated.
    pub status: u16,
    /// What went wrong, and how to fix it.
    pub detail: String,
    /// The stable, machine-readable code.
    #[schema(value_type = Code)]
    pub code: String,
    /// With `rejected`: the guest's rejection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Box<Rejection>>,
    /// With `guest-fault` and `projection-failing`: the kind of the guest's fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<choices::FaultKind>)]
    pub fault: Option<String>,
    /// With `guest-fault`: the component's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// With `guest-fault`: the component's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When an append is rejected, or when a subscription reaches an event that can't be lifted:
    /// the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// When an append is rejected because of an event's id: the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// When events are rejected because an inline projection can't fold them: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<String>,
    /// With `wrong-expected-version`: what the request expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// With `wrong-expected-version`: the stream's version, also in `ETag`; 0 if the stream does
    /// not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<u64>,
    /// With `not-fresh` and `document-not-found`: the position that the projection has reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// With `not-fresh`: `lagging`, or why waiting would not help: `stopped`, `paused`, `parked` or
    /// `stale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<choices::NotFreshReason>)]
    pub reason: Option<String>,
    /// With `rate-limited`: the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<LimitView>,
    /// With `rate-limited`: seconds after which the request may succeed, also in `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// With `not-ready`: the parts that were checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<CheckView>>,
}

/// A limit of a caller.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq, ToSchema)]
pub struct LimitView {
    /// Its key in the section `limits` of the configuration.
    pub name: String,
    /// Its value.
    pub value: u64,
}

/// The reason of a rejection by the domain.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Rejection {
    /// The guest's code.
    pub code: String,
    /// A message for people.
    pub message: String,
    /// Details for programs, as the guest returned them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub details: Option<Box<RawValue>>,
}

/// What a request expected of its stream.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Expected {
    /// This version.
    Version(u64),
    /// `any`, `no-stream` or `stream-exists`.
    Word(String),
}

impl Problem {
    /// An error of this code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            r#type: format!("urn:quipu:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code: code.as_str().to_owned(),
            rejection: None,
            fault: None,
            component: None,
            digest: None,
            stream: None,
            event_id: None,
            projection: None,
            expected: None,
            found: None,
            position: None,
            reason: None,
            limit: None,
            retry_after_s: None,
            checks: None,
        }
    }

    /// A request that is malformed.
    pub fn bad_request(detail: impl Into<String>) -> Box<Self> {
        Box::new(Self::new(Code::BadRequest, detail))
    }

    /// Whether the same request may succeed later.
    pub fn is_passing(&self) -> bool {
        matches!(
            self.code.as_str(),
            "overloaded"
                | "rate-limited"
                | "not-ready"
                | "store-unavailable"
                | "timeout"
                | "not-fresh"
                | "body-timeout"
        )
    }
}

/// A value or a problem. Boxed, because a problem is large and rare.
pub type Result<T> = std::result::Result<T, Box<Problem>>;
