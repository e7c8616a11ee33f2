//! The causes and the consequences of an event, of a command, or of a conversation.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::access::By;
use super::answering::Visit;
use super::failure::{Failure, Result};
use super::params::{PageSize, Params, Segments, Text};
use super::{App, answer};
use quipu::access::{Action, Object};
use quipu::app::{TRACE_MAX, TRACE_SEARCH_MAX, TraceRequest, Tracing};
use quipu::model::{Position, StreamId};
use quipu_api::{Code, Problem, TraceView};

/// Longest id in bytes. Ids of commands and of conversations have at most 255.
const ID_BYTES_MAX: usize = 255;

/// `{id}`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct TracePath {
    /// A position, or the id of an event, of a command, of a conversation, or of a message that led to a commit
    id: String,
}

/// Where to search, and how much to show.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TraceQuery {
    /// Search the id only in this stream, which takes less time in a long log
    #[param(value_type = Option<String>)]
    stream: Option<Text>,
    /// Search the id only before this position; by default from the newest event on
    before: Option<u64>,
    /// Maximum number of events and rejections: 1 to 1000, by default 100
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: PageSize<TRACE_MAX>,
    /// Maximum number of events that each pass over the log reads: 1 to 50000, by default 50000
    search: Option<u64>,
}

/// Shows the causes and the consequences of an event, of a command, or of a conversation.
///
/// The answer is a tree: the message that `causation_id` names is above its consequences. Events of
/// one conversation have the same `correlation_id`. Rejected commands are among the consequences.
/// Data and metadata are not part of it. The log has no index of these ids, so it is searched
/// within bounds, and the answer says when they were reached. What belongs to streams that the
/// caller may not read is left out and counted.
#[utoipa::path(
    get, path = "/v1/trace/{id}", operation_id = "trace", tag = "events",
    security(("token" = ["read"])),
    params(TracePath, TraceQuery),
    responses(
        (status = 200, body = TraceView, description = "The tree"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem: `event-not-found` when nothing has the id among the events that were searched"),
    ),
)]
pub async fn trace(
    State(app): State<App>,
    visit: Visit,
    By(caller): By,
    Segments(path): Segments<TracePath>,
    Params(query): Params<TraceQuery>,
) -> Result<Response> {
    let id = path.id.trim();
    if id.is_empty() || id.len() > ID_BYTES_MAX || id.chars().any(char::is_control) {
        let detail = format!("an id has 1 to {ID_BYTES_MAX} bytes without control characters");
        return Err(Failure::bad_request(detail));
    }
    let search_max = search_max(query.search)?;
    let stream = query.stream.map(|Text(stream)| StreamId::new(&stream));
    let stream = stream.transpose()?;
    let rules = app.options.rules.current();
    let known: Mutex<HashMap<StreamId, bool>> = Mutex::default();
    let may_read = |stream: &StreamId| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(may) = known.get(stream) {
            return *may;
        }
        let checked = rules.check(&caller, Action::Read, Object::Stream(stream));
        known.insert(stream.clone(), checked.is_ok());
        checked.is_ok()
    };
    let request = TraceRequest {
        id,
        stream: stream.as_ref(),
        before: query.before.map(Position),
        limit: query.limit.0,
        search_max,
        may_read: &may_read,
    };
    // Pages of the log are in memory meanwhile.
    let room = visit.room(&app).await?;
    let trace = match app.host.trace(request).await? {
        Tracing::Found(trace) => trace,
        Tracing::NotFound { searched, down_to } => {
            return Err(not_found(id, searched, down_to, stream.as_ref()));
        }
    };
    Ok(room.of(answer::json(StatusCode::OK, &TraceView::of(id, &trace))?))
}

fn search_max(given: Option<u64>) -> Result<usize> {
    let Some(given) = given else {
        return Ok(TRACE_SEARCH_MAX);
    };
    let search = usize::try_from(given).ok();
    let search = search.filter(|it| (1..=TRACE_SEARCH_MAX).contains(it));
    search.ok_or_else(|| {
        let detail = format!("query: search: {given} is not between 1 and {TRACE_SEARCH_MAX}");
        Failure::bad_request(detail)
    })
}

fn not_found(id: &str, searched: usize, down_to: Position, stream: Option<&StreamId>) -> Failure {
    let place = match (stream, down_to.0) {
        (Some(stream), _) => format!("in the last {searched} events of {stream}"),
        (None, 0) => "in the log".to_owned(),
        (None, position) => format!(
            "in the {searched} events from position {position} on; before={position} (--before) \
             continues there, stream (--stream) searches one stream"
        ),
    };
    let detail = format!(
        "nothing that the caller may read has {id:?} as the id of an event, of a command or of a \
         conversation {place}"
    );
    Failure::new(Code::EventNotFound, detail)
}
