//! The audit: what was done, and who did it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::failure::Result;
use super::params::{PageSize, Params};
use super::{App, answer};
use quipu::model::Invalid;
use quipu::store::AUDIT_PAGE_MAX;
use quipu_api::{AuditCheck, AuditList, AuditView, Problem};

/// A page of the audit.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only records after this number, which must not be greater than that of the last one
    #[serde(default)]
    after: u64,
    /// Maximum number of records: 1 to 1000, by default 100
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: PageSize<AUDIT_PAGE_MAX>,
}

/// Lists what was done to the store, and what was denied.
///
/// A record is made for each request that deploys, manages projections, archives, operates or
/// administers, and for each denied request: at most 30 denials a minute for each name, the others are
/// counted in the next record. Commands and appends are in the log itself, under the caller's name.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "read_audit", tag = "access",
    security(("token" = ["admin"])),
    params(AuditQuery),
    responses(
        (status = 200, body = AuditList, description = "Records"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(State(app): State<App>, Params(query): Params<AuditQuery>) -> Result<Response> {
    let limit = query.limit.0;
    let page = app.host.audit().records(query.after, limit).await?;
    if page.is_empty() && query.after > 0 {
        // A reader would miss the next records, for example of a store that was restored.
        let last = app.host.audit().last().await?;
        if query.after > last {
            let place = format!("record {} of the audit", query.after);
            return Err(Invalid::after_the_end(place, last).into());
        }
    }
    let last = page.last().filter(|_| page.len() == limit);
    let list = AuditList {
        next: last.map(|last| last.number),
        records: page.iter().map(AuditView::of).collect(),
    };
    answer::json(StatusCode::OK, &list)
}

/// Checks the chain of the audit's digests.
///
/// A single record that was changed, added or removed breaks the chain. The digests have no key:
/// compare the digest with an earlier one to find a chain that was computed again, or a missing end.
#[utoipa::path(
    get, path = "/v1/audit/check", operation_id = "check_audit", tag = "access",
    security(("token" = ["admin"])),
    responses(
        (status = 200, body = AuditCheck, description = "The result"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn check(State(app): State<App>, _: Params<()>) -> Result<Response> {
    let checked = app.host.audit().verify().await?;
    answer::json(StatusCode::OK, &AuditCheck::of(&checked))
}
