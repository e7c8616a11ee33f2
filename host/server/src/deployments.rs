//! Deployments: which module is active under which name, and since when.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::failure::{Failure, Result};
use super::params::{DeploymentPath, Params, Segments};
use super::{App, answer};
use quipu_api::{Code, DeploymentList, DeploymentView, Problem};

/// Lists every activation.
#[utoipa::path(
    get, path = "/v1/deployments", operation_id = "list_deployments", tag = "deployments",
    security(("token" = ["read"])),
    responses(
        (status = 200, body = DeploymentList, description = "Activations"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(State(app): State<App>, _: Params<()>) -> Result<Response> {
    answer::json(StatusCode::OK, &history(&app, None).await?)
}

/// Lists the activations under one name.
#[utoipa::path(
    get, path = "/v1/deployments/{name}", operation_id = "show_deployment", tag = "deployments",
    security(("token" = ["read"])),
    params(DeploymentPath),
    responses(
        (status = 200, body = DeploymentList, description = "Activations"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn show(
    State(app): State<App>,
    Segments(DeploymentPath { name }): Segments<DeploymentPath>,
    _: Params<()>,
) -> Result<Response> {
    let list = history(&app, Some(&name)).await?;
    if list.deployments.is_empty() {
        let detail = format!("no module was ever activated under the name {name:?}");
        return Err(Failure::new(Code::ModuleNotFound, detail));
    }
    answer::json(StatusCode::OK, &list)
}

async fn history(app: &App, name: Option<&str>) -> Result<DeploymentList> {
    let all = app.host.deployments().await?;
    let mut newest = std::collections::HashMap::new();
    for deployment in &all {
        for (name, _) in deployment.members() {
            newest.insert(name.to_owned(), deployment.plan);
        }
    }
    let wanted = all
        .into_iter()
        .filter(|it| name.is_none_or(|name| it.members().any(|(member, _)| member == name)));
    let deployments = wanted
        .map(|deployment| {
            let active = newest.get(&deployment.name) == Some(&deployment.plan);
            DeploymentView::of(deployment, active)
        })
        .collect();
    Ok(DeploymentList {
        plan: app.host.plan().number,
        deployments,
    })
}
