//! Projections: their status, and actions on them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::documents::LiveView;
use super::failure::{Failure, Result};
use super::params::{NamePath, Params, TwoPath, number};
use super::request::{JsonBytes, OptionalJson};
use super::{App, answer};
use quipu::model::{Position, StreamId};
use quipu::projection::Action;
use quipu::store::{DOCUMENTS_PAGE_MAX, ParkedFilter, Subject};
use quipu_api::{Code, Problem, ProjectionList, ProjectionView, SetAsideList, choices};

/// Longest reason for dropping events, in bytes.
const REASON_BYTES_MAX: usize = 1_024;

/// Lists the projections.
///
/// Lists every projection that is deployed or that still has documents, by name.
#[utoipa::path(
    get, path = "/v1/projections", operation_id = "list_projections", tag = "projections",
    responses(
        (status = 200, body = ProjectionList, description = "Projections"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(State(app): State<App>, params: Params) -> Result<Response> {
    params.finish()?;
    let projections = app.host.projections().await?;
    let list = ProjectionList {
        projections: projections.iter().map(ProjectionView::of).collect(),
    };
    answer::json(StatusCode::OK, &list)
}

/// Shows the status of a projection.
#[utoipa::path(
    get, path = "/v1/projections/{name}", operation_id = "show_projection", tag = "projections",
    params(("name" = String, Path, description = "The projection")),
    responses(
        (status = 200, body = ProjectionView, description = "The projection"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn show(
    State(app): State<App>,
    NamePath(name): NamePath,
    params: Params,
) -> Result<Response> {
    params.finish()?;
    let status = app.host.projection(&name).await?;
    answer::json(StatusCode::OK, &ProjectionView::of(&status))
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
    params(
        ("name" = String, Path, description = "The projection"),
        ("order" = choices::ProjectionOrder, Path, description = "`pause`, `resume`, `switch`, `rollback`, `detach`, `cancel` or `drop`"),
    ),
    responses(
        (status = 200, body = ProjectionView, description = "The action is done or has begun; the projection's status"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing has changed"),
    ),
)]
pub async fn order(
    State(app): State<App>,
    TwoPath(name, order): TwoPath,
    params: Params,
) -> Result<Response> {
    params.finish()?;
    let order = match order.as_str() {
        "pause" => Action::Pause,
        "resume" => Action::Resume,
        "switch" => Action::Switch,
        "rollback" => Action::RollBack,
        "detach" => Action::Detach,
        "cancel" => Action::Cancel,
        "drop" => Action::Drop,
        other => {
            let detail = format!(
                "unknown action {other:?}; expected pause, resume, switch, rollback, detach, cancel or drop"
            );
            return Err(Failure::new(Code::NotFound, detail));
        }
    };
    carry_out(&app, &name, order).await
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
    params(("name" = String, Path, description = "The projection")),
    request_body = Option<RebuildBody>,
    responses(
        (status = 200, body = ProjectionView, description = "The rebuild has begun; the projection's status"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing has changed"),
    ),
)]
pub async fn rebuild(
    State(app): State<App>,
    NamePath(name): NamePath,
    params: Params,
    body: OptionalJson,
) -> Result<Response> {
    params.finish()?;
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
    params(("name" = String, Path, description = "The projection")),
    request_body = Option<RetryParkedBody>,
    responses(
        (status = 200, body = ProjectionView, description = "The request is stored; the projection's status"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing has changed"),
    ),
)]
pub async fn retry_parked(
    State(app): State<App>,
    NamePath(name): NamePath,
    params: Params,
    body: OptionalJson,
) -> Result<Response> {
    params.finish()?;
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
    params(("name" = String, Path, description = "The projection")),
    request_body = DropParkedBody,
    responses(
        (status = 200, body = ProjectionView, description = "The events are dropped; the projection's status"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing has changed"),
    ),
)]
pub async fn drop_parked(
    State(app): State<App>,
    NamePath(name): NamePath,
    params: Params,
    body: JsonBytes,
) -> Result<Response> {
    params.finish()?;
    let DropParkedBody {
        document,
        stream,
        position,
        reason,
    } = body.parse()?;
    let ParkedFilter { subject, position } = which("the body", document, stream, position)?;
    check_reason(&reason)?;
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

/// Lists parked events.
///
/// The list is ordered by document, then by stream for events whose documents are unknown; within
/// each, by position: the first event failed, the others wait for it.
#[utoipa::path(
    get, path = "/v1/projections/{name}/parked", operation_id = "list_parked_events", tag = "projections",
    params(
        ("name" = String, Path, description = "The projection"),
        ("build" = Option<choices::BuildRole>, Query, description = "Of its `active` build (the default), `next` or `previous`"),
        ("document" = Option<String>, Query, description = "Only events that are parked for the document with this key"),
        ("stream" = Option<String>, Query, description = "Only events that are parked for this stream; excludes `document`"),
        ("position" = Option<u64>, Query, description = "With `document` or `stream`: only the event at this position"),
        ("limit" = Option<u64>, Query, description = "Maximum number of events: 1 to 1000, by default 100"),
        ("cursor" = Option<String>, Query, description = "`cursor` of the previous page"),
    ),
    responses(
        (status = 200, body = SetAsideList, description = "Parked events"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn parked(
    State(app): State<App>,
    NamePath(name): NamePath,
    mut params: Params,
) -> Result<Response> {
    let role = params.role()?;
    let (limit, after) = page(&mut params)?;
    let (document, stream) = (params.one("document")?, params.one("stream")?);
    let position = params.number("position")?;
    params.finish()?;
    let which = which("query", document, stream, position)?;
    let parked = app
        .host
        .parked_of(&name, role, &which, after.as_ref(), limit);
    let page = parked.await?;
    answer::json(StatusCode::OK, &SetAsideList::of(&page))
}

/// Lists skipped events.
///
/// These events were left out by the policy `skip`, or dropped by an operator while they were
/// parked. They are in order of position.
#[utoipa::path(
    get, path = "/v1/projections/{name}/skipped", operation_id = "list_skipped_events", tag = "projections",
    params(
        ("name" = String, Path, description = "The projection"),
        ("build" = Option<choices::BuildRole>, Query, description = "Of its `active` build (the default), `next` or `previous`"),
        ("limit" = Option<u64>, Query, description = "Maximum number of events: 1 to 1000, by default 100"),
        ("cursor" = Option<String>, Query, description = "`cursor` of the previous page"),
    ),
    responses(
        (status = 200, body = SetAsideList, description = "Skipped events"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn skipped(
    State(app): State<App>,
    NamePath(name): NamePath,
    mut params: Params,
) -> Result<Response> {
    let role = params.role()?;
    let (limit, after) = page(&mut params)?;
    params.finish()?;
    let page = app.host.skipped(&name, role, after.as_ref(), limit).await?;
    answer::json(StatusCode::OK, &SetAsideList::of(&page))
}

/// `limit` and `cursor` of a page of parked or skipped events.
fn page(params: &mut Params) -> Result<(usize, Option<(Subject, Position)>)> {
    let limit = params.limit(DOCUMENTS_PAGE_MAX)?;
    let after = params.one("cursor")?.map(|text| place(&text)).transpose()?;
    Ok((limit, after))
}

/// Reads a cursor: `document.POSITION.KEY` or `stream.POSITION.STREAM`.
fn place(cursor: &str) -> Result<(Subject, Position)> {
    let wrong = || Failure::bad_request(format!("query: cursor {cursor:?} is not from a page"));
    let mut parts = cursor.splitn(3, '.');
    let mut part = || parts.next().ok_or_else(wrong);
    let (kind, position, name) = (part()?, part()?, part()?);
    let subject = match kind {
        "document" => Subject::Document(name.into()),
        "stream" => Subject::Stream(name.into()),
        _ => return Err(wrong()),
    };
    let position = number("cursor", position).map_err(|_| wrong())?;
    Ok((subject, Position(position)))
}

/// Folds the documents of one stream on demand.
///
/// Only the events of this stream are folded. This works for any projection, whatever its
/// lifecycle, and stores nothing. It is the only way to read a live projection.
#[utoipa::path(
    get, path = "/v1/projections/{name}/live/{stream}", operation_id = "fold_live", tag = "projections",
    params(
        ("name" = String, Path, description = "The projection"),
        ("stream" = String, Path, description = "The stream"),
    ),
    responses(
        (status = 200, body = LiveView, description = "The documents", headers(("ETag" = String, description = "The stream's version"))),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn live(
    State(app): State<App>,
    TwoPath(name, stream): TwoPath,
    params: Params,
) -> Result<Response> {
    params.finish()?;
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
            assert_eq!(place(&text).ok(), Some((subject, Position(70))), "{text}");
        }
        for bad in [
            "",
            "7",
            "document.7",
            "document.x.a",
            "stream.-1.a",
            "event.7.a",
        ] {
            assert!(place(bad).is_err(), "{bad}");
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
