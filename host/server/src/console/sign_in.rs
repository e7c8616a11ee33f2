//! Signing in with a token, and out.

use axum::body::to_bytes;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;

use super::layout;
use super::session;
use super::text::Untrusted;
use super::visitor::Visitor;
use crate::App;
use crate::failure::{Failure, Result};
use quipu_api::Problem;

/// A form with a token is not longer.
const FORM_BYTES_MAX: usize = 32 << 10;
/// The first page.
const START: &str = "/console";

/// The page that asks for a token.
pub fn page(visitor: &Visitor, refused: Option<&Problem>) -> Response {
    let to = visitor.text("to").unwrap_or(&visitor.here);
    let to = if is_page(to) { to } else { START };
    let body = html! {
        header { a.brand href="/console" { "Quipu" } }
        main #main tabindex="-1" {
            h1 { "Sign in" }
            p { "This host asks who reads. Paste a token; the browser receives a session that ends with it." }
            @if let Some(problem) = refused {
                div.problem role="alert" { p { (Untrusted(&problem.detail)) } }
            }
            form.sign-in action="/console/sign-in" method="post" {
                input type="hidden" name="to" value=(to);
                label for="token" { "Token" }
                input #token name="token" type="password" required autocomplete="off" spellcheck="false";
                button type="submit" { "Sign in" }
            }
            p.note {
                "Somebody with the action " code { "admin" } " makes tokens: "
                code { "quipu token create NAME --role viewer" }
            }
        }
    };
    let status = refused
        .map(|problem| problem.status)
        .and_then(|it| StatusCode::from_u16(it).ok());
    layout::respond(status.unwrap_or(StatusCode::UNAUTHORIZED), "Sign in", &body)
}

/// Whether an address is one of a page of the console, so that a form leads nowhere else.
fn is_page(path: &str) -> bool {
    let is_below = path == START
        || ["/console/", "/console?"]
            .iter()
            .any(|it| path.starts_with(it));
    let is_form = ["/console/sign-in", "/console/sign-out", "/console/act"]
        .iter()
        .any(|it| path.starts_with(it));
    is_below && !is_form && !path.contains('\\') && path.bytes().all(|it| it.is_ascii_graphic())
}

#[derive(Deserialize)]
struct Form {
    token: String,
    #[serde(default)]
    to: String,
}

/// Takes a token, and begins a session.
pub async fn enter(State(app): State<App>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let visitor = match Visitor::unknown(&parts, &app) {
        Ok(visitor) => visitor,
        Err(failure) => return failure.into_response(),
    };
    let entered = async {
        visitor.check_origin(&parts)?;
        let form: Form = form(&parts, body).await?;
        let token = form.token.trim();
        let changes = app.options.rules.changes();
        let caller = visitor.authenticate(token).await?;
        let secret = visitor.shared.sessions.begin(caller, changes);
        let to = if is_page(&form.to) {
            form.to.as_str()
        } else {
            START
        };
        let cookie = session::cookie(&secret, app.options.tls.is_some())?;
        Ok::<_, Failure>(([(header::SET_COOKIE, cookie)], Redirect::to(to)).into_response())
    };
    match entered.await {
        Ok(response) => response,
        Err(failure) => page(&visitor, Some(&failure.0)),
    }
}

/// Ends the session.
pub async fn leave(State(app): State<App>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let left = Visitor::unknown(&parts, &app).and_then(|visitor| {
        visitor.check_origin(&parts)?;
        let is_secure = app.options.tls.is_some();
        visitor.shared.sessions.end(&parts.headers, is_secure);
        let cookie = session::no_cookie(is_secure)?;
        Ok(([(header::SET_COOKIE, cookie)], Redirect::to(START)).into_response())
    });
    left.unwrap_or_else(IntoResponse::into_response)
}

/// The values of a form.
///
/// # Errors
/// When it is too long or not a form.
pub async fn form<T: serde::de::DeserializeOwned>(
    parts: &axum::http::request::Parts,
    body: axum::body::Body,
) -> Result<T> {
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(Failure::unsupported_body("the body must be a form"));
    }
    let too_long = |_| Failure::bad_request("the form is too long, or did not arrive");
    let bytes = to_bytes(body, FORM_BYTES_MAX).await.map_err(too_long)?;
    let malformed = || Failure::bad_request("the form is not well-formed");
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
    let uri: Uri = format!("/?{text}").parse().map_err(|_| malformed())?;
    let Query(form) = Query::try_from_uri(&uri).map_err(|_| malformed())?;
    Ok(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_leads_only_to_pages_of_the_console() {
        for good in ["/console", "/console?a=1", "/console/streams/a%2F1?at=3"] {
            assert!(is_page(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "//evil.example",
            "https://evil.example",
            "/consoles",
            "/console\\@evil.example",
            "/console/a\r\nb",
            "/console/a\0",
            "/console/a\tb",
            "/console/sign-out",
            "/v1/events",
        ] {
            assert!(!is_page(bad), "{bad}");
        }
    }
}
