//! The answer lines of a long run: progress, then the result.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{DeploymentView, PreflightView, Problem, ShadowView, VerifiedView};

/// A line of the answer. The last one is not `progress`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunLine {
    /// The progress of the run.
    Progress(ProgressView),
    /// The result of a verification.
    Verified(Box<VerifiedView>),
    /// The result of a preflight.
    Preflight(Box<PreflightView>),
    /// The result of a shadow so far.
    Shadow(Box<ShadowView>),
    /// The activation that the run led to.
    Deployment(Box<DeploymentView>),
    /// The run did not finish.
    Problem(Box<Problem>),
}

/// The progress of a run.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// Everything up to here has been read.
    pub position: u64,
    /// The position at which the run ends.
    pub head: u64,
}
