use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::Access;
use super::answering::Visit;
use super::budget::{Bodies, Budget};
use super::failure::{Failure, Result};
use super::meters::Meters;
use super::pending::PendingRequests;
use super::request::LARGE_MAX;
use super::tenants::{self, Tenancy, Tenants, operations};
use super::{
    App, Options, access, acknowledgements, activate, administration, appends, audit, backups, can,
    changes, commands, console, deed, deployments, deprecation, documents, domain, draining,
    export, health, limits, lines, log, log_context, logs, marks, mcp, metrics, modules, openapi,
    pages, params, preflights, previews, projections, proposals, rejections, reload, shadows,
    snapshots, state, steps, streams, subscribe, subscriptions, tokens, trace, types, verify,
};
use quipu::Host;
use quipu::access::Caller;
use quipu_api::Code;

/// Every path of the host.
pub fn router(host: Host, options: Options) -> Router {
    routed(app(host, options, CancellationToken::new()))
}

/// The state of all handlers; once `ending` is cancelled, long requests end.
pub(super) fn app(host: Host, options: Options, ending: CancellationToken) -> App {
    let (_, description) = paths().split_for_parts();
    let access = Access::new(&description, options.allow_unauthenticated);
    let (bodies, answers) = (
        Bodies::new(options.bodies_bytes_max),
        Budget::new(options.answers_bytes_max),
    );
    let tenants = options.tenants.clone().map(|tenants| {
        let shared = (options.clone(), bodies.clone(), answers.clone());
        Arc::new(Tenants::new(host.clone(), tenants, shared, ending.clone()))
    });
    App {
        // A test describes the paths: each declares what it needs.
        access: Arc::new(access.expect("every path declares its access")),
        host,
        serves: administration::Serves::Everything,
        meters: Arc::new(Meters::new(&description)),
        sampler: metrics::Sampler::default(),
        bodies,
        answers,
        readings: Arc::new(Semaphore::new(LARGE_MAX)),
        options: Arc::new(options),
        domain: domain::Described::default(),
        tenancy: Tenancy::of(tenants),
        pending: PendingRequests::default(),
        newest: Arc::default(),
        draining: CancellationToken::new(),
        ending,
    }
}

/// Every path of the main store, and its tenants.
pub(super) fn routed(app: App) -> Router {
    let (router, description) = paths().split_for_parts();
    let description = openapi::complete(description, app.options.deprecated);
    let description = Bytes::from(description);
    let router = router.route("/openapi.json", get(async || json(description)));
    // The console has a router of its own to ask, without itself in it.
    let pages = console::routes(&app, || guarded(router.clone(), app.clone()));
    let router = match pages {
        Some(pages) => router.merge(pages),
        None => router,
    };
    let router = guarded(router, app.clone());
    match app.tenancy.tenants() {
        Some(tenants) => tenants::in_front(router, app, &tenants),
        None => router,
    }
}

/// Completes the paths of one store.
pub(super) fn guarded(router: Router<App>, app: App) -> Router {
    let router = mcp::with_tools(router, &app);
    protected(router, app)
}

/// Completes paths, without tools for agents.
pub(super) fn protected(router: Router<App>, app: App) -> Router {
    let router = router
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(app.clone(), guard));
    // Outside the guard, so that its refusals have the headers too.
    deprecation::announced(router, app.options.deprecated).with_state(app)
}

/// Every path with its handlers and their descriptions. Path and method are declared at the handler;
/// the handlers of one path go together.
pub(super) fn paths() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::common())
        .routes(routes!(lines::execute_lines))
        .routes(routes!(commands::execute))
        .routes(routes!(previews::preview))
        .routes(routes!(previews::preview_proposal))
        .routes(routes!(proposals::propose))
        .routes(routes!(proposals::list))
        .routes(routes!(proposals::show))
        .routes(routes!(proposals::approve))
        .routes(routes!(proposals::deny))
        .routes(routes!(domain::describe))
        .routes(routes!(domain::execute))
        .routes(routes!(streams::read, appends::append))
        .routes(routes!(appends::append_all))
        .routes(routes!(streams::list))
        .routes(routes!(marks::archive))
        .routes(routes!(marks::restore))
        .routes(routes!(marks::truncate))
        .routes(routes!(state::state))
        .routes(routes!(snapshots::take))
        .routes(routes!(subscribe::stream))
        .routes(routes!(log::read))
        .routes(routes!(subscribe::log))
        .routes(routes!(log::read_one))
        .routes(routes!(trace::trace))
        .routes(routes!(subscriptions::list))
        .routes(routes!(subscriptions::show, subscriptions::forget))
        .routes(routes!(subscriptions::claim))
        .routes(routes!(subscriptions::read))
        .routes(routes!(subscriptions::acknowledge))
        .routes(routes!(subscriptions::release))
        .routes(routes!(subscriptions::seek))
        .routes(routes!(snapshots::check))
        .routes(routes!(verify::verify))
        .routes(routes!(
            acknowledgements::list,
            acknowledgements::acknowledge
        ))
        .routes(routes!(acknowledgements::withdraw))
        .routes(routes!(preflights::preflight))
        .routes(routes!(shadows::shadow))
        .routes(routes!(rejections::list))
        .routes(routes!(types::list))
        .routes(routes!(modules::list, modules::upload))
        .routes(routes!(modules::prune))
        .routes(routes!(modules::show))
        .routes(routes!(log::decided_by))
        .routes(routes!(modules::download))
        .routes(routes!(deployments::list, activate::activate))
        .routes(routes!(deployments::show))
        .routes(routes!(activate::roll_back))
        .routes(routes!(projections::list))
        .routes(routes!(projections::show))
        .routes(routes!(projections::order))
        .routes(routes!(projections::rebuild))
        .routes(routes!(projections::retry_parked))
        .routes(routes!(projections::drop_parked))
        .routes(routes!(projections::parked))
        .routes(routes!(projections::skipped))
        .routes(routes!(changes::subscribe))
        .routes(routes!(projections::live))
        .routes(routes!(steps::steps))
        .routes(routes!(documents::list))
        .routes(routes!(documents::read))
        .routes(routes!(export::export))
        .routes(routes!(export::import))
        .routes(routes!(backups::report))
        .routes(routes!(reload::reload))
        .routes(routes!(logs::read))
        .routes(routes!(health::status))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::metrics))
        .routes(routes!(mcp::mcp))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::whoami))
        .routes(routes!(can::can))
        .routes(routes!(operations::list, operations::create))
        .routes(routes!(operations::remove))
        .routes(routes!(operations::suspend))
        .routes(routes!(operations::resume))
        .routes(routes!(audit::list))
        .routes(routes!(audit::check))
}

fn json(text: Bytes) -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], text).into_response()
}

async fn no_such_path(uri: Uri) -> Failure {
    let detail = format!("there is no path {}; /openapi.json lists them", uri.path());
    Failure::new(Code::NotFound, detail)
}

async fn no_such_method(method: Method, uri: Uri) -> Failure {
    let detail = format!("{} does not take {method}", uri.path());
    Failure::new(Code::MethodNotAllowed, detail)
}

/// The same for a path that declares these methods.
fn no_such_method_of(request: &Request, methods: &str) -> Response {
    let detail = format!(
        "{} does not take {}",
        request.uri().path(),
        request.method()
    );
    let mut response = Failure::new(Code::MethodNotAllowed, detail).into_response();
    if let Ok(methods) = HeaderValue::from_str(methods) {
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}

/// Wraps every handler: refuses web pages that may not ask and callers who may not, records what
/// changes the store, and protects every answer.
async fn guard(State(app): State<App>, visit: Visit, request: Request, next: Next) -> Response {
    let context = log_context::LogContext::of(&request);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = context.scope(answered(app, visit, request, next)).await;
    // For the times of requests. A page of the console replaces the route of what it asked.
    match route {
        Some(route) => _ = response.extensions_mut().insert(route),
        None => _ = response.extensions_mut().remove::<MatchedPath>(),
    }
    response
}

async fn answered(app: App, visit: Visit, request: Request, next: Next) -> Response {
    let version = request.version();
    let (page, mut response) = match pages::check(&request, &app.options) {
        Ok(page) => {
            let admitted = match app.access.records(&request) {
                true => completed(&app, visit, request, next, page.clone()).await,
                false => admitted(&app, visit, request, next, page.as_ref()).await,
            };
            (page, admitted.into_response())
        }
        Err(failure) => {
            let led = console::led_here(&app, request);
            (None, led.unwrap_or_else(|| failure.into_response()))
        }
    };
    pages::protect(&mut response, page);
    draining::announce(&app, version, &mut response);
    response
}

/// The same as [`admitted`], and complete also if the caller leaves.
async fn completed(
    app: &App,
    visit: Visit,
    request: Request,
    next: Next,
    page: Option<HeaderValue>,
) -> Result<Response> {
    let of_app = app.clone();
    let tenant = request
        .extensions()
        .get::<tenants::TenantRequest>()
        .cloned();
    let answering = async move {
        let answered = admitted(&of_app, visit, request, next, page.as_ref()).await;
        drop(tenant);
        answered
    };
    app.pending.answer(answering).await
}

/// Answers a request that may come from its page: refuses callers who may not, and records what
/// changes the store.
async fn admitted(
    app: &App,
    visit: Visit,
    mut request: Request,
    next: Next,
    page: Option<&HeaderValue>,
) -> Result<Response> {
    app.tenancy.check(request.headers())?;
    if let Some(allowed) = pages::preflight(&request, page) {
        return Ok(allowed);
    }
    if let Some(methods) = app.access.other_methods(&request) {
        return Ok(no_such_method_of(&request, &methods));
    }
    let deed = match access::admit(app, &mut request).await {
        Ok(deed) => deed,
        Err(denied) => return Ok(denied.into_response()),
    };
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.unwrap_or_default();
    let known = request.extensions().get().cloned();
    let (peer, may_be_long) = (visit.peer(), limits::may_be_long(&request));
    let answered = answer(app, visit, request, next).await;
    let mut response = answered.into_response();
    if may_be_long {
        response = limits::seated(app, &caller, peer, response);
    }
    let result = deed::result(&response);
    deed.answered(&result).await;
    Ok(access::watched(known, response))
}

/// Calls the handler: checks the address, limits the time to the answer, and confines a mistake
/// of the host to its request.
async fn answer(app: &App, visit: Visit, request: Request, next: Next) -> Result<Response> {
    params::check_encoding(request.uri().path())?;
    params::check_encoding(request.uri().query().unwrap_or_default())?;
    let is_long = request.uri().path() == export::IMPORT;
    let is_upload = request.uri().path() == modules::PATH && request.method() == Method::POST;
    let time_max = match is_upload {
        true => app.options.upload_time_max,
        false => app.options.request_time_max,
    };
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
