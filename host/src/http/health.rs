//! Whether the process lives, whether it can work, and what it has done.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::params::Params;
use super::problem::{Problem, Result};
use super::{App, ProjectionView, answer};
use crate::projection;

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

/// What a host does now, and has done since it was started.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Number of the plan; 0 before the first activation.
    pub plan: u64,
    /// Commands and appends in flight.
    pub in_flight: u64,
    /// Transactions that appended, each with one flush.
    pub batches: u64,
    /// Subscriptions of all kinds.
    pub subscriptions: u64,
    /// Snapshots.
    pub snapshots: SnapshotCounts,
    /// Projections of the store, in short.
    #[serde(default)]
    pub projections: Vec<ProjectionState>,
}

/// How a projection stands, in short.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProjectionState {
    /// Its name.
    pub name: String,
    /// What its active build does, as in `GET /v1/projections`.
    pub state: String,
    /// Positions of the log that it is behind; absent of a live one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
}

impl ProjectionState {
    fn of(status: &projection::Status) -> Self {
        let view = ProjectionView::of(status);
        Self {
            lag: view
                .main_build()
                .filter(|_| view.state != "live")
                .map(|build| build.lag),
            name: view.name,
            state: view.state,
        }
    }
}

/// What became of snapshots.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SnapshotCounts {
    /// Streams that were loaded from a snapshot.
    pub used: u64,
    /// Snapshots that were stored.
    pub taken: u64,
    /// Snapshots that could not be taken or stored.
    pub failed: u64,
    /// Snapshots that were not used, by reason; their streams were folded from the events.
    pub ignored: BTreeMap<String, u64>,
    /// Streams that came within a tenth of the length that their category allows.
    pub near_length: u64,
}

/// Tells what this host does, and has done since it was started.
///
/// Other hosts on the same store count for themselves.
#[utoipa::path(
    get, path = "/v1/status", tag = "health",
    responses(
        (status = 200, body = Status, description = "The host"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn status(State(app): State<App>, params: Params) -> Result<Response> {
    params.finish()?;
    let host = &app.host;
    let counts = host.snapshot_counts();
    let projections = match host.projections().await {
        // What the host has done is told to its end.
        Err(projection::Error::Stopped) => Vec::new(),
        projections => projections?,
    };
    let ignored = counts.ignored.into_iter();
    let status = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        plan: host.plan().number,
        in_flight: host.in_flight() as u64,
        batches: host.batches(),
        subscriptions: host.subscriptions() as u64,
        snapshots: SnapshotCounts {
            used: counts.used,
            taken: counts.taken,
            failed: counts.failed,
            ignored: ignored.map(|(why, n)| (why.to_owned(), n)).collect(),
            near_length: counts.near_length,
        },
        projections: projections.iter().map(ProjectionState::of).collect(),
    };
    answer::json(StatusCode::OK, &status)
}
