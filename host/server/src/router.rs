use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::answering::Visit;
use super::budget::{Bodies, Budget};
use super::failure::{Failure, Result};
use super::request::LARGE_MAX;
use super::{
    App, Options, acknowledgements, activate, appends, changes, commands, deployments, documents,
    export, health, lines, log, marks, modules, openapi, params, preflights, projections,
    rejections, shadows, snapshots, state, streams, subscribe, subscriptions, types, verify,
};
use quipu::Host;
use quipu_api::Code;

/// Every path of the host.
pub fn router(host: Host, options: Options) -> Router {
    router_until(host, options, CancellationToken::new())
}

/// Every path; once `ending` is cancelled, long requests end.
pub(super) fn router_until(host: Host, options: Options, ending: CancellationToken) -> Router {
    let app = App {
        host,
        bodies: Bodies::new(options.bodies_bytes_max),
        answers: Budget::new(options.answers_bytes_max),
        readings: Arc::new(Semaphore::new(LARGE_MAX)),
        options: Arc::new(options),
        ending,
    };
    Router::new()
        .route("/v1/commands", post(lines::execute_lines))
        .route("/v1/streams/{stream}/commands", post(commands::execute))
        .route(
            "/v1/streams/{stream}/events",
            get(streams::read).post(appends::append),
        )
        .route("/v1/appends", post(appends::append_all))
        .route("/v1/streams", get(streams::list))
        .route("/v1/streams/{stream}/archive", post(marks::archive))
        .route("/v1/streams/{stream}/restore", post(marks::restore))
        .route("/v1/streams/{stream}/truncate", post(marks::truncate))
        .route("/v1/streams/{stream}/state", get(state::state))
        .route("/v1/streams/{stream}/snapshot", post(snapshots::take))
        .route("/v1/streams/{stream}/subscribe", get(subscribe::stream))
        .route("/v1/events", get(log::read))
        .route("/v1/events/subscribe", get(subscribe::log))
        .route("/v1/events/{position}", get(log::read_one))
        .route("/v1/subscriptions", get(subscriptions::list))
        .route(
            "/v1/subscriptions/{name}",
            get(subscriptions::show).delete(subscriptions::forget),
        )
        .route("/v1/subscriptions/{name}/claim", post(subscriptions::claim))
        .route("/v1/subscriptions/{name}/events", get(subscriptions::read))
        .route(
            "/v1/subscriptions/{name}/acknowledge",
            post(subscriptions::acknowledge),
        )
        .route(
            "/v1/subscriptions/{name}/release",
            post(subscriptions::release),
        )
        .route("/v1/subscriptions/{name}/seek", post(subscriptions::seek))
        .route("/v1/snapshots/check", post(snapshots::check))
        .route("/v1/verify", post(verify::verify))
        .route(
            "/v1/verify/acknowledgements",
            get(acknowledgements::list).post(acknowledgements::acknowledge),
        )
        .route(
            "/v1/verify/acknowledgements/{finding}",
            delete(acknowledgements::withdraw),
        )
        .route("/v1/preflights", post(preflights::preflight))
        .route("/v1/shadows", post(shadows::shadow))
        .route("/v1/rejections", get(rejections::list))
        .route("/v1/types", get(types::list))
        .route("/v1/modules", get(modules::list).post(modules::upload))
        .route("/v1/modules/prune", post(modules::prune))
        .route("/v1/modules/{digest}", get(modules::show))
        .route("/v1/modules/{digest}/events", get(log::decided_by))
        .route("/v1/modules/{digest}/wasm", get(modules::download))
        .route(
            "/v1/deployments",
            get(deployments::list).post(activate::activate),
        )
        .route("/v1/deployments/{name}", get(deployments::show))
        .route("/v1/deployments/{name}/rollback", post(activate::roll_back))
        .route("/v1/projections", get(projections::list))
        .route("/v1/projections/{name}", get(projections::show))
        .route("/v1/projections/{name}/{order}", post(projections::order))
        .route("/v1/projections/{name}/rebuild", post(projections::rebuild))
        .route(
            "/v1/projections/{name}/retry-parked",
            post(projections::retry_parked),
        )
        .route(
            "/v1/projections/{name}/drop-parked",
            post(projections::drop_parked),
        )
        .route("/v1/projections/{name}/parked", get(projections::parked))
        .route("/v1/projections/{name}/skipped", get(projections::skipped))
        .route("/v1/projections/{name}/changes", get(changes::subscribe))
        .route(
            "/v1/projections/{name}/live/{stream}",
            get(projections::live),
        )
        .route("/v1/views/{projection}", get(documents::list))
        .route("/v1/views/{projection}/{key}", get(documents::read))
        .route("/v1/export", get(export::export))
        .route(export::IMPORT, post(export::import))
        .route("/v1/status", get(health::status))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/openapi.json", get(description))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(app.clone(), guard))
        .with_state(app)
}

async fn description() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], openapi()).into_response()
}

async fn no_such_path(uri: Uri) -> Failure {
    let detail = format!("there is no path {}; /openapi.json lists them", uri.path());
    Failure::new(Code::NotFound, detail)
}

async fn no_such_method(method: Method, uri: Uri) -> Failure {
    let detail = format!("{} does not take {method}", uri.path());
    Failure::new(Code::MethodNotAllowed, detail)
}

/// Wraps every handler: checks the address, limits the time to the answer, and confines a mistake
/// of the host to its request.
async fn guard(
    State(app): State<App>,
    visit: Visit,
    request: Request,
    next: Next,
) -> Result<Response> {
    params::check_encoding(request.uri().path())?;
    params::check_encoding(request.uri().query().unwrap_or_default())?;
    let time_max = app.options.request_time_max;
    let is_long = request.uri().path() == export::IMPORT;
    // This includes the time that the request waited before it was handled.
    let due = visit.arrived + time_max;
    let answering = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answered = match is_long {
        true => Ok(answering.await),
        false => tokio::time::timeout_at(due, answering).await,
    };
    match answered {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_)) => Err(Failure::internal(&"a handler panicked")),
        Err(_) => {
            let detail = format!(
                "no answer within {} s; whether something was stored, a request with the same Idempotency-Key finds out",
                time_max.as_secs_f32()
            );
            Err(Failure::new(Code::Timeout, detail))
        }
    }
}
