//! The reader of a page, and how the page sends requests to the host.
//!
//! A page has no access of its own. It sends requests to the host's own router in the name of its
//! reader, so every permission, limit and record of the audit is that of the HTTP interface.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use maud::Markup;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::layout::{self, Tab};
use super::session::{Sessions, Watched};
use super::{ConsoleMode, sign_in};
use crate::answering::Visit;
use crate::callers::{self, SignedIn};
use crate::failure::{Failure, Result};
use crate::limits::Key;
use crate::request::away;
use crate::{App, pages};
use quipu::access::{Action, Caller, Object};
use quipu::model::StreamId;
use quipu_api::{Code, Problem, RunLine};

/// The most bytes of an answer that a page reads. A page of events is smaller.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What all pages share.
pub struct Shared {
    /// The operations of the host.
    pub api: Router,
    pub sessions: Sessions,
    pub rates: super::rates::Rates,
    /// What happened in the last minutes.
    pub recent: Arc<super::recent::Recent>,
    /// What the pictures of the overview show.
    pub history: super::charts::History,
    /// Places of pages that follow the log.
    pub live: super::live::Places,
    /// The shadow that a page began.
    pub shadow: super::shadows::Begun,
}

/// The reader of a page.
pub struct Visitor {
    pub app: App,
    pub shared: Arc<Shared>,
    pub caller: Caller,
    /// Whether the caller signed in here.
    pub has_session: bool,
    /// The address under which the reader knows the host.
    pub base: String,
    /// Path and query of the page.
    pub here: String,
    visit: Visit,
    /// How often the rules had been replaced when the page began.
    changes: u64,
    query: Vec<(String, String)>,
    /// Whether payloads are masked, because the reader may not see them.
    is_masked: AtomicBool,
}

/// An answer of the host. It holds the memory that is reserved for it.
pub struct Answer<T> {
    value: T,
    _held: Mutex<BodyDataStream>,
}

impl<T> Answer<T> {
    /// The answer itself, for small ones.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> Deref for Answer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        app: &App,
    ) -> std::result::Result<Self, Response> {
        let mut visitor = Self::unknown(parts, app).map_err(Failure::into_response)?;
        let is_secure = app.options.tls.is_some();
        let headers = parts.headers.clone();
        if let Some(session) = visitor.shared.sessions.find(&headers, is_secure) {
            let known = SignedIn {
                caller: session.caller,
                changes: session.changes,
            };
            return match known.check(app).await {
                Ok(()) => {
                    visitor.caller = known.caller;
                    visitor.has_session = true;
                    Ok(visitor)
                }
                Err(failure) if is_unauthorized(&failure) => {
                    visitor.shared.sessions.end(&headers, is_secure);
                    Err(sign_in::page(&visitor, Some(&failure.0)))
                }
                Err(failure) => Err(visitor.page(Tab::None, "Problem", Err(failure))),
            };
        }
        // A client certificate may say who it is, or nobody is asked.
        let visit = visitor.visit.clone();
        match callers::identify(app, &HeaderMap::new(), &visit).await {
            Ok(caller) => {
                visitor.caller = caller;
                Ok(visitor)
            }
            Err(failure) if is_unauthorized(&failure) => Err(sign_in::page(&visitor, None)),
            Err(failure) => Err(visitor.page(Tab::None, "Problem", Err(failure))),
        }
    }
}

fn is_unauthorized(failure: &Failure) -> bool {
    failure.0.status == 401
}

impl Visitor {
    /// A reader who is not known yet.
    pub fn unknown(parts: &Parts, app: &App) -> Result<Self> {
        let shared = parts.extensions.get::<Arc<Shared>>().cloned();
        let shared = shared.ok_or_else(|| Failure::internal(&"there is no console"))?;
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(query) =
            query.map_err(|rejection| Failure::bad_request(format!("the query: {rejection}")))?;
        let scheme = if app.options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let host = parts.headers.get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(|it| it.as_str()));
        let here = parts.uri.path_and_query();
        Ok(Self {
            app: app.clone(),
            shared,
            caller: Caller::default(),
            has_session: false,
            base: format!("{scheme}://{}", host.unwrap_or("127.0.0.1:7878")),
            here: here.map_or("/", |it| it.as_str()).to_owned(),
            visit: parts
                .extensions
                .get()
                .cloned()
                .unwrap_or_else(Visit::unknown),
            changes: app.options.rules.changes(),
            query,
            is_masked: AtomicBool::new(false),
        })
    }

    /// The value of a parameter; none for an empty one.
    pub fn text(&self, name: &str) -> Option<&str> {
        let mut values = self.query.iter().filter(|(given, _)| given == name);
        values
            .next()
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// The number of a parameter.
    ///
    /// # Errors
    /// When it is not one.
    pub fn number(&self, name: &str) -> Result<Option<u64>> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let number = text.parse().map_err(|_| {
            Failure::bad_request(format!("{name}: expected a whole number, found {text:?}"))
        })?;
        Ok(Some(number))
    }

    /// Why the reader may not do something to the whole store; `Ok` if it may.
    pub fn may(&self, action: Action) -> std::result::Result<(), String> {
        let rules = self.app.options.rules.current();
        rules.check(&self.caller, action, Object::Store)
    }

    /// Why the reader may deploy no module; `Ok` if it may deploy one, perhaps.
    pub fn may_deploy_any(&self) -> std::result::Result<(), String> {
        let rules = self.app.options.rules.current();
        rules.check_any_module(&self.caller, Action::Deploy)
    }

    /// Whether actions are offered.
    pub fn acts(&self) -> bool {
        self.app.options.console.mode == ConsoleMode::Full
    }

    /// Asks the host in the name of the reader.
    ///
    /// # Errors
    /// The problem with which the host answers.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>> {
        let path = self.as_permitted(path);
        let request = Request::builder().uri(&*path).body(Body::empty());
        let request =
            request.map_err(|_| Failure::bad_request("the address is not well-formed"))?;
        self.ask(request).await
    }

    /// The path, with masked payloads if the reader may not see them but may read the rest.
    fn as_permitted<'a>(&self, path: &'a str) -> Cow<'a, str> {
        let (place, query) = path.split_once('?').unwrap_or((path, ""));
        let segments: Vec<&str> = place.split('/').collect();
        let (stream, categories) = match segments.as_slice() {
            ["", "v1", "streams", stream, "events" | "state"] => (decoded(stream), Vec::new()),
            ["", "v1", "events"] => (None, values(query, "category")),
            ["", "v1", "events", position] if position.parse::<u64>().is_ok() => (None, Vec::new()),
            _ => return path.into(),
        };
        let rules = self.app.options.rules.current();
        let may = |action| match (&stream, &categories[..]) {
            (Some(stream), _) => rules
                .check(&self.caller, action, Object::Stream(stream))
                .is_ok(),
            (None, []) => rules.check(&self.caller, action, Object::Store).is_ok(),
            (None, categories) => {
                let is_permitted = |it: &String| {
                    rules
                        .check(&self.caller, action, Object::Category(it))
                        .is_ok()
                };
                categories.iter().all(is_permitted)
            }
        };
        if may(Action::ReadPayload) || !may(Action::Read) {
            return path.into();
        }
        self.is_masked.store(true, Ordering::Relaxed);
        let separator = if query.is_empty() { '?' } else { '&' };
        format!("{path}{separator}payload=masked").into()
    }

    /// Whether the page shows masked payloads.
    pub fn is_masked(&self) -> bool {
        self.is_masked.load(Ordering::Relaxed)
    }

    /// Asks the host for an answer that is not JSON.
    ///
    /// # Errors
    /// The problem with which the host answers.
    pub async fn get_text(&self, path: &str) -> Result<String> {
        let request = Request::builder().uri(path).body(Body::empty());
        let request = request.map_err(|error| Failure::internal(&error))?;
        let (bytes, _) = self.bytes(request).await?;
        String::from_utf8(bytes).map_err(|error| Failure::internal(&error))
    }

    /// Where the reader is.
    pub fn peer(&self) -> Option<IpAddr> {
        self.visit.peer()
    }

    /// Whose share of the host the page uses.
    pub fn key(&self) -> Key {
        Key::of(&self.caller, self.visit.peer())
    }

    /// What the host is asked from now on has the time of a request that arrives now.
    pub fn renew(&mut self) {
        self.visit.arrived = Instant::now();
    }

    /// The session of the reader, for as long as an answer lasts; none without one.
    pub fn watched(&self, headers: &HeaderMap) -> Option<Watched> {
        let is_secure = self.app.options.tls.is_some();
        Watched::of(&self.shared, headers, is_secure).filter(|_| self.has_session)
    }

    /// Lets the host do something in the name of the reader.
    ///
    /// # Errors
    /// The problem with which the host answers.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: String,
        reason: Option<&str>,
    ) -> Result<Answer<T>> {
        self.ask(posting(path, body, reason)?).await
    }

    /// Lets the host run over the history in the name of the reader. Returns the last line.
    ///
    /// # Errors
    /// The problem with which the host answers, or with which the run ends.
    pub async fn run(&self, path: &str, body: String) -> Result<RunLine> {
        let (bytes, _held) = self.bytes(posting(path, body, None)?).await?;
        let last = bytes
            .split(|byte| *byte == b'\n')
            .rfind(|it| !it.is_empty());
        match serde_json::from_slice(last.unwrap_or_default()) {
            Ok(RunLine::Problem(problem)) => Err(Failure(problem)),
            Ok(line) => Ok(line),
            Err(error) => Err(Failure::internal(&error)),
        }
    }

    /// Begins a run in the name of the reader. Its lines come as they are written, and it ends when
    /// they are dropped.
    ///
    /// # Errors
    /// The problem with which the host answers.
    pub async fn begin(
        &self,
        path: &str,
        body: String,
        reason: Option<&str>,
    ) -> Result<BodyDataStream> {
        let request = self.named(posting(path, body, reason)?);
        let (status, mut lines) = respond(&self.shared.api, request).await;
        match status.is_success() {
            true => Ok(lines),
            false => Err(problem(&read(&mut lines).await?)),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, request: Request<Body>) -> Result<Answer<T>> {
        let (bytes, held) = self.bytes(request).await?;
        let parsed = away(bytes.len(), || serde_json::from_slice(&bytes));
        Ok(Answer {
            value: parsed.map_err(|error| Failure::internal(&error))?,
            _held: Mutex::new(held),
        })
    }

    async fn bytes(&self, request: Request<Body>) -> Result<(Vec<u8>, BodyDataStream)> {
        call(&self.shared.api, self.named(request)).await
    }

    /// A request in the name of the reader.
    fn named(&self, mut request: Request<Body>) -> Request<Body> {
        request.extensions_mut().insert(self.visit.clone());
        request.extensions_mut().insert(SignedIn {
            caller: self.caller.clone(),
            changes: self.changes,
        });
        request
    }

    /// Returns who has a token. It is checked, counted and recorded as at every other request.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn authenticate(&self, token: &str) -> Result<Caller> {
        let wrong = || Failure::new(Code::Unauthorized, "the token is not one of this store");
        let bearer = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| wrong())?;
        let mut request = Request::builder()
            .uri("/v1/whoami")
            .header(header::AUTHORIZATION, bearer.clone())
            .body(Body::empty())
            .map_err(|error| Failure::internal(&error))?;
        request.extensions_mut().insert(self.visit.clone());
        let _ = call(&self.shared.api, request).await?;
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]);
        let caller = callers::identify(&self.app, &headers, &self.visit).await?;
        // The token of a host that asks nobody proves nothing.
        caller.id().map(|_| caller.clone()).ok_or_else(wrong)
    }

    /// A page, or the problem in its place.
    pub fn page(&self, tab: Tab, title: &str, body: Result<Markup>) -> Response {
        layout::page(self, tab, title, body)
    }

    /// Checks that a form was sent by a page of the console.
    ///
    /// # Errors
    /// When another page sent it.
    pub fn check_origin(&self, parts: &Parts) -> Result<()> {
        let request = Request::from_parts(parts.clone(), Body::empty());
        match pages::check(&request, &self.app.options)? {
            None => Ok(()),
            // It may use the interface, with a credential of its own.
            Some(_) => Err(Failure::new(
                Code::Forbidden,
                "only pages of the console may send its forms",
            )),
        }
    }
}

/// The stream that a segment of a path names.
fn decoded(segment: &str) -> Option<StreamId> {
    let query = format!("stream={}", segment.replace('+', "%2B"));
    StreamId::new(values(&query, "stream").first()?).ok()
}

/// The values of a parameter.
fn values(query: &str, name: &str) -> Vec<String> {
    let uri = format!("/?{query}").parse::<Uri>();
    let pairs = uri
        .ok()
        .and_then(|uri| Query::<Vec<(String, String)>>::try_from_uri(&uri).ok());
    let pairs = pairs.map(|Query(pairs)| pairs).unwrap_or_default();
    let named = pairs.into_iter().filter(|(given, _)| given == name);
    named.map(|(_, value)| value).collect()
}

/// A request with a body, if it is not empty.
fn posting(path: &str, body: String, reason: Option<&str>) -> Result<Request<Body>> {
    let mut request = Request::builder().method(Method::POST).uri(path);
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    if let Some(reason) = reason {
        let (name, value) = reason_header(reason)?;
        request = request.header(name, value);
    }
    let request = request.body(Body::from(body));
    request.map_err(|_| Failure::bad_request("the address is not well-formed"))
}

/// The header with the reason of a form.
///
/// # Errors
/// When it is not one line.
pub fn reason_header(reason: &str) -> Result<(HeaderName, HeaderValue)> {
    let value = HeaderValue::from_bytes(reason.as_bytes());
    let value = value.map_err(|_| Failure::bad_request("the reason must be one line"))?;
    Ok((HeaderName::from_static("quipu-reason"), value))
}

/// Calls a router, and reads its answer.
async fn call(router: &Router, request: Request<Body>) -> Result<(Vec<u8>, BodyDataStream)> {
    let (status, mut body) = respond(router, request).await;
    let bytes = read(&mut body).await?;
    match status.is_success() {
        true => Ok((bytes, body)),
        false => Err(problem(&bytes)),
    }
}

async fn respond(router: &Router, request: Request<Body>) -> (StatusCode, BodyDataStream) {
    let called = TowerToHyperService::new(router.clone()).call(request).await;
    let response: Response = called.unwrap_or_else(|never| match never {});
    (response.status(), response.into_body().into_data_stream())
}

async fn read(body: &mut BodyDataStream) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(part) = body.next().await {
        bytes.extend_from_slice(&part.map_err(|error| Failure::internal(&error))?);
        if bytes.len() > ANSWER_BYTES_MAX {
            let detail = format!("the answer has more than {ANSWER_BYTES_MAX} bytes");
            return Err(Failure::new(Code::TooLarge, detail));
        }
    }
    Ok(bytes)
}

fn problem(bytes: &[u8]) -> Failure {
    let problem: std::result::Result<Box<Problem>, _> = serde_json::from_slice(bytes);
    problem.map_or_else(|error| Failure::internal(&error), Failure)
}
