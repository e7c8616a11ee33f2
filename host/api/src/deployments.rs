//! Deployments: which module is active under which name, and since when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::model::Settings;
use quipu::store::{Deployment, PreflightSummary};

use crate::{ObjectionView, ReleaseChangeView, choices};

/// Activations.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeploymentList {
    /// The current plan; 0 before the first activation.
    pub plan: u64,
    /// Oldest first.
    pub deployments: Vec<DeploymentView>,
}

/// One activation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeploymentView {
    /// The plan that the activation created.
    pub plan: u64,
    /// Name of the module's manifest.
    pub name: String,
    /// The module.
    pub digest: String,
    /// The other components of the release, which became active in the same plan. Absent for a
    /// single component.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<MemberView>,
    /// When the activation happened.
    #[schema(format = "date-time")]
    pub activated_at: String,
    /// Who activated it; null when the host does not know.
    pub activated_by: Option<String>,
    /// Whether the activation is in force: the module is active under its name.
    pub active: bool,
    /// Settings of the store's projections from this activation on, by name.
    #[serde(default)]
    pub projections: BTreeMap<String, SettingsView>,
    /// The result of the preflight; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<SummaryView>,
}

/// Another component of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberView {
    /// Name of its manifest.
    pub name: String,
    /// The module; null: nothing is active under the name any more.
    pub digest: Option<String>,
}

/// The settings of a projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingsView {
    /// `async`, `inline` or `live`.
    #[schema(value_type = choices::Lifecycle)]
    pub lifecycle: String,
    /// `stop`, `skip` or `park`.
    #[schema(value_type = choices::OnError)]
    pub on_error: String,
}

/// The result of a preflight, without its examples.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SummaryView {
    /// Whether nothing blocked the module.
    pub passes: bool,
    /// The plan on which the preflight ran.
    pub plan: u64,
    /// Position up to which the log was checked.
    pub until: u64,
    /// Position of the end of the log.
    pub head: u64,
    /// Recorded commands that were re-decided.
    pub decided: u64,
    /// Of these, commands with the same result.
    pub same: u64,
    /// Objections to the module: the first 100.
    pub objections: Vec<ObjectionView>,
    /// What the release changes for callers, readers and others, as in the result of a preflight.
    /// Only in the answer to the request that activates it, because the history does not store it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ReleaseChangeView>,
}

impl DeploymentView {
    /// The view of an activation.
    pub fn of(deployment: Deployment, active: bool) -> Self {
        let settings = deployment.projections.settings.into_iter();
        let others = deployment.others.into_iter().map(|other| MemberView {
            name: other.name,
            digest: other.digest.map(|digest| digest.to_string()),
        });
        Self {
            plan: deployment.plan,
            name: deployment.name,
            digest: deployment.digest.to_string(),
            others: others.collect(),
            activated_at: deployment.activated_at.to_string(),
            activated_by: deployment.activated_by,
            active,
            projections: settings
                .map(|(name, settings)| (name, SettingsView::of(settings)))
                .collect(),
            preflight: deployment.preflight.map(SummaryView::of),
        }
    }
}

impl SettingsView {
    fn of(settings: Settings) -> Self {
        Self {
            lifecycle: settings.lifecycle.to_string(),
            on_error: settings.on_error.to_string(),
        }
    }
}

impl SummaryView {
    fn of(summary: PreflightSummary) -> Self {
        let objections = summary.objections.into_iter();
        Self {
            passes: summary.passes,
            plan: summary.plan,
            until: summary.until,
            head: summary.head,
            decided: summary.decided,
            same: summary.same,
            objections: objections
                .map(|objection| ObjectionView {
                    kind: objection.kind,
                    count: objection.count,
                    blocks: objection.blocks,
                    text: objection.text,
                })
                .collect(),
            changes: Vec::new(),
        }
    }
}
