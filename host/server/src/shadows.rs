//! A module that decides beside the active one.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use utoipa::ToSchema;

use super::App;
use super::failure::{Failure, Result};
use super::params::{Params, digest};
use super::request::JsonBytes;
use super::runs::{self, Run, Telling};
use quipu::Host;
use quipu::model::Digest;
use quipu::proof::{Policy, Shadowing};
use quipu_api::{Problem, RunLine, ShadowView, choices};

/// How long one takes at most.
const SECONDS_MAX: u64 = 86_400;

/// Which module, and how much of what is decided it is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShadowBody<'a> {
    /// SHA-256 of a component that was uploaded.
    #[serde(borrow)]
    digest: Cow<'a, str>,
    /// For so long: 1 to 86400, 60 without it.
    #[serde(default)]
    seconds: Option<u64>,
    /// On so many of 100 streams: 1 to 100, all without it.
    #[serde(default)]
    share: Option<u8>,
    /// For so much of the time of one processor, in percent: 1 to 100, 25 without it.
    #[serde(default)]
    cpu: Option<u8>,
    /// Kinds of objections that do not block it, besides `fuel` and `snapshot`.
    #[serde(default)]
    allow: Vec<String>,
}

/// A shadow that was asked for.
struct Asked {
    digest: Digest,
    policy: Policy,
    how: Shadowing,
}

impl ShadowBody<'_> {
    async fn asked(self, app: &App) -> Result<Asked> {
        let usual = Shadowing::default();
        let seconds = self.seconds.unwrap_or(usual.time.as_secs());
        if !(1..=SECONDS_MAX).contains(&seconds) {
            return Err(Failure::bad_request(format!(
                "seconds is 1 to {SECONDS_MAX}"
            )));
        }
        let (share, cpu) = (
            self.share.unwrap_or(usual.share),
            self.cpu.unwrap_or(usual.cpu),
        );
        for (name, percent) in [("share", share), ("cpu", cpu)] {
            if !(1..=100).contains(&percent) {
                return Err(Failure::bad_request(format!("{name} is 1 to 100")));
            }
        }
        Ok(Asked {
            digest: digest(app, &self.digest).await?,
            policy: Policy::allowing(&self.allow)?,
            how: Shadowing {
                time: Duration::from_secs(seconds),
                share,
                cpu,
                ..usual
            },
        })
    }
}

impl Run for Asked {
    fn run<'a>(&'a self, host: &'a Host, telling: Telling) -> BoxFuture<'a, Result<RunLine>> {
        async move {
            let line = |shadow| RunLine::Shadow(Box::new(ShadowView::of(shadow)));
            let mut report = |shadow| telling.offer(line(shadow));
            let shadow = host.shadow(self.digest, &self.policy, &self.how, &mut report);
            Ok(line(shadow.await?))
        }
        .boxed()
    }
}

/// Lets a module decide beside the active one.
///
/// The commands that are decided from now on, on every host, accepted or rejected, are decided
/// by it as well, behind those who asked, and compared; nothing of it is stored. What came of
/// it so far is told once a second, the last line says why it ended. One at a time on a host;
/// it ends when the connection does.
#[utoipa::path(
    post, path = "/v1/shadows", operation_id = "shadow", tag = "modules",
    request_body(content = ShadowBody, description = "The module"),
    responses(
        (status = 200, body = choices::Binary, content_type = "application/x-ndjson", description = "Lines, each a `RunLine`, one a second"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem, as why it could not be activated at all"),
    ),
)]
pub async fn shadow(State(app): State<App>, params: Params, body: JsonBytes) -> Result<Response> {
    params.finish()?;
    let asked = body.parse::<ShadowBody<'_>>()?.asked(&app).await?;
    runs::answer(app, asked).await
}
