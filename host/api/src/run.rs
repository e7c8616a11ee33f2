//! The lines that a long run answers: progress, then its result.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{DeploymentView, PreflightView, Problem, ShadowView, VerifiedView};

/// A line of the answer. The last one is no progress.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunLine {
    /// How far it has come.
    Progress(ProgressView),
    /// What a verification found.
    Verified(Box<VerifiedView>),
    /// What a preflight found.
    Preflight(Box<PreflightView>),
    /// What came of a shadow so far.
    Shadow(Box<ShadowView>),
    /// The activation that it led to.
    Deployment(Box<DeploymentView>),
    /// It did not come to its end.
    Problem(Box<Problem>),
}

/// How far a run has come.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// Everything up to here has been read.
    pub position: u64,
    /// Where it ends.
    pub head: u64,
}
