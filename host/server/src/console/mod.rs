//! The console: pages about the host and its store for a web browser.
//!
//! Every page asks the operations of the HTTP interface in the name of its reader, through the same
//! router. So the console shows nothing that its reader could not read there. It reads without
//! scripts, and everything on it is in this program.

mod act;
mod activations;
mod assets;
mod backups;
mod charts;
mod described;
mod documents;
mod domain;
mod event;
mod example;
mod findings;
mod history;
mod judged;
mod layout;
mod led_here;
mod live;
mod log;
mod modules;
mod operations;
mod options;
mod overview;
mod previews;
mod projections;
mod proposals;
mod rates;
mod recent;
mod rejections;
mod search;
mod session;
mod shadows;
mod sign_in;
mod steps;
mod stream;
mod streams;
mod subscriptions;
mod text;
mod trace;
mod views;
mod visitor;

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::{Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};

use super::App;
use super::administration::Serves;
use visitor::Shared;

pub use led_here::page as led_here;
pub use options::{Console, ConsoleMode, ConsoleSetting};

/// Only files and addresses of the host itself; nobody shows a page within another.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The pages, if this address has them. They ask `api`.
pub fn routes(app: &App, api: impl FnOnce() -> Router) -> Option<Router<App>> {
    // With an address of its own, administration is at home there.
    let is_here = app.serves == Serves::Everything;
    if !is_here || app.options.console.mode == ConsoleMode::Off {
        return None;
    }
    let shared = Shared {
        api: api(),
        sessions: session::Sessions::default(),
        rates: rates::Rates::default(),
        recent: recent::Recent::begin(app.host.clone(), app.ending.clone()),
        history: charts::History::default(),
        live: live::Places::default(),
        shadow: shadows::Begun::default(),
    };
    let mut pages = Router::new()
        .route("/", get(async || Redirect::to("/console")))
        .route("/console", get(overview::show))
        .route("/console/search", get(search::show))
        .route("/console/streams", get(streams::show))
        .route("/console/streams/{stream}", get(stream::show))
        .route("/console/streams/{stream}/diff", get(stream::diff))
        .route("/console/events/{position}", get(event::show))
        .route("/console/trace", get(trace::show))
        .route("/console/log", get(log::show))
        .route("/console/log/live", get(live::show))
        .route("/console/rejections", get(rejections::show))
        .route("/console/modules", get(modules::list))
        .route("/console/modules/{digest}", get(modules::show))
        .route("/console/deployments/{plan}", get(modules::deployment))
        .route("/console/shadow", get(shadows::show))
        .route("/console/projections", get(projections::list))
        .route("/console/projections/{name}", get(projections::show))
        .route(
            "/console/projections/{name}/documents",
            get(documents::show),
        )
        .route("/console/projections/{name}/steps", get(steps::show))
        .route(
            "/console/preview",
            get(previews::show).post(previews::decide),
        )
        .route("/console/proposals", get(proposals::list))
        .route("/console/proposals/{number}", get(proposals::show))
        .route(subscriptions::PATH, get(subscriptions::list))
        .route("/console/domain", get(domain::show))
        .route("/console/operations", get(operations::show))
        .route("/console/audit", get(operations::audit))
        .route("/console/sign-in", post(sign_in::enter))
        .route("/console/sign-out", post(sign_in::leave));
    if app.options.console.mode == ConsoleMode::Full {
        pages = pages.route("/console/act", get(act::confirm).post(act::perform));
    }
    let pages = pages
        .layer(Extension(Arc::new(shared)))
        .layer(map_response(async |it: Response| with_no_store(it)));
    let assets = Router::new().route("/console/assets/{digest}/{name}", get(assets::serve));
    Some(
        pages
            .merge(assets)
            .layer(map_response(async |it: Response| protected(it))),
    )
}

/// A page shows what its reader may read: nobody keeps it.
fn with_no_store(mut response: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, no_store);
    response
}

/// What a browser must know of every page.
fn protected(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Without a referrer, forms would be sent without their origin.
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
