//! Named subscriptions: a client claims a name, reads, and acknowledges the events it has handled.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answering::Visit;
use super::failure::{Failure, Result};
use super::params::{PageSize, Params, Segments, Text};
use super::request::{JsonBytes, OptionalJson};
use super::{App, answer, log};
use quipu::model::Position;
use quipu::store::{CHECKPOINTS_PAGE_MAX, LOG_PAGE_MAX};
use quipu::subscribe::{EventBatch, Owner, Reading, Start};
use quipu_api::{ClaimView, NamedList, NamedView, Problem, choices, event};

/// Limits and default of a lease, in milliseconds.
const LEASE_MIN: u64 = 1_000;
const LEASE_MAX: u64 = 3_600_000;
const LEASE: u64 = 15_000;

/// Where a subscription begins, or where it is moved to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum StartBody {
    /// After this position; 0 for all events.
    After(u64),
    /// `now`: only events that are committed from now on.
    Word(String),
}

/// How to claim a named subscription.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimBody {
    /// Where a new subscription begins: after a position, 0, the default, for all events, or `now`.
    after: Option<StartBody>,
    /// How long the lease lasts after each call, in milliseconds: 1000 to 3600000, by default
    /// 15000.
    lease_ms: Option<u64>,
}

/// An acknowledgement of events.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandledBody {
    /// The token from the claim.
    token: u64,
    /// All events up to this position are handled: `next` of a read.
    position: u64,
    /// As in the claim.
    lease_ms: Option<u64>,
}

/// The proof of a claim.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBody {
    /// The token from the claim.
    token: u64,
}

/// Where to move a subscription.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeekBody {
    /// After a position, 0 for all events, or `now`.
    after: StartBody,
}

/// Events for the owner of a named subscription.
#[derive(Serialize, ToSchema)]
pub struct ClaimedEvents<'a> {
    /// The matching events, in the order of the log. The same events are returned until `next` is
    /// acknowledged.
    events: Vec<event::Event<'a>>,
    /// The position to acknowledge once all of them are handled. It may advance although no event
    /// matches.
    next: u64,
    /// Position of the last event in the log.
    head: u64,
}

impl StartBody {
    fn read(&self) -> Result<Start> {
        match self {
            Self::After(position) => Ok(Start::After(Position(*position))),
            Self::Word(word) if word == "now" => Ok(Start::Now),
            Self::Word(word) => Err(Failure::bad_request(format!(
                "after {word:?} is neither a position nor `now`"
            ))),
        }
    }
}

/// `{name}` of a named subscription.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
pub struct SubscriptionPath {
    /// The name
    name: String,
}

/// Which named subscriptions to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SubscriptionsQuery {
    /// Only subscriptions after this name
    #[param(value_type = Option<String>)]
    after: Option<Text>,
    /// Maximum number of subscriptions: 1 to 1000, by default 100
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: PageSize<CHECKPOINTS_PAGE_MAX>,
}

/// Lists the named subscriptions.
#[utoipa::path(
    get, path = "/v1/subscriptions", operation_id = "list_subscriptions", tag = "subscriptions",
    security(("token" = ["read"])),
    params(SubscriptionsQuery),
    responses(
        (status = 200, body = NamedList, description = "Named subscriptions"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn list(
    State(app): State<App>,
    Params(query): Params<SubscriptionsQuery>,
) -> Result<Response> {
    let after = query.after.as_ref().map(|after| after.0.as_str());
    let limit = query.limit.0;
    let page = app.host.named_subscriptions(after, limit).await?;
    let last = page.last().filter(|_| page.len() == limit);
    let list = NamedList {
        next: last.map(|last| last.name.clone()),
        subscriptions: page.into_iter().map(NamedView::of).collect(),
        head: app.host.log_head().await?.0,
    };
    answer::json(StatusCode::OK, &list)
}

/// Shows a named subscription.
#[utoipa::path(
    get, path = "/v1/subscriptions/{name}", operation_id = "show_subscription",
    tag = "subscriptions",
    security(("token" = ["read"])),
    params(SubscriptionPath),
    responses(
        (status = 200, body = NamedView, description = "The subscription"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn show(
    State(app): State<App>,
    Segments(SubscriptionPath { name }): Segments<SubscriptionPath>,
    _: Params<()>,
) -> Result<Response> {
    let found = app.host.named_subscription(&name).await?;
    answer::json(StatusCode::OK, &NamedView::of(found))
}

/// Claims a named subscription.
///
/// The first claim creates it. Only one client at a time owns a name, over HTTP or in the host's
/// own process. Other clients get `subscription-held` until the owner releases it or its lease
/// expires because the owner makes no calls. Each claim, read and acknowledgement renews the lease.
/// A name has 1 to 200 bytes without control characters; a store holds at most 1000 named
/// subscriptions.
#[utoipa::path(
    post, path = "/v1/subscriptions/{name}/claim", operation_id = "claim_subscription",
    tag = "subscriptions",
    security(("token" = ["subscribe"])),
    params(SubscriptionPath),
    request_body(content = Option<ClaimBody>, description = "Where a new subscription begins, and the lease"),
    responses(
        (status = 200, body = ClaimView, description = "The claim"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn claim(
    State(app): State<App>,
    Segments(SubscriptionPath { name }): Segments<SubscriptionPath>,
    _: Params<()>,
    body: OptionalJson,
) -> Result<Response> {
    let ClaimBody { after, lease_ms } = body.parse()?;
    let lease = lease(lease_ms)?;
    let start = after.as_ref().map(StartBody::read).transpose()?;
    let claimed = app.host.claim(&name, start, lease).await?;
    let view = ClaimView {
        name,
        token: claimed.token,
        position: claimed.position.0,
        lease_ms: millis(lease),
    };
    answer::json(StatusCode::OK, &view)
}

/// Which events the owner of a named subscription reads.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ClaimedQuery {
    /// The token from the claim
    #[param(value_type = u64)]
    token: Option<u64>,
    /// Maximum number of events: 1 to 1000, by default 100; fewer when they reach 1 MiB
    #[serde(default)]
    #[param(value_type = Option<u64>)]
    limit: PageSize<LOG_PAGE_MAX>,
    /// How long to wait when there are no events, in milliseconds: by default 0, at most half of the lease and half of the time limit for a request
    wait_ms: Option<u64>,
    /// How long the lease lasts from then on, in milliseconds: 1000 to 3600000, by default 15000
    lease_ms: Option<u64>,
    /// `lifted` (the default): events lifted to their current versions, or `stored`
    form: Option<choices::Form>,
}

/// Reads the next events of a named subscription.
///
/// The events after its checkpoint are returned in the order of the log, each at least once: the
/// same events are returned until `next` is acknowledged. If there are none, the host waits for up
/// to `wait_ms`, then answers without events. The parts of a split event are in one answer. An
/// event that can't be lifted is a problem once all events before it are acknowledged; with
/// `form=stored` it can be read.
#[utoipa::path(
    get, path = "/v1/subscriptions/{name}/events", operation_id = "read_subscription",
    tag = "subscriptions",
    security(("token" = ["subscribe"])),
    params(SubscriptionPath, ClaimedQuery, log::Filters),
    responses(
        (status = 200, body = ClaimedEvents, description = "Events"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn read(
    State(app): State<App>,
    visit: Visit,
    Segments(SubscriptionPath { name }): Segments<SubscriptionPath>,
    Params((query, filters)): Params<(ClaimedQuery, log::Filters)>,
) -> Result<Response> {
    let Some(token) = query.token else {
        let detail = "query: token is missing; `claim` gives one";
        return Err(Failure::bad_request(detail));
    };
    let wait = Duration::from_millis(query.wait_ms.unwrap_or_default());
    let lease = lease(query.lease_ms)?;
    let reading = Reading {
        filter: filters.into_filter()?,
        form: query.form.unwrap_or_default().into(),
        limit: query.limit.0,
        wait: wait.min(app.options.request_time_max / 2),
    };
    let owner = Owner {
        name: &name,
        token,
        lease,
    };
    let EventBatch { events, next } = app.host.read_claimed(owner, reading).await?;
    let room = visit.room(&app).await?;
    let view = ClaimedEvents {
        events: events.iter().map(|event| event::Event::of(event)).collect(),
        next: next.0,
        head: app.host.log_head().await?.0.max(next.0),
    };
    Ok(room.of(answer::json(StatusCode::OK, &view)?))
}

/// Acknowledges events of a named subscription.
///
/// All events up to the position are acknowledged and not returned any more. A position before the
/// stored one changes nothing; a position that the log has not reached is rejected. A client that
/// needs long to handle its events can repeat the last acknowledgement to renew the lease.
#[utoipa::path(
    post, path = "/v1/subscriptions/{name}/acknowledge", operation_id = "acknowledge_events",
    tag = "subscriptions",
    security(("token" = ["subscribe"])),
    params(SubscriptionPath),
    request_body = HandledBody,
    responses(
        (status = 200, body = NamedView, description = "The acknowledgement is stored"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn acknowledge(
    State(app): State<App>,
    Segments(SubscriptionPath { name }): Segments<SubscriptionPath>,
    _: Params<()>,
    body: JsonBytes,
) -> Result<Response> {
    let HandledBody {
        token,
        position,
        lease_ms,
    } = body.parse()?;
    let owner = Owner {
        name: &name,
        token,
        lease: lease(lease_ms)?,
    };
    let stored = app
        .host
        .acknowledge_events(owner, Position(position))
        .await?;
    let view = NamedView {
        position: stored.0,
        held_ms: Some(millis(owner.lease)),
        name,
    };
    answer::json(StatusCode::OK, &view)
}

/// Releases a named subscription.
///
/// Another client may claim it at once. Nothing happens if another client owns it by now.
#[utoipa::path(
    post, path = "/v1/subscriptions/{name}/release", operation_id = "release_subscription",
    tag = "subscriptions",
    security(("token" = ["subscribe"])),
    params(SubscriptionPath),
    request_body = TokenBody,
    responses(
        (status = 204, description = "The claim has ended"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn release(
    State(app): State<App>,
    Segments(SubscriptionPath { name }): Segments<SubscriptionPath>,
    _: Params<()>,
    body: JsonBytes,
) -> Result<Response> {
    let TokenBody { token } = body.parse()?;
    app.host.release(&name, token).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Moves a named subscription anywhere in the log.
///
/// This is an action for operators. The owner loses the lease. The next read returns the events
/// after the new position.
#[utoipa::path(
    post, path = "/v1/subscriptions/{name}/seek", operation_id = "seek_subscription",
    tag = "subscriptions",
    security(("token" = ["subscribe"])),
    params(SubscriptionPath),
    request_body = SeekBody,
    responses(
        (status = 200, body = NamedView, description = "The subscription is moved"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn seek(
    State(app): State<App>,
    Segments(SubscriptionPath { name }): Segments<SubscriptionPath>,
    _: Params<()>,
    body: JsonBytes,
) -> Result<Response> {
    let SeekBody { after } = body.parse()?;
    let moved = app.host.seek(&name, after.read()?).await?;
    answer::json(StatusCode::OK, &NamedView::of(moved))
}

/// Deletes a named subscription.
///
/// A subscription that a client owns is not deleted. A later claim of the name creates a new one.
#[utoipa::path(
    delete, path = "/v1/subscriptions/{name}", operation_id = "delete_subscription",
    tag = "subscriptions",
    security(("token" = ["subscribe"])),
    params(SubscriptionPath),
    responses(
        (status = 204, description = "The subscription is deleted"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn forget(
    State(app): State<App>,
    Segments(SubscriptionPath { name }): Segments<SubscriptionPath>,
    _: Params<()>,
) -> Result<Response> {
    app.host.forget(&name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn lease(given: Option<u64>) -> Result<Duration> {
    let millis = given.unwrap_or(LEASE);
    match (LEASE_MIN..=LEASE_MAX).contains(&millis) {
        true => Ok(Duration::from_millis(millis)),
        false => Err(Failure::bad_request(format!(
            "lease_ms {millis} is not from {LEASE_MIN} to {LEASE_MAX}"
        ))),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
