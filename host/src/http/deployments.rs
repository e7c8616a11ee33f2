//! Deployments: which module is active under which name, and since when.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::params::{NamePath, Params};
use super::problem::{Code, Problem, Result};
use super::request::{JsonBytes, named_objects};
use super::{App, answer};
use crate::model::{Digest, Invalid, Settings, SettingsChange};
use crate::store::Deployment;

/// Which module to activate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentBody<'a> {
    /// SHA-256 of a component that was uploaded.
    #[serde(borrow)]
    digest: Cow<'a, str>,
    /// `skip`, or absent. This version makes no preflights.
    #[serde(borrow, default)]
    preflight: Option<Cow<'a, str>>,
    /// Names that are taken over from another component. Not taken by this version.
    #[serde(borrow, default)]
    take_over: Vec<Cow<'a, str>>,
    /// By name, how projections of the module are kept from now on. Those that are not named,
    /// and what is not said of one, stay as they are; at first async, and stop.
    #[serde(default, deserialize_with = "named_objects")]
    #[schema(value_type = BTreeMap<String, SettingsBody>)]
    projections: BTreeMap<String, SettingsBody>,
}

/// How a projection is to be kept.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsBody {
    /// `async`: behind the log; `inline`: in the transaction of the append, which fails with
    /// it; `live`: on demand, stored nowhere.
    #[serde(default)]
    lifecycle: Option<String>,
    /// What becomes of an event that can't be folded. `stop`: the projection stops before it;
    /// `skip`: it is left out, with a record; `park`: it waits, and so does what comes later
    /// for the same document.
    #[serde(default)]
    on_error: Option<String>,
}

impl SettingsBody {
    fn change(&self) -> std::result::Result<SettingsChange, Invalid> {
        let lifecycle = self.lifecycle.as_deref().map(str::parse).transpose()?;
        let on_error = self.on_error.as_deref().map(str::parse).transpose()?;
        Ok(SettingsChange {
            lifecycle,
            on_error,
        })
    }
}

/// How a projection is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingsView {
    /// `async`, `inline` or `live`.
    pub lifecycle: String,
    /// `stop`, `skip` or `park`.
    pub on_error: String,
}

impl SettingsView {
    fn of(settings: Settings) -> Self {
        Self {
            lifecycle: settings.lifecycle.to_string(),
            on_error: settings.on_error.to_string(),
        }
    }
}

/// One activation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeploymentView {
    /// The plan that it led to.
    pub plan: u64,
    /// Name of the module's manifest.
    pub name: String,
    /// The module.
    pub digest: String,
    /// When.
    #[schema(format = "date-time")]
    pub activated_at: String,
    /// By whom; null when the host does not know.
    pub activated_by: Option<String>,
    /// Whether it is in force.
    pub active: bool,
    /// By name, how the projections of the store were kept from then on.
    #[serde(default)]
    pub projections: BTreeMap<String, SettingsView>,
}

/// Activations.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct DeploymentList {
    /// The plan now; 0 before the first activation.
    pub plan: u64,
    /// Oldest first.
    pub deployments: Vec<DeploymentView>,
}

/// Activates a module under its manifest's name.
///
/// From one position on, everything of its category is decided by it. No command
/// fails because of that. Its projections are built from the first event on; one whose
/// version has risen is built anew beside the running one, which answers until then. One that
/// is to become inline is built first, and that is waited for, 5 s at most. The same module
/// may be activated again to say otherwise how its projections are kept.
#[utoipa::path(
    post, path = "/v1/deployments", tag = "deployments",
    request_body = DeploymentBody,
    responses(
        (status = 201, body = DeploymentView, description = "Active"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; the plan stands"),
    ),
)]
pub async fn activate(State(app): State<App>, params: Params, body: JsonBytes) -> Result<Response> {
    params.finish()?;
    let given: DeploymentBody<'_> = body.parse()?;
    match given.preflight.as_deref() {
        None | Some("skip") => {}
        Some(policy @ ("require" | "report")) => {
            return Err(Problem::bad_request(format!(
                "preflight {policy:?}: this version makes no preflights; activate with \"skip\""
            )));
        }
        Some(other) => {
            return Err(Problem::bad_request(format!(
                "preflight {other:?}: expected \"require\", \"report\" or \"skip\""
            )));
        }
    }
    if !given.take_over.is_empty() {
        let detail = "take_over: this version takes no names over";
        return Err(Problem::bad_request(detail));
    }
    let digest: Digest = given.digest.parse()?;
    let mut changes = BTreeMap::new();
    for (name, given) in &given.projections {
        let change = given.change();
        let change = change
            .map_err(|why| Problem::bad_request(format!("projections: {name}: {}", why.0)))?;
        changes.insert(name.clone(), change);
    }
    let deployment = app.host.activate_with(digest, None, &changes).await?;
    answer::json(StatusCode::CREATED, &view(deployment, true))
}

/// Lists every activation.
#[utoipa::path(
    get, path = "/v1/deployments", operation_id = "list_deployments", tag = "deployments",
    responses(
        (status = 200, body = DeploymentList, description = "Activations"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(State(app): State<App>, params: Params) -> Result<Response> {
    params.finish()?;
    answer::json(StatusCode::OK, &history(&app, None).await?)
}

/// Lists the activations under one name.
#[utoipa::path(
    get, path = "/v1/deployments/{name}", operation_id = "show_deployment", tag = "deployments",
    params(("name" = String, Path, description = "Name of a manifest")),
    responses(
        (status = 200, body = DeploymentList, description = "Activations"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn show(
    State(app): State<App>,
    NamePath(name): NamePath,
    params: Params,
) -> Result<Response> {
    params.finish()?;
    let list = history(&app, Some(&name)).await?;
    if list.deployments.is_empty() {
        let detail = format!("no module was ever activated under the name {name:?}");
        return Err(Box::new(Problem::new(Code::ModuleNotFound, detail)));
    }
    answer::json(StatusCode::OK, &list)
}

async fn history(app: &App, name: Option<&str>) -> Result<DeploymentList> {
    let all = app.host.deployments().await?;
    let mut newest = std::collections::HashMap::new();
    for deployment in &all {
        newest.insert(deployment.name.clone(), deployment.plan);
    }
    let wanted = all
        .into_iter()
        .filter(|deployment| name.is_none_or(|name| name == deployment.name));
    let deployments = wanted
        .map(|deployment| {
            let active = newest.get(&deployment.name) == Some(&deployment.plan);
            view(deployment, active)
        })
        .collect();
    Ok(DeploymentList {
        plan: app.host.plan().number,
        deployments,
    })
}

fn view(deployment: Deployment, active: bool) -> DeploymentView {
    let settings = deployment.projections.settings.into_iter();
    DeploymentView {
        plan: deployment.plan,
        name: deployment.name,
        digest: deployment.digest.to_string(),
        activated_at: deployment.activated_at.to_string(),
        activated_by: deployment.activated_by,
        active,
        projections: settings
            .map(|(name, settings)| (name, SettingsView::of(settings)))
            .collect(),
    }
}
