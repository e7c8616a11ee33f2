//! Types of events: declarations of the active modules, and types in the store.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::failure::Result;
use super::params::{Params, Text};
use super::{App, answer};
use quipu_api::{EventTypeView, Problem, TypeList};

/// Which types to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TypesQuery {
    /// Only types of this category
    #[param(value_type = Option<String>)]
    category: Option<Text>,
}

/// Lists types of events.
///
/// The list contains the types that an active module names and the types that are stored. Stored
/// events are counted up to the end of the log. The first count of a long log takes as long as
/// reading it; after an answer `timeout`, the next request continues the count.
#[utoipa::path(
    get, path = "/v1/types", operation_id = "list_types", tag = "types",
    security(("token" = ["read"])),
    params(TypesQuery),
    responses(
        (status = 200, body = TypeList, description = "Types"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(
    State(app): State<App>,
    Params(TypesQuery { category }): Params<TypesQuery>,
) -> Result<Response> {
    let types = app.host.types().await?;
    let wanted = types.iter().filter(|it| {
        let wanted = category.as_ref();
        wanted.is_none_or(|wanted| *it.category == *wanted.0)
    });
    let list = TypeList {
        types: wanted.map(EventTypeView::of).collect(),
    };
    answer::json(StatusCode::OK, &list)
}
