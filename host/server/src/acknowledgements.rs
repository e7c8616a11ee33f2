//! Findings that an operator has acknowledged.

use std::borrow::Cow;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::access::By;
use super::deed::Deed;
use super::failure::Result;
use super::params::{PageSize, Params, Segments, Text};
use super::request::JsonBytes;
use super::{App, answer};
use quipu::store::ACKNOWLEDGED_PAGE_MAX;
use quipu_api::{AcknowledgementList, AcknowledgementView, Problem};

/// Which finding to acknowledge, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgementBody<'a> {
    /// The finding's name, for example `decision:loan-17@42`.
    #[serde(borrow)]
    finding: Cow<'a, str>,
    /// Why it is acknowledged: one line of 1 to 1024 bytes.
    #[serde(borrow)]
    reason: Cow<'a, str>,
}

/// Acknowledges a finding.
///
/// From then on `verify` counts it but no longer fails because of it. The finding need not exist:
/// only the form of the name is checked. Acknowledging a finding a second time replaces the reason.
/// A store holds at most 10000 acknowledgements. Exports do not contain them.
///
/// Names are `KIND:STREAM@VERSION`; for stored rejections and snapshots
/// `KIND:STREAM@VERSION#DIGEST`, with the first 12 digits of the SHA-256 of the command's id or of
/// the snapshot's fold; for documents `document:PROJECTION/MISMATCH/KEY`.
#[utoipa::path(
    post, path = "/v1/verify/acknowledgements", operation_id = "acknowledge_finding",
    tag = "operations",
    security(("token" = ["operate"])),
    request_body(content = AcknowledgementBody, description = "The finding and the reason"),
    responses(
        (status = 200, body = AcknowledgementView, description = "The acknowledgement"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn acknowledge(
    State(app): State<App>,
    By(caller): By,
    deed: Deed,
    _: Params<()>,
    body: JsonBytes,
) -> Result<Response> {
    let AcknowledgementBody { finding, reason } = body.parse()?;
    let by = caller.name();
    let acknowledging = app.host.acknowledge(&finding, &reason, by.as_deref());
    let acknowledged = acknowledging.await?;
    // It was checked: what is not well-formed does not get into the audit.
    deed.has_reason(&reason);
    answer::json(StatusCode::OK, &AcknowledgementView::of(acknowledged))
}

/// A page of acknowledged findings.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AcknowledgementsQuery {
    /// Only findings after this name
    #[param(value_type = Option<String>)]
    after: Option<Text>,
    /// Maximum number of findings: 1 to 1000, by default 100
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: PageSize<ACKNOWLEDGED_PAGE_MAX>,
}

/// Lists acknowledged findings.
#[utoipa::path(
    get, path = "/v1/verify/acknowledgements", operation_id = "list_acknowledged_findings",
    tag = "operations",
    security(("token" = ["read"])),
    params(AcknowledgementsQuery),
    responses(
        (status = 200, body = AcknowledgementList, description = "Acknowledged findings"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(
    State(app): State<App>,
    Params(query): Params<AcknowledgementsQuery>,
) -> Result<Response> {
    let after = query.after.as_ref().map(|after| after.0.as_str());
    let limit = query.limit.0;
    let page = app.host.acknowledged(after, limit).await?;
    let last = page.last().filter(|_| page.len() == limit);
    let list = AcknowledgementList {
        next: last.map(|last| last.finding.to_string()),
        acknowledgements: page.into_iter().map(AcknowledgementView::of).collect(),
    };
    answer::json(StatusCode::OK, &list)
}

/// `{finding}`.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct FindingPath {
    /// The finding's name, percent-encoded
    finding: String,
}

/// Withdraws an acknowledgement.
///
/// From then on the finding fails a verification in which it occurs.
#[utoipa::path(
    delete, path = "/v1/verify/acknowledgements/{finding}",
    operation_id = "withdraw_acknowledgement", tag = "operations",
    security(("token" = ["operate"])),
    params(FindingPath),
    responses(
        (status = 204, description = "The acknowledgement is withdrawn"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn withdraw(
    State(app): State<App>,
    Segments(FindingPath { finding }): Segments<FindingPath>,
    _: Params<()>,
) -> Result<Response> {
    app.host.withdraw(&finding).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
