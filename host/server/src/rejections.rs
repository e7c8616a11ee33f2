//! The last rejections.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::failure::Result;
use super::params::{Params, printable};
use super::{App, answer};
use quipu::store::{REJECTIONS_PAGE_MAX, Rejected};
use quipu_api::Problem;
use quipu_api::event::Data;

/// Rejections.
#[derive(Serialize, ToSchema)]
pub struct RejectionList<'a> {
    /// The newest first.
    rejections: Vec<RejectedView<'a>>,
    /// Where to go on `before`; null at the end.
    next: Option<u64>,
}

/// A command that the domain said no to.
#[derive(Serialize, ToSchema)]
pub struct RejectedView<'a> {
    /// Its number, which rises with time.
    id: u64,
    /// When the command was accepted.
    #[schema(format = "date-time")]
    accepted_at: String,
    /// The stream.
    stream: &'a str,
    /// The version of the stream on whose state it was decided.
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
    #[serde(flatten)]
    data: Data<'a>,
    /// The guest's code.
    code: &'a str,
    /// For people.
    message: &'a str,
    /// More for programs, JSON as the guest gave it; absent when it gave none, or more than 16
    /// KiB.
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
            data: Data::of(&command.body),
            code: &rejected.code,
            message: &rejected.message,
            details: details.0,
            details_content_type: details.1,
            details_base64: details.2,
        }
    }
}

/// Lists the last commands that were rejected.
///
/// They are kept apart from the log, up to 10000 of each category by default, and may be lost
/// with the process: half a second of them, commands of more than 64 KiB, and what does not
/// wait within 32 MiB. Details of more than 16 KiB are left out. A preflight decides them again.
#[utoipa::path(
    get, path = "/v1/rejections", operation_id = "list_rejections", tag = "operations",
    params(
        ("category" = Option<String>, Query, description = "Of streams of this category alone"),
        ("before" = Option<u64>, Query, description = "Those before this number; the newest without it"),
        ("limit" = Option<u64>, Query, description = "At most so many: 1 to 100, by default 100"),
    ),
    responses(
        (status = 200, body = RejectionList, description = "Rejections"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(State(app): State<App>, mut params: Params) -> Result<Response> {
    let category = match params.one("category")? {
        Some(category) => Some(printable("category", category)?),
        None => None,
    };
    let before = params.number("before")?;
    let limit = params.limit(REJECTIONS_PAGE_MAX)?;
    params.finish()?;
    let rejected = app
        .host
        .rejections(category.as_deref(), before, limit)
        .await?;
    let last = rejected.last().filter(|_| rejected.len() == limit);
    let list = RejectionList {
        next: last.map(|last| last.id),
        rejections: rejected.iter().map(RejectedView::of).collect(),
    };
    answer::json(StatusCode::OK, &list)
}
