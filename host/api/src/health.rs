//! The state of a host and of its parts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::app::{Check, STORE_READER, STORE_WRITER};
use quipu::projection;
use quipu::store::Loss;

use crate::{ProjectionView, choices};

/// The state of a part of the host that callers need.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CheckView {
    /// `writer`, `reader`, or a background part of the host, such as `committer`, `worker 1` or
    /// `listener`.
    pub name: String,
    /// Whether it works.
    pub is_ready: bool,
    /// Why it does not work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// How often it panicked and was restarted since the host was started; absent if it never did.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub restarts: u64,
    /// The message of the last panic.
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
                // The message of a store may contain details that not every caller should see.
                STORE_WRITER | STORE_READER => {
                    let fault = check.fault.as_ref();
                    fault.map(|_| match check.cause_of_store {
                        Some(cause) => format!("{cause}; the host's log says more"),
                        None => "the store is not available; the host's log says why".to_owned(),
                    })
                }
                _ => check.fault.clone(),
            },
            restarts: check.restarts,
            cause: check.cause.clone(),
        }
    }
}

// Serde requires this signature.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The current state of a host, and its counters since it was started.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// The number of the current plan; 0 before the first activation.
    pub plan: u64,
    /// Commands and appends in flight.
    pub in_flight: u64,
    /// Transactions that appended events, each with one flush.
    pub batches: u64,
    /// Subscriptions of all kinds.
    pub subscriptions: u64,
    /// Snapshots.
    pub snapshots: SnapshotCounts,
    /// Acknowledged events that the store does not have any more, as far as this host knows; absent
    /// while nothing is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<LostEvents>,
    /// When the last backup of the store was begun that was reported; null without one.
    #[serde(default)]
    #[schema(format = "date-time")]
    pub last_backup_at: Option<String>,
    /// When `quipu ship` last had everything; null if it never ran.
    #[serde(default)]
    #[schema(format = "date-time")]
    pub last_ship_at: Option<String>,
    /// When a run of verify over the whole history was last begun that had no finding; null without
    /// one.
    #[serde(default)]
    #[schema(format = "date-time")]
    pub last_verify_at: Option<String>,
    /// Short status of the store's projections.
    #[serde(default)]
    pub projections: Vec<ProjectionState>,
}

/// Acknowledged events that a promoted standby lacks.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LostEvents {
    /// The first position with a lost event.
    pub from: u64,
    /// The last position with a lost event that a host knows.
    pub to: u64,
    /// What an operator has to do.
    pub text: String,
}

impl LostEvents {
    /// The view of a loss.
    pub fn of(loss: &Loss) -> Self {
        Self {
            from: loss.from,
            to: loss.to,
            text: loss.to_string(),
        }
    }
}

/// Short status of a projection.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ProjectionState {
    /// Its name.
    pub name: String,
    /// The state of its active build, as in `GET /v1/projections`.
    #[schema(value_type = choices::ProjectionStatus)]
    pub state: String,
    /// Its lag in positions of the log; absent for a live projection.
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

/// Counters of snapshots.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SnapshotCounts {
    /// Streams that were loaded from a snapshot.
    pub used: u64,
    /// Snapshots that were stored.
    pub taken: u64,
    /// Snapshots that could not be taken or stored.
    pub failed: u64,
    /// Snapshots that were not used, by reason; their streams were replayed from the events.
    pub ignored: BTreeMap<String, u64>,
    /// Streams whose length came within a tenth of the limit of their category.
    pub near_length: u64,
}
