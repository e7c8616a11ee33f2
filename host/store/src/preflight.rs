//! The summary of a preflight in the history of the plan.

use serde::{Deserialize, Serialize};

use super::{Error, Result};

/// The result of a preflight, without its examples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreflightSummary {
    /// Whether nothing blocked the module.
    pub passes: bool,
    /// The plan on which the preflight was made.
    pub plan: u64,
    /// Position up to which the log was checked.
    pub until: u64,
    /// The end of the log.
    pub head: u64,
    /// Recorded commands that were re-decided.
    pub decided: u64,
    /// Those of them with the same result.
    pub same: u64,
    /// Objections to the module: the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objections: Vec<SummaryObjection>,
}

/// An objection to a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SummaryObjection {
    /// Name of its kind.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// Whether it blocked.
    pub blocks: bool,
    /// For people.
    pub text: String,
}

/// Encodes it for the history of the plan.
pub(super) fn to_json(summary: Option<&PreflightSummary>) -> Option<String> {
    summary.map(|summary| serde_json::to_string(summary).expect("JSON holds texts and numbers"))
}

/// Decodes it from the history of the plan.
pub(super) fn of_json(text: Option<&str>) -> Result<Option<PreflightSummary>> {
    let summary = text.map(serde_json::from_str).transpose();
    summary.map_err(|error| Error::Damaged(format!("what a preflight said: {error}")))
}
