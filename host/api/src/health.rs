//! The state of a host and of its parts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::app::{Check, STORE_READER, STORE_WRITER};
use quipu::projection;

use crate::{ProjectionView, choices};

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
    /// The view of a check.
    pub fn of(check: &Check) -> Self {
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
    /// The view of a projection's status.
    pub fn of(status: &projection::Status) -> Self {
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
