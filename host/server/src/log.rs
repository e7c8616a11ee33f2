//! The log of all events.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::answering::Visit;
use super::appends::tag_of;
use super::failure::{Failure, Result, is_lifting, not_lifted};
use super::long_read::{LongRead, Range};
use super::params::{DigestPath, Limit, Params, PositionPath, printable};
use super::{App, answer};
use quipu::model::{Name, Position};
use quipu::store::{ArchivedStreams, Direction, Filter, LOG_PAGE_MAX, LogPage};
use quipu_api::{Code, Problem, choices, event};

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
    params(
        ("after" = Option<u64>, Query, description = "Events after this position, or before it when reading backward; by default all"),
        ("to" = Option<u64>, Query, description = "No events after this position, in either direction; by default up to the last one"),
        ("limit" = Option<u64>, Query, description = "Maximum number of events: 1 to 1000, by default 100; as lines any number, by default all"),
        Filters,
        ("archived" = Option<choices::WithArchived>, Query, description = "Events of archived streams: `without` them, the default for a `category`, or `with` them, the default otherwise"),
        ("direction" = Option<choices::Direction>, Query, description = "`forward` (the default) or `backward`"),
        ("form" = Option<choices::Form>, Query, description = "`lifted` (the default), or `stored`: events as they are stored"),
    ),
    responses(
        (status = 200, body = LogEvents, description = "Events"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn read(
    State(app): State<App>,
    visit: Visit,
    mut params: Params,
    headers: HeaderMap,
) -> Result<Response> {
    let direction = params.direction()?;
    let after = params.number("after")?.unwrap_or(match direction {
        Direction::Forward => 0,
        Direction::Backward => i64::MAX.unsigned_abs(),
    });
    let limit = params.limit_for(&headers, LOG_PAGE_MAX)?;
    let form = params.form()?;
    let filter = filter(&mut params)?;
    params.finish()?;
    let limit = match limit {
        Limit::Page(limit) => limit,
        Limit::Lines(limit) => {
            let range = Range::Log(Position(after), direction, filter);
            return LongRead::new(&app, form, range, limit).answer().await;
        }
    };
    let room = visit.room(&app).await?;
    let page = app
        .host
        .read_log_as(form, Position(after), direction, limit, &filter)
        .await
        .map_err(not_lifted)?;
    let answer = || answer::json(StatusCode::OK, &LogEvents::of(&page));
    Ok(answer::varying(room.with(&page.events, answer)?))
}

/// Reads the events of the commands that a module decided.
///
/// Events are returned as they are stored, in the order of the log.
#[utoipa::path(
    get, path = "/v1/modules/{digest}/events", operation_id = "read_events_of_module", tag = "modules",
    params(
        ("digest" = String, Path, description = "SHA-256 of the component"),
        ("after" = Option<u64>, Query, description = "Events after this position; by default all"),
        ("to" = Option<u64>, Query, description = "No events after this position; by default up to the last one"),
        ("limit" = Option<u64>, Query, description = "Maximum number of events: 1 to 1000, by default 100"),
    ),
    responses(
        (status = 200, body = LogEvents, description = "Events"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn decided_by(
    State(app): State<App>,
    visit: Visit,
    DigestPath(digest): DigestPath,
    mut params: Params,
) -> Result<Response> {
    let after = params.number("after")?.unwrap_or_default();
    let to = params.number("to")?.map_or(Position(u64::MAX), Position);
    let limit = params.limit(LOG_PAGE_MAX)?;
    params.finish()?;
    let room = visit.room(&app).await?;
    // Returns an error if the module does not exist.
    app.host.module_bytes(digest).await?;
    let mut page = app.host.decided_by(digest, Position(after), limit).await?;
    page.events.retain(|event| event.position <= to);
    page.next = page.next.filter(|next| *next < to);
    let answer = || answer::json(StatusCode::OK, &LogEvents::of(&page));
    room.with(&page.events, answer)
}

/// Which events of the log to read, for the OpenAPI description.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its description is used")]
pub struct Filters {
    /// Any of these categories; may be repeated
    category: Option<Vec<String>>,
    /// Any of these types; may be repeated
    r#type: Option<Vec<String>>,
    /// Any of these tags; may be repeated
    tag: Option<Vec<String>>,
    /// Only streams whose id begins with this prefix
    prefix: Option<String>,
    /// Not these categories; may be repeated
    not_category: Option<Vec<String>>,
    /// Not these types; may be repeated
    not_type: Option<Vec<String>>,
    /// Not these tags; may be repeated
    not_tag: Option<Vec<String>>,
    /// No streams whose id begins with this prefix; may be repeated
    not_prefix: Option<Vec<String>>,
}

/// The filter that the query describes.
fn filter(params: &mut Params) -> Result<Filter> {
    let without_archived = match params.archived()? {
        None => None,
        Some(ArchivedStreams::Without) => Some(true),
        Some(ArchivedStreams::With) => Some(false),
        Some(ArchivedStreams::Only) => {
            let detail = "query: archived is `with` or `without` here";
            return Err(Failure::bad_request(detail));
        }
    };
    let to = params.number("to")?.map(Position);
    let filter = whole_filter(params)?;
    Ok(Filter {
        to,
        without_archived: without_archived.unwrap_or(filter.categories.is_some()),
        ..filter
    })
}

/// The filter that the query describes, with the events of archived streams.
pub fn whole_filter(params: &mut Params) -> Result<Filter> {
    // `category=` is empty; the filter rejects it.
    let mut named = |name| {
        params.all(name).map(|values| {
            let named = values.into_iter().filter(|value| !value.is_empty());
            named.collect::<Vec<_>>()
        })
    };
    let (categories, types, tags) = (named("category"), named("type"), named("tag"));
    let (not_categories, not_types) = (named("not_category"), named("not_type"));
    let (not_prefixes, not_tags) = (named("not_prefix"), named("not_tag"));
    let name_of = |name: String| -> Result<Name> { Ok(Name::new(&name)?) };
    let tag_of = |tag: String| tag_of(&tag);
    Ok(Filter {
        categories: each(categories, text("category"))?,
        types: each(types, name_of)?,
        tags: each(tags, tag_of)?,
        prefix: params.one("prefix")?.map(text("prefix")).transpose()?,
        not_categories: each(not_categories, text("not_category"))?,
        not_types: each(not_types, name_of)?,
        not_prefixes: each(not_prefixes, text("not_prefix"))?,
        not_tags: each(not_tags, tag_of)?,
        without_archived: false,
        to: None,
    })
}

/// Parses the text of a parameter.
fn text(name: &'static str) -> impl Fn(String) -> Result<Arc<str>> {
    move |text| Ok(printable(name, text)?.into())
}

fn each<T>(
    values: Option<Vec<String>>,
    read: impl Fn(String) -> Result<T>,
) -> Result<Option<Vec<T>>> {
    let values = values.map(|values| values.into_iter().map(read).collect());
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
    params(("position" = u64, Path, description = "The event's position")),
    responses(
        (status = 200, body = OneEvent, description = "The event"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn read_one(
    State(app): State<App>,
    PositionPath(position): PositionPath,
    params: Params,
) -> Result<Response> {
    params.finish()?;
    let Some(event) = app.host.event(Position(position)).await? else {
        let detail = format!("there is no event at position {position}");
        return Err(Failure::new(Code::EventNotFound, detail));
    };
    let (lifted, not_lifted) = match app.host.lifted(vec![event.clone()]).await {
        Ok(lifted) => (lifted, None),
        // A failing upcaster is no reason not to show the stored event.
        Err(error) if is_lifting(&error) => (vec![event.clone()], Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let command = app.host.command_of(&event).await?;
    let is_same = matches!(&lifted[..], [one] if one.stored_as.is_none());
    let parts = || lifted.iter().map(event::LiftedPart::of).collect();
    let view = OneEvent {
        event: event::Event::of(&event),
        command: command.as_ref().map(event::Command::of),
        lifted: (!is_same).then(parts),
        not_lifted,
    };
    answer::json(StatusCode::OK, &view)
}
