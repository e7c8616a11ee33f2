//! Named subscriptions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::store::Checkpoint;

/// A claim of a named subscription.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ClaimView {
    /// The name.
    pub name: String,
    /// Proves the claim; greater than the tokens of earlier claims.
    pub token: u64,
    /// Everything up to this position is acknowledged.
    pub position: u64,
    /// The remaining time of the lease, in milliseconds.
    pub lease_ms: u64,
}

/// A named subscription.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NamedView {
    /// The name.
    pub name: String,
    /// Everything up to this position is acknowledged.
    pub position: u64,
    /// The remaining time of the owner's lease, in milliseconds; null when nobody owns it.
    pub held_ms: Option<u64>,
}

/// Named subscriptions.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NamedList {
    /// In the order of their names' bytes.
    pub subscriptions: Vec<NamedView>,
    /// The value of `after` for the next page; null at the end.
    pub next: Option<String>,
    /// Position of the last event in the log.
    pub head: u64,
}

impl NamedView {
    /// The view of a named subscription.
    pub fn of(checkpoint: Checkpoint) -> Self {
        Self {
            name: checkpoint.name,
            position: checkpoint.position.0,
            held_ms: checkpoint
                .held_for
                .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}
