//! Types of events: what the active modules say of them, and what the store holds.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::failure::Result;
use super::params::Params;
use super::{App, answer};
use quipu_api::{EventTypeView, Problem, TypeList};

/// Lists types of events.
///
/// Those that an active module names, and those that are stored, which are counted up to
/// the end of the log. The first count of a long log takes as long as reading it, and goes
/// on where it was when the answer is `timeout`.
#[utoipa::path(
    get, path = "/v1/types", operation_id = "list_types", tag = "types",
    params(("category" = Option<String>, Query, description = "Only of this category")),
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
