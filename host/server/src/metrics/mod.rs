//! The measurements of a host for Prometheus.
//!
//! Numbers of the process are read at each request. Figures of the store are read in the background
//! at most every 5 s, and only while somebody asks, so a store that does not answer delays nobody.

mod families;
mod host;
mod page;
mod process;
mod sample;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::failure::Result;
use super::params::Params;
use quipu_api::Problem;

pub(super) use sample::Sampler;

/// The format and its version.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Shows the measurements of this host for Prometheus, within a second.
///
/// Counters begin with the host. Figures of the store can be some seconds old:
/// `quipu_store_figures_age_seconds` says how old.
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    security(("token" = ["observe"])),
    responses(
        (status = 200, body = String, content_type = "text/plain; version=0.0.4; charset=utf-8", description = "The measurements"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn metrics(State(app): State<App>, _: Params<()>) -> Result<Response> {
    let sample = app.sampler.sample(&app.host).await;
    // It reads files, some of which list all connections.
    let process = tokio::task::spawn_blocking(process::Process::read).await;
    let process = process.unwrap_or_default();
    let text = families::text(&app, &sample, &process);
    let kind = HeaderValue::from_static(TEXT);
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
