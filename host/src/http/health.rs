//! Whether the process lives, and whether it can work.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Problem, Result};
use super::{App, answer};

/// How the host is.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok` or `ready`.
    status: &'static str,
}

/// Answers as long as the process lives.
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    responses((status = 200, body = Health, description = "It lives")),
)]
pub async fn live() -> Result<Response> {
    answer::json(StatusCode::OK, &Health { status: "ok" })
}

/// Answers when the store can be read and the modules are loaded.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, body = Health, description = "It is ready"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "It is not"),
    ),
)]
pub async fn ready(State(app): State<App>) -> Result<Response> {
    // What is active was loaded before the server began to listen.
    app.host.log_head().await?;
    answer::json(StatusCode::OK, &Health { status: "ready" })
}
