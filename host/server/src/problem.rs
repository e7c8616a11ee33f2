use std::sync::{LazyLock, Mutex, PoisonError};

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::health::CheckView;
use super::{answer, choices};
use quipu::model::{ExpectedVersion, Invalid, Throttle, Version};
use quipu::{DeployError, deploy, engine, projection, proof, runtime, store, subscribe, upcast};

/// An error as clients see it: a problem document (RFC 9457) with a stable `code`.
///
/// `title` names the code for people, `detail` this occurrence. The members behind
/// them are there only with the code that they belong to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:quipu:problem:` and the code.
    pub r#type: String,
    /// The code in words.
    pub title: String,
    /// The status of the response, repeated.
    pub status: u16,
    /// What went wrong this time, and what to do about it.
    pub detail: String,
    /// Stable and machine-readable.
    #[schema(value_type = Code)]
    pub code: String,
    /// With `rejected`: the guest's words.
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
    /// Where an append is refused, or a subscription comes to an event that can't be lifted:
    /// the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Where an append is refused because of an event's id: the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// Where events are refused because an inline projection can't fold them: its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projection: Option<String>,
    /// With `wrong-expected-version`: what the request expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// With `wrong-expected-version`: the stream's version, also in `ETag`; 0 for no stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<u64>,
    /// With `not-fresh` and `document-not-found`: how far the projection has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// With `not-fresh`: `lagging`, or why it is of no use to wait: `stopped`, `paused`,
    /// `parked` or `stale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<choices::NotFreshReason>)]
    pub reason: Option<String>,
    /// With `not-ready`: what was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<CheckView>>,
}

/// Why the domain says no.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Rejection {
    /// The guest's code.
    pub code: String,
    /// For people.
    pub message: String,
    /// More for programs, as the guest gave it.
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

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $code:literal $status:literal $title:literal;)*) => {
        /// The stable names of errors, each with its status and title.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* #[doc = concat!("`", $code, "`: ", $title, ".")] $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Code] = &[$(Self::$name),*];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The status of the response.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The code in words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    BadRequest "bad-request" 400 "the request is malformed";
    InvalidCommand "invalid-command" 400 "the decider can't read the command";
    DuplicateInAppend "duplicate-in-append" 400 "an event stands twice in the append";
    Unsigned "unsigned" 403 "the module has no signature that this host takes";
    NotFound "not-found" 404 "there is no such path";
    StreamNotFound "stream-not-found" 404 "there is no such stream";
    EventNotFound "event-not-found" 404 "there is no such event";
    UnknownCategory "unknown-category" 404 "no decider serves the category";
    ModuleNotFound "module-not-found" 404 "there is no such module";
    ProjectionNotFound "projection-not-found" 404 "there is no such projection";
    DocumentNotFound "document-not-found" 404 "the projection has no such document";
    FindingNotAcknowledged "finding-not-acknowledged" 404 "the finding is not acknowledged";
    SubscriptionNotFound "subscription-not-found" 404 "there is no such named subscription";
    MethodNotAllowed "method-not-allowed" 405 "the path does not take this method";
    BodyTimeout "body-timeout" 408 "the body came too slowly";
    Conflict "conflict" 409 "other writers came first until the deadline";
    PartialDuplicate "partial-duplicate" 409 "some of the events were appended before";
    StreamArchived "stream-archived" 409 "the stream is archived";
    StreamTooLong "stream-too-long" 409 "the stream is longer than its category allows";
    ImportRefused "import-refused" 409 "the import does not fit the store";
    CategoryOwned "category-owned" 409 "a decider serves the category";
    UnreadableEvent "unreadable-event" 409 "an event of the stream can't be lifted or folded";
    SnapshotRefused "snapshot-refused" 409 "no snapshot of the stream can be taken";
    TruncateRefused "truncate-refused" 409 "the stream can't be truncated so";
    PreflightFailed "preflight-failed" 409 "a preflight speaks against the module";
    NotSettled "not-settled" 409 "a projection can't become inline now";
    ProjectionRefused "projection-refused" 409 "the projection does not stand so that this can be done";
    TooManyAcknowledged "too-many-acknowledged" 409 "no more findings may be acknowledged";
    SubscriptionHeld "subscription-held" 409 "another client holds the named subscription";
    ClaimLost "claim-lost" 409 "the claim of the named subscription counts no more";
    TooManySubscriptions "too-many-subscriptions" 409 "no more named subscriptions may be made";
    StateNotShown "state-not-shown" 409 "the decider does not show its state";
    WrongExpectedVersion "wrong-expected-version" 412 "the stream stands at another version";
    TooLarge "too-large" 413 "the request exceeds a bound";
    Rejected "rejected" 422 "the domain rejects the command";
    IdempotencyKeyReused "idempotency-key-reused" 422 "the id stands for another command or event";
    ModuleRefused "module-refused" 422 "the module is refused";
    Internal "internal" 500 "the host made a mistake";
    GuestFault "guest-fault" 502 "the guest faulted";
    ProjectionFailing "projection-failing" 503 "an inline projection keeps failing";
    NotReady "not-ready" 503 "a part of the host does not work";
    Overloaded "overloaded" 503 "too much is in flight";
    StoreUnavailable "store-unavailable" 503 "the store is not available";
    StoreDamaged "store-damaged" 500 "the store holds what can't be read";
    Timeout "timeout" 504 "the request took too long";
    NotFresh "not-fresh" 504 "the projection is not as fresh as asked for";
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
            checks: None,
        }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Box<Self> {
        Box::new(Self::new(Code::BadRequest, detail))
    }

    pub(super) fn internal(error: &dyn std::fmt::Display) -> Box<Self> {
        tracing::error!(%error, "a request failed");
        let detail = "the host made a mistake; its log says more";
        Box::new(Self::new(Code::Internal, detail))
    }

    /// Whether the same request may pass later.
    pub fn is_passing(&self) -> bool {
        matches!(
            self.code.as_str(),
            "overloaded"
                | "not-ready"
                | "store-unavailable"
                | "timeout"
                | "not-fresh"
                | "body-timeout"
        )
    }
}

/// Of a handler or an extractor. Boxed: a problem is large, and rare.
pub type Result<T> = std::result::Result<T, Box<Problem>>;

impl IntoResponse for Box<Problem> {
    fn into_response(self) -> Response {
        (*self).into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let is_passing = self.is_passing();
        let tag = self.found.map(|found| answer::tag(Version(found)));
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        let problem = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem);
        if status == StatusCode::SERVICE_UNAVAILABLE && is_passing {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(Ok(tag)) = tag {
            headers.insert(header::ETAG, tag);
        }
        response
    }
}

impl From<Invalid> for Box<Problem> {
    fn from(invalid: Invalid) -> Self {
        Problem::bad_request(invalid.0)
    }
}

/// What was logged of the store lately: each request meets a store that is gone.
static SAID: LazyLock<Mutex<Throttle>> = LazyLock::new(Mutex::default);

impl From<store::Error> for Box<Problem> {
    fn from(error: store::Error) -> Self {
        let passed = SAID
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pass(&error.to_string());
        if let Some(left_out) = passed {
            tracing::error!(%error, left_out, "the store failed");
        }
        if error.is_lasting() {
            return Box::new(Problem::new(Code::StoreDamaged, error.to_string()));
        }
        let detail = "the store failed; try again, with the same Idempotency-Key if there was one";
        Box::new(Problem::new(Code::StoreUnavailable, detail))
    }
}

impl From<engine::Error> for Box<Problem> {
    fn from(error: engine::Error) -> Self {
        use engine::Error;
        let code = match &error {
            Error::Rejected { .. } => Code::Rejected,
            Error::WrongExpectedVersion { .. } => Code::WrongExpectedVersion,
            Error::Conflict(_) => Code::Conflict,
            Error::IdempotencyKeyReused { .. } | Error::EventIdReused { .. } => {
                Code::IdempotencyKeyReused
            }
            Error::PartialDuplicate { .. } => Code::PartialDuplicate,
            Error::DuplicateInAppend { .. } => Code::DuplicateInAppend,
            Error::Archived(_) => Code::StreamArchived,
            Error::TooLong { .. } => Code::StreamTooLong,
            Error::UnknownCategory(_) => Code::UnknownCategory,
            Error::CategoryOwned(_) => Code::CategoryOwned,
            Error::StreamNotFound(_) => Code::StreamNotFound,
            Error::InvalidCommand(_) => Code::InvalidCommand,
            Error::Unprojected(failed) if failed.is_failing => Code::ProjectionFailing,
            Error::Fault(_) | Error::Unprojected(_) => Code::GuestFault,
            Error::UnreadableEvent { .. } | Error::Anchor(_) => Code::UnreadableEvent,
            Error::SnapshotRefused { .. } => Code::SnapshotRefused,
            Error::TruncateRefused { .. } => Code::TruncateRefused,
            Error::NoModule(_) => Code::ModuleNotFound,
            Error::StateNotShown(_) => Code::StateNotShown,
            Error::TooLarge(_) => Code::TooLarge,
            Error::Invalid(_) => Code::BadRequest,
            Error::Overloaded | Error::Stopped => Code::Overloaded,
            Error::Store(error) => return error.clone().into(),
        };
        let mut problem = Problem::new(code, error.to_string());
        match error {
            Error::Rejected { rejection, .. } => {
                problem.detail.clone_from(&rejection.message);
                problem.rejection = Some(Box::new(Rejection::of(*rejection)));
            }
            Error::WrongExpectedVersion {
                stream,
                expected,
                found,
            } => {
                problem.stream = Some(stream.to_string());
                problem.expected = Expected::of(expected);
                problem.found = Some(found.0);
            }
            Error::Archived(stream) | Error::IdempotencyKeyReused { stream, .. } => {
                problem.stream = Some(stream.to_string());
            }
            Error::EventIdReused { stream, id }
            | Error::PartialDuplicate { stream, id }
            | Error::DuplicateInAppend { stream, id } => {
                problem.stream = Some(stream.to_string());
                problem.event_id = Some(id.to_string());
            }
            Error::Fault(fault) => {
                problem.fault = Some(fault.kind.as_str().to_owned());
                problem.component = Some(fault.component.clone());
                problem.digest = Some(fault.digest.to_string());
            }
            Error::Unprojected(failed) => {
                problem.projection = Some(failed.projection.to_string());
                problem.fault = failed.fault.map(str::to_owned);
            }
            _ => {}
        }
        Box::new(problem)
    }
}

impl From<subscribe::Error> for Box<Problem> {
    fn from(error: subscribe::Error) -> Self {
        use subscribe::Error;
        let code = match &error {
            Error::Invalid(_) => Code::BadRequest,
            Error::TooMany(_) | Error::Stopped => Code::Overloaded,
            Error::Held { .. } => Code::SubscriptionHeld,
            Error::Lost(_) => Code::ClaimLost,
            Error::Unknown(_) => Code::SubscriptionNotFound,
            Error::TooManyNames(_) => Code::TooManySubscriptions,
            Error::Unreadable(unreadable) => match &unreadable.error {
                upcast::Error::Fault { .. } => Code::GuestFault,
                _ => Code::UnreadableEvent,
            },
            Error::Store(error) => return error.clone().into(),
        };
        let mut problem = Problem::new(code, error.to_string());
        if let Error::Unreadable(unreadable) = error {
            problem.stream = Some(unreadable.stream.to_string());
            if let upcast::Error::Fault { fault, .. } = unreadable.error {
                problem.fault = Some(fault.kind.as_str().to_owned());
                problem.component = Some(fault.component.clone());
                problem.digest = Some(fault.digest.to_string());
            }
        }
        Box::new(problem)
    }
}

impl From<deploy::Error> for Box<Problem> {
    fn from(error: deploy::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&deploy::Error> for Box<Problem> {
    fn from(error: &deploy::Error) -> Self {
        use deploy::Error;
        let code = match error {
            Error::Refused(runtime::Refused::TooLarge { .. }) => Code::TooLarge,
            Error::Refused(_) | Error::Conflict(_) | Error::Anchors { .. } => Code::ModuleRefused,
            Error::NotSettled(_) => Code::NotSettled,
            Error::Raced | Error::LookedAt { .. } => Code::Conflict,
            Error::TooManySignatures(_) => Code::ModuleRefused,
            Error::Fold(error) => return engine::Error::from(error.clone()).into(),
            Error::NotFound(_) => Code::ModuleNotFound,
            Error::WrongSignature { .. } | Error::Unsigned { .. } => Code::Unsigned,
            Error::Stopped => Code::Overloaded,
            Error::Store(error) => return error.clone().into(),
        };
        Box::new(Problem::new(code, error.to_string()))
    }
}

impl From<proof::Error> for Box<Problem> {
    fn from(error: proof::Error) -> Self {
        use proof::Error;
        let code = match &error {
            Error::UnderWay | Error::Shadowing | Error::Stopped => Code::Overloaded,
            Error::Active(_) => Code::Conflict,
            Error::Invalid(_) => Code::BadRequest,
            Error::TooManyAcknowledged(_) => Code::TooManyAcknowledged,
            Error::NotAcknowledged(_) => Code::FindingNotAcknowledged,
            Error::Projections(_) => Code::ProjectionRefused,
            Error::Store(error) => return error.clone().into(),
            Error::Modules(error) => return error.into(),
            Error::Fold(error) => return engine::Error::from(error.clone()).into(),
        };
        Box::new(Problem::new(code, error.to_string()))
    }
}

impl From<DeployError> for Box<Problem> {
    fn from(error: DeployError) -> Self {
        match error {
            DeployError::Activation(error) => error.into(),
            DeployError::Preflight(error) => error.into(),
            blocked => {
                let detail = format!(
                    "{blocked}; POST /v1/preflights shows examples; `allow` lets kinds of \
                     objections pass"
                );
                Box::new(Problem::new(Code::PreflightFailed, detail))
            }
        }
    }
}

impl From<projection::Error> for Box<Problem> {
    fn from(error: projection::Error) -> Self {
        use projection::Error;
        let code = match &error {
            Error::Invalid(_) => Code::BadRequest,
            Error::NotFound(_) => Code::ProjectionNotFound,
            Error::NoDocument { .. } => Code::DocumentNotFound,
            Error::NotFresh { .. } => Code::NotFresh,
            Error::IsLive(_) | Error::Refused { .. } => Code::ProjectionRefused,
            Error::StreamNotFound(_) => Code::StreamNotFound,
            Error::Failed { fault: Some(_), .. } => Code::GuestFault,
            Error::Failed { .. } => Code::UnreadableEvent,
            Error::Stopped => Code::Overloaded,
            Error::Plan(error) => return (&**error).into(),
            Error::Store(error) => return error.clone().into(),
        };
        let mut problem = Problem::new(code, error.to_string());
        if let Error::NotFresh { reason, .. } = &error {
            problem.reason = Some(reason.as_str().to_owned());
        }
        match error {
            Error::NotFresh {
                projection,
                position,
                ..
            }
            | Error::NoDocument {
                projection,
                position,
                ..
            } => {
                problem.projection = Some(projection);
                problem.position = Some(position.0);
            }
            Error::Failed {
                projection, fault, ..
            } => {
                problem.projection = Some(projection);
                problem.fault = fault.map(str::to_owned);
            }
            Error::NotFound(projection)
            | Error::IsLive(projection)
            | Error::Refused { projection, .. } => problem.projection = Some(projection),
            Error::StreamNotFound(stream) => problem.stream = Some(stream.to_string()),
            _ => {}
        }
        Box::new(problem)
    }
}

impl Rejection {
    fn of(rejection: quipu::model::Rejection) -> Self {
        let details = rejection.details.as_ref().and_then(|body| body.as_json());
        Self {
            code: rejection.code,
            message: rejection.message,
            details: details.and_then(|text| RawValue::from_string(text.to_owned()).ok()),
        }
    }
}

impl Expected {
    /// What it says; none for an unknown word.
    pub(super) fn into_version(self) -> Option<ExpectedVersion> {
        match self {
            Self::Version(version) => Some(ExpectedVersion::Exact(Version(version))),
            Self::Word(word) => match word.as_str() {
                "any" => Some(ExpectedVersion::Any),
                "no-stream" => Some(ExpectedVersion::NoStream),
                "stream-exists" => Some(ExpectedVersion::StreamExists),
                _ => None,
            },
        }
    }

    fn of(expected: ExpectedVersion) -> Option<Self> {
        Some(match expected {
            ExpectedVersion::Any => return None,
            ExpectedVersion::NoStream => Self::Word("no-stream".to_owned()),
            ExpectedVersion::StreamExists => Self::Word("stream-exists".to_owned()),
            ExpectedVersion::Exact(version) => Self::Version(version.0),
        })
    }
}
