//! What a projection makes of the events of a stream, event by event.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::failure::Result;
use super::params::{PageSize, Params, Segments};
use super::{App, answer};
use quipu::model::{StreamId, Version};
use quipu::projection::{STEPS_MAX, Step, StepChange, Steps};
use quipu_api::Problem;

/// `{name}/steps/{stream}`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct StepsPath {
    /// The projection
    name: String,
    /// The stream
    stream: String,
}

/// Which events.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct StepsQuery {
    /// The version of the first event, by default 1
    from: Option<u64>,
    /// Maximum number of events: 1 to 50, by default 50
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: PageSize<STEPS_MAX>,
}

/// What one event changes.
#[derive(Serialize, ToSchema)]
pub struct StepView<'a> {
    /// Version of the event.
    version: u64,
    /// Position of the event.
    position: u64,
    /// Its type, as it is stored.
    r#type: &'a str,
    /// The documents that the event concerns; empty when the projection does not read it.
    changes: Vec<StepChangeView<'a>>,
    /// Why the event can't be folded; absent when it can. It is the last step then.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// What an event changes in a document.
#[derive(Serialize, ToSchema)]
pub struct StepChangeView<'a> {
    /// Key of the document.
    key: &'a str,
    /// The document before the event; null if there was none.
    #[schema(value_type = Option<serde_json::Value>)]
    before: Option<&'a RawValue>,
    /// The document after the event; null if there is none.
    #[schema(value_type = Option<serde_json::Value>)]
    after: Option<&'a RawValue>,
}

/// What a projection makes of events.
#[derive(Serialize, ToSchema)]
pub struct StepsView<'a> {
    /// The stream.
    stream: &'a str,
    /// Its version.
    version: u64,
    /// Events before this version are truncated and not included; absent when the stream is not
    /// truncated.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated_before: Option<u64>,
    /// The steps, in the order of the versions.
    steps: Vec<StepView<'a>>,
    /// The value of `from` for the next page; null at the end, and after an event that can't be
    /// folded.
    next: Option<u64>,
}

/// Folds the documents of one stream event by event.
///
/// Each step has the documents that its event concerns, before and after it. Only the events of
/// this stream are folded, by the rules of the current plan. This works for any projection,
/// whatever its lifecycle, and stores nothing. A page ends early when its documents have more than
/// 4 MiB.
#[utoipa::path(
    get, path = "/v1/projections/{name}/steps/{stream}", operation_id = "step_projection", tag = "projections",
    security(("token" = ["view"])),
    params(StepsPath, StepsQuery),
    responses(
        (status = 200, body = StepsView, description = "The steps"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn steps(
    State(app): State<App>,
    Segments(StepsPath { name, stream }): Segments<StepsPath>,
    Params(query): Params<StepsQuery>,
) -> Result<Response> {
    let stream = StreamId::new(&stream)?;
    let from = Version(query.from.unwrap_or(1));
    let steps = app.host.steps(&name, &stream, from, query.limit.0).await?;
    answer::json(StatusCode::OK, &StepsView::of(&stream, &steps)?)
}

impl<'a> StepsView<'a> {
    fn of(stream: &'a StreamId, steps: &'a Steps) -> Result<Self> {
        Ok(Self {
            stream: stream.as_str(),
            version: steps.version.0,
            truncated_before: Some(steps.truncated_before.0).filter(|before| *before > 0),
            steps: steps
                .steps
                .iter()
                .map(StepView::of)
                .collect::<Result<_>>()?,
            next: steps.next.map(|next| next.0),
        })
    }
}

impl<'a> StepView<'a> {
    fn of(step: &'a Step) -> Result<Self> {
        let changes = step.changes.iter().map(StepChangeView::of);
        Ok(Self {
            version: step.version.0,
            position: step.position.0,
            r#type: step.name.as_str(),
            changes: changes.collect::<Result<_>>()?,
            error: step.error.as_deref(),
        })
    }
}

impl<'a> StepChangeView<'a> {
    fn of(change: &'a StepChange) -> Result<Self> {
        let raw = |document: &'a Option<_>| -> Result<Option<&'a RawValue>> {
            let document: Option<&std::sync::Arc<str>> = document.as_ref();
            document.map(|document| answer::raw(document)).transpose()
        };
        Ok(Self {
            key: &change.key,
            before: raw(&change.before)?,
            after: raw(&change.after)?,
        })
    }
}
