//! Preflights: what a module would decide differently.

use std::borrow::Cow;

use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use utoipa::ToSchema;

use super::access::By;
use super::activate::release;
use super::deed::Deed;
use super::failure::{Failure, Result};
use super::params::Params;
use super::request::JsonBytes;
use super::runs::{self, Reporter, Run};
use super::verify::{scope, time};
use super::{App, deploying};
use quipu::Host;
use quipu::deploy::Release;
use quipu::proof::{Policy, Scope};
use quipu_api::{PreflightView, Problem, RunLine, choices};

/// How long events are read by default.
pub(super) const TIME_MS: u64 = 60_000;

/// The candidate to check, and how much of the history.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreflightBody<'a> {
    /// SHA-256 of an uploaded component. Either this or `digests`.
    #[serde(borrow, default)]
    digest: Option<Cow<'a, str>>,
    /// The same for 1 to 64 components that would become active together.
    #[serde(default)]
    digests: Option<Vec<String>>,
    /// Number of streams to check, drawn at random: 1 to 1000000; by default all.
    #[serde(default)]
    sample: Option<usize>,
    /// Maximum number of events to read, from the first one on.
    #[serde(default)]
    events: Option<u64>,
    /// Maximum time for reading events, in milliseconds: up to 86400000, by default 60000.
    #[serde(default)]
    time_ms: Option<u64>,
    /// Kinds of objections that do not block the activation, in addition to `fuel`, `snapshot`,
    /// `rebuild` and `unwritten`.
    #[serde(default)]
    allow: Vec<String>,
}

/// A requested preflight.
struct PreflightRequest {
    release: Release,
    policy: Policy,
    scope: Scope,
}

impl PreflightBody<'_> {
    async fn request(self, app: &App) -> Result<PreflightRequest> {
        let time = time(self.time_ms.unwrap_or(TIME_MS))?;
        if self.events == Some(0) {
            return Err(Failure::bad_request("events begin at 1"));
        }
        Ok(PreflightRequest {
            release: release(app, self.digest.as_deref(), self.digests.as_deref()).await?,
            policy: Policy::allowing(&self.allow)?,
            scope: Scope {
                events: self.events,
                time: Some(time),
                ..scope(None, self.sample)?
            },
        })
    }
}

impl Run for PreflightRequest {
    fn run<'a>(&'a self, host: &'a Host, mut reporter: Reporter) -> BoxFuture<'a, Result<RunLine>> {
        async move {
            let mut report = |progress| reporter.progress(progress);
            let release = self.release.clone();
            let found = host.preflight(release, &self.policy, &self.scope, &mut report);
            let view = PreflightView::of(found.await?);
            Ok(RunLine::Preflight(Box::new(view)))
        }
        .boxed()
    }
}

/// Reports what would change if a module, or a release of several, were activated.
///
/// The candidate decides the recorded commands of the categories that it would change. Each is
/// decided on the state that the recorded events before it lead to, some also by a fresh instance,
/// and the result is compared with the recorded one. The last stored rejections are compared in the
/// same way. Types of stored events, snapshots, and the events that active projections read are
/// checked, too. Nothing is written or activated. One run at a time; it is cancelled when the
/// connection closes. Lines of progress come first.
#[utoipa::path(
    post, path = "/v1/preflights", operation_id = "preflight", tag = "modules",
    security(("token" = ["deploy"])),
    request_body(content = PreflightBody, description = "The candidate, and how much to check"),
    responses(
        (status = 200, body = choices::Binary, content_type = "application/x-ndjson", description = "Lines, each a `RunLine`; the last one holds the result"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem, for example why the module can't be activated at all"),
    ),
)]
pub async fn preflight(
    State(app): State<App>,
    By(caller): By,
    deed: Deed,
    _: Params<()>,
    body: JsonBytes,
) -> Result<Response> {
    let request = body.parse::<PreflightBody<'_>>()?.request(&app).await?;
    deploying::check_release(&app, &caller, &request.release).await?;
    runs::answer(app, request, deed).await
}
