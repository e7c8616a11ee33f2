//! The log of all events.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answering::Visit;
use super::appends::tag_of;
use super::failure::{Failure, Result, is_lifting, not_lifted};
use super::long_read::{LongRead, Range};
use super::params::{DigestPath, Limit, PageSize, Params, PositionPath, Printable, ReadSize};
use super::payload::PayloadQuery;
use super::{App, answer};
use quipu::model::{Name, Position};
use quipu::store::{Direction, Filter, LOG_PAGE_MAX, LogPage};
use quipu_api::{Code, Problem, choices, event, masked};

/// Events of the log.
#[derive(Serialize, ToSchema)]
pub struct LogEvents<'a> {
    /// The events that match the filters, in the direction of the request.
    events: Vec<event::Event<'a>>,
    /// The value of `after` for the next page; null at the end. There may be a next page although
    /// this one is empty.
    next: Option<u64>,
    /// Position of the last event in the log; 0 for an empty one.
    head: u64,
}

impl<'a> LogEvents<'a> {
    fn of(page: &'a LogPage) -> Self {
        Self {
            events: page.events.iter().map(event::Event::of).collect(),
            next: page.next.map(|position| position.0),
            head: page.head.0,
        }
    }
}

/// Which range of the log to read, and how.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Events after this position, or before it when reading backward; by default all
    after: Option<u64>,
    /// No events after this position, in either direction; by default up to the last one
    to: Option<u64>,
    /// Maximum number of events: 1 to 1000, by default 100; as lines any number, by default all
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: ReadSize<LOG_PAGE_MAX>,
    /// Events of archived streams: `without` them, the default for a `category`, or `with` them, the default otherwise
    archived: Option<choices::WithArchived>,
    /// `forward` (the default) or `backward`
    direction: Option<choices::Direction>,
    /// `lifted` (the default), or `stored`: events as they are stored
    form: Option<choices::Form>,
}

/// Reads the log.
///
/// Events are lifted to the versions that the active decider reads. The parts of a split event
/// follow each other on one page, which may therefore have more events than `limit`; a dropped
/// event is left out. A `type` also matches events that are stored under its older names, and so
/// does `not_type`. An event has to match all filters.
///
/// With `direction=backward&limit=1` the answer contains only the newest event. With `Accept:
/// application/x-ndjson` all events of the range are sent as lines, each an `EventLine`: up to the
/// event that is the last one when the request arrives, or at most `limit` events. The last line is
/// `end`, or `problem` if the range was not read to its end. An answer without either was cut off.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "read_log", tag = "events",
    security(("token" = ["read-payload"])),
    params(LogQuery, Filters, PayloadQuery),
    responses(
        (status = 200, body = LogEvents, description = "Events"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn read(
    State(app): State<App>,
    visit: Visit,
    Params((query, filters, payload)): Params<(LogQuery, Filters, PayloadQuery)>,
    headers: HeaderMap,
) -> Result<Response> {
    let direction = query.direction.unwrap_or_default().into();
    let after = query.after.unwrap_or(match direction {
        Direction::Forward => 0,
        Direction::Backward => i64::MAX.unsigned_abs(),
    });
    let form = query.form.unwrap_or_default().into();
    let filter = query.filter(filters)?;
    let limit = match query.limit.limit(&headers)? {
        Limit::Page(limit) => limit,
        Limit::Lines(limit) => {
            payload.refuse("lines")?;
            let range = Range::Log(Position(after), direction, filter);
            return LongRead::new(&app, visit, form, range, limit)
                .answer()
                .await;
        }
    };
    let room = visit.room(&app).await?;
    let mut page = app
        .host
        .read_log(Position(after), direction, limit, &filter)
        .form(form)
        .await
        .map_err(|error| payload.failure(not_lifted(error)))?;
    page.events = payload.events(page.events);
    let answer = || answer::json(StatusCode::OK, &LogEvents::of(&page));
    Ok(answer::varying(room.with(&page.events, answer)?))
}

impl LogQuery {
    /// The filter with the end of the range, and with or without events of archived streams.
    fn filter(&self, filters: Filters) -> Result<Filter> {
        let filter = filters.into_filter()?;
        let without_archived = match self.archived {
            None => filter.categories.is_some(),
            Some(choices::WithArchived::Without) => true,
            Some(choices::WithArchived::With) => false,
        };
        Ok(Filter {
            to: self.to.map(Position),
            without_archived,
            ..filter
        })
    }
}

/// Which of a module's events to read.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DecidedQuery {
    /// Events after this position; by default all
    after: Option<u64>,
    /// No events after this position; by default up to the last one
    to: Option<u64>,
    /// Maximum number of events: 1 to 1000, by default 100
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: PageSize<LOG_PAGE_MAX>,
}

/// Reads the events of the commands that a module decided.
///
/// Events are returned as they are stored, in the order of the log.
#[utoipa::path(
    get, path = "/v1/modules/{digest}/events", operation_id = "read_events_of_module", tag = "modules",
    security(("token" = ["read-payload"])),
    params(DigestPath, DecidedQuery),
    responses(
        (status = 200, body = LogEvents, description = "Events"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn decided_by(
    State(app): State<App>,
    visit: Visit,
    DigestPath(digest): DigestPath,
    Params(query): Params<DecidedQuery>,
) -> Result<Response> {
    let after = query.after.unwrap_or_default();
    let to = query.to.map_or(Position(u64::MAX), Position);
    let limit = query.limit.0;
    let room = visit.room(&app).await?;
    // Returns an error if the module does not exist.
    app.host.module_bytes(digest).await?;
    let mut page = app.host.decided_by(digest, Position(after), limit).await?;
    page.events.retain(|event| event.position <= to);
    page.next = page.next.filter(|next| *next < to);
    let answer = || answer::json(StatusCode::OK, &LogEvents::of(&page));
    room.with(&page.events, answer)
}

/// Which events of the log to read.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filters {
    /// Any of these categories; may be repeated
    #[param(value_type = Option<Vec<String>>)]
    category: Option<Vec<Printable>>,
    /// Any of these types; may be repeated
    r#type: Option<Vec<String>>,
    /// Any of these tags; may be repeated
    tag: Option<Vec<String>>,
    /// Only streams whose id begins with this prefix
    #[param(value_type = Option<String>)]
    prefix: Option<Printable>,
    /// Not these categories; may be repeated
    #[param(value_type = Option<Vec<String>>)]
    not_category: Option<Vec<Printable>>,
    /// Not these types; may be repeated
    not_type: Option<Vec<String>>,
    /// Not these tags; may be repeated
    not_tag: Option<Vec<String>>,
    /// No streams whose id begins with this prefix; may be repeated
    #[param(value_type = Option<Vec<String>>)]
    not_prefix: Option<Vec<Printable>>,
}

impl Filters {
    /// The filter, with the events of archived streams. Empty values are left out: a filter rejects
    /// a list that is empty.
    pub fn into_filter(self) -> Result<Filter> {
        let name_of = |name: String| -> Result<Name> { Ok(Name::new(&name)?) };
        let tag_of = |tag: String| tag_of(&tag);
        Ok(Filter {
            categories: texts(self.category),
            types: each(self.r#type, name_of)?,
            tags: each(self.tag, tag_of)?,
            prefix: self.prefix.map(|prefix| prefix.0.into()),
            not_categories: texts(self.not_category),
            not_types: each(self.not_type, name_of)?,
            not_prefixes: texts(self.not_prefix),
            not_tags: each(self.not_tag, tag_of)?,
            without_archived: false,
            to: None,
        })
    }
}

fn texts(values: Option<Vec<Printable>>) -> Option<Vec<Arc<str>>> {
    let values = values?.into_iter().filter(|value| !value.0.is_empty());
    Some(values.map(|value| value.0.into()).collect())
}

fn each<T>(
    values: Option<Vec<String>>,
    read: impl Fn(String) -> Result<T>,
) -> Result<Option<Vec<T>>> {
    let values = values.map(|values| {
        let given = values.into_iter().filter(|value| !value.is_empty());
        given.map(read).collect()
    });
    values.transpose()
}

/// An event as it is stored, the command that led to it, and its lifted form.
#[derive(Serialize, ToSchema)]
pub struct OneEvent<'a> {
    #[serde(flatten)]
    event: event::Event<'a>,
    /// The command that a module decided and that led to the event; absent for an event that no
    /// module decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<event::Command<'a>>,
    /// The events that it is lifted to; empty when it is dropped, absent when it can't be lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    lifted: Option<Vec<event::LiftedPart<'a>>>,
    /// Why it can't be lifted; absent when it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_lifted: Option<String>,
}

/// Reads one event as it is stored, with the command that led to it.
#[utoipa::path(
    get, path = "/v1/events/{position}", tag = "events",
    security(("token" = ["read-payload"])),
    params(PositionPath, PayloadQuery),
    responses(
        (status = 200, body = OneEvent, description = "The event"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn read_one(
    State(app): State<App>,
    PositionPath(position): PositionPath,
    Params(payload): Params<PayloadQuery>,
) -> Result<Response> {
    let Some(event) = app.host.event(Position(position)).await? else {
        let detail = format!("there is no event at position {position}");
        return Err(Failure::new(Code::EventNotFound, detail));
    };
    let (lifted, not_lifted) = match app.host.lifted(vec![event.clone()]).await {
        Ok(lifted) => (lifted, None),
        // A failing upcaster is no reason not to show the stored event.
        Err(error) if is_lifting(&error) => {
            let why = match payload.is_masked() {
                true => payload.failure(error.into()).0.detail,
                false => error.to_string(),
            };
            (vec![event.clone()], Some(why))
        }
        Err(error) => return Err(error.into()),
    };
    let mut command = app.host.command_of(&event).await?;
    if payload.is_masked() {
        command = command.map(masked::command);
    }
    let event = payload.events(vec![event]);
    let lifted = payload.events(lifted);
    let is_same = matches!(&lifted[..], [one] if one.stored_as.is_none());
    let parts = || lifted.iter().map(event::LiftedPart::of).collect();
    let view = OneEvent {
        event: event::Event::of(&event[0]),
        command: command.as_ref().map(event::Command::of),
        lifted: (!is_same).then(parts),
        not_lifted,
    };
    answer::json(StatusCode::OK, &view)
}
