//! The tools for agents at `/mcp`.
//!
//! Each operation of a tool is a request to the same router, with the credentials, the address and the
//! connection of the caller. So it passes the same guard, limits and audit as any other request.

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::administration::Serves;
use super::answering::Visit;
use super::failure::{Failure, Result};
use super::params::Params;
use super::percent::encoded;
use super::request::JsonBytes;
use super::tenants::call;
use super::{App, router};
use quipu_api::{Code, Problem};
use quipu_mcp::{ANSWER_BYTES_MAX, Answer, Host, MESSAGE_BYTES_MAX, Session, VERSIONS};

/// The version of the protocol that a client speaks.
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Headers of the caller that each operation has.
static PASSED: [HeaderName; 2] = [
    header::AUTHORIZATION,
    HeaderName::from_static("traceparent"),
];

/// The router that answers the operations of tools.
#[derive(Clone)]
pub(super) struct Inner(Router);

/// Gives the handler of `/mcp` a router for the operations, if there are tools.
pub(super) fn with_tools(paths: Router<App>, app: &App) -> Router<App> {
    if app.options.mcp.is_none() {
        return paths;
    }
    let inner = Inner(router::protected(paths.clone(), app.clone()));
    paths.layer(Extension(inner))
}

/// What every operation of a request has of it.
pub(super) struct Origin {
    inner: Option<Inner>,
    visit: Visit,
    serves: Option<Serves>,
    headers: HeaderMap,
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let visit = Visit::from_request_parts(parts, state).await;
        let passed = PASSED.iter().filter_map(|name| {
            let value = parts.headers.get(name)?;
            Some((name.clone(), value.clone()))
        });
        Ok(Self {
            inner: parts.extensions.get().cloned(),
            visit: visit.unwrap_or_else(|never| match never {}),
            serves: parts.extensions.get().copied(),
            headers: passed.collect(),
        })
    }
}

/// Answers a message of the Model Context Protocol, with tools for agents.
///
/// The body is one message of JSON-RPC, and so is the answer. There are no sessions and no streams:
/// each request is complete, and needs no `initialize` before it. Every operation of a tool is a
/// request of the same caller, with its own rights, limits and audit. `mode` in `[mcp]` says
/// whether there are tools: `off` (the default), `read`, `propose`, which also has a tool for each
/// type of commands that stores a proposal, or `act`, whose tools of commands execute them.
#[utoipa::path(
    post, path = "/mcp", operation_id = "mcp", tag = "mcp",
    security(("token" = [])),
    request_body(content = serde_json::Value, description = "A message of JSON-RPC 2.0, at most 1 MiB"),
    responses(
        (status = 200, body = serde_json::Value, description = "The answer to the message: a result, or an error of JSON-RPC"),
        (status = 202, description = "The message was a notification"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem: `not-found` when there are no tools"),
    ),
)]
pub async fn mcp(
    State(app): State<App>,
    origin: Origin,
    headers: HeaderMap,
    _: Params<()>,
    body: JsonBytes,
) -> Result<Response> {
    let (Some(mode), Some(Inner(router))) = (app.options.mcp, &origin.inner) else {
        let detail = "this host has no tools for agents; `mode` in [mcp] switches them on";
        return Err(Failure::new(Code::NotFound, detail));
    };
    check_version(&headers)?;
    let message = body.away(|bytes| match bytes.len() <= MESSAGE_BYTES_MAX {
        true => Ok(bytes.to_vec()),
        false => {
            let detail = format!("a message has at most {MESSAGE_BYTES_MAX} bytes");
            Err(Failure::new(Code::TooLarge, detail))
        }
    })?;
    let operations = Operations {
        router: router.clone(),
        origin: &origin,
    };
    let mut session = Session::of_request(mode, env!("CARGO_PKG_VERSION"));
    Ok(match session.answer(&message, &operations).await {
        Some(answer) => {
            let json = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, json)], answer).into_response()
        }
        None => StatusCode::ACCEPTED.into_response(),
    })
}

fn check_version(headers: &HeaderMap) -> Result<()> {
    let Some(version) = headers.get(&VERSION) else {
        return Ok(());
    };
    let version = version.to_str().unwrap_or_default();
    if VERSIONS.contains(&version) {
        return Ok(());
    }
    let detail = format!(
        "MCP-Protocol-Version: {version:?} is not spoken here; {} are",
        VERSIONS.join(", ")
    );
    Err(Failure::bad_request(detail))
}

/// Sends operations to a router as the caller.
struct Operations<'a> {
    router: Router,
    origin: &'a Origin,
}

impl Host for Operations<'_> {
    fn send(
        &self,
        request: quipu_mcp::Request,
    ) -> BoxFuture<'_, std::result::Result<Answer, String>> {
        async move {
            let request = self.request(request)?;
            let response = call(&self.router, request).await;
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
            let body = body.map_err(|error| format!("the answer was cut off: {error}"))?;
            Ok(Answer {
                status,
                body: body.to_vec(),
            })
        }
        .boxed()
    }
}

impl Operations<'_> {
    fn request(&self, call: quipu_mcp::Request) -> std::result::Result<Request, String> {
        let method = match call.method {
            quipu_mcp::Method::Get => Method::GET,
            quipu_mcp::Method::Post => Method::POST,
        };
        let mut request = Request::builder().method(method).uri(address(&call));
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = call.body.map_or_else(Body::empty, Body::from);
        let mut request = request
            .body(body)
            .map_err(|error| format!("the request can't be made: {error}"))?;
        request.headers_mut().extend(self.origin.headers.clone());
        let extensions = request.extensions_mut();
        extensions.insert(self.origin.visit.clone());
        if let Some(serves) = self.origin.serves {
            extensions.insert(serves);
        }
        Ok(request)
    }
}

/// Whether a segment is the same without percent signs, and no way to another path.
fn is_plain(segment: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    segment.bytes().all(is_plain) && !segment.trim_matches('.').is_empty()
}

/// The path and the query, percent-encoded.
fn address(call: &quipu_mcp::Request) -> String {
    let mut address = String::new();
    for segment in &call.path {
        // The router compares its own segments, as `openapi.json`, byte for byte.
        match is_plain(segment) {
            true => address += &format!("/{segment}"),
            false => address += &format!("/{}", encoded(segment)),
        }
    }
    for (index, (name, value)) in call.query.iter().enumerate() {
        let begin = if index == 0 { '?' } else { '&' };
        address += &format!("{begin}{}={}", encoded(name), encoded(value));
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_changes_the_path_that_is_asked_for() {
        let call = quipu_mcp::Request {
            method: quipu_mcp::Method::Get,
            path: ["v1", "streams", "a/../b?c#d", "state"]
                .map(str::to_owned)
                .to_vec(),
            query: vec![("at_time", "1 &x=y\u{e9}".to_owned())],
            headers: Vec::new(),
            body: None,
        };
        let expected = "/v1/streams/a%2F%2E%2E%2Fb%3Fc%23d/state?at_time=1%20%26x%3Dy%C3%A9";
        assert_eq!(address(&call), expected);
        for (segment, expected) in [
            ("openapi.json", "/openapi.json"),
            ("..", "/%2E%2E"),
            (".", "/%2E"),
        ] {
            let path = vec![segment.to_owned()];
            let query = Vec::new();
            let call = quipu_mcp::Request {
                path,
                query,
                ..call.clone()
            };
            assert_eq!(address(&call), expected);
        }
    }
}
