//! Projections: their status, and actions on them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::deed::Deed;
use super::documents::LiveView;
use super::failure::{Failure, Result};
use super::params::{PageSize, Params, ProjectionPath, Segments, choice, number};
use super::request::{JsonBytes, OptionalJson};
use super::{App, answer, headers};
use quipu::model::{Position, REASON_BYTES_MAX, StreamId};
use quipu::projection::Action;
use quipu::store::{DOCUMENTS_PAGE_MAX, ParkedFilter, Role, Subject};
use quipu_api::{Code, FailedEventList, Problem, ProjectionList, ProjectionView, choices};

/// Lists the projections.
///
/// Lists every projection that is deployed or that still has documents, by name.
#[utoipa::path(
    get, path = "/v1/projections", operation_id = "list_projections", tag = "projections",
    security(("token" = ["read"])),
    responses(
        (status = 200, body = ProjectionList, description = "Projections"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(State(app): State<App>, _: Params<()>) -> Result<Response> {
    let projections = app.host.projections().await?;
    let list = ProjectionList {
        projections: projections.iter().map(ProjectionView::of).collect(),
    };
    answer::json(StatusCode::OK, &list)
}

/// Shows the status of a projection.
#[utoipa::path(
    get, path = "/v1/projections/{name}", operation_id = "show_projection", tag = "projections",
    security(("token" = ["read"])),
    params(ProjectionPath),
    responses(
        (status = 200, body = ProjectionView, description = "The projection"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn show(
    State(app): State<App>,
    Segments(ProjectionPath { name }): Segments<ProjectionPath>,
    _: Params<()>,
) -> Result<Response> {
    let status = app.host.projection(&name).await?;
    answer::json(StatusCode::OK, &ProjectionView::of(&status))
}

/// `{name}/{order}`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct OrderPath {
    /// The projection
    name: String,
    /// `pause`, `resume`, `switch`, `rollback`, `detach`, `cancel` or `drop`
    #[param(value_type = choices::ProjectionOrder)]
    order: String,
}

/// Performs an action on a projection, and returns its status.
///
/// | action | effect |
/// | --- | --- |
/// | `pause` | folds nothing until it is resumed; an inline projection continues |
/// | `resume` | continues, also after a stop, with the event at which it stopped |
/// | `switch` | activates the rebuild that is ready, even with missing documents |
/// | `rollback` | activates the previous build |
/// | `detach` | makes an inline projection asynchronous from here on |
/// | `cancel` | cancels the rebuild |
/// | `drop` | removes the previous build; for a projection that is no longer deployed, all builds |
///
/// After `switch`, the replaced build is stored as the previous one.
///
/// The actions `rebuild`, `retry-parked` and `drop-parked` have their own paths and bodies. An
/// action that is not possible in the projection's current state is rejected as
/// `projection-refused`, which names the possible ones.
#[utoipa::path(
    post, path = "/v1/projections/{name}/{order}", operation_id = "order_projection", tag = "projections",
    security(("token" = ["project"])),
    params(OrderPath, headers::Reason),
    responses(
        (status = 200, body = ProjectionView, description = "The action is done or has begun; the projection's status"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing has changed"),
    ),
)]
pub async fn order(
    State(app): State<App>,
    Segments(OrderPath { name, order }): Segments<OrderPath>,
    deed: Deed,
    _: Params<()>,
) -> Result<Response> {
    let action = choice::<choices::ProjectionOrder>(&order).map_err(|words| {
        let detail = format!("unknown action {order:?}; expected {words}");
        Failure::new(Code::NotFound, detail)
    })?;
    if matches!(action, choices::ProjectionOrder::Drop) {
        deed.needs_reason("removing builds")?;
    }
    carry_out(&app, &name, action.into()).await
}

/// How to rebuild.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RebuildBody {
    /// Wait for `switch` after catching up. Default false: the rebuild takes over by itself.
    hold: bool,
}

/// Rebuilds a projection from scratch, next to the running build.
///
/// The running build answers until the rebuild has caught up and takes over, in one transaction. It
/// is then stored as the previous build, and an older previous build is removed. The rebuild waits
/// for `switch`, with the reason in `waits`, if it has parked or skipped more events than the
/// running build, or lacks every trace of a document that the running build has.
#[utoipa::path(
    post, path = "/v1/projections/{name}/rebuild", operation_id = "rebuild_projection", tag = "projections",
    security(("token" = ["project"])),
    params(ProjectionPath),
    request_body = Option<RebuildBody>,
    responses(
        (status = 200, body = ProjectionView, description = "The rebuild has begun; the projection's status"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing has changed"),
    ),
)]
pub async fn rebuild(
    State(app): State<App>,
    Segments(ProjectionPath { name }): Segments<ProjectionPath>,
    _: Params<()>,
    body: OptionalJson,
) -> Result<Response> {
    let RebuildBody { hold } = body.parse()?;
    carry_out(&app, &name, Action::Rebuild { hold }).await
}

/// Which parked events to retry.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryParkedBody {
    /// Only events that are parked for the document with this key; without it and `stream`: all.
    document: Option<String>,
    /// Only events that are parked for this stream; excludes `document`.
    stream: Option<String>,
    /// With `document` or `stream`: retry only if the event at this position is the first parked
    /// one.
    position: Option<u64>,
}

/// Retries parked events of the active build and of a rebuild.
///
/// The events of each document or stream are retried in order of position, up to the first that
/// fails again. With the policy `skip` that event is skipped and the others continue. The request
/// is stored, and the host that owns the build performs it. A `position` that is not the first of
/// its document or stream is rejected as `projection-refused`, which names the events that are
/// parked before it.
#[utoipa::path(
    post, path = "/v1/projections/{name}/retry-parked", operation_id = "retry_parked_events", tag = "projections",
    security(("token" = ["project"])),
    params(ProjectionPath),
    request_body = Option<RetryParkedBody>,
    responses(
        (status = 200, body = ProjectionView, description = "The request is stored; the projection's status"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing has changed"),
    ),
)]
pub async fn retry_parked(
    State(app): State<App>,
    Segments(ProjectionPath { name }): Segments<ProjectionPath>,
    _: Params<()>,
    body: OptionalJson,
) -> Result<Response> {
    let RetryParkedBody {
        document,
        stream,
        position,
    } = body.parse()?;
    let which = which("the body", document, stream, position)?;
    let order = match which.subject {
        None => Action::RetryParked,
        Some(subject) => Action::RetryParkedOf {
            subject,
            position: which.position,
        },
    };
    carry_out(&app, &name, order).await
}

/// Which parked events to drop.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DropParkedBody {
    /// Only events that are parked for the document with this key; without it and `stream`: all.
    #[serde(default)]
    document: Option<String>,
    /// Only events that are parked for this stream; excludes `document`.
    #[serde(default)]
    stream: Option<String>,
    /// With `document` or `stream`: only the event at this position.
    #[serde(default)]
    position: Option<u64>,
    /// Why: 1 to 1,024 bytes without control characters. It is recorded.
    reason: String,
}

/// Drops parked events for good, from every build of the projection.
///
/// The decision belongs to the projection: a rebuild leaves the events out, too, for the document
/// for which they were parked. Events that were parked for their stream are left out completely.
/// Each build lists them among its skipped events, with the reason. Later events of the same
/// document are folded into the document without them; with a `position`, the events that waited
/// only for that event are retried at once.
#[utoipa::path(
    post, path = "/v1/projections/{name}/drop-parked", operation_id = "drop_parked_events", tag = "projections",
    security(("token" = ["project"])),
    params(ProjectionPath),
    request_body = DropParkedBody,
    responses(
        (status = 200, body = ProjectionView, description = "The events are dropped; the projection's status"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing has changed"),
    ),
)]
pub async fn drop_parked(
    State(app): State<App>,
    Segments(ProjectionPath { name }): Segments<ProjectionPath>,
    deed: Deed,
    _: Params<()>,
    body: JsonBytes,
) -> Result<Response> {
    let DropParkedBody {
        document,
        stream,
        position,
        reason,
    } = body.parse()?;
    let ParkedFilter { subject, position } = which("the body", document, stream, position)?;
    check_reason(&reason)?;
    deed.has_reason(&reason);
    let order = Action::DropParked {
        subject,
        position,
        reason,
    };
    carry_out(&app, &name, order).await
}

/// The parked events that `document`, `stream` and `position` name.
fn which(
    place: &str,
    document: Option<String>,
    stream: Option<String>,
    position: Option<u64>,
) -> Result<ParkedFilter> {
    let subject = match (document, stream) {
        (None, None) if position.is_some() => {
            let detail = format!("{place}: position goes with document or stream");
            return Err(Failure::bad_request(detail));
        }
        (None, None) => None,
        (Some(key), None) => Some(Subject::Document(key.into())),
        (None, Some(stream)) => Some(Subject::Stream(stream.into())),
        (Some(_), Some(_)) => {
            let detail = format!("{place}: document and stream exclude each other");
            return Err(Failure::bad_request(detail));
        }
    };
    if let Some(position) = position {
        // The highest number of the databases.
        number("position", &position.to_string())?;
    }
    Ok(ParkedFilter {
        subject,
        position: position.map(Position),
    })
}

fn check_reason(reason: &str) -> Result<()> {
    let has_length = (1..=REASON_BYTES_MAX).contains(&reason.len());
    if has_length && !reason.trim().is_empty() && !reason.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Failure::bad_request(format!(
        "the body: the reason must be 1 to {REASON_BYTES_MAX} bytes of text without control characters"
    )))
}

async fn carry_out(app: &App, name: &str, order: Action) -> Result<Response> {
    let status = app.host.control_projection(name, order).await?;
    answer::json(StatusCode::OK, &ProjectionView::of(&status))
}

/// Which page of parked or skipped events to read.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UnfoldedQuery {
    /// Of its `active` build (the default), `next` or `previous`
    build: Option<choices::BuildRole>,
    /// Maximum number of events: 1 to 1000, by default 100
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: PageSize<DOCUMENTS_PAGE_MAX>,
    /// `cursor` of the previous page
    #[param(value_type = Option<String>)]
    cursor: Option<Cursor>,
}

/// Which parked events to read.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ParkedQuery {
    /// Only events that are parked for the document with this key
    document: Option<String>,
    /// Only events that are parked for this stream; excludes `document`
    stream: Option<String>,
    /// With `document` or `stream`: only the event at this position
    position: Option<u64>,
}

/// The place of a parked or skipped event: `document.POSITION.KEY` or `stream.POSITION.STREAM`.
struct Cursor(Subject, Position);

impl Cursor {
    fn of(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let (kind, position, name) = (parts.next()?, parts.next()?, parts.next()?);
        let subject = match kind {
            "document" => Subject::Document(name.into()),
            "stream" => Subject::Stream(name.into()),
            _ => return None,
        };
        let position = number("cursor", position).ok()?;
        Some(Self(subject, Position(position)))
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || D::Error::custom(format!("{text:?} is not from a page"));
        Self::of(&text).ok_or_else(wrong)
    }
}

/// Lists parked events.
///
/// The list is ordered by document, then by stream for events whose documents are unknown; within
/// each, by position: the first event failed, the others wait for it.
#[utoipa::path(
    get, path = "/v1/projections/{name}/parked", operation_id = "list_parked_events", tag = "projections",
    security(("token" = ["read-payload"])),
    params(ProjectionPath, UnfoldedQuery, ParkedQuery),
    responses(
        (status = 200, body = FailedEventList, description = "Parked events"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn parked(
    State(app): State<App>,
    Segments(ProjectionPath { name }): Segments<ProjectionPath>,
    Params((query, parked)): Params<(UnfoldedQuery, ParkedQuery)>,
) -> Result<Response> {
    let ParkedQuery {
        document,
        stream,
        position,
    } = parked;
    let which = which("query", document, stream, position)?;
    let (role, after, limit) = query.page();
    let parked = app
        .host
        .parked_of(&name, role, &which, after.as_ref(), limit);
    let page = parked.await?;
    answer::json(StatusCode::OK, &FailedEventList::of(&page))
}

/// Lists skipped events.
///
/// These events were left out by the policy `skip`, or dropped by an operator while they were
/// parked. They are in order of position.
#[utoipa::path(
    get, path = "/v1/projections/{name}/skipped", operation_id = "list_skipped_events", tag = "projections",
    security(("token" = ["read-payload"])),
    params(ProjectionPath, UnfoldedQuery),
    responses(
        (status = 200, body = FailedEventList, description = "Skipped events"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn skipped(
    State(app): State<App>,
    Segments(ProjectionPath { name }): Segments<ProjectionPath>,
    Params(query): Params<UnfoldedQuery>,
) -> Result<Response> {
    let (role, after, limit) = query.page();
    let page = app.host.skipped(&name, role, after.as_ref(), limit).await?;
    answer::json(StatusCode::OK, &FailedEventList::of(&page))
}

impl UnfoldedQuery {
    /// The build, the place after which the page begins, and its size.
    fn page(self) -> (Role, Option<(Subject, Position)>, usize) {
        let after = self
            .cursor
            .map(|Cursor(subject, position)| (subject, position));
        let role = self.build.unwrap_or_default().into();
        (role, after, self.limit.0)
    }
}

/// `{name}/live/{stream}`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct LivePath {
    /// The projection
    name: String,
    /// The stream
    stream: String,
}

/// Folds the documents of one stream on demand.
///
/// Only the events of this stream are folded. This works for any projection, whatever its
/// lifecycle, and stores nothing. It is the only way to read a live projection.
#[utoipa::path(
    get, path = "/v1/projections/{name}/live/{stream}", operation_id = "fold_live", tag = "projections",
    security(("token" = ["view"])),
    params(LivePath),
    responses(
        (status = 200, body = LiveView, description = "The documents", headers(("ETag" = String, description = "The stream's version"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn live(
    State(app): State<App>,
    Segments(LivePath { name, stream }): Segments<LivePath>,
    _: Params<()>,
) -> Result<Response> {
    let stream = StreamId::new(&stream)?;
    let live = app.host.live(&name, &stream).await?;
    let documents = live.documents.iter();
    let documents: Vec<(&str, &RawValue)> = documents
        .map(|(key, document)| Ok((&**key, answer::raw(document)?)))
        .collect::<Result<_>>()?;
    answer::tagged(live.version, &LiveView::of(&stream, &live, &documents))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_api::cursor;

    #[test]
    fn a_cursor_names_any_place() {
        let key = || Subject::Document("a.1/b \"c\"".into());
        for subject in [
            key(),
            Subject::Stream("loan-1.2".into()),
            Subject::Document("".into()),
        ] {
            let text = cursor(&subject, Position(70));
            let place = Cursor::of(&text).map(|Cursor(subject, position)| (subject, position));
            assert_eq!(place, Some((subject, Position(70))), "{text}");
        }
        for bad in [
            "",
            "7",
            "document.7",
            "document.x.a",
            "stream.-1.a",
            "event.7.a",
        ] {
            assert!(Cursor::of(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_reason_says_something() {
        let longest = "x".repeat(REASON_BYTES_MAX);
        for good in ["x", "it is wrong", longest.as_str()] {
            assert!(check_reason(good).is_ok(), "{good}");
        }
        let too_long = "x".repeat(REASON_BYTES_MAX + 1);
        for bad in ["", " ", "a\nb", too_long.as_str()] {
            assert!(check_reason(bad).is_err(), "{bad:?}");
        }
    }
}
