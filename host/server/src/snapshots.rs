//! Snapshots: taking one, and comparing stored ones with the events.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::failure::{Failure, Result};
use super::params::{Params, StreamPath};
use super::request::JsonBytes;
use super::{App, answer};
use quipu::model::Category;
use quipu::store::SNAPSHOTS_PAGE_MAX;
use quipu_api::{CheckedView, Problem, TakenView};

/// How many snapshots are compared by default.
const SAMPLE: usize = 100;

/// Takes a snapshot of a stream.
///
/// The snapshot is folded from the first event, and must restore the same state. Snapshots that
/// were stored before are compared with the events on the way.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/snapshot", operation_id = "take_snapshot", tag = "snapshots",
    security(("token" = ["operate"])),
    params(StreamPath),
    responses(
        (status = 200, body = TakenView, description = "The snapshot, and those that were stored before", headers(("ETag" = String, description = "The stream's version"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing is stored"),
    ),
)]
pub async fn take(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    _: Params<()>,
) -> Result<Response> {
    let taken = app.host.snapshot(&stream).await?;
    answer::about(&app, &stream, &TakenView::of(&stream, &taken)).await
}

/// Which snapshots to compare.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckBody {
    /// The category of the snapshots.
    category: String,
    /// Maximum number of snapshots, newest first: 1 to 1000, by default 100.
    #[serde(default)]
    sample: Option<u64>,
}

/// Compares snapshots of a category with the states that the events lead to.
///
/// Each stream is folded from its first event. Nothing is stored or repaired.
#[utoipa::path(
    post, path = "/v1/snapshots/check", operation_id = "check_snapshots", tag = "snapshots",
    security(("token" = ["operate"])),
    request_body = CheckBody,
    responses(
        (status = 200, body = CheckedView, description = "The result of the comparison"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn check(State(app): State<App>, _: Params<()>, body: JsonBytes) -> Result<Response> {
    let CheckBody { category, sample } = body.parse()?;
    let category = Category::new(&category)?;
    let sample = match sample.map(usize::try_from) {
        None => SAMPLE,
        Some(Ok(sample)) if (1..=SNAPSHOTS_PAGE_MAX).contains(&sample) => sample,
        Some(_) => {
            let detail = format!("sample is not between 1 and {SNAPSHOTS_PAGE_MAX}");
            return Err(Failure::bad_request(detail));
        }
    };
    let checked = app.host.check_snapshots(category.as_str(), sample).await?;
    answer::json(StatusCode::OK, &CheckedView::of(&category, &checked))
}
