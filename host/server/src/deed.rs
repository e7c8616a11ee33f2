//! What a request does to the store, as the audit records it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::{FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::Response;
use tokio::time::Instant;

use super::access::Declared;
use super::answering::Visit;
use super::failure::{Failure, ProblemCode, Result};
use super::{App, headers};
use quipu::Host;
use quipu::access::{Caller, redacted};
use quipu::model::Timestamp;
use quipu::store::AuditEntry;

/// The result of a deed that was done.
pub(super) const DONE: &str = "done";
/// The result of a deed whose caller left before it ended.
pub(super) const LEFT: &str = "left";
/// Longest path in a record, in bytes.
const OBJECT_BYTES_MAX: usize = 512;
/// Denials that are recorded in each span of time. The others are counted.
const DENIALS_MAX: u32 = 30;
const DENIALS_SPAN: Duration = Duration::from_secs(60);
/// Callers whose spans are kept after their end.
const CALLERS_MAX: usize = 10_000;

/// What a request does.
#[derive(Clone)]
pub(super) struct Deed(Option<Arc<Inner>>);

struct Inner {
    host: Host,
    entry: Mutex<AuditEntry>,
    /// What names it in the store until it is recorded.
    begun: OnceLock<u64>,
    /// Whether the caller has a name, so that a reason is asked for.
    is_named: bool,
    /// Whether somebody else than the guard records it.
    is_claimed: AtomicBool,
}

impl Deed {
    /// Nothing that would be recorded.
    pub fn unrecorded() -> Self {
        Self(None)
    }

    /// What a request does.
    pub fn of(app: &App, declared: &Declared, request: &Request, caller: &Caller) -> Self {
        let reason = reason(request.headers()).unwrap_or_default();
        let target = (&*declared.id, request.uri().path());
        Self::new(app, target, Visit::of(request).peer(), caller, reason)
    }

    /// What a caller does to the object of a path.
    pub fn new(
        app: &App,
        (operation, object): (&str, &str),
        origin: Option<IpAddr>,
        caller: &Caller,
        reason: Option<Box<str>>,
    ) -> Self {
        let object = redacted(object);
        let object = &object[..object.floor_char_boundary(OBJECT_BYTES_MAX)];
        let name = caller.name();
        let entry = AuditEntry {
            at: Timestamp::default(),
            principal: name.as_ref().map(|name| (&**name).into()),
            origin: origin.map(|origin| origin.to_string().into()),
            operation: operation.into(),
            object: object.into(),
            result: DONE.into(),
            reason,
        };
        Self(Some(Arc::new(Inner {
            host: app.host.clone(),
            entry: Mutex::new(entry),
            begun: OnceLock::new(),
            is_named: name.is_some(),
            is_claimed: AtomicBool::new(false),
        })))
    }

    /// Returns the reason that the caller gives, or rejects a deed of a named caller without one.
    ///
    /// # Errors
    /// When the caller has a name and gives no reason.
    pub fn needs_reason(&self, what: &str) -> Result<()> {
        let Some(inner) = &self.0 else {
            return Ok(());
        };
        let is_given = inner.entry().reason.is_some();
        if is_given || !inner.is_named {
            return Ok(());
        }
        Err(Failure::bad_request(format!(
            "{what} needs a reason: send one as `Quipu-Reason`, or with --reason"
        )))
    }

    /// Who does it; none for a caller without a name.
    pub fn principal(&self) -> Option<Box<str>> {
        let inner = self.0.as_ref();
        inner.and_then(|inner| inner.entry().principal.clone())
    }

    /// Sets the reason, where the body has one.
    pub fn has_reason(&self, reason: &str) {
        if let Some(inner) = &self.0 {
            inner.entry().reason.get_or_insert_with(|| reason.into());
        }
    }

    /// Names the object, where the path does not.
    pub fn names(&self, object: &str) {
        if let Some(inner) = &self.0 {
            inner.entry().object = object.into();
        }
    }

    /// Adds to the path what the request makes.
    pub fn concerns(&self, what: &str) {
        if let Some(inner) = &self.0 {
            let mut entry = inner.entry();
            let object = format!("{} {}", entry.object, redacted(what));
            entry.object = object[..object.floor_char_boundary(OBJECT_BYTES_MAX)].into();
        }
    }

    /// Nobody records the deed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn withdraw(&self) -> Result<()> {
        let inner = self.0.as_ref();
        if let Some((inner, begun)) = inner.and_then(|it| Some((it, *it.begun.get()?))) {
            inner.host.audit().withdraw(begun).await?;
        }
        // Only now: a request that is cut off meanwhile is recorded.
        self.claim();
        Ok(())
    }

    /// From now on the caller of this function records the deed.
    pub fn claim(&self) {
        if let Some(inner) = &self.0 {
            inner.is_claimed.store(true, Ordering::Relaxed);
        }
    }

    /// Stores that the deed begins, so that it is recorded even if this host dies.
    ///
    /// # Errors
    /// When the store fails: nothing was done.
    pub async fn begin(&self) -> Result<()> {
        if let Some(inner) = &self.0 {
            let entry = inner.entry().clone();
            let begun = inner.host.audit().begin(entry).await?;
            _ = inner.begun.set(begun);
        }
        Ok(())
    }

    /// Records the deed with its result, unless somebody else does.
    pub async fn answered(&self, result: &str) {
        let is_claimed = |inner: &Arc<Inner>| inner.is_claimed.load(Ordering::Relaxed);
        if !self.0.as_ref().is_some_and(is_claimed) {
            self.record(result).await;
        }
    }

    /// Records the deed. If the store fails, the log has it.
    pub async fn record(&self, result: &str) {
        let Some(inner) = &self.0 else {
            return;
        };
        let entry = {
            let mut entry = inner.entry();
            entry.result = result.into();
            entry.clone()
        };
        let begun = inner.begun.get().copied();
        if let Err(error) = inner.host.audit().record(entry.clone(), begun).await {
            tracing::error!(%error, ?entry, "an audit record could not be stored");
        }
    }

    /// Records that the request was denied.
    pub async fn denied(&self, app: &App, code: &str) {
        let Some(inner) = &self.0 else {
            return;
        };
        let entry = inner.entry().clone();
        let principal = entry.principal.as_deref();
        let Some(uncounted) = app.access.denials.count(principal, Instant::now()) else {
            return;
        };
        tracing::warn!(
            operation = &*entry.operation,
            principal,
            origin = entry.origin.as_deref(),
            code,
            uncounted,
            "a request was denied"
        );
        inner.entry().reason = (uncounted > 0)
            .then(|| format!("{uncounted} denials before it were not recorded").into());
        self.record(code).await;
    }
}

impl Inner {
    fn entry(&self) -> std::sync::MutexGuard<'_, AuditEntry> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Sync> FromRequestParts<S> for Deed {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        // A reason that is not well-formed is named.
        reason(&parts.headers)?;
        let deed = parts.extensions.get::<Self>().cloned();
        Ok(deed.unwrap_or_else(Self::unrecorded))
    }
}

/// The result of a request: `done`, or the code of the problem.
pub(super) fn result(response: &Response) -> String {
    let code = response.extensions().get::<ProblemCode>();
    code.map_or_else(|| DONE.to_owned(), |code| code.0.clone())
}

/// `Quipu-Reason`: one line of 1 to 1,024 bytes.
fn reason(headers: &HeaderMap) -> Result<Option<Box<str>>> {
    let Some(reason) = headers::reason(headers)? else {
        return Ok(None);
    };
    Ok(Some(reason.into()))
}

/// How many denials of each caller were recorded lately, so that a flood of them does not fill the
/// store. Callers without a name share one span: they can't hide what others do.
#[derive(Default)]
pub(super) struct Denials(Mutex<HashMap<Option<Box<str>>, Span>>);

struct Span {
    begun_at: Instant,
    recorded: u32,
    uncounted: u64,
}

impl Denials {
    /// Counts a denial. Returns how many were not recorded before it if it is to be recorded.
    fn count(&self, principal: Option<&str>, now: Instant) -> Option<u64> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Issuers may name any number of callers.
        if spans.len() >= CALLERS_MAX {
            spans.retain(|_, span| now - span.begun_at < DENIALS_SPAN);
        }
        let span = spans.entry(principal.map(Into::into)).or_insert(Span {
            begun_at: now,
            recorded: 0,
            uncounted: 0,
        });
        if now - span.begun_at >= DENIALS_SPAN {
            span.begun_at = now;
            span.recorded = 0;
        }
        if span.recorded >= DENIALS_MAX {
            span.uncounted += 1;
            return None;
        }
        span.recorded += 1;
        Some(std::mem::take(&mut span.uncounted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_denials_is_counted() {
        let (denials, now) = (Denials::default(), Instant::now());
        for _ in 0..DENIALS_MAX {
            assert_eq!(denials.count(None, now), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(denials.count(None, now), None);
        }
        assert_eq!(denials.count(Some("ann"), now), Some(0));
        let later = now + DENIALS_SPAN;
        assert_eq!(denials.count(None, later), Some(7));
        assert_eq!(denials.count(None, later), Some(0));
    }
}
