//! Which tenants are open.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::Rules;
use crate::failure::{Failure, Result};
use crate::limits::TenantUse;
use crate::pending::PendingRequests;
use quipu::Host;
use quipu::access::Tokens;
use quipu_api::Code;

/// How long a caller waits for a tenant to be closed. Closing goes on afterwards.
const CLOSE: Duration = Duration::from_secs(10);
/// For this long after an opening failed, requests get the same answer.
const FAILED: Duration = Duration::from_secs(1);

/// One of the permits for open tenants.
pub type Seat = OwnedSemaphorePermit;
/// The right to open or close one tenant.
pub type Turn = OwnedMutexGuard<()>;

/// What answers the requests of a tenant.
pub struct Served {
    /// Requests that are complete also if their caller leaves.
    pub pending: PendingRequests,
    pub host: Host,
    pub rules: Arc<Rules>,
    pub router: Router,
    /// Most requests in flight.
    pub requests_max: usize,
}

/// A tenant whose store is open.
pub struct Opened {
    pub name: Box<str>,
    pub served: Served,
    ending: CancellationToken,
    used_at: Mutex<Instant>,
    /// Given back when the tenant is closed, however long requests hold on to this value.
    seat: Mutex<Option<Seat>>,
}

impl Opened {
    pub fn new(name: Box<str>, served: Served, ending: CancellationToken, seat: Seat) -> Self {
        Self {
            name,
            served,
            ending,
            used_at: Mutex::new(Instant::now()),
            seat: Mutex::new(Some(seat)),
        }
    }

    /// Gives the seat to another tenant.
    fn leave(&self) {
        let seat = self.seat.lock();
        seat.unwrap_or_else(PoisonError::into_inner).take();
    }

    fn used_at(&self) -> MutexGuard<'_, Instant> {
        self.used_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in a tenant, until its answer is sent.
#[derive(Clone)]
pub struct TenantRequest(Arc<Inner>);

struct Inner {
    opened: Arc<Opened>,
    _permit: Permit,
}

/// The right to one request in flight, until it is dropped.
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl TenantRequest {
    pub fn new(opened: Arc<Opened>, permit: Permit) -> Self {
        Self(Arc::new(Inner {
            opened,
            _permit: permit,
        }))
    }

    pub fn opened(&self) -> &Opened {
        &self.0.opened
    }

    /// A body that is a part of the request.
    pub fn with(self, body: Body) -> Body {
        Body::new(TenantBody {
            body,
            _request: self,
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        *self.opened.used_at() = Instant::now();
    }
}

struct TenantBody {
    body: Body,
    _request: TenantRequest,
}

impl HttpBody for TenantBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The tenants that were used since the start, by the names of their stores.
pub struct Slots {
    seats: Arc<Semaphore>,
    open_max: usize,
    /// For tenants that were never open.
    requests_max: usize,
    slots: Mutex<HashMap<Box<str>, Slot>>,
}

struct Slot {
    /// Held while the store is opened or closed.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Requests in flight. More are added only while the slots are locked.
    requests: Arc<AtomicUsize>,
    requests_max: usize,
    open: Option<Arc<Opened>>,
    failed_at: Option<Instant>,
    /// The tokens of a suspended tenant.
    tokens: Option<Arc<Tokens>>,
    used: TenantUse,
}

impl Slots {
    pub fn new(open_max: usize, requests_max: usize) -> Self {
        Self {
            seats: Arc::new(Semaphore::new(open_max)),
            open_max,
            requests_max,
            slots: Mutex::default(),
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Box<str>, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a function with the slot of a store.
    fn with<T>(&self, data: &str, call: impl FnOnce(&mut Slot) -> T) -> T {
        let mut slots = self.slots();
        if let Some(slot) = slots.get_mut(data) {
            return call(slot);
        }
        call(slots.entry(data.into()).or_insert_with(|| Slot {
            turn: Arc::default(),
            requests: Arc::default(),
            requests_max: self.requests_max,
            open: None,
            failed_at: None,
            tokens: None,
            used: TenantUse::default(),
        }))
    }

    /// Takes a permit for a request, and returns the tenant if it is open. A tenant with a permit
    /// in use is not closed to make room.
    pub fn visit(&self, data: &str) -> Result<(Permit, Option<Arc<Opened>>)> {
        self.with(data, |slot| {
            if slot.requests.load(Ordering::Acquire) >= slot.requests_max {
                let detail = "the tenant has as many requests in flight as it may have; try again";
                return Err(Failure::new(Code::Overloaded, detail));
            }
            slot.requests.fetch_add(1, Ordering::AcqRel);
            let permit = Permit(Arc::clone(&slot.requests));
            Ok((permit, slot.open.clone()))
        })
    }

    /// Waits for the right to open or close a tenant.
    pub async fn turn(&self, data: &str) -> Turn {
        let turn = self.with(data, |slot| Arc::clone(&slot.turn));
        turn.lock_owned().await
    }

    pub fn opened(&self, data: &str) -> Option<Arc<Opened>> {
        self.with(data, |slot| slot.open.clone())
    }

    pub fn is_open(&self, data: &str) -> bool {
        let slots = self.slots();
        slots.get(data).is_some_and(|slot| slot.open.is_some())
    }

    pub fn set_open(&self, data: &str, opened: Opened) -> Arc<Opened> {
        let opened = Arc::new(opened);
        self.with(data, |slot| {
            slot.tokens = None;
            slot.requests_max = opened.served.requests_max;
            slot.open = Some(Arc::clone(&opened));
        });
        opened
    }

    pub fn take_open(&self, data: &str) -> Option<Arc<Opened>> {
        self.with(data, |slot| slot.open.take())
    }

    /// What the callers of a tenant have used, whether or not it is open.
    pub fn used(&self, data: &str) -> TenantUse {
        self.with(data, |slot| slot.used.clone())
    }

    /// Forgets a tenant that was removed.
    pub fn forget(&self, data: &str) {
        self.slots().remove(data);
    }

    pub fn set_failed(&self, data: &str) {
        self.with(data, |slot| slot.failed_at = Some(Instant::now()));
    }

    /// Refuses an opening shortly after one that failed.
    pub fn check_failed(&self, data: &str) -> Result<()> {
        let failed_at = self.with(data, |slot| slot.failed_at);
        match failed_at {
            Some(at) if at.elapsed() < FAILED => Err(unavailable()),
            _ => Ok(()),
        }
    }

    pub fn tokens(&self, data: &str) -> Option<Arc<Tokens>> {
        self.with(data, |slot| slot.tokens.clone())
    }

    pub fn set_tokens(&self, data: &str, tokens: Tokens) -> Arc<Tokens> {
        let tokens = Arc::new(tokens);
        self.with(data, |slot| slot.tokens = Some(Arc::clone(&tokens)));
        tokens
    }

    /// Forgets the tokens of a tenant that was suspended. They may change while it is not.
    pub fn forget_tokens(&self, data: &str) {
        self.with(data, |slot| slot.tokens = None);
    }

    /// Waits until one more tenant may be open. Closes the one that has been idle longest if
    /// necessary.
    pub async fn seat(&self) -> Result<Seat> {
        loop {
            if let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() {
                return Ok(seat);
            }
            let Some((opened, turn)) = self.take_idle() else {
                let detail = format!(
                    "{} tenants are open, as many as may be (`open_max` in [tenants]), and none is \
                     idle; try again",
                    self.open_max
                );
                return Err(Failure::new(Code::Overloaded, detail));
            };
            tracing::info!(
                tenant = &*opened.name,
                "an idle tenant is closed to make room"
            );
            close(opened, turn).await;
        }
    }

    /// Takes the tenant that has been idle longest.
    fn take_idle(&self) -> Option<(Arc<Opened>, Turn)> {
        let mut slots = self.slots();
        let idle = slots.values_mut().filter_map(|slot| {
            let opened = slot.open.as_ref()?;
            let is_idle = slot.requests.load(Ordering::Acquire) == 0;
            let used_at = *opened.used_at();
            let turn = Arc::clone(&slot.turn).try_lock_owned();
            turn.ok()
                .filter(|_| is_idle)
                .map(|turn| (used_at, turn, slot))
        });
        let (_, turn, slot) = idle.min_by_key(|(used_at, ..)| *used_at)?;
        slot.open.take().map(|opened| (opened, turn))
    }

    /// All open tenants, by the names of their stores.
    pub fn all_open(&self) -> Vec<(Box<str>, Arc<Opened>)> {
        let slots = self.slots();
        let open = slots.iter().filter_map(|(data, slot)| {
            let opened = slot.open.as_ref()?;
            Some((data.clone(), Arc::clone(opened)))
        });
        open.collect()
    }

    /// The names of all stores that were used.
    pub fn names(&self) -> Vec<Box<str>> {
        self.slots().keys().cloned().collect()
    }
}

/// The answer for a tenant whose store can't be opened.
pub fn unavailable() -> Failure {
    Failure::new(
        Code::StoreUnavailable,
        "the store of the tenant can't be opened; the host's log says why",
    )
}

/// Closes a tenant. Its long answers end, and other requests get `overloaded`. Nobody opens it
/// before it is closed, because that takes the turn.
pub async fn close(opened: Arc<Opened>, turn: Turn) {
    opened.ending.cancel();
    let closing = tokio::spawn(async move {
        opened.served.pending.end().await;
        let closed = opened.served.host.clone().shutdown().await;
        match closed {
            Ok(()) => tracing::info!(tenant = &*opened.name, "a tenant was closed"),
            Err(error) => {
                tracing::error!(tenant = &*opened.name, %error, "a tenant was not closed properly");
            }
        }
        opened.leave();
        drop(turn);
    });
    match timeout(CLOSE, closing).await {
        Ok(Ok(())) => {}
        // Its turn has ended with the task, and its seat ends with its last request.
        Ok(Err(error)) => tracing::error!(%error, "a tenant was not closed properly"),
        Err(_) => tracing::warn!("a tenant takes long to close"),
    }
}
