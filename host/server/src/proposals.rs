//! Proposals: commands that are stored, and executed when somebody else approves them.

use std::borrow::Cow;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::access::{By, check_stream};
use super::answering::Visit;
use super::deed::Deed;
use super::failure::{Failure, Result};
use super::params::{PageSize, Params, Printable, Segments, StreamPath};
use super::request::JsonBytes;
use super::{App, answer, headers};
use quipu::access::{Action, Caller};
use quipu::model::{Command, Name};
use quipu::propose::{EXPIRES_AFTER, NewProposal, Proposals};
use quipu::store::{PROPOSALS_PAGE_MAX, StoredProposal};
use quipu_api::{Code, Problem, ProposalList, ProposalView, body, effect};

/// A command to propose.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposalBody<'a> {
    /// Its type.
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    /// Schema version of the data; by default the decider's current one.
    #[serde(default)]
    schema_version: Option<u32>,
    /// JSON, stored byte for byte. Either this or `data_base64`; without both, `{}`.
    #[serde(borrow, default, deserialize_with = "body::given")]
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<&'a RawValue>,
    /// Bytes that are not JSON.
    #[serde(borrow, default)]
    data_base64: Option<Cow<'a, str>>,
    /// Media type of `data_base64`; default `application/octet-stream`.
    #[serde(borrow, default)]
    content_type: Option<Cow<'a, str>>,
    /// An object, stored byte for byte.
    #[serde(borrow, default)]
    #[schema(value_type = Option<HashMap<String, serde_json::Value>>)]
    metadata: Option<&'a RawValue>,
    /// A note for whoever approves it: one line of 1 to 1024 bytes.
    #[serde(default)]
    note: Option<String>,
    /// How long it can be approved, in seconds: 1 to 2592000, by default 86400.
    #[serde(default)]
    expires_in_s: Option<u64>,
}

/// Proposes a command.
///
/// The command is decided on the current state of the stream, and stored together with the events
/// that it leads to. It is not executed before somebody who may execute it approves it. A command
/// that is rejected, or can't be decided, is not stored. A store has at most 1000 open proposals.
/// The data, and the events, have at most 64 KiB. A second proposal of the same command under the
/// same `Idempotency-Key` is the first one.
#[utoipa::path(
    post, path = "/v1/streams/{stream}/proposals", operation_id = "propose", tag = "commands",
    security(("token" = ["propose"])),
    params(
        StreamPath,
        ("Idempotency-Key" = Option<String>, Header, description = "The command's id within its stream"),
        headers::Preconditions,
        headers::Origin,
    ),
    request_body = ProposalBody,
    responses(
        (status = 200, body = ProposalView, description = "The proposal"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem; nothing is stored"),
    ),
)]
pub async fn propose(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    By(caller): By,
    deed: Deed,
    _: Params<()>,
    headers: HeaderMap,
    body: JsonBytes,
) -> Result<Response> {
    let given: ProposalBody<'_> = body.parse()?;
    let command = command(&given, &headers, &caller)?;
    let preview = app.host.preview(&stream, command, false).await?;
    let effect = effect(&preview).map_err(|error| Failure::internal(&error))?;
    let new = NewProposal {
        preview,
        effect,
        note: given.note,
        expires_after: given
            .expires_in_s
            .map_or(EXPIRES_AFTER, Duration::from_secs),
    };
    let stored = app.host.proposals().propose(new).await?;
    deed.concerns(&format!("proposal {}", stored.number));
    shown(&app, &stored)
}

fn command(given: &ProposalBody<'_>, headers: &HeaderMap, caller: &Caller) -> Result<Command> {
    let id = match headers::command_id(headers)? {
        Some(id) => id,
        None => Proposals::fresh_id()?,
    };
    Ok(Command {
        id: Some(id),
        name: Name::new(&given.r#type)?,
        schema_version: given.schema_version,
        body: body::command_body(
            given.data,
            given.data_base64.as_deref(),
            given.content_type.as_deref(),
        )?,
        metadata: given.metadata.map(body::metadata).transpose()?,
        expected_version: headers::expected_version(headers)?,
        context: headers::context(headers, caller)?,
    })
}

fn shown(app: &App, stored: &StoredProposal) -> Result<Response> {
    let state = app.host.proposals().state(stored);
    let view = ProposalView::of(stored, state).map_err(|error| Failure::internal(&error))?;
    answer::json(StatusCode::OK, &view)
}

/// Which proposals a list has.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListedProposals {
    /// Those that can be approved or denied.
    Open,
    /// Also those that were decided or have expired.
    All,
}

/// Which proposals to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProposalsQuery {
    /// Only streams of this category
    #[param(value_type = Option<String>)]
    category: Option<Printable>,
    /// `open` ones (the default), or `all`
    state: Option<ListedProposals>,
    /// Only proposals before this number; by default the newest
    before: Option<u64>,
    /// Maximum number of proposals: 1 to 100, by default 100
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: PageSize<PROPOSALS_PAGE_MAX>,
}

/// Lists proposed commands.
///
/// By default only those that can be approved or denied. A store has the last 10000 others.
#[utoipa::path(
    get, path = "/v1/proposals", operation_id = "list_proposals", tag = "commands",
    security(("token" = ["read-payload"])),
    params(ProposalsQuery),
    responses(
        (status = 200, body = ProposalList, description = "Proposals"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(
    State(app): State<App>,
    visit: Visit,
    Params(query): Params<ProposalsQuery>,
) -> Result<Response> {
    let category = query.category.as_ref().map(|category| category.0.as_str());
    let (proposals, limit) = (app.host.proposals(), query.limit.0);
    let all = query.state == Some(ListedProposals::All);
    let room = visit.room(&app).await?;
    let listed = proposals.list(category, all, query.before, limit);
    let listed = listed.await?;
    let last = listed.last().filter(|_| listed.len() == limit);
    let views = listed
        .iter()
        .map(|stored| ProposalView::of(stored, proposals.state(stored)));
    let views: std::result::Result<Vec<_>, _> = views.collect();
    let list = ProposalList {
        next: last.map(|last| last.number),
        proposals: views.map_err(|error| Failure::internal(&error))?,
    };
    Ok(room.of(answer::json(StatusCode::OK, &list)?))
}

/// `{number}`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ProposalPath {
    /// The proposal's number
    pub(super) number: u64,
}

/// Shows a proposed command.
#[utoipa::path(
    get, path = "/v1/proposals/{number}", operation_id = "show_proposal", tag = "commands",
    security(("token" = ["read-payload"])),
    params(ProposalPath),
    responses(
        (status = 200, body = ProposalView, description = "The proposal"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn show(
    State(app): State<App>,
    By(caller): By,
    _: Params<()>,
    Segments(path): Segments<ProposalPath>,
) -> Result<Response> {
    let stored = reached(&app, &caller, path.number, Action::ReadPayload).await?;
    shown(&app, &stored)
}

/// Whether a caller has proposed a command, and therefore may not approve it.
pub(super) fn is_own(app: &App, caller: &Caller, proposed_by: Option<&str>) -> bool {
    let name = caller.name();
    let is_own = name.is_some() && name.as_deref() == proposed_by;
    is_own && !app.options.approve_own_proposals
}

/// Approves a proposal, and executes its command.
///
/// The caller must be allowed to execute the command, and must be somebody else than who proposed
/// it, unless `approve_own` in `[mcp]` allows that. The command is executed in the name of the caller,
/// under the id of the proposal; it is decided on the state that the stream has then. The answer
/// is the proposal with its result, which may be that the domain rejected the command. Further
/// approvals have the same answer. After an error such as `overloaded`, `store-unavailable` or
/// `timeout`, approve it a second time.
#[utoipa::path(
    post, path = "/v1/proposals/{number}/approve", operation_id = "approve_proposal", tag = "commands",
    security(("token" = ["command"])),
    params(ProposalPath, headers::Reason),
    responses(
        (status = 200, body = ProposalView, description = "The proposal with its result"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn approve(
    State(app): State<App>,
    By(caller): By,
    deed: Deed,
    _: Params<()>,
    Segments(path): Segments<ProposalPath>,
    headers: HeaderMap,
) -> Result<Response> {
    let number = path.number;
    let stored = reached(&app, &caller, number, Action::Command).await?;
    name(&deed, &stored);
    let by = caller.name();
    if is_own(
        &app,
        &caller,
        stored.proposal.command.context.principal.as_deref(),
    ) {
        app.meters.denied(Action::Command);
        let detail = "who proposed a command can't approve it; `approve_own` in [mcp] allows that";
        return Err(Failure::new(Code::Forbidden, detail));
    }
    let reason = headers::reason(&headers)?;
    let approved = app.host.approve(number, by.as_deref(), reason).await?;
    shown(&app, &approved)
}

/// Denies a proposal.
///
/// Its command will never be executed. A second denial changes nothing. The caller must be allowed
/// to execute the command.
#[utoipa::path(
    post, path = "/v1/proposals/{number}/deny", operation_id = "deny_proposal", tag = "commands",
    security(("token" = ["command"])),
    params(ProposalPath, headers::Reason),
    responses(
        (status = 200, body = ProposalView, description = "The proposal"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn deny(
    State(app): State<App>,
    By(caller): By,
    deed: Deed,
    _: Params<()>,
    Segments(path): Segments<ProposalPath>,
    headers: HeaderMap,
) -> Result<Response> {
    let stored = reached(&app, &caller, path.number, Action::Command).await?;
    name(&deed, &stored);
    deed.needs_reason("the denial of a proposal")?;
    let (by, reason) = (caller.name(), headers::reason(&headers)?);
    let denied = app
        .host
        .proposals()
        .deny(path.number, by.as_deref(), reason);
    shown(&app, &denied.await?)
}

/// The proposal, if the caller may do this with its stream.
pub(super) async fn reached(
    app: &App,
    caller: &Caller,
    number: u64,
    action: Action,
) -> Result<StoredProposal> {
    let stored = app.host.proposals().find(number).await?;
    check_stream(app, caller, action, &stored.proposal.stream)?;
    Ok(stored)
}

/// Lets the audit say which command it was, and who proposed it.
fn name(deed: &Deed, stored: &StoredProposal) {
    let (stream, command) = (&stored.proposal.stream, &stored.proposal.command);
    let by = command.context.principal.as_deref();
    let by = by.map_or_else(|| "somebody unknown".to_owned(), |by| format!("{by:?}"));
    deed.concerns(&format!("proposed by {by}: {} on {stream}", command.name));
}
