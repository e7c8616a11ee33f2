//! Activations: a preflight checks a module, then the module becomes active.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use utoipa::ToSchema;

use super::access::By;
use super::deed::Deed;
use super::failure::{Failure, Result};
use super::params::{DeploymentPath, Params, Segments, digest};
use super::preflights::TIME_MS;
use super::request::{JsonBytes, OptionalJson, named_objects};
use super::runs::{self, Reporter, Run};
use super::{App, answer, deploying, headers};
use quipu::access::Caller;
use quipu::deploy::{ProjectionChanges, Release};
use quipu::model::{Invalid, SettingsChange};
use quipu::proof::Policy;
use quipu::{Demand, Deploy, Host};
use quipu_api::{Code, DeploymentView, PreflightView, Problem, RunLine, choices};

/// What to activate: one module, or a release of several.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeploymentBody<'a> {
    /// SHA-256 of an uploaded component. Either this or `digests`.
    #[serde(borrow, default)]
    digest: Option<Cow<'a, str>>,
    /// The same for 1 to 64 components that become active together, in one plan. The history lists
    /// the release under the first one.
    #[serde(default)]
    digests: Option<Vec<String>>,
    /// `require`: activate only if a preflight of up to 60 s passes; `report`: run the preflight
    /// and activate whatever it finds; `skip`: no preflight. Default: `require` if a component
    /// replaces another one or has projections, otherwise `skip`.
    #[serde(borrow, default)]
    #[schema(value_type = Option<choices::PreflightPolicy>)]
    preflight: Option<Cow<'a, str>>,
    /// Kinds of objections that do not block the activation, in addition to `fuel`, `snapshot`,
    /// `rebuild` and `unwritten`.
    #[serde(default)]
    allow: Vec<String>,
    /// New builds of projections that start with this release wait for the action `switch`.
    #[serde(default)]
    hold: bool,
    /// Projections that belong to another component now and that this module takes over. With the
    /// same version the documents stay; with a higher version the projection is rebuilt from
    /// scratch. Without this member, a name that belongs to another component is a conflict.
    #[serde(default)]
    take_over: Vec<String>,
    /// Settings of the module's projections from now on, by projection name. Projections and
    /// settings that are not listed do not change. A new projection is `async` with the policy
    /// `stop`.
    #[serde(default, deserialize_with = "named_objects")]
    #[schema(value_type = BTreeMap<String, SettingsBody>)]
    projections: BTreeMap<String, SettingsBody>,
}

/// Settings of a projection.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsBody {
    /// `async`: asynchronously, shortly after the append; `inline`: in the transaction of the
    /// append, which fails if the projection fails; `live`: on demand, stored nowhere.
    #[serde(default)]
    #[schema(value_type = Option<choices::Lifecycle>)]
    lifecycle: Option<String>,
    /// What to do with an event that can't be folded. `stop`: the projection stops before it;
    /// `skip`: the event is left out and recorded; `park`: the event is parked, and so are later
    /// events for the same document.
    #[serde(default)]
    #[schema(value_type = Option<choices::OnError>)]
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

/// Activates a module under its manifest's name, or several in one plan.
///
/// From one position on, these modules decide everything of their categories. No command fails
/// because of the switch. Their projections are built from the first event; a projection whose
/// version has risen is rebuilt from scratch next to the running build, which answers until the
/// rebuild takes over. A projection that becomes inline is built first; the request waits at most 5
/// s for that. A preflight runs first if a component replaces another one or has projections.
/// Activating the same module a second time changes the settings of its projections.
///
/// With `Accept: application/x-ndjson` the answer consists of lines: progress, the result of the
/// preflight with its examples, then the deployment or a problem. The preflight may then take 60 s,
/// otherwise half of the time limit for a request. Closing the connection cancels it, and nothing
/// is activated unless the activation had already started.
#[utoipa::path(
    post, path = "/v1/deployments", tag = "deployments",
    security(("token" = ["deploy"])),
    params(headers::Reason),
    request_body = DeploymentBody,
    responses(
        (status = 201, body = DeploymentView, description = "The deployment"),
        (status = 200, body = choices::Binary, content_type = "application/x-ndjson", description = "With `Accept: application/x-ndjson`: lines, each a `RunLine`; the last one holds the result"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; the plan has not changed"),
    ),
)]
pub async fn activate(
    State(app): State<App>,
    By(caller): By,
    deed: Deed,
    _: Params<()>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    let given: DeploymentBody<'_> = body.parse()?;
    if given.preflight.as_deref() == Some("skip") {
        deed.needs_reason("an activation without a preflight")?;
    }
    let mut changes = BTreeMap::new();
    for (name, given) in &given.projections {
        let change = given.change();
        let change = change
            .map_err(|why| Failure::bad_request(format!("projections: {name}: {}", why.0)))?;
        changes.insert(name.clone(), change);
    }
    let release = release(&app, given.digest.as_deref(), given.digests.as_deref()).await?;
    deploying::check_release(&app, &caller, &release).await?;
    deploying::check_owners(&app, &caller, &given.take_over)?;
    let deploy = Deploy::new(release)
        .preflight(demand(given.preflight.as_deref())?)
        .allowing(Policy::allowing(&given.allow)?)
        .projections(ProjectionChanges {
            changes,
            take_over: given.take_over,
            hold: given.hold,
            ..ProjectionChanges::default()
        });
    answered(app, &headers, by(deploy, &caller), deed).await
}

/// The same deployment in the caller's name.
fn by(deploy: Deploy, caller: &Caller) -> Deploy {
    match caller.name() {
        Some(name) => deploy.by(&*name),
        None => deploy,
    }
}

/// The modules that a request activates, with their settings.
pub(super) async fn release(
    app: &App,
    only: Option<&str>,
    several: Option<&[String]>,
) -> Result<Release> {
    match (only, several) {
        (Some(only), None) => Ok(Release::from(digest(app, only).await?)),
        (None, Some(several)) => {
            let mut release = Release::default();
            for one in several {
                release.digests.push(digest(app, one).await?);
            }
            Ok(release)
        }
        _ => Err(Failure::bad_request("give either digest or digests")),
    }
}

/// Whether a preflight checks the module before a rollback.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    /// `require`, `report` or `skip`, as for an activation. Default: `require` for a decider.
    #[serde(default)]
    #[schema(value_type = Option<choices::PreflightPolicy>)]
    preflight: Option<String>,
    /// Kinds of objections that do not block the rollback, in addition to `fuel`, `snapshot`,
    /// `rebuild` and `unwritten`.
    #[serde(default)]
    allow: Vec<String>,
    /// New builds of projections that start with it wait for the action `switch`.
    #[serde(default)]
    hold: bool,
}

/// Activates the previous module of a name.
///
/// If that module was replaced by a release of several, everything that the release replaced is
/// restored in one plan, and names that the release introduced become inactive. A rollback is as
/// atomic as any activation and has the same answers. The preflight reads what was written
/// meanwhile: it names types of events that the module can't read before anything happens.
#[utoipa::path(
    post, path = "/v1/deployments/{name}/rollback", operation_id = "roll_back", tag = "deployments",
    security(("token" = ["deploy"])),
    params(DeploymentPath, headers::Reason),
    request_body(content = Option<RollbackBody>, description = "By default a preflight is required for a decider"),
    responses(
        (status = 201, body = DeploymentView, description = "The deployment"),
        (status = 200, body = choices::Binary, content_type = "application/x-ndjson", description = "With `Accept: application/x-ndjson`: lines, each a `RunLine`; the last one holds the result"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; the plan has not changed"),
    ),
)]
pub async fn roll_back(
    State(app): State<App>,
    Segments(DeploymentPath { name }): Segments<DeploymentPath>,
    By(caller): By,
    deed: Deed,
    _: Params<()>,
    headers: HeaderMap,
    body: OptionalJson,
) -> Result<Response> {
    deed.needs_reason("a rollback")?;
    let RollbackBody {
        preflight,
        allow,
        hold,
    } = body.parse()?;
    let (demand, policy) = (demand(preflight.as_deref())?, Policy::allowing(&allow)?);
    // Before the history says which modules there were.
    deploying::check(&app, &caller, &name)?;
    let before = app.host.release_before(&name).await?;
    let Some(release) = before else {
        let detail = format!("under the name {name:?} no other module was active before");
        return Err(Failure::new(Code::ModuleNotFound, detail));
    };
    deploying::check_release(&app, &caller, &release).await?;
    let deploy = Deploy::new(release)
        .preflight(demand)
        .allowing(policy)
        .projections(ProjectionChanges {
            hold,
            ..ProjectionChanges::default()
        });
    answered(app, &headers, by(deploy, &caller), deed).await
}

/// Answers with one document, or with lines.
async fn answered(app: App, headers: &HeaderMap, deploy: Deploy, deed: Deed) -> Result<Response> {
    let time = Duration::from_millis(TIME_MS);
    if headers::accepts_ndjson(headers) {
        return runs::answer(app, Activating(deploy.within(time)), deed).await;
    }
    let time = time.min(app.options.request_time_max / 2);
    let activating = Activating(deploy.within(time));
    let view = activating.perform(&app.host, Reporter::silent()).await?;
    answer::json(StatusCode::CREATED, &view)
}

/// A release to activate.
struct Activating(Deploy);

fn demand(preflight: Option<&str>) -> std::result::Result<Demand, Invalid> {
    match preflight {
        None => Ok(Demand::Usual),
        Some("require") => Ok(Demand::Require),
        Some("report") => Ok(Demand::Report),
        Some("skip") => Ok(Demand::Skip),
        Some(other) => Err(Invalid(format!(
            "preflight {other:?}: expected \"require\", \"report\" or \"skip\""
        ))),
    }
}

impl Activating {
    async fn perform(&self, host: &Host, mut reporter: Reporter) -> Result<DeploymentView> {
        let mut report = |progress| reporter.progress(progress);
        let prepared = host.prepare(self.0.clone(), &mut report).await?;
        let mut changes = Vec::new();
        if let Some(found) = prepared.preflight() {
            let view = Box::new(PreflightView::of(found.clone()));
            changes.clone_from(&view.changes);
            reporter.send(RunLine::Preflight(view)).await;
        }
        let mut deployed = DeploymentView::of(prepared.activate().await?, true);
        if let Some(summary) = &mut deployed.preflight {
            summary.changes = changes;
        }
        Ok(deployed)
    }
}

impl Run for Activating {
    fn run<'a>(&'a self, host: &'a Host, reporter: Reporter) -> BoxFuture<'a, Result<RunLine>> {
        async move {
            let view = self.perform(host, reporter).await?;
            Ok(RunLine::Deployment(Box::new(view)))
        }
        .boxed()
    }
}
