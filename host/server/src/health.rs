//! Whether the process lives, whether it can work, and what it has done.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::params::Params;
use super::problem::{Code, Problem, Result};
use super::{App, ProjectionView, answer, choices};
use quipu::app::{Check, STORE_READER, STORE_WRITER};
use quipu::projection;

/// How the host is.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    status: &'static str,
}

/// That the host can work, and how what it needs is.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    /// `ready`.
    status: &'static str,
    /// What was looked at.
    checks: Vec<CheckView>,
}

/// How something is that callers need.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CheckView {
    /// `writer`, `reader`, or a part of the host that runs by itself, as `committer`,
    /// `worker 1` or `listener`.
    pub name: String,
    /// Whether it works.
    pub is_ready: bool,
    /// Why it does not work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// How often it panicked and was restarted since the host was started; absent: never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u64,
    /// What the last panic said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

impl CheckView {
    fn of(check: &Check) -> Self {
        Self {
            name: check.name.clone(),
            is_ready: check.fault.is_none(),
            fault: match &*check.name {
                // What a store says may name what is not for everyone.
                STORE_WRITER | STORE_READER => {
                    let told = check.fault.as_ref();
                    told.map(|_| "the store is not available; the host's log says why".to_owned())
                }
                _ => check.fault.clone(),
            },
            restarts: check.restarts,
            cause: check.cause.clone(),
        }
    }
}

// Serde hands it over so.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How long it is looked whether the host is ready, so that the answer comes within a second.
const READY_WAIT: Duration = Duration::from_millis(900);

/// Answers as long as the process lives.
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    responses((status = 200, body = Health, description = "It lives")),
)]
pub async fn live() -> Result<Response> {
    answer::json(StatusCode::OK, &Health { status: "ok" })
}

/// Answers within a second whether commands can be executed: the store can be written and read,
/// and every part of the host that callers need works.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    responses(
        (status = 200, body = Ready, description = "It is ready"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "It is not: `not-ready`, with `checks`"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "It is not"),
    ),
)]
pub async fn ready(State(app): State<App>) -> Result<Response> {
    // What is active was loaded before the server began to listen.
    let readiness = app.host.readiness(READY_WAIT).await;
    let checks: Vec<_> = readiness.checks.iter().map(CheckView::of).collect();
    for check in &readiness.checks {
        if let Some(fault) = &check.fault {
            tracing::warn!(name = %check.name, %fault, "not ready");
        }
    }
    if readiness.is_ready() {
        let ready = Ready {
            status: "ready",
            checks,
        };
        return answer::json(StatusCode::OK, &ready);
    }
    let faults = checks.iter().filter_map(|check| {
        let fault = check.fault.as_ref()?;
        Some(format!("{}: {fault}", check.name))
    });
    let faults: Vec<_> = faults.collect();
    let mut problem = Problem::new(Code::NotReady, faults.join("; "));
    problem.checks = Some(checks);
    Err(Box::new(problem))
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
    #[schema(value_type = choices::ProjectionStatus)]
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
