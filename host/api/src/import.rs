//! The result of an import.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::transfer::Imported;

/// The contents of an import.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ImportView {
    /// Components in the file.
    pub modules: u64,
    /// Activations in the file.
    pub plans: u64,
    /// Events in the file that are dropped from projections.
    #[serde(default)]
    pub dropped: u64,
    /// Imported events.
    pub events: u64,
    /// Events that an earlier, interrupted import had imported.
    pub skipped: u64,
    /// Archived streams in the file.
    pub streams: u64,
    /// Truncated streams in the file.
    pub anchors: u64,
    /// Position of the store's last event.
    pub head: u64,
}

impl ImportView {
    /// The view of an import.
    pub fn of(imported: &Imported) -> Self {
        Self {
            modules: imported.modules,
            plans: imported.plans,
            dropped: imported.dropped,
            events: imported.events,
            skipped: imported.skipped,
            streams: imported.streams,
            anchors: imported.anchors,
            head: imported.head.0,
        }
    }
}
