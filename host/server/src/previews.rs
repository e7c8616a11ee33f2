//! Previews: commands that are decided, and not executed.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::access::By;
use super::answering::{Room, Visit};
use super::commands::{CommandBody, command};
use super::failure::{Failure, Result};
use super::params::{Params, Segments, StreamPath};
use super::proposals::{ProposalPath, reached};
use super::request::JsonBytes;
use super::{App, answer, headers};
use quipu::access::Action;
use quipu::engine::Preview;
use quipu_api::{PreviewView, Problem};

/// Decides a command without executing it.
///
/// The decider of the stream's category decides it on the current state of the stream. The answer
/// has the events that the command would add, and the states before and after them. Nothing is
/// stored. If the domain rejects the command, the answer is the same problem as that of an
/// execution. `Idempotency-Key` is not looked up. An execution decides on the state that the stream
/// has then, so it may lead to other events.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/preview", operation_id = "preview_command", tag = "commands",
    security(("token" = ["read-payload"])),
    params(StreamPath, headers::Preconditions, headers::Origin),
    request_body = CommandBody,
    responses(
        (status = 200, body = PreviewView, description = "The result that the command would have now"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem, as that of an execution"),
    ),
)]
pub async fn preview(
    State(app): State<App>,
    visit: Visit,
    StreamPath(stream): StreamPath,
    By(caller): By,
    _: Params<()>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    let command = body.away(|bytes| command(bytes, &headers, &caller))?;
    let room = visit.room(&app).await?;
    shown(room, &app.host.preview(&stream, command, true).await?)
}

/// Decides a proposed command without executing it.
///
/// It is decided on the state that the stream has now, in the name of the caller, as an approval
/// would. The answer is that of a preview of a command.
#[utoipa::path(
    get, path = "/v1/proposals/{number}/preview", operation_id = "preview_proposal", tag = "commands",
    security(("token" = ["read-payload"])),
    params(ProposalPath),
    responses(
        (status = 200, body = PreviewView, description = "The result that an approval would have now"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem, as that of an execution"),
    ),
)]
pub async fn preview_proposal(
    State(app): State<App>,
    visit: Visit,
    By(caller): By,
    _: Params<()>,
    Segments(path): Segments<ProposalPath>,
) -> Result<Response> {
    let stored = reached(&app, &caller, path.number, Action::ReadPayload).await?;
    let by = caller.name();
    let room = visit.room(&app).await?;
    let preview = app.host.preview_proposal(&stored, by.as_deref()).await?;
    shown(room, &preview)
}

fn shown(room: Room, preview: &Preview) -> Result<Response> {
    let view = PreviewView::of(preview).map_err(|error| Failure::internal(&error))?;
    Ok(room.of(answer::json(StatusCode::OK, &view)?))
}
