//! Shadows: a module that decides live commands in addition to the active one.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use utoipa::ToSchema;

use super::access::By;
use super::deed::Deed;
use super::failure::{Failure, Result};
use super::newest::Kind;
use super::params::{Params, digest};
use super::request::JsonBytes;
use super::runs::{self, Reporter, Run};
use super::{App, deploying};
use quipu::Host;
use quipu::model::Digest;
use quipu::proof::{Policy, Shadowing};
use quipu_api::{Problem, RunLine, ShadowView, choices};

/// The maximum time of a shadow.
const SECONDS_MAX: u64 = 86_400;

/// The module, and its share of the decided commands.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShadowBody<'a> {
    /// SHA-256 of an uploaded component.
    #[serde(borrow)]
    digest: Cow<'a, str>,
    /// Duration in seconds: 1 to 86400, by default 60.
    #[serde(default)]
    seconds: Option<u64>,
    /// Number of streams out of 100: 1 to 100, by default all.
    #[serde(default)]
    share: Option<u8>,
    /// Maximum time of one processor, in percent: 1 to 100, by default 25.
    #[serde(default)]
    cpu: Option<u8>,
    /// Kinds of objections that do not block an activation, in addition to `fuel` and `snapshot`.
    #[serde(default)]
    allow: Vec<String>,
}

/// A requested shadow.
struct ShadowRequest {
    digest: Digest,
    policy: Policy,
    how: Shadowing,
}

impl ShadowBody<'_> {
    async fn request(self, app: &App) -> Result<ShadowRequest> {
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
        Ok(ShadowRequest {
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

impl Run for ShadowRequest {
    const KIND: Option<Kind> = Some(Kind::Shadow);

    fn run<'a>(&'a self, host: &'a Host, reporter: Reporter) -> BoxFuture<'a, Result<RunLine>> {
        async move {
            let line = |shadow| RunLine::Shadow(Box::new(ShadowView::of(shadow)));
            let mut report = |shadow| reporter.offer(line(shadow));
            let shadow = host.shadow(self.digest, &self.policy, &self.how, &mut report);
            Ok(line(shadow.await?))
        }
        .boxed()
    }
}

/// Lets a module decide live commands without effect.
///
/// From now on the module also decides every command that any host accepts or rejects, after the
/// caller has been answered. The results are compared; nothing of them is stored. The result so far
/// is reported once a second, and the last line says why the shadow ended. One shadow at a time on
/// a host; closing the connection ends it.
#[utoipa::path(
    post, path = "/v1/shadows", operation_id = "shadow", tag = "modules",
    security(("token" = ["deploy"])),
    request_body(content = ShadowBody, description = "The module"),
    responses(
        (status = 200, body = choices::Binary, content_type = "application/x-ndjson", description = "Lines, each a `RunLine`, one per second"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem, for example why the module can't be activated at all"),
    ),
)]
pub async fn shadow(
    State(app): State<App>,
    By(caller): By,
    deed: Deed,
    _: Params<()>,
    body: JsonBytes,
) -> Result<Response> {
    let request = body.parse::<ShadowBody<'_>>()?.request(&app).await?;
    deploying::check_stored(&app, &caller, request.digest).await?;
    runs::answer(app, request, deed).await
}
