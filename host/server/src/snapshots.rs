//! Snapshots: taking one, and comparing those that are stored with the events.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::params::{Params, StreamPath};
use super::problem::{Problem, Result};
use super::request::JsonBytes;
use super::{App, answer};
use quipu::engine::Checked;
use quipu::fold::{Agreement, Found, Taken};
use quipu::model::{Category, StreamId};
use quipu::store::{SNAPSHOTS_PAGE_MAX, StoredSnapshot};

/// How many are compared without a number.
const SAMPLE: usize = 100;

/// A stored snapshot.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SnapshotView {
    /// The version that the state stands for.
    pub version: u64,
    /// Version of the state's form, as the decider's manifest counts it.
    pub state_schema_version: u32,
    /// Media type of the state.
    pub content_type: String,
    /// Length of the state in bytes.
    pub bytes: u64,
    /// What folded it: a digest over the decider and the upcaster steps of its category.
    pub fold: String,
    /// When it was taken.
    #[schema(format = "date-time")]
    pub taken_at: String,
}

/// A snapshot that was compared with the events.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FoundView {
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: SnapshotView,
    /// Whether it stands for the events before a truncated stream's mark.
    pub anchor: bool,
    /// `agrees`: it opens to the state that the events lead to; `differs`: to another one;
    /// `unusable`: it does not open. Unless it is an anchor, the stream is loaded without it
    /// then.
    pub worth: String,
    /// With `unusable`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A snapshot that was taken.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TakenView {
    /// The stream.
    pub stream: String,
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: SnapshotView,
    /// What was stored before.
    pub found: Vec<FoundView>,
}

impl SnapshotView {
    fn of(snapshot: &StoredSnapshot) -> Self {
        Self {
            version: snapshot.version.0,
            state_schema_version: snapshot.state_schema_version,
            content_type: snapshot.content_type.clone(),
            bytes: snapshot.data.len() as u64,
            fold: snapshot.fold.to_string(),
            taken_at: snapshot.taken_at.to_string(),
        }
    }
}

impl FoundView {
    fn of(found: &Found) -> Self {
        let (worth, reason) = match &found.agreement {
            Agreement::Agrees => ("agrees", None),
            Agreement::Differs => ("differs", None),
            Agreement::Unusable(why) => ("unusable", Some(why.clone())),
        };
        Self {
            snapshot: SnapshotView::of(&found.snapshot),
            anchor: found.snapshot.is_anchor,
            worth: worth.to_owned(),
            reason,
        }
    }
}

impl TakenView {
    fn of(stream: &StreamId, taken: &Taken) -> Self {
        Self {
            stream: stream.to_string(),
            snapshot: SnapshotView::of(&taken.snapshot),
            found: taken.found.iter().map(FoundView::of).collect(),
        }
    }
}

/// Takes a snapshot of a stream.
///
/// It is folded from the first event, and has to open to the same state again. What was
/// stored before is compared with the events on the way.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/snapshot", operation_id = "take_snapshot", tag = "snapshots",
    params(("stream" = String, Path, description = "The stream")),
    responses(
        (status = 200, body = TakenView, description = "The snapshot, and what was there before", headers(("ETag" = String, description = "The stream's version"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing is stored"),
    ),
)]
pub async fn take(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    params: Params,
) -> Result<Response> {
    params.finish()?;
    let taken = app.host.snapshot(&stream).await?;
    answer::about(&app, &stream, &TakenView::of(&stream, &taken)).await
}

/// Which snapshots to compare.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckBody {
    /// Of this category.
    category: String,
    /// So many at most, those that were taken last: 1 to 1000, 100 without it.
    #[serde(default)]
    sample: Option<u64>,
}

/// Snapshots of a category that were compared with the events.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CheckedView {
    /// The category.
    pub category: String,
    /// How many agree.
    pub agree: u64,
    /// How many differ.
    pub differ: u64,
    /// How many do not open.
    pub unusable: u64,
    /// Each of them, those that were taken last first.
    pub snapshots: Vec<CheckedSnapshot>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CheckedSnapshot {
    /// Its stream.
    pub stream: String,
    /// The snapshot, and what it is worth.
    #[serde(flatten)]
    pub found: FoundView,
}

impl CheckedView {
    fn of(category: &Category, checked: &[Checked]) -> Self {
        let snapshots: Vec<CheckedSnapshot> = checked
            .iter()
            .map(|checked| CheckedSnapshot {
                stream: checked.stream.to_string(),
                found: FoundView::of(&checked.found),
            })
            .collect();
        let count = |worth: &str| {
            let all = snapshots.iter();
            all.filter(|one| one.found.worth == worth).count() as u64
        };
        Self {
            category: category.as_str().to_owned(),
            agree: count("agrees"),
            differ: count("differs"),
            unusable: count("unusable"),
            snapshots,
        }
    }
}

/// Compares snapshots of a category with the states that the events lead to.
///
/// Each stream is folded from its first event. Nothing is stored and nothing is mended.
#[utoipa::path(
    post, path = "/v1/snapshots/check", operation_id = "check_snapshots", tag = "snapshots",
    request_body = CheckBody,
    responses(
        (status = 200, body = CheckedView, description = "What they are worth"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn check(State(app): State<App>, params: Params, body: JsonBytes) -> Result<Response> {
    params.finish()?;
    let CheckBody { category, sample } = body.parse()?;
    let category = Category::new(&category)?;
    let sample = match sample.map(usize::try_from) {
        None => SAMPLE,
        Some(Ok(sample)) if (1..=SNAPSHOTS_PAGE_MAX).contains(&sample) => sample,
        Some(_) => {
            let detail = format!("sample is not between 1 and {SNAPSHOTS_PAGE_MAX}");
            return Err(Problem::bad_request(detail));
        }
    };
    let checked = app.host.check_snapshots(category.as_str(), sample).await?;
    answer::json(StatusCode::OK, &CheckedView::of(&category, &checked))
}
