//! What would be different if a module decided.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use utoipa::ToSchema;

use super::App;
use super::activate::release;
use super::failure::{Failure, Result};
use super::params::Params;
use super::request::JsonBytes;
use super::runs::{self, Run, Telling};
use super::verify::scope;
use quipu::Host;
use quipu::deploy::{ProjectionChanges, Release};
use quipu::proof::{Policy, Scope};
use quipu_api::{PreflightView, Problem, RunLine, choices};

/// How long events are looked at without a word.
pub(super) const TIME_MS: u64 = 60_000;

/// How long they may be read at most.
const TIME_MS_MAX: u64 = 24 * 3_600_000;

/// What to check, and how much of the history.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreflightBody<'a> {
    /// SHA-256 of a component that was uploaded. Either this or `digests`.
    #[serde(borrow, default)]
    digest: Option<Cow<'a, str>>,
    /// The same for 1 to 64 components that would become active together.
    #[serde(default)]
    digests: Option<Vec<String>>,
    /// So many streams, drawn at random: 1 to 1000000; all without it.
    #[serde(default)]
    sample: Option<usize>,
    /// No more than so many events are read, from the first one on.
    #[serde(default)]
    events: Option<u64>,
    /// Events are read for so many milliseconds: up to 86400000, 60000 without it.
    #[serde(default)]
    time_ms: Option<u64>,
    /// Kinds of objections that do not block it, besides `fuel`, `snapshot`, `rebuild` and
    /// `unwritten`.
    #[serde(default)]
    allow: Vec<String>,
}

/// A preflight that was asked for.
struct Asked {
    release: Release,
    policy: Policy,
    scope: Scope,
}

impl PreflightBody<'_> {
    async fn asked(self, app: &App) -> Result<Asked> {
        let time_ms = self.time_ms.unwrap_or(TIME_MS);
        if !(1..=TIME_MS_MAX).contains(&time_ms) {
            return Err(Failure::bad_request(format!(
                "time_ms is 1 to {TIME_MS_MAX}"
            )));
        }
        if self.events == Some(0) {
            return Err(Failure::bad_request("events begin at 1"));
        }
        Ok(Asked {
            release: release(app, self.digest.as_deref(), self.digests.as_deref()).await?,
            policy: Policy::allowing(&self.allow)?,
            scope: Scope {
                events: self.events,
                time: Some(Duration::from_millis(time_ms)),
                ..scope(None, self.sample)?
            },
        })
    }
}

impl Run for Asked {
    fn run<'a>(&'a self, host: &'a Host, mut telling: Telling) -> BoxFuture<'a, Result<RunLine>> {
        async move {
            let mut tell = |progress| telling.progress(progress);
            let keeping = ProjectionChanges::default();
            let given = (&keeping, &self.policy);
            let release = self.release.clone();
            let found = host.preflight_keeping(release, given, &self.scope, &mut tell);
            let view = PreflightView::of(found.await?);
            Ok(RunLine::Preflight(Box::new(view)))
        }
        .boxed()
    }
}

/// Says what would be different if a module, or a release of several, were activated.
///
/// Recorded commands of the categories that it would serve otherwise are decided by it, each
/// on the state that the recorded events before it lead to, some of them by a fresh instance
/// as well, and compared with what is recorded; likewise the last rejections that are kept. Types of stored events, snapshots, and what
/// active projections read are looked at beside. Nothing is written, and nothing activated.
/// One run at a time; it ends when the connection does. Lines of progress come first.
#[utoipa::path(
    post, path = "/v1/preflights", operation_id = "preflight", tag = "modules",
    request_body(content = PreflightBody, description = "The module"),
    responses(
        (status = 200, body = choices::Binary, content_type = "application/x-ndjson", description = "Lines, each a `RunLine`, the last of which says what was found"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem, as why it could not be activated at all"),
    ),
)]
pub async fn preflight(
    State(app): State<App>,
    params: Params,
    body: JsonBytes,
) -> Result<Response> {
    params.finish()?;
    let asked = body.parse::<PreflightBody<'_>>()?.asked(&app).await?;
    runs::answer(app, asked).await
}
