//! Keeps web pages from acting on the host.
//!
//! A browser sends requests of any page to any address that it reaches, also to one that nobody
//! else reaches. It says so in headers that a page can't change: `Origin` and `Sec-Fetch-Site` name
//! the page that asks, and `Host` the name under which the browser knows the address. A page whose
//! name was made to resolve to this host (DNS rebinding) is found by `Host`. Programs that are not
//! browsers send none of these headers but `Host`.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Options;
use super::failure::{Failure, Result};
use quipu_api::Code;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How long a browser may remember that a page may call the host, in seconds.
const REMEMBERED: &str = "600";
/// Methods that pages of listed origins may use.
const METHODS: &str = "GET, HEAD, POST, DELETE";
/// Headers that pages of listed origins may send.
const SENT: &str = "accept, authorization, content-type, idempotency-key, if-match, if-none-match, \
                    last-event-id, quipu-causation-id, quipu-correlation-id, quipu-raw, quipu-tenant, \
                    traceparent";
/// Headers of answers that pages of listed origins may read.
const READ: &str = "deprecation, etag, link, retry-after, sunset";

/// Checks who asks. Returns the origin of a page that may.
///
/// # Errors
/// `forbidden` when the request comes from a web page of an origin that is not listed, or names the
/// host by a name that is not listed.
pub(super) fn check(request: &Request, options: &Options) -> Result<Option<HeaderValue>> {
    let headers = request.headers();
    let host =
        text(headers, &header::HOST).or_else(|| request.uri().authority().map(|it| it.as_str()));
    let authority = request.uri().authority().map(|it| it.as_str());
    let named = headers.get_all(header::HOST).iter();
    let named = named.map(|value| value.to_str().unwrap_or_default());
    if let Some(host) = named.chain(authority).find(|host| !is_own(host, options)) {
        return Err(forbidden(format!(
            "this host is not known as {host}; if it is reached under this name, add it to `hosts` \
             in [http]"
        )));
    }
    let origin = headers.get(header::ORIGIN);
    let Some(origin) = origin else {
        return match text(headers, &FETCH_SITE) {
            None | Some("none" | "same-origin") => Ok(None),
            Some(_) => Err(forbidden(
                "a web page of another origin asked; `origins` in [http] lists those that may"
                    .to_owned(),
            )),
        };
    };
    let named = origin.to_str().unwrap_or_default();
    let is_listed = options.origins.iter().any(|known| known == named);
    let is_same = named
        .split_once("://")
        .is_some_and(|(_, name)| Some(name) == host);
    if is_listed {
        return Ok(Some(origin.clone()));
    }
    match is_same {
        true => Ok(None),
        false => Err(forbidden(format!(
            "a web page of {named:?} asked; `origins` in [http] lists those that may"
        ))),
    }
}

/// Answers a browser that asks whether a page may send a request.
pub(super) fn preflight(request: &Request, origin: Option<&HeaderValue>) -> Option<Response> {
    let has_method = request
        .headers()
        .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    (request.method() == Method::OPTIONS && has_method && origin.is_some()).then(|| {
        let allowed = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, SENT),
            (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED),
        ];
        (StatusCode::NO_CONTENT, allowed).into_response()
    })
}

/// Adds what a browser must know to keep an answer to itself, or to give it to a listed page.
pub(super) fn protect(response: &mut Response, origin: Option<HeaderValue>) {
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(READ),
        );
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

/// Whether a `Host` is an address, a name that no stranger can have registered, or a listed name.
fn is_own(host: &str, options: &Options) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.trim_end_matches('.');
    name.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || name.ends_with(".localhost")
        || options
            .hosts
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or_default())
}

fn forbidden(detail: String) -> Failure {
    Failure::new(Code::Forbidden, detail)
}
