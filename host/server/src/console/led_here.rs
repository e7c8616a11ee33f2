//! Links on other sites that lead to a page of the console.

use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use maud::html;

use super::{ConsoleMode, layout, protected, with_no_store};
use crate::App;
use crate::administration::Serves;
use crate::pages;

const FETCH_SITE: &str = "sec-fetch-site";

/// The answer to a browser that follows a link on another site: a page with a link to the same
/// address. A browser does not send the session with the first request, but with the second one. None
/// for every other request.
pub fn page(app: &App, mut request: Request) -> Option<Response> {
    let path = request.uri().path();
    let is_page = path == "/" || path == "/console" || path.starts_with("/console/");
    let is_here = app.serves == Serves::Everything && app.options.console.mode != ConsoleMode::Off;
    let says = |name: &str, value: &str| {
        let given = request.headers().get(name);
        given.is_some_and(|given| given.as_bytes() == value.as_bytes())
    };
    let is_link = request.method() == Method::GET
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
        && !request.headers().contains_key(header::ORIGIN);
    if !is_page || !is_here || !is_link {
        return None;
    }
    // Without it, only a wrong name of the host is left to be refused.
    request.headers_mut().remove(FETCH_SITE);
    pages::check(&request, &app.options).ok()?;
    let here = request
        .uri()
        .path_and_query()
        .map_or("/console", |it| it.as_str());
    let body = html! {
        main #main tabindex="-1" {
            h1 { "A link led here" }
            p { "You followed a link on another site. Continue to see the page with your session." }
            p { a href=(here) { "Continue" } }
        }
    };
    let page = layout::respond(StatusCode::OK, "A link led here", &body);
    let mut page = protected(with_no_store(page));
    pages::protect(&mut page, None);
    Some(page)
}
