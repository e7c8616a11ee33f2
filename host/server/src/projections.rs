//! Projections: how they stand, and what they are told to do.

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

/// Longest reason for leaving events out, in bytes.
const REASON_BYTES_MAX: usize = 1_024;

/// Lists the projections.
///
/// Every one that is deployed, and every one of which documents are left, by name.
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

/// Shows how a projection stands.
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

/// Orders something of a projection, and tells how it stands afterwards.
///
/// | order | does |
/// | --- | --- |
/// | `pause` | nothing of it is folded until it is resumed; an inline one goes on |
/// | `resume` | it goes on, also after it has stopped, with the event that it stopped at |
/// | `switch` | the rebuild that is ready takes over, whatever it lacks; what it replaces is kept |
/// | `rollback` | the build before answers again |
/// | `detach` | an inline one is asynchronous from here on |
/// | `cancel` | the rebuild is given up |
/// | `drop` | the build before is removed; of a projection that is no longer deployed, all |
///
/// There are also `rebuild`, `retry-parked` and `drop-parked`, which have bodies. An order that does not go
/// with how the projection stands is `projection-refused`, and says what does.
#[utoipa::path(
    post, path = "/v1/projections/{name}/{order}", operation_id = "order_projection", tag = "projections",
    params(
        ("name" = String, Path, description = "The projection"),
        ("order" = choices::ProjectionOrder, Path, description = "`pause`, `resume`, `switch`, `rollback`, `detach`, `cancel` or `drop`"),
    ),
    responses(
        (status = 200, body = ProjectionView, description = "Done, or begun; how it stands"),
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
            let detail = format!("{other:?} is nothing that a projection is ordered to do");
            return Err(Failure::new(Code::NotFound, detail));
        }
    };
    carry_out(&app, &name, order).await
}

/// How to rebuild.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RebuildBody {
    /// Wait for `switch` when it has caught up; false without it: it takes over by itself.
    hold: bool,
}

/// Builds a projection anew from the first event, beside the running build.
///
/// That one answers until the new one has caught up and takes over, in one transaction. It
/// is kept as the previous one; one that was kept before is removed. The new one waits for
/// `switch`, and says why in `waits`, when it has parked or skipped more events than the
/// running build, or has no trace of a document that this one has.
#[utoipa::path(
    post, path = "/v1/projections/{name}/rebuild", operation_id = "rebuild_projection", tag = "projections",
    params(("name" = String, Path, description = "The projection")),
    request_body = Option<RebuildBody>,
    responses(
        (status = 200, body = ProjectionView, description = "Begun; how it stands"),
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
    /// Those that wait for the document with this key; without it and `stream`: all.
    document: Option<String>,
    /// Those that wait for this stream; excludes `document`.
    stream: Option<String>,
    /// With `document` or `stream`: only if the event at this position is the first that
    /// waits for it.
    position: Option<u64>,
}

/// Retries parked events of the active build and of a rebuild.
///
/// The events of each document or stream are retried in order of position, up to the first
/// that fails again; under the policy `skip` that one is skipped and the others go on. The
/// request is stored: whichever host owns the build carries it out. With a `position` that is
/// not the first of its document or stream the request is refused as `projection-refused`,
/// which names the events that wait before it.
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
    /// Those that wait for the document with this key; without it and `stream`: all.
    #[serde(default)]
    document: Option<String>,
    /// Those that wait for this stream; excludes `document`.
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
/// The decision belongs to the projection: a rebuild leaves the events out, too, for the
/// document for which they were parked; those that were parked for their stream are left out
/// as a whole. Each build lists them among its skipped events, with the reason. Later events
/// of the same document are folded into what the document is without them; with a `position`
/// those that waited only for that event are retried at once.
#[utoipa::path(
    post, path = "/v1/projections/{name}/drop-parked", operation_id = "drop_parked_events", tag = "projections",
    params(("name" = String, Path, description = "The projection")),
    request_body = DropParkedBody,
    responses(
        (status = 200, body = ProjectionView, description = "Done; how it stands"),
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
        "the body: the reason is not 1 to {REASON_BYTES_MAX} bytes of text without control characters"
    )))
}

async fn carry_out(app: &App, name: &str, order: Action) -> Result<Response> {
    let status = app.host.control_projection(name, order).await?;
    answer::json(StatusCode::OK, &ProjectionView::of(&status))
}

/// Lists events that wait until they can be folded.
///
/// By document, then by stream for those of which nothing told the documents; of each in
/// order of position: the first one failed, the others wait behind it.
#[utoipa::path(
    get, path = "/v1/projections/{name}/parked", operation_id = "list_parked_events", tag = "projections",
    params(
        ("name" = String, Path, description = "The projection"),
        ("build" = Option<choices::BuildRole>, Query, description = "Of its `active` build (the default), `next` or `previous`"),
        ("document" = Option<String>, Query, description = "Only events that wait for the document with this key"),
        ("stream" = Option<String>, Query, description = "Only events that wait for this stream; excludes `document`"),
        ("position" = Option<u64>, Query, description = "With `document` or `stream`: only the event at this position"),
        ("limit" = Option<u64>, Query, description = "Events at most: 1 to 1000, by default 100"),
        ("cursor" = Option<String>, Query, description = "Where another page ended"),
    ),
    responses(
        (status = 200, body = SetAsideList, description = "Events that wait"),
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

/// Lists events that were left out.
///
/// In order of position: by the policy `skip`, or dropped by hand while they were parked.
#[utoipa::path(
    get, path = "/v1/projections/{name}/skipped", operation_id = "list_skipped_events", tag = "projections",
    params(
        ("name" = String, Path, description = "The projection"),
        ("build" = Option<choices::BuildRole>, Query, description = "Of its `active` build (the default), `next` or `previous`"),
        ("limit" = Option<u64>, Query, description = "Events at most: 1 to 1000, by default 100"),
        ("cursor" = Option<String>, Query, description = "Where another page ended"),
    ),
    responses(
        (status = 200, body = SetAsideList, description = "Events that were left out"),
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

/// `limit` and `cursor` of a page of events that were set aside.
fn page(params: &mut Params) -> Result<(usize, Option<(Subject, Position)>)> {
    let limit = params.limit(DOCUMENTS_PAGE_MAX)?;
    let after = params.one("cursor")?.map(|text| place(&text)).transpose()?;
    Ok((limit, after))
}

/// Reads a cursor: `document.POSITION.KEY` or `stream.POSITION.STREAM`.
fn place(cursor: &str) -> Result<(Subject, Position)> {
    let wrong = || Failure::bad_request(format!("query: cursor {cursor:?} came with no page"));
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

/// Folds the documents that one stream's events alone make, now.
///
/// Of any projection, whatever its lifecycle; nothing is stored. For a live one this is the
/// way to read it.
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
