//! Subscriptions to the log and to streams.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;

use super::failure::{Failure, Result};
use super::params::{Params, StreamPath, number};
use super::sse;
use super::{App, log};
use quipu::model::{Position, Version};
use quipu::subscribe::Subscribe;
use quipu::upcast::Form;
use quipu_api::{Problem, choices};

/// The value of `after` and `from` that means the end.
const NOW: &str = "now";

/// Where a subscription to the log begins, and the form of its events.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SubscribeLogQuery {
    /// Only events after this position; 0, the default, for all, `now` for new ones only
    after: Option<String>,
    /// `lifted` (the default): events lifted to their current versions, or `stored`
    form: Option<choices::Form>,
}

/// Where a subscription to a stream begins, and the form of its events.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SubscribeStreamQuery {
    /// The first version to send; 1, the default, for all, `now` for new ones only
    from: Option<String>,
    /// `lifted` (the default): events lifted to their current versions, or `stored`
    form: Option<choices::Form>,
}

/// Where a client continues, for the OpenAPI description.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only its description is used")]
pub struct LastSeen {
    /// The last id that the client has seen; takes precedence over the start that the query names
    #[param(rename = "Last-Event-ID")]
    last_event_id: Option<String>,
}

/// Subscribes to the log.
///
/// Stored events come first, then `caught-up`, then new events as they are committed, with no gap
/// and no duplicate. Events of archived streams are included. `event` carries an event as in every
/// other answer; its id is the position. An event that an upcaster splits comes in parts, one after
/// the other, and only the last part has the id; a dropped event does not come. `heartbeat` comes
/// when nothing was sent for a while (15 s by default). Its id is the position up to which the log
/// was read, so a client that reconnects with `Last-Event-ID` continues there. A position that the
/// log has not reached is rejected. `caught-up` comes a second time if the client was so slow that
/// events had to be read from the log again. A client that stops reading for 30 s is disconnected,
/// with `too-slow` if that can still be sent. `error` carries a problem and ends the subscription,
/// also when an event can't be lifted; with `form=stored` such an event can be read. Line breaks
/// within data are sent as separate `data` lines, as server-sent events require: `\n`.
#[utoipa::path(
    get, path = "/v1/events/subscribe", operation_id = "subscribe_log", tag = "events",
    security(("token" = ["read-payload"])),
    params(SubscribeLogQuery, log::Filters, LastSeen),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "`event`, `caught-up`, `heartbeat`, `too-slow`, `error`. The data of `event` are an `Event`, those of `caught-up` and `heartbeat` a `Reached`, those of `error` a `Problem`"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn log(
    State(app): State<App>,
    Params((query, filters)): Params<(SubscribeLogQuery, log::Filters)>,
    headers: HeaderMap,
) -> Result<Response> {
    let after = start("after", query.after.as_deref(), 0)?;
    let filter = filters.into_filter()?;
    let form = query.form.unwrap_or_default().into();
    let after = last_event_id(&headers)?.or(after);
    let subscribe = match after {
        Some(after) => Subscribe::log(Position(after), filter).seen(),
        None => Subscribe::log(Position(0), filter).from_now(),
    };
    answer(&app, subscribe, form).await
}

/// Subscribes to a stream.
///
/// It works like a subscription to the log, with versions instead of positions. The stream need not
/// exist: the subscription waits for its first event. A version after the next one is rejected.
#[utoipa::path(
    get, path = "/v1/streams/{stream}/subscribe", operation_id = "subscribe_stream", tag = "streams",
    security(("token" = ["read-payload"])),
    params(StreamPath, SubscribeStreamQuery, LastSeen),
    responses(
        (status = 200, body = String, content_type = "text/event-stream", description = "`event`, `caught-up`, `heartbeat`, `too-slow`, `error`. The data of `event` are an `Event`, those of `caught-up` and `heartbeat` a `Reached`, those of `error` a `Problem`"),
        (status = "default", body = Problem, content_type = "application/problem+json", description = "A problem"),
    ),
)]
pub async fn stream(
    State(app): State<App>,
    StreamPath(stream): StreamPath,
    Params(query): Params<SubscribeStreamQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let from = start("from", query.from.as_deref(), 1)?;
    let form = query.form.unwrap_or_default().into();
    let subscribe = match last_event_id(&headers)?
        .map(|seen| seen.saturating_add(1))
        .or(from)
    {
        Some(from) => Subscribe::stream(stream, Version(from)).seen(),
        None => Subscribe::stream(stream, Version(1)).from_now(),
    };
    answer(&app, subscribe, form).await
}

async fn answer(app: &App, subscribe: Subscribe, form: Form) -> Result<Response> {
    let subscribe = match form {
        Form::Lifted => subscribe,
        Form::Stored => subscribe.as_stored(),
    };
    let subscription = app.host.subscribe(subscribe).await?;
    let slow_reader_max = app.options.slow_reader_max;
    Ok(sse::answer(
        subscription,
        Arc::clone(&app.meters),
        slow_reader_max,
        app.ending.clone(),
    ))
}

/// Where to begin; none means now.
fn start(name: &str, given: Option<&str>, default: u64) -> Result<Option<u64>> {
    match given {
        None => Ok(Some(default)),
        Some(NOW) => Ok(None),
        Some(text) => number(name, text).map(Some),
    }
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>> {
    let seen = last_seen(headers)?;
    seen.map(|text| number("Last-Event-ID", text)).transpose()
}

/// The last id that the client has seen. An empty id counts as none, as in browsers.
pub fn last_seen(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut all = headers.get_all("last-event-id").iter();
    let (first, second) = (all.next(), all.next());
    if second.is_some() {
        return Err(Failure::bad_request(
            "Last-Event-ID is given more than once",
        ));
    }
    let seen = first.filter(|value| !value.is_empty());
    Ok(seen.map(|value| value.to_str().unwrap_or("in another form")))
}
