//! Who may ask for what: each request, before its handler.
//!
//! The description of a path declares what the path needs: `security(())` nothing,
//! `security(("token" = []))` a caller who is known, and `security(("token" = ["read"]))` a caller who
//! may do that. A store that never had a token is open to everybody who reaches it. A path that
//! declares nothing is refused, unless it is one of the few that are open on purpose.

mod named;
mod scope;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, sleep};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, ParameterIn};

use self::named::Named;
use super::App;
use super::answering::Visit;
use super::callers::{SignedIn, identify};
use super::deed::{Deed, Denials};
use super::failure::{Failure, Result};
use super::rules::Rules;
use super::{administration, limits, log_context};
use quipu::Host;
use quipu::access::{Action, Caller, Object, Refused};
use quipu::model::StreamId;
use quipu_api::Code;

/// Operations that name their streams in the body, or find them: the handler checks each of them.
const CHECKED_BY_HANDLER: &[&str] = &[
    "execute_lines",
    "append_all",
    "trace",
    "describe_domain",
    "show_proposal",
    "approve_proposal",
    "deny_proposal",
    "preview_proposal",
];
/// Operations that name modules in the body, or find them: the handler checks each of them.
const ABOUT_MODULES: &[&str] = &["upload", "preflight", "shadow", "activate", "roll_back"];
/// Operations that the audit records although they need the action `command`: they change
/// proposals, which are not in the log.
const RECORDED: &[&str] = &["approve_proposal", "deny_proposal"];
/// Paths without a description that are open to everybody: the description itself, and the way to the
/// console.
const OPEN: &[&str] = &["/openapi.json", "/", "/console"];
/// The pages of the console. Each finds out itself who reads it, and asks the operations in the name
/// of its reader.
const OPEN_PAGES: &str = "/console/";
/// What helps whoever may read and not see payloads.
const MASKED: &str =
    "; `payload=masked` (in commands `--masked`) shows the form without the values";
/// The name of the security scheme in the description.
pub(super) const SCHEME: &str = "token";

/// The operations, and what each needs.
pub(super) struct Access {
    operations: HashMap<Method, HashMap<String, Declared>>,
    /// Requests without a token may do everything.
    pub(super) is_open: bool,
    pub(super) denials: Denials,
}

/// What an operation needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    /// Its id in the description.
    pub id: String,
    pub need: Need,
    /// Whether the query can limit it to categories.
    takes_category: bool,
    /// Whether the query can limit it to a stream in place of a category.
    takes_stream: bool,
    /// Whether the query can ask for masked payloads.
    takes_payload: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    Nothing,
    /// A caller who is known.
    Known,
    /// A caller who may do this.
    Action(Action),
}

impl Access {
    /// What the operations of a description need.
    ///
    /// # Errors
    /// When an operation does not declare it.
    pub fn new(description: &OpenApi, is_open: bool) -> std::result::Result<Self, String> {
        let mut operations: HashMap<_, HashMap<_, _>> = HashMap::new();
        for (path, item) in &description.paths.paths {
            let methods = [
                (Method::GET, &item.get),
                (Method::POST, &item.post),
                (Method::PUT, &item.put),
                (Method::DELETE, &item.delete),
                (Method::PATCH, &item.patch),
            ];
            for (method, operation) in methods {
                let Some(operation) = operation else {
                    continue;
                };
                let declared = declared(operation)
                    .map_err(|why| format!("{method} {path} declares no access: {why}"))?;
                let of_method = operations.entry(method).or_default();
                of_method.insert(path.clone(), declared);
            }
        }
        Ok(Self {
            operations,
            is_open,
            denials: Denials::default(),
        })
    }

    /// Whether the audit records what a request does.
    pub fn records(&self, request: &Request) -> bool {
        let path = request.extensions().get::<MatchedPath>();
        let declared = path.and_then(|path| self.declared(request.method(), path.as_str()));
        declared.is_some_and(|declared| declared.is_change(request.method()))
    }

    /// The methods that a path declares, if it declares some and not that of the request. No handler
    /// may answer it.
    pub fn other_methods(&self, request: &Request) -> Option<String> {
        let path = request.extensions().get::<MatchedPath>()?.as_str();
        if self.declared(request.method(), path).is_some() {
            return None;
        }
        let operations = self.operations.iter();
        let declared = operations.filter(|(_, paths)| paths.contains_key(path));
        let mut methods: Vec<&str> = declared.map(|(method, _)| method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        (!methods.is_empty()).then(|| methods.join(","))
    }

    /// What a request to a path of the router needs; none if the path is open to everybody.
    ///
    /// # Errors
    /// `forbidden` when the path does not declare it.
    fn needed(&self, method: &Method, path: &str) -> Result<Option<&Declared>> {
        match self.declared(method, path) {
            Some(declared) => Ok(Some(declared).filter(|it| it.need != Need::Nothing)),
            None if OPEN.contains(&path) || path.starts_with(OPEN_PAGES) => Ok(None),
            None => {
                let detail = format!("{method} {path} does not declare who may use it");
                Err(Failure::new(Code::Forbidden, detail))
            }
        }
    }

    /// What an operation needs; none for a path or a method without a description.
    fn declared(&self, method: &Method, path: &str) -> Option<&Declared> {
        let method = match method {
            &Method::HEAD => &Method::GET,
            method => method,
        };
        self.operations.get(method)?.get(path)
    }
}

fn declared(operation: &Operation) -> std::result::Result<Declared, String> {
    let id = operation.operation_id.clone().unwrap_or_default();
    let given = operation.security.as_ref().ok_or("it has no `security`")?;
    // The members of a requirement are private.
    let given: Vec<HashMap<String, Vec<String>>> = serde_json::to_value(given)
        .and_then(serde_json::from_value)
        .map_err(|error| error.to_string())?;
    let need = match given.as_slice() {
        [none] if none.is_empty() => Need::Nothing,
        [one] => match one.get(SCHEME).map(Vec::as_slice) {
            Some([]) => Need::Known,
            Some([action]) => Need::Action(action.parse().map_err(|error| format!("{error}"))?),
            _ => return Err("it names no single action".to_owned()),
        },
        _ => return Err("it has several requirements".to_owned()),
    };
    let takes = |name: &str| {
        let mut parameters = operation.parameters.iter().flatten();
        parameters.any(|it| it.name == name && it.parameter_in == ParameterIn::Query)
    };
    let takes_category = takes("category");
    Ok(Declared {
        id,
        need,
        takes_category,
        takes_stream: takes_category && takes("stream"),
        takes_payload: takes("payload"),
    })
}

/// Lets a request pass to its handler, with its caller and what will be recorded of it.
///
/// # Errors
/// `unauthorized` when the caller is not known, `forbidden` when it may not do this, `rate-limited`
/// when it has reached a limit; that of the store when it can't take what the audit needs.
pub(super) async fn admit(app: &App, request: &mut Request) -> Result<Deed> {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let operation = match path {
        Some(path) => {
            let declared = app.access.needed(request.method(), path.as_str())?;
            declared.map(|declared| (declared, path))
        }
        None => None,
    };
    let Some((declared, path)) = operation else {
        // It is open to everybody; or there is no such path, as the answer says.
        request.extensions_mut().insert(Caller::default());
        return Ok(Deed::unrecorded());
    };
    if let Err(failure) = administration::check(app, declared, request) {
        if let Need::Action(action) = declared.need {
            app.meters.denied(action);
        }
        let deed = Deed::of(app, declared, request, &Caller::default());
        deed.denied(app, &failure.0.code).await;
        return Err(failure);
    }
    let changes = app.options.rules.changes();
    let signed_in: Option<SignedIn> = request.extensions().get().cloned();
    let identified = match signed_in {
        Some(known) => known.check(app).await.map(|()| known.caller),
        None => identify(app, request.headers(), &Visit::of(request)).await,
    };
    let caller = match identified {
        Ok(caller) => caller,
        Err(failure) => {
            let failure = limits::refused(app, request, failure);
            let has_credential = request.headers().contains_key(header::AUTHORIZATION);
            app.meters.failed_login(&failure, has_credential);
            let deed = Deed::of(app, declared, request, &Caller::default());
            deed.denied(app, &failure.0.code).await;
            return Err(failure);
        }
    };
    log_context::set_caller(&caller);
    limits::admit(app, &caller, request).inspect_err(|_| app.meters.rate_limited.add(1))?;
    if let Err(failure) = permit(app, declared, &caller, path.as_str(), request).await {
        let deed = Deed::of(app, declared, request, &caller);
        deed.denied(app, &failure.0.code).await;
        return Err(failure);
    }
    let deed = match declared.is_change(request.method()) {
        true => Deed::of(app, declared, request, &caller),
        false => Deed::unrecorded(),
    };
    deed.begin().await?;
    if caller.id().is_some() {
        let known = Admission::new(app, caller.clone(), changes);
        if !request.body().is_end_stream() {
            let body = std::mem::take(request.body_mut());
            *request.body_mut() = Body::new(GuardedBody::new(body, known.clone()));
        }
        request.extensions_mut().insert(known);
    }
    let serves = administration::serves(app, request);
    request.extensions_mut().insert(serves);
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(deed.clone());
    Ok(deed)
}

impl Declared {
    /// Whether a request changes the store in a way that the audit records. The log has commands and
    /// appends.
    fn is_change(&self, method: &Method) -> bool {
        let Need::Action(action) = self.need else {
            return false;
        };
        use Action::{Admin, Archive, Deploy, Operate, Project, Propose};
        let is_recorded = RECORDED.contains(&&*self.id)
            || matches!(
                action,
                Propose | Deploy | Project | Archive | Operate | Admin
            );
        ![Method::GET, Method::HEAD].contains(method) && is_recorded
    }
}

/// Checks whether a caller may do what a request asks for.
async fn permit(
    app: &App,
    declared: &Declared,
    caller: &Caller,
    path: &str,
    request: &mut Request,
) -> Result<()> {
    let (Need::Action(action), Some(_)) = (declared.need, caller.grant()) else {
        return Ok(());
    };
    let action = match declared.is_masked(request.uri()) {
        true => Action::Read,
        false => action,
    };
    let check = |object| {
        let checked = check(app, caller, action, object);
        let may_mask = declared.takes_payload && action == Action::ReadPayload;
        checked.map_err(|mut failure| {
            let rules = app.options.rules.current();
            if may_mask && rules.check(caller, Action::Read, object).is_ok() {
                failure.0.detail += MASKED;
            }
            failure
        })
    };
    let named = Named::of(declared, path, request).await?;
    if named.is_empty() {
        if ABOUT_MODULES.contains(&&*declared.id) {
            return check_any_module(app, caller, action);
        }
        // Whether the role allows the action can be said before the body is read.
        let object = match CHECKED_BY_HANDLER.contains(&&*declared.id) {
            true => return check_role(app, caller, action),
            false => Object::Store,
        };
        return check(object);
    }
    for stream in &named.streams {
        check(Object::Stream(stream))?;
    }
    for category in &named.categories {
        check(Object::Category(category))?;
    }
    for projection in &named.projections {
        check(Object::Projection(projection))?;
    }
    Ok(())
}

/// Checks whether a caller may do something.
pub(super) fn check(app: &App, caller: &Caller, action: Action, object: Object<'_>) -> Result<()> {
    let checked = app.options.rules.current().check(caller, action, object);
    refused(app, action, checked)
}

fn refused(app: &App, action: Action, checked: std::result::Result<(), String>) -> Result<()> {
    checked.map_err(|why| {
        app.meters.denied(action);
        Failure::new(Code::Forbidden, why)
    })
}

/// Checks whether a caller may do something with any module, so that nobody else sends components to
/// compile.
fn check_any_module(app: &App, caller: &Caller, action: Action) -> Result<()> {
    let rules = app.options.rules.current();
    refused(app, action, rules.check_any_module(caller, action))
}

/// Whether the role allows something; a policy decides only when it is known about which stream.
fn check_role(app: &App, caller: &Caller, action: Action) -> Result<()> {
    if app.options.rules.current().policy.is_some() {
        return Ok(());
    }
    match caller.grant() {
        Some(grant) if !grant.role.allows(action) => check(app, caller, action, Object::Store),
        _ => Ok(()),
    }
}

/// Checks whether a caller may do something with a stream that a body names.
pub(super) fn check_stream(
    app: &App,
    caller: &Caller,
    action: Action,
    stream: &StreamId,
) -> Result<()> {
    check(app, caller, action, Object::Stream(stream))
}

/// The caller of a request.
pub(super) struct By(pub Caller);

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let caller = parts.extensions.get::<Caller>().cloned();
        caller
            .map(Self)
            .ok_or_else(|| Failure::internal(&"a request has no caller"))
    }
}

/// Pause between two checks whether a caller's token is still valid.
const CHECK_PAUSE: Duration = Duration::from_secs(2);

/// Ends a long answer when its caller's token is revoked or expires.
pub(super) fn watched(known: Option<Admission>, response: Response) -> Response {
    let is_long = response.body().size_hint().exact().is_none();
    let Some(known) = known.filter(|_| is_long) else {
        return response;
    };
    let refused = async move {
        loop {
            sleep(CHECK_PAUSE).await;
            match known.check().await {
                // While the store is away nothing new comes either.
                Ok(()) | Err(Ended::Refused(Refused::Store(_))) => {}
                Err(ended) => return ended,
            }
        }
    };
    response.map(|body| {
        Body::new(Watched {
            body,
            refused: Box::pin(refused),
        })
    })
}

/// A body that ends with an error once its caller is refused.
struct Watched {
    body: Body,
    refused: Pin<Box<dyn Future<Output = Ended> + Send>>,
}

/// Why a request that was let in may not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("who may do what has changed; send the request again")]
    Changed,
}

/// A caller who was let in, and under which rules.
#[derive(Clone)]
pub(super) struct Admission {
    host: Host,
    caller: Caller,
    rules: Arc<Rules>,
    changes: u64,
}

impl Admission {
    fn new(app: &App, caller: Caller, changes: u64) -> Self {
        Self {
            host: app.host.clone(),
            caller,
            rules: Arc::clone(&app.options.rules),
            changes,
        }
    }

    /// Whether the caller may go on.
    async fn check(&self) -> std::result::Result<(), Ended> {
        if self.rules.changes() != self.changes {
            return Err(Ended::Changed);
        }
        Ok(self.host.tokens().recheck(&self.caller).await?)
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(refused) = self.refused.as_mut().poll(context) {
            self.refused = Box::pin(std::future::pending());
            self.body = Body::empty();
            return Poll::Ready(Some(Err(axum::Error::new(refused))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A part of a body that comes later than this after the last check is passed on only if the caller
/// is still known: nobody acts for long with a token that was valid when the request began.
const LATE: Duration = Duration::from_secs(1);

type Part = Option<std::result::Result<Frame<Bytes>, axum::Error>>;
type Checking = Pin<Box<dyn Future<Output = std::result::Result<(), Ended>> + Send>>;

/// The body of a request, which ends with an error once its caller is refused.
struct GuardedBody {
    body: Body,
    known: Admission,
    checked_at: Instant,
    /// A part that waits for the check.
    waiting: Option<(Part, Checking)>,
}

impl GuardedBody {
    fn new(body: Body, known: Admission) -> Self {
        Self {
            body,
            known,
            checked_at: Instant::now(),
            waiting: None,
        }
    }
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Part> {
        if self.waiting.is_none() {
            let part = ready!(Pin::new(&mut self.body).poll_frame(context));
            if self.checked_at.elapsed() < LATE {
                return Poll::Ready(part);
            }
            let known = self.known.clone();
            let checking = async move { known.check().await };
            self.waiting = Some((part, Box::pin(checking)));
        }
        let Some((_, checking)) = &mut self.waiting else {
            return Poll::Pending;
        };
        let checked = ready!(checking.as_mut().poll(context));
        let part = self.waiting.take().and_then(|(part, _)| part);
        Poll::Ready(match checked {
            Ok(()) => {
                self.checked_at = Instant::now();
                part
            }
            // While the store is away nothing can be written either. The next part is checked.
            Err(Ended::Refused(Refused::Store(_))) => part,
            Err(refused) => {
                self.body = Body::empty();
                Some(Err(axum::Error::new(refused)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.waiting.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
