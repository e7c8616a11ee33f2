//! Passes each request to the router of its tenant.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderName;
use axum::response::{IntoResponse, Response};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::time::timeout_at;

use super::Tenants;
use super::slots::{Served, TenantRequest};
use crate::answering::Visit;
use crate::callers::{Unknown, bearer, known_by};
use crate::deed::Deed;
use crate::failure::{Failure, Result};
use crate::{App, InForce, draining, headers, pages};
use quipu::access::{Caller, Refused, is_token};
use quipu_api::Code;
use quipu_identity::Identities;

/// The header that names the tenant of a request.
pub const HEADER: HeaderName = HeaderName::from_static("quipu-tenant");
/// Paths that need no token. They are about the process, so that they don't show which tenants there
/// are.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/openapi.json"];
/// The operation in the audit of a request that was not let into a tenant.
const OPERATION: &str = "enter_tenant";

/// What is in front of the routers.
struct Front {
    main: Router,
    app: App,
    tenants: Arc<Tenants>,
}

/// The router of a host with tenants.
pub fn in_front(main: Router, app: App, tenants: &Arc<Tenants>) -> Router {
    let front = Front {
        main,
        app,
        tenants: Arc::clone(tenants),
    };
    Router::new().fallback(dispatch).with_state(Arc::new(front))
}

async fn dispatch(State(front): State<Arc<Front>>, mut request: Request) -> Response {
    if !request.headers().contains_key(&HEADER) {
        return call(&front.main, request).await;
    }
    let page = match pages::check(&request, &front.app.options) {
        Ok(page) => page,
        Err(failure) => {
            let mut response = failure.into_response();
            pages::protect(&mut response, None);
            return response;
        }
    };
    let entered = match RequestParts::of(&request) {
        Ok(parts) => front.enter(parts).await,
        Err(failure) => Err(failure),
    };
    let version = request.version();
    request.headers_mut().remove(&HEADER);
    request.extensions_mut().insert(front.app.serves);
    match entered {
        Ok(None) => call(&front.main, request).await,
        Ok(Some(entered)) => {
            request.extensions_mut().insert(entered.clone());
            let mut response = call(&entered.opened().served.router, request).await;
            draining::announce(&front.app, version, &mut response);
            response.map(|body| entered.with(body))
        }
        Err(failure) => {
            let mut response = failure.into_response();
            pages::protect(&mut response, page);
            response
        }
    }
}

/// Calls a router, whose errors are responses.
pub(crate) async fn call(router: &Router, request: Request) -> Response {
    let called = TowerToHyperService::new(router.clone()).call(request).await;
    called.unwrap_or_else(|never| match never {})
}

/// What a request asks for. A request itself can't be shared between threads.
struct RequestParts {
    name: String,
    path: String,
    token: Option<String>,
    visit: Visit,
}

impl RequestParts {
    fn of(request: &Request) -> Result<Self> {
        let name = headers::tenant(request.headers())?;
        let token = bearer(request.headers())?;
        Ok(Self {
            name: name.unwrap_or_default().to_owned(),
            path: request.uri().path().to_owned(),
            token: token.map(str::to_owned),
            visit: Visit::of(request),
        })
    }
}

impl Front {
    /// Lets a request with a token of its tenant into the tenant; none for a request that is not
    /// about a store. All others get the same answer, whether or not there is such a tenant.
    async fn enter(&self, parts: RequestParts) -> Result<Option<TenantRequest>> {
        if OPEN.contains(&parts.path.as_str()) {
            return Ok(None);
        }
        let due = parts.visit.arrived + self.app.options.request_time_max;
        let entered = timeout_at(due, self.admit(&parts)).await;
        let entered = entered.unwrap_or_else(|_| {
            let detail = "the tenant was not opened in time; try again";
            Err(Failure::new(Code::Timeout, detail))
        });
        if let Err(failure) = &entered
            && ["forbidden", "unauthorized"].contains(&failure.0.code.as_str())
        {
            let object = format!("{}{}", parts.name, parts.path);
            let (operation, peer) = ((OPERATION, &*object), parts.visit.peer());
            let deed = Deed::new(&self.app, operation, peer, &Caller::default(), None);
            deed.denied(&self.app, &failure.0.code).await;
            self.app.options.limits.failed_login(peer)?;
        }
        entered.map(Some)
    }

    async fn admit(&self, parts: &RequestParts) -> Result<TenantRequest> {
        let name = &*parts.name;
        let token = parts.token.as_deref();
        let identities = self.tenants.take_identities();
        let has_form = |token: &str| is_token(token) || (identities && Identities::is_token(token));
        let is_certified = identities && parts.visit.names().is_some();
        match token {
            None if !is_certified => return Err(Unknown::from(Refused::Missing).into()),
            Some(token) if !has_form(token) => return Err(forbidden(name)),
            _ => {}
        }
        let listed = self.app.host.tenants().find(name).await?;
        let tenant = listed.ok_or_else(|| forbidden(name))?;
        if tenant.suspended_at.is_some() {
            // Its rules are not read, so that only callers with a token of its store are known.
            let tokens = self.tenants.tokens_of(&tenant).await?;
            let known = known_by(&InForce::default(), &tokens, token, &parts.visit).await;
            return Err(match known {
                Ok(Some(_)) => Failure::new(
                    Code::TenantSuspended,
                    format!("tenant {name} is suspended; ask who runs the host to resume it"),
                ),
                Ok(None) => forbidden(name),
                Err(unknown) => refused_by(name, unknown),
            });
        }
        let entered = self.tenants.enter(&tenant).await?;
        let Served { host, rules, .. } = &entered.opened().served;
        let known = known_by(&rules.current(), host.tokens(), token, &parts.visit).await;
        match known {
            Ok(Some(_)) => Ok(entered),
            Ok(None) => Err(forbidden(name)),
            Err(unknown) => Err(refused_by(name, unknown)),
        }
    }
}

/// Only who had a token of the tenant learns why it is refused.
fn refused_by(name: &str, unknown: Unknown) -> Failure {
    match unknown {
        Unknown::Refused(Refused::Unknown | Refused::Missing) => forbidden(name),
        Unknown::Token(refused) if !refused.is_unavailable() => {
            tracing::info!(tenant = name, %refused, "a JSON web token was refused");
            forbidden(name)
        }
        other => other.into(),
    }
}

fn forbidden(name: &str) -> Failure {
    let detail = format!("there is no tenant {name}, or the token is not one of it");
    Failure::new(Code::Forbidden, detail)
}
