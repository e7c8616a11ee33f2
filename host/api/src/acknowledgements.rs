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
    /// The findings in the order of their names.
    pub acknowledgements: Vec<AcknowledgementView>,
    /// The value of `after` for the next page; null at the end.
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
