//! The last rejections.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::answering::Visit;
use super::failure::{Failure, Result};
use super::params::{PageSize, Params, Printable, Text};
use super::{App, answer};
use quipu::model::StreamId;
use quipu::store::{REJECTIONS_PAGE_MAX, Rejected, RejectionFilter};
use quipu_api::Problem;
use quipu_api::event::Data;

/// Rejections.
#[derive(Serialize, ToSchema)]
pub struct RejectionList<'a> {
    /// The newest first.
    rejections: Vec<RejectedView<'a>>,
    /// The value of `before` for the next page; null at the end.
    next: Option<u64>,
}

/// A command that the domain rejected.
#[derive(Serialize, ToSchema)]
pub struct RejectedView<'a> {
    /// Its number, which increases with time.
    id: u64,
    /// When the command was accepted.
    #[schema(format = "date-time")]
    accepted_at: String,
    /// The command's stream.
    stream: &'a str,
    /// The version of the stream at the time of the decision.
    version: u64,
    /// The plan under which it was decided.
    plan: u64,
    /// Digest of the module that decided.
    module: String,
    /// The command's id.
    command_id: &'a str,
    /// The command's type.
    command: &'a str,
    /// Schema version of the command's data.
    schema_version: u32,
    /// Who sent the command; absent when the host has not verified the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    #[serde(flatten)]
    data: Data<'a>,
    /// The rejection's code, from the guest.
    code: &'a str,
    /// A message for people.
    message: &'a str,
    /// Details for programs, JSON as the guest returned it; absent when there is none, or more than
    /// 16 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    details: Option<&'a RawValue>,
    /// Media type of `details_base64`; absent for JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    details_content_type: Option<&'a str>,
    /// Details that are not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    details_base64: Option<String>,
}

impl<'a> RejectedView<'a> {
    fn of(rejected: &'a Rejected) -> Self {
        let command = &rejected.command;
        let details = rejected.details.as_ref().map(Data::of);
        let details = details.map(Data::into_parts).unwrap_or_default();
        Self {
            id: rejected.id,
            accepted_at: command.accepted_at.to_string(),
            stream: rejected.stream.as_str(),
            version: rejected.version.0,
            plan: rejected.plan,
            module: rejected.module.to_string(),
            command_id: command.id.as_str(),
            command: command.name.as_str(),
            schema_version: command.schema_version,
            principal: command.context.principal.as_deref(),
            data: Data::of(&command.body),
            code: &rejected.code,
            message: &rejected.message,
            details: details.0,
            details_content_type: details.1,
            details_base64: details.2,
        }
    }
}

/// Which rejections to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RejectionsQuery {
    /// Only streams of this category
    #[param(value_type = Option<String>)]
    category: Option<Printable>,
    /// Only this stream; excludes `category`
    #[param(value_type = Option<String>)]
    stream: Option<Text>,
    /// Only rejections before this number; by default the newest
    before: Option<u64>,
    /// Maximum number of rejections: 1 to 100, by default 100
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: PageSize<REJECTIONS_PAGE_MAX>,
}

/// Lists the last rejected commands.
///
/// Rejections are stored apart from the log, by default up to 10000 for each category. Those of
/// the last half second may be lost when the process ends. Commands of more than 64 KiB, and
/// rejections that do not fit into the queue of 32 MiB, are not stored. Details of more than 16 KiB
/// are left out. A preflight re-decides the stored commands. With `stream`, all stored rejections of
/// its category are searched.
#[utoipa::path(
    get, path = "/v1/rejections", operation_id = "list_rejections", tag = "operations",
    security(("token" = ["read-payload"])),
    params(RejectionsQuery),
    responses(
        (status = 200, body = RejectionList, description = "Rejections"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(
    State(app): State<App>,
    visit: Visit,
    Params(query): Params<RejectionsQuery>,
) -> Result<Response> {
    let stream = query
        .stream
        .map(|Text(id)| StreamId::new(&id))
        .transpose()?;
    let filter = match (&query.category, &stream) {
        (None, None) => RejectionFilter::All,
        (Some(category), None) => RejectionFilter::Category(&category.0),
        (None, Some(stream)) => RejectionFilter::Stream(stream),
        (Some(_), Some(_)) => {
            let detail = "query: category and stream exclude each other";
            return Err(Failure::bad_request(detail));
        }
    };
    let limit = query.limit.0;
    let room = visit.room(&app).await?;
    let rejected = app.host.rejections(filter, query.before, limit).await?;
    let last = rejected.last().filter(|_| rejected.len() == limit);
    let list = RejectionList {
        next: last.map(|last| last.id),
        rejections: rejected.iter().map(RejectedView::of).collect(),
    };
    Ok(room.of(answer::json(StatusCode::OK, &list)?))
}
