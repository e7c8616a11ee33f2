//! Deployments: which module is active under which name, and since when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::model::Settings;
use quipu::store::{Deployment, PreflightSummary};

use crate::{ObjectionView, choices};

/// Activations.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeploymentList {
    /// The plan now; 0 before the first activation.
    pub plan: u64,
    /// Oldest first.
    pub deployments: Vec<DeploymentView>,
}

/// One activation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DeploymentView {
    /// The plan that it led to.
    pub plan: u64,
    /// Name of the module's manifest.
    pub name: String,
    /// The module.
    pub digest: String,
    /// The other components of its release, which became active in the same plan. Absent where
    /// it has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<MemberView>,
    /// When.
    #[schema(format = "date-time")]
    pub activated_at: String,
    /// By whom; null when the host does not know.
    pub activated_by: Option<String>,
    /// Whether it is in force: the module is active under its name.
    pub active: bool,
    /// By name, how the projections of the store were kept from then on.
    #[serde(default)]
    pub projections: BTreeMap<String, SettingsView>,
    /// What the preflight before it said; absent without one.
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

/// How a projection is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingsView {
    /// `async`, `inline` or `live`.
    #[schema(value_type = choices::Lifecycle)]
    pub lifecycle: String,
    /// `stop`, `skip` or `park`.
    #[schema(value_type = choices::OnError)]
    pub on_error: String,
}

/// What a preflight said, without its examples.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SummaryView {
    /// Whether nothing blocked the module.
    pub passes: bool,
    /// The plan on which it was looked at.
    pub plan: u64,
    /// Position up to which the log was looked at.
    pub until: u64,
    /// Where the log ended.
    pub head: u64,
    /// Recorded commands that were decided again.
    pub decided: u64,
    /// Of these, those that came to the same.
    pub same: u64,
    /// What spoke against it: the first 100.
    pub objections: Vec<ObjectionView>,
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
        }
    }
}
