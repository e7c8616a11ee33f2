//! Problems as responses.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::answer;
use quipu::engine;
use quipu::model::Version;
use quipu_api::{Code, Problem};

/// The problem that a handler or an extractor returns. Boxed, because it is large and rare.
///
/// Every error that has a problem document converts to it with `?`.
#[derive(Debug)]
pub struct Failure(pub Box<Problem>);

/// The result of a handler or an extractor.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A problem of this code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(code, detail)))
    }

    /// A request that is malformed.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, detail)
    }

    /// A request whose body does not have the type that its handler reads.
    pub fn unsupported_body(detail: impl Into<String>) -> Self {
        let mut failure = Self::bad_request(detail);
        failure.0.status = StatusCode::UNSUPPORTED_MEDIA_TYPE.as_u16();
        failure
    }

    /// A mistake of the host. The error goes to the log, not to the client.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed");
        Self::new(Code::Internal, "the host made a mistake; its log says more")
    }
}

impl<E> From<E> for Failure
where
    Box<Problem>: From<E>,
{
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// The code of a response that is a problem, for layers that inspect responses.
#[derive(Debug, Clone)]
pub struct ProblemCode(pub String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = self.0;
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let is_passing = problem.is_passing();
        let code = ProblemCode(problem.code.clone());
        let retry_after = problem.retry_after_s;
        let tag = problem.found.map(|found| answer::tag(Version(found)));
        let mut response = (status, Json(problem)).into_response();
        response.extensions_mut().insert(code);
        let headers = response.headers_mut();
        let problem_json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, problem_json);
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE && is_passing {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(Ok(tag)) = tag {
            headers.insert(header::ETAG, tag);
        }
        response
    }
}

/// Whether an error is about an event that can't be lifted.
pub fn is_lifting(error: &engine::Error) -> bool {
    use engine::Error;
    matches!(error, Error::UnreadableEvent { .. } | Error::Fault(_))
}

/// The problem of a page with an event that can't be lifted; says how to read the event
/// nevertheless.
pub fn not_lifted(error: engine::Error) -> Failure {
    let is_lifting = is_lifting(&error);
    let mut failure = Failure::from(error);
    if is_lifting {
        failure.0.detail += "; form=stored (--stored) reads events as they are stored";
    }
    failure
}
