//! Liveness and readiness of the process, and its counters.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::failure::{Failure, Result};
use super::params::Params;
use super::{App, answer, draining};
use quipu::app::STORE_WRITER;
use quipu::model::SharedThrottle;
use quipu::projection;
use quipu::store::{Job, LastJobs};
use quipu_api::{CheckView, Code, LostEvents, Problem, ProjectionState, SnapshotCounts, Status};

/// Whether the host is alive.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    status: &'static str,
}

/// Whether the host can work, with the state of its parts.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    /// `ready`.
    status: &'static str,
    /// What was checked.
    checks: Vec<CheckView>,
}

/// Time limit of the readiness check, so that the answer comes within a second.
const READY_WAIT: Duration = Duration::from_millis(900);

/// Limits log entries about readiness: balancers ask every second.
static SAID: SharedThrottle = SharedThrottle::new();

/// Answers as long as the process is alive.
#[utoipa::path(
    get, path = "/healthz", tag = "health",
    security(()),
    responses((status = 200, body = Health, description = "The process is alive")),
)]
pub async fn live() -> Result<Response> {
    answer::json(StatusCode::OK, &Health { status: "ok" })
}

/// Answers within a second whether the host can execute commands: the store can be written and
/// read, and every part of the host that callers need works.
#[utoipa::path(
    get, path = "/readyz", tag = "health",
    security(()),
    responses(
        (status = 200, body = Ready, description = "The host is ready"),
        (status = 503, body = Problem, content_type = "application/problem+json", description = "The host is not ready: `not-ready`, with `checks`"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "The host is not ready"),
    ),
)]
pub async fn ready(State(app): State<App>) -> Result<Response> {
    draining::check(&app)?;
    // The active modules were loaded before the server began to listen.
    let readiness = app.host.readiness(READY_WAIT).await;
    let mut checks: Vec<_> = readiness.checks.iter().map(CheckView::of).collect();
    // Its text has no details of the database.
    if let Some(loss) = app.host.lost()
        && let Some(writer) = checks.iter_mut().find(|it| it.name == STORE_WRITER)
        && !writer.is_ready
    {
        writer.fault = Some(loss.to_string());
    }
    for check in &readiness.checks {
        if let Some(fault) = &check.fault {
            let name = &*check.name;
            if let Some(left_out) = SAID.pass(&format!("{name}: {fault}")) {
                tracing::warn!(%fault, name, left_out, "not ready");
            }
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
    Err(Failure(Box::new(problem)))
}

/// Shows the current state of this host, and its counters since it was started.
///
/// Other hosts on the same store have their own counters.
#[utoipa::path(
    get, path = "/v1/status", tag = "health",
    security(("token" = ["observe"])),
    responses(
        (status = 200, body = Status, description = "The status of the host"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn status(State(app): State<App>, _: Params<()>) -> Result<Response> {
    let host = &app.host;
    let counts = host.snapshot_counts();
    let (projections, last) = match host.projections().await {
        // The counters are reported until the host has shut down.
        Err(projection::Error::Stopped) => (Vec::new(), LastJobs::default()),
        projections => (projections?, host.last_jobs().await?),
    };
    let at = |job| last.of(job).map(|at| at.to_string());
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
        lost: host.lost().as_ref().map(LostEvents::of),
        last_backup_at: at(Job::Backup),
        last_ship_at: at(Job::Ship),
        last_verify_at: at(Job::Verify),
        projections: projections.iter().map(ProjectionState::of).collect(),
    };
    answer::json(StatusCode::OK, &status)
}
