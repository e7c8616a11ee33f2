//! Named subscriptions.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::store::Checkpoint;

/// A claim of a named subscription.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ClaimView {
    /// The name.
    pub name: String,
    /// Proves the claim; greater than those before it.
    pub token: u64,
    /// Everything up to here is acknowledged.
    pub position: u64,
    /// For how long the name is held from now on, in milliseconds.
    pub lease_ms: u64,
}

/// A named subscription.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NamedView {
    /// The name.
    pub name: String,
    /// Everything up to here is acknowledged.
    pub position: u64,
    /// For how long from now on an owner holds it, in milliseconds; null when nobody does.
    pub held_ms: Option<u64>,
}

/// Named subscriptions.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NamedList {
    /// In the order of their names' bytes.
    pub subscriptions: Vec<NamedView>,
    /// The name to go on `after`; null at the end.
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
