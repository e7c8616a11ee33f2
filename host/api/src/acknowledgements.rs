//! Acknowledged findings.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::store::Acknowledgement;

/// An acknowledged finding.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AcknowledgementView {
    /// The finding's name.
    pub finding: String,
    /// Why it is acknowledged.
    pub reason: String,
    /// When it was acknowledged.
    #[schema(format = "date-time")]
    pub at: String,
    /// Who acknowledged it; null when the host does not know.
    pub by: Option<String>,
}

/// Acknowledged findings.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AcknowledgementList {
    /// In the order of their names.
    pub acknowledgements: Vec<AcknowledgementView>,
    /// The name to go on `after`; null at the end.
    pub next: Option<String>,
}

impl AcknowledgementView {
    /// The view of an acknowledgement.
    pub fn of(acknowledgement: Acknowledgement) -> Self {
        Self {
            finding: acknowledgement.finding.into(),
            reason: acknowledgement.reason.into(),
            at: acknowledgement.at.to_string(),
            by: acknowledgement.by.map(Into::into),
        }
    }
}
