//! Deployments: which module is active under which name, and since when.

use std::borrow::Cow;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::params::{NamePath, Params};
use super::problem::{Code, Problem, Result};
use super::request::JsonBytes;
use super::{App, answer};
use crate::model::Digest;
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
/// fails because of that.
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
    let deployment = app.host.activate(digest, None).await?;
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
    DeploymentView {
        plan: deployment.plan,
        name: deployment.name,
        digest: deployment.digest.to_string(),
        activated_at: deployment.activated_at.to_string(),
        activated_by: deployment.activated_by,
        active,
    }
}
