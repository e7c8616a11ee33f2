//! Verification: re-deciding the history.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use utoipa::ToSchema;

use super::App;
use super::deed::Deed;
use super::failure::{Failure, Result};
use super::newest::Kind;
use super::params::Params;
use super::request::OptionalJson;
use super::runs::{self, Reporter, Run};
use quipu::Host;
use quipu::model::{Category, Invalid};
use quipu::proof::Scope;
use quipu_api::{Problem, RunLine, VerifiedView, choices};

/// Largest sample of streams: their ids are held in memory.
const SAMPLE_MAX: usize = 1_000_000;

/// The part of the history to re-decide; by default all of it.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyBody {
    /// Only streams of this category.
    #[serde(default)]
    category: Option<String>,
    /// Number of streams, drawn at random: 1 to 1000000.
    #[serde(default)]
    sample: Option<usize>,
    /// Whether to fold the documents of projections from the first event and compare them with the
    /// stored ones. This covers all projections, whichever streams are re-decided.
    #[serde(default)]
    projections: bool,
    /// Whether only the digests of commits, modules, snapshots, documents and audit records are
    /// checked, and nothing is re-decided.
    #[serde(default)]
    digests: bool,
    /// Maximum time for reading events, in milliseconds: up to 86400000; by default there is none.
    /// `until` in the result is the position that was reached. Documents and snapshots are compared
    /// only when that is the end of the log.
    #[serde(default)]
    time_ms: Option<u64>,
}

/// Maximum time for reading events.
const TIME_MS_MAX: u64 = 24 * 3_600_000;

/// The time of a run.
///
/// # Errors
/// When it is 0, or more than a day.
pub fn time(time_ms: u64) -> Result<Duration> {
    match (1..=TIME_MS_MAX).contains(&time_ms) {
        true => Ok(Duration::from_millis(time_ms)),
        false => Err(Failure::bad_request(format!(
            "time_ms is 1 to {TIME_MS_MAX}"
        ))),
    }
}

/// The part of the history to re-decide.
pub fn scope(category: Option<&str>, sample: Option<usize>) -> std::result::Result<Scope, Invalid> {
    let category = category.map(Category::new).transpose()?;
    if sample.is_some_and(|sample| !(1..=SAMPLE_MAX).contains(&sample)) {
        return Err(Invalid(format!("a sample is 1 to {SAMPLE_MAX} streams")));
    }
    Ok(Scope {
        category: category.map(|category| category.as_str().to_owned()),
        sample,
        ..Scope::default()
    })
}

impl Run for Scope {
    const KIND: Option<Kind> = Some(Kind::Verification);

    fn run<'a>(&'a self, host: &'a Host, mut reporter: Reporter) -> BoxFuture<'a, Result<RunLine>> {
        async move {
            let mut report = |progress| reporter.progress(progress);
            let view = VerifiedView::of(&host.verify(self, &mut report).await?);
            Ok(RunLine::Verified(Box::new(view)))
        }
        .boxed()
    }
}

/// Re-decides the recorded history.
///
/// Every recorded command is re-decided by the module and the upcasters of its commit's plan, on
/// the state that the recorded events before it lead to. The result is compared with the recorded
/// one, byte for byte, except for fuel. Versions and commits are checked, and snapshots are
/// compared with the events. Before that, commits, modules, snapshots, documents and audit records
/// are compared with their digests; with `digests` only that is done. With `projections` the
/// documents of every deployed projection are not compared with their digests, but folded from the
/// first event under the current plan, and compared with the stored ones.
/// Acknowledged findings are counted and marked as such. Nothing is written. One run at a time; it
/// is cancelled when the connection closes. Lines of progress come first.
#[utoipa::path(
    post, path = "/v1/verify", operation_id = "verify", tag = "operations",
    security(("token" = ["operate"])),
    request_body(content = Option<VerifyBody>, description = "The part of the history to re-decide; by default all of it"),
    responses(
        (status = 200, body = choices::Binary, content_type = "application/x-ndjson", description = "Lines, each a `RunLine`; the last one holds the result"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn verify(
    State(app): State<App>,
    deed: Deed,
    _: Params<()>,
    body: OptionalJson,
) -> Result<Response> {
    let VerifyBody {
        category,
        sample,
        projections,
        digests,
        time_ms,
    } = body.parse()?;
    if projections && digests {
        let why = "digests and projections exclude each other: with digests, nothing is folded";
        return Err(Invalid(why.to_owned()).into());
    }
    let scope = Scope {
        projections,
        only_digests: digests,
        time: time_ms.map(time).transpose()?,
        ..scope(category.as_deref(), sample)?
    };
    runs::answer(app, scope, deed).await
}
