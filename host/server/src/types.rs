//! Types of events: declarations of the active modules, and types in the store.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::failure::Result;
use super::params::Params;
use super::{App, answer};
use quipu_api::{EventTypeView, Problem, TypeList};

/// Lists types of events.
///
/// The list contains the types that an active module names and the types that are stored. Stored
/// events are counted up to the end of the log. The first count of a long log takes as long as
/// reading it; after an answer `timeout`, the next request continues the count.
#[utoipa::path(
    get, path = "/v1/types", operation_id = "list_types", tag = "types",
    params(("category" = Option<String>, Query, description = "Only types of this category")),
    responses(
        (status = 200, body = TypeList, description = "Types"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(State(app): State<App>, mut params: Params) -> Result<Response> {
    let category = params.text("category")?;
    params.finish()?;
    let types = app.host.types().await?;
    let wanted = types.iter().filter(|it| {
        let wanted = category.as_deref();
        wanted.is_none_or(|wanted| *it.category == *wanted)
    });
    let list = TypeList {
        types: wanted.map(EventTypeView::of).collect(),
    };
    answer::json(StatusCode::OK, &list)
}
