//! Deployments: which module is active under which name, and since when.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::params::{NamePath, Params};
use super::preflights::{PreflightView, TIME_MS};
use super::problem::{Code, Problem, Result};
use super::request::{JsonBytes, OptionalJson, named_objects};
use super::{App, answer};
use crate::model::{Digest, Invalid, Settings, SettingsChange};
use crate::proof::{Policy, Scope};
use crate::store::Deployment;

/// Which module to activate.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentBody<'a> {
    /// SHA-256 of a component that was uploaded.
    #[serde(borrow)]
    digest: Cow<'a, str>,
    /// `require`: it is activated if a preflight of up to 60 s passes; `report`: whatever that
    /// says; `skip`: without one. Absent: `require` where it takes the place of another
    /// decider, else `skip`.
    #[serde(borrow, default)]
    preflight: Option<Cow<'a, str>>,
    /// Kinds of objections that do not block it, besides `fuel` and `snapshot`.
    #[serde(default)]
    allow: Vec<String>,
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
    /// What the preflight said; only in the answer to an activation, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight: Option<PreflightView>,
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
/// is to become inline is built first, and that is waited for, 5 s at most. A module that takes
/// the place of another decider is looked at by a preflight first. The same module may be activated again to say otherwise how its projections are kept.
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
    let asked = Asked::of(given.preflight.as_deref(), &given.allow)?;
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
    let found = asked.preflight(&app, digest).await?;
    let deployment = app.host.activate_with(digest, None, &changes).await?;
    let view = DeploymentView {
        preflight: found,
        ..view(deployment, true)
    };
    answer::json(StatusCode::CREATED, &view)
}

/// What becomes of a preflight before an activation.
struct Asked {
    /// None: it is required where another decider is replaced.
    demand: Option<Demand>,
    policy: Policy,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Demand {
    Require,
    Report,
    Skip,
}

impl Asked {
    fn of(preflight: Option<&str>, allow: &[String]) -> std::result::Result<Self, Invalid> {
        let demand = match preflight {
            None => None,
            Some("require") => Some(Demand::Require),
            Some("report") => Some(Demand::Report),
            Some("skip") => Some(Demand::Skip),
            Some(other) => {
                return Err(Invalid(format!(
                    "preflight {other:?}: expected \"require\", \"report\" or \"skip\""
                )));
            }
        };
        let policy = Policy::allowing(allow)?;
        Ok(Self { demand, policy })
    }

    /// Looks at the module, if that is demanded. What was found, if it is to be activated.
    async fn preflight(&self, app: &App, digest: Digest) -> Result<Option<PreflightView>> {
        let demand = match self.demand {
            Some(demand) => demand,
            None => self.usual(app, digest).await?,
        };
        if demand == Demand::Skip {
            return Ok(None);
        }
        let scope = Scope {
            time: Some(Duration::from_millis(TIME_MS)),
            ..Scope::default()
        };
        let found = app
            .host
            .preflight(digest, &self.policy, &scope, &mut |_| {})
            .await?;
        let found = PreflightView::of(found);
        if demand == Demand::Require && !found.passes {
            let blocking = found.objections.iter().filter(|objection| objection.blocks);
            let texts: Vec<&str> = blocking.map(|objection| &*objection.text).collect();
            let detail = format!(
                "nothing was activated: {}; POST /v1/preflights shows examples; `allow` lets kinds \
                 of objections pass",
                texts.join("; ")
            );
            return Err(Box::new(Problem::new(Code::PreflightFailed, detail)));
        }
        Ok(Some(found))
    }

    async fn usual(&self, app: &App, digest: Digest) -> Result<Demand> {
        let module = app.host.module(digest).await?;
        let active = app.host.plan().active(module.manifest().name.as_str());
        let replaces = active.is_some_and(|active| active != digest);
        Ok(match replaces && module.has_decider() {
            true => Demand::Require,
            false => Demand::Skip,
        })
    }
}

/// Whether a roll-back is looked at first.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    /// `require`, `report` or `skip`, as of an activation. Absent: `require` for a decider.
    #[serde(default)]
    preflight: Option<String>,
    /// Kinds of objections that do not block it, besides `fuel` and `snapshot`.
    #[serde(default)]
    allow: Vec<String>,
}

/// Activates the module that was active under a name before the one that is.
///
/// It is as atomic as any activation. The preflight looks at what has been written meanwhile:
/// types of events that the module can't read are named before anything happens.
#[utoipa::path(
    post, path = "/v1/deployments/{name}/rollback", operation_id = "roll_back", tag = "deployments",
    params(("name" = String, Path, description = "Name of a manifest")),
    request_body(content = Option<RollbackBody>, description = "By default a preflight is required for a decider"),
    responses(
        (status = 201, body = DeploymentView, description = "Active again"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; the plan stands"),
    ),
)]
pub async fn roll_back(
    State(app): State<App>,
    NamePath(name): NamePath,
    params: Params,
    body: OptionalJson,
) -> Result<Response> {
    params.finish()?;
    let RollbackBody { preflight, allow } = body.parse()?;
    let asked = Asked::of(preflight.as_deref(), &allow)?;
    let before = app.host.active_before(&name).await?;
    let Some(digest) = before else {
        let detail = format!("under the name {name:?} no other module was active before");
        return Err(Box::new(Problem::new(Code::ModuleNotFound, detail)));
    };
    let found = asked.preflight(&app, digest).await?;
    let deployment = app.host.activate(digest, None).await?;
    let view = DeploymentView {
        preflight: found,
        ..view(deployment, true)
    };
    answer::json(StatusCode::CREATED, &view)
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
        preflight: None,
    }
}
