//! The log of all events.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::params::{Params, PositionPath};
use super::problem::{Code, Problem, Result};
use super::{App, answer, view};
use crate::model::{Name, Position};
use crate::store::{Direction, Filter, LOG_PAGE_MAX};

/// Events of the log.
#[derive(Serialize, ToSchema)]
pub struct LogEvents<'a> {
    /// The events that pass, in the direction of the request.
    events: Vec<view::Event<'a>>,
    /// Where to go on `after`; null at the end. There may be more although this
    /// page is empty.
    next: Option<u64>,
    /// Position of the last event in the log; 0 for an empty one.
    head: u64,
}

/// Reads the log.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "read_log", tag = "events",
    params(
        ("after" = Option<u64>, Query, description = "Events behind this position, backward those before it; by default all"),
        ("limit" = Option<u64>, Query, description = "Events at most: 1 to 1000, by default 100"),
        ("category" = Option<Vec<String>>, Query, description = "Any of these categories; may be repeated"),
        ("type" = Option<Vec<String>>, Query, description = "Any of these types; may be repeated"),
        ("prefix" = Option<String>, Query, description = "Streams whose id begins so"),
        ("direction" = Option<String>, Query, description = "`forward` (the default) or `backward`"),
    ),
    responses(
        (status = 200, body = LogEvents, description = "Events"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn read(State(app): State<App>, mut params: Params) -> Result<Response> {
    let direction = params.direction()?;
    let after = params.number("after")?.unwrap_or(match direction {
        Direction::Forward => 0,
        Direction::Backward => i64::MAX.unsigned_abs(),
    });
    let limit = params.limit(LOG_PAGE_MAX)?;
    let filter = filter(&mut params)?;
    params.finish()?;
    let page = app
        .host
        .read_log(Position(after), direction, limit, &filter)
        .await?;
    let view = LogEvents {
        events: page.events.iter().map(view::Event::of).collect(),
        next: page.next.map(|position| position.0),
        head: page.head.0,
    };
    answer::json(StatusCode::OK, &view)
}

fn filter(params: &mut Params) -> Result<Filter> {
    // `category=` names nothing; the filter refuses it.
    let named = |values: Vec<String>| values.into_iter().filter(|value| !value.is_empty());
    let categories = params.all("category").map(named);
    let types = params.all("type").map(named);
    Ok(Filter {
        categories: categories.map(|values| values.map(Into::into).collect()),
        types: types
            .map(|values| {
                values
                    .map(|name| Name::new(&name))
                    .collect::<std::result::Result<_, _>>()
            })
            .transpose()?,
        prefix: params.one("prefix")?.map(Into::into),
    })
}

/// Reads one event.
#[utoipa::path(
    get, path = "/v1/events/{position}", tag = "events",
    params(("position" = u64, Path, description = "The event's position")),
    responses(
        (status = 200, body = view::Event, description = "The event"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn read_one(
    State(app): State<App>,
    PositionPath(position): PositionPath,
    params: Params,
) -> Result<Response> {
    params.finish()?;
    match app.host.event(Position(position)).await? {
        Some(event) => answer::json(StatusCode::OK, &view::Event::of(&event)),
        None => {
            let detail = format!("there is no event at position {position}");
            Err(Box::new(Problem::new(Code::EventNotFound, detail)))
        }
    }
}
