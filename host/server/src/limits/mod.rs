//! Limits of each caller: requests, bytes, long answers, stored components, connections and failed
//! logins.
//!
//! A caller with a name has its own share; all callers without one share that of their address. The
//! callers of a tenant can have a share together, which bounds the sum of theirs. The
//! answer to a caller that has reached a limit is `rate-limited`, which says that this caller has to
//! wait. `overloaded` says that the host has too much to do, whoever asks.

mod body;
mod buckets;
mod excess;
mod key;
mod own;
mod seats;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::answering::Visit;
use super::failure::{Failure, Result};
use buckets::{Buckets, Rate};
use quipu::access::Caller;
use quipu::model::Digest;
use quipu_api::Code;

pub(crate) use excess::{Excess, excess_of};
pub(crate) use key::{Key, Network};
pub use own::{TenantLimiter, TenantLimits};
pub(crate) use seats::{Seat, Seats};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// When to come back after a limit that does not end by itself.
const LATER: Duration = Duration::from_secs(60);
/// The path whose answers end with the bodies of their requests.
const LINES: &str = "/v1/commands";

/// Limits of each caller. 0 means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests of one caller in a second, and as many at once. A line of `POST /v1/commands` counts
    /// as a request. A token can have a limit of its own.
    pub requests_per_second: u32,
    /// Bytes of the bodies that one caller sends in a second. A longer body is taken once, and the
    /// caller waits afterwards.
    pub bytes_per_second: u64,
    /// Subscriptions and other long answers that one caller has open.
    pub subscriptions: u32,
    /// Components in the store.
    pub modules: u32,
    /// Open connections of one address; of one /64 with IPv6.
    pub address_connections: u32,
    /// Requests of one address with a credential that is refused.
    pub failed_logins_per_minute: u32,
    /// Requests of all callers of one tenant in a second, and as many at once.
    pub tenant_requests_per_second: u32,
    /// Bytes of the bodies that all callers of one tenant send in a second.
    pub tenant_bytes_per_second: u64,
    /// Subscriptions and other long answers that all callers of one tenant have open.
    pub tenant_subscriptions: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: 0,
            bytes_per_second: 0,
            subscriptions: 0,
            modules: 0,
            address_connections: 0,
            failed_logins_per_minute: 60,
            tenant_requests_per_second: 0,
            tenant_bytes_per_second: 0,
            tenant_subscriptions: 0,
        }
    }
}

/// Rates of callers. Invented addresses can't take the places of names.
#[derive(Debug, Default)]
struct Rates {
    names: Buckets<Arc<str>>,
    addresses: Buckets<Network>,
    /// The bucket of all callers together, in a tenant.
    tenant: Arc<Buckets<()>>,
}

/// What all callers of a tenant use together. It outlives the time in which the tenant is open.
/// Otherwise a tenant that is closed to make room would begin with full buckets.
#[derive(Debug, Default, Clone)]
pub(crate) struct TenantUse {
    requests: Arc<Buckets<()>>,
    bytes: Arc<Buckets<()>>,
    filled_after: Arc<AtomicU64>,
    /// The limits that it has of its own.
    pub own: TenantLimiter,
}

/// Whose rate is used up, and for how long.
#[derive(Debug)]
enum Reached {
    Caller(Duration),
    Tenant(Duration),
}

impl Rates {
    fn of_tenant(tenant: &Arc<Buckets<()>>) -> Self {
        Self {
            tenant: Arc::clone(tenant),
            ..Self::default()
        }
    }

    fn clear(&self) {
        self.names.clear();
        self.addresses.clear();
        self.tenant.clear();
    }

    /// Takes units from a caller and from its tenant, or from neither of them.
    fn take_of_both(
        &self,
        key: &Key,
        of_caller: Option<Rate>,
        of_tenant: Option<Rate>,
        units: u64,
    ) -> std::result::Result<(), Reached> {
        if let Some(rate) = of_caller {
            self.take(key, rate, units).map_err(Reached::Caller)?;
        }
        let Some(rate) = of_tenant else {
            return Ok(());
        };
        let taken = self.take(&Key::Tenant, rate, units);
        taken.map_err(|wait| {
            if let Some(rate) = of_caller {
                self.put_back(key, rate, units);
            }
            Reached::Tenant(wait)
        })
    }

    fn take(&self, key: &Key, rate: Rate, units: u64) -> std::result::Result<(), Duration> {
        let now = Instant::now();
        match key {
            Key::Name(name) => self.names.take(name, rate, units, now),
            Key::Address(address) => self.addresses.take(address, rate, units, now),
            Key::Tenant => self.tenant.take(&(), rate, units, now),
        }
    }

    fn put_back(&self, key: &Key, rate: Rate, units: u64) {
        match key {
            Key::Name(name) => self.names.put_back(name, rate, units),
            Key::Address(address) => self.addresses.put_back(address, rate, units),
            Key::Tenant => self.tenant.put_back(&(), rate, units),
        }
    }
}

/// The limits in force.
#[derive(Debug, Default, Clone, Copy)]
struct Current {
    limits: Limits,
    /// How often they were replaced.
    changes: u64,
}

/// The limits in force, and how much of them each caller uses.
#[derive(Debug, Default)]
pub struct Limiter {
    current: Arc<RwLock<Current>>,
    /// The changes of the limits after which the buckets were filled.
    filled_after: Arc<AtomicU64>,
    /// The callers are those of a tenant: the limits bound those that tokens have of their own.
    is_of_tenant: bool,
    own: TenantLimiter,
    requests: Rates,
    bytes: Rates,
    logins: Buckets<Network>,
    seats: Seats,
}

impl Limiter {
    /// Nobody has used anything yet.
    pub fn new(limits: Limits) -> Self {
        let current = Current { limits, changes: 0 };
        Self {
            current: Arc::new(RwLock::new(current)),
            ..Self::default()
        }
    }

    /// The same limits, also when they change, for the callers of a tenant, whose tokens can't have
    /// higher ones. Those that the tenant has of its own take precedence.
    pub(crate) fn of_tenant(&self, used: &TenantUse) -> Self {
        Self {
            current: Arc::clone(&self.current),
            filled_after: Arc::clone(&used.filled_after),
            is_of_tenant: true,
            own: used.own.clone(),
            requests: Rates::of_tenant(&used.requests),
            bytes: Rates::of_tenant(&used.bytes),
            ..Self::default()
        }
    }

    /// The limits in force for these callers: without those of a tenant, unless they are in one.
    pub fn limits(&self) -> Limits {
        let current = self.current.read();
        let Current { limits, changes } = *current.unwrap_or_else(PoisonError::into_inner);
        let (limits, own_changes) = match self.is_of_tenant {
            true => self.own.over(limits),
            false => (without_tenants(limits), 0),
        };
        let changes = changes + own_changes;
        // Whoever waits waits for a time that the limits before have set.
        if self.filled_after.load(Ordering::Relaxed) != changes
            && self.filled_after.swap(changes, Ordering::Relaxed) != changes
        {
            self.requests.clear();
            self.bytes.clear();
        }
        limits
    }

    /// Changes the limits while the host runs. Answers that were open without a limit don't count.
    pub fn replace(&self, limits: Limits) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.limits != limits {
            *current = Current {
                limits,
                changes: current.changes + 1,
            };
        }
    }

    /// Counts a failed login of an address.
    pub(crate) fn failed_login(&self, address: Option<IpAddr>) -> std::result::Result<(), Excess> {
        let limits = self.limits();
        let Some(rate) = login_rate(limits) else {
            return Ok(());
        };
        let taken = self
            .logins
            .take(&Network::of(address), rate, 1, Instant::now());
        taken.map_err(|wait| {
            let max = limits.failed_logins_per_minute;
            let what = format!(
                "the credential is refused, and so were {max} of this address within a minute"
            );
            Excess::rate("failed_logins_per_minute", max.into(), what, wait)
        })
    }

    /// Counts a request of a caller, who may have a limit of its own, and of its tenant.
    pub(crate) fn take_request(
        &self,
        key: &Key,
        own: Option<u32>,
    ) -> std::result::Result<(), Excess> {
        let limits = self.limits();
        let of_host = limits.requests_per_second;
        let max = match own {
            Some(own) if self.is_of_tenant && of_host > 0 => own.min(of_host),
            own => own.unwrap_or(of_host),
        };
        let of_tenant = limits.tenant_requests_per_second;
        let rates = (per_second(max.into()), per_second(of_tenant.into()));
        let taken = self.requests.take_of_both(key, rates.0, rates.1, 1);
        taken.map_err(|reached| match reached {
            Reached::Caller(wait) => {
                let whose = match own {
                    Some(_) => "the token of this caller allows",
                    None => "a caller may send",
                };
                let what = format!("{whose} {max} requests per second, and this one is above it");
                Excess::rate("requests_per_second", max.into(), what, wait)
            }
            Reached::Tenant(wait) => {
                let what = format!(
                    "the callers of a tenant may send {of_tenant} requests per second together, \
                     and this one is above it"
                );
                Excess::rate("tenant_requests_per_second", of_tenant.into(), what, wait)
            }
        })
    }

    /// Counts bytes of the body of a caller, and of its tenant.
    pub(crate) fn take_bytes(&self, key: &Key, bytes: u64) -> std::result::Result<(), Excess> {
        if bytes == 0 {
            return Ok(());
        }
        let limits = self.limits();
        let (max, of_tenant) = (limits.bytes_per_second, limits.tenant_bytes_per_second);
        let rates = (per_second(max), per_second(of_tenant));
        let taken = self.bytes.take_of_both(key, rates.0, rates.1, bytes);
        taken.map_err(|reached| match reached {
            Reached::Caller(wait) => {
                let what = format!("a caller may send {max} bytes per second, and has sent more");
                Excess::rate("bytes_per_second", max, what, wait)
            }
            Reached::Tenant(wait) => {
                let what = format!(
                    "the callers of a tenant may send {of_tenant} bytes per second together, and \
                     have sent more"
                );
                Excess::rate("tenant_bytes_per_second", of_tenant, what, wait)
            }
        })
    }

    /// Counts a long answer of a caller, and of its tenant, until the seats are dropped.
    fn take_seats(&self, key: &Key) -> std::result::Result<Vec<Seat>, Excess> {
        let limits = self.limits();
        let of_caller = ("subscriptions", limits.subscriptions, "a caller may have");
        let of_tenant = (
            "tenant_subscriptions",
            limits.tenant_subscriptions,
            "the callers of a tenant may together have",
        );
        let tenant = Key::Tenant;
        let mut seats = Vec::new();
        for (key, (name, max, who)) in [(key, of_caller), (&tenant, of_tenant)] {
            if max == 0 {
                continue;
            }
            let seat = self.seats.take(key, max).ok_or_else(|| Excess {
                name,
                value: max.into(),
                what: format!("{who} {max} subscriptions and other long answers open"),
                remedy: "close one of them first".to_owned(),
                wait: SECOND,
            })?;
            seats.push(seat);
        }
        Ok(seats)
    }
}

/// The limits of a store that is not a tenant.
fn without_tenants(limits: Limits) -> Limits {
    Limits {
        tenant_requests_per_second: 0,
        tenant_bytes_per_second: 0,
        tenant_subscriptions: 0,
        ..limits
    }
}

/// The rate of a limit; none without one.
fn per_second(units: u64) -> Option<Rate> {
    (units > 0).then_some(Rate { units, per: SECOND })
}

fn login_rate(limits: Limits) -> Option<Rate> {
    let max = limits.failed_logins_per_minute;
    (max > 0).then(|| Rate {
        units: max.into(),
        per: MINUTE,
    })
}

/// The limit of requests that a caller's token has.
pub(crate) fn own(caller: &Caller) -> Option<u32> {
    caller.grant()?.requests_per_second
}

/// Counts a request, and its body.
///
/// # Errors
/// `rate-limited` when the caller or its tenant has reached a limit.
pub(crate) fn admit(app: &App, caller: &Caller, request: &mut Request) -> Result<()> {
    let limiter = &app.options.limits;
    let (limits, own) = (limiter.limits(), own(caller));
    let of_requests = limits.requests_per_second > 0 || limits.tenant_requests_per_second > 0;
    let of_bytes = limits.bytes_per_second > 0 || limits.tenant_bytes_per_second > 0;
    if !of_requests && !of_bytes && own.is_none() {
        return Ok(());
    }
    let key = Key::of(caller, Visit::of(request).peer());
    limiter.take_request(&key, own)?;
    if !of_bytes || request.body().is_end_stream() {
        return Ok(());
    }
    // A longer body is refused, or is one of many lines.
    let whole_max = app.options.body_bytes_max.max(app.options.module_bytes_max) as u64;
    match request.body().size_hint().exact() {
        Some(bytes) if bytes <= whole_max => limiter.take_bytes(&key, bytes)?,
        _ => {
            limiter.take_bytes(&key, 1)?;
            let body = std::mem::take(request.body_mut());
            let charged = body::Charged::new(body, Arc::clone(limiter), key);
            *request.body_mut() = Body::new(charged);
        }
    }
    Ok(())
}

/// The answer to a credential that is refused: after too many of them `rate-limited`.
pub(crate) fn refused(app: &App, request: &Request, failure: Failure) -> Failure {
    let is_login = request.headers().contains_key(header::AUTHORIZATION);
    if !is_login || failure.0.code != Code::Unauthorized.as_str() {
        return failure;
    }
    let peer = Visit::of(request).peer();
    match app.options.limits.failed_login(peer) {
        Ok(()) => failure,
        Err(excess) => excess.into(),
    }
}

/// Whether the answer to a request can stay open for as long as the caller wants.
pub(crate) fn may_be_long(request: &Request) -> bool {
    request.method() == Method::GET || request.uri().path() == LINES
}

/// Counts a long answer until it ends. One more than the caller or its tenant may have open is not
/// sent.
pub(crate) fn seated(
    app: &App,
    caller: &Caller,
    peer: Option<IpAddr>,
    response: Response,
) -> Response {
    let limits = app.options.limits.limits();
    let are_counted = limits.subscriptions > 0 || limits.tenant_subscriptions > 0;
    if !are_counted || response.body().size_hint().exact().is_some() {
        return response;
    }
    match app.options.limits.take_seats(&Key::of(caller, peer)) {
        Ok(seats) => response.map(|body| Body::new(seats::Seated { body, seats })),
        Err(excess) => Failure::from(excess).into_response(),
    }
}

/// Checks that the store may have one more component, unless it has this one.
///
/// # Errors
/// `rate-limited` when the store has as many as it may, or an error of the store.
pub(crate) async fn check_modules(app: &App, bytes: &[u8]) -> Result<()> {
    let max = app.options.limits.limits().modules;
    if max == 0 {
        return Ok(());
    }
    let stored = app.host.modules().await?;
    let digest = Digest::of(bytes);
    if stored.len() < max as usize || stored.iter().any(|module| module.digest == digest) {
        return Ok(());
    }
    Err(Excess {
        name: "modules",
        value: max.into(),
        what: format!(
            "the store may have {max} components, and has {}",
            stored.len()
        ),
        remedy: "remove those that were never activated with `quipu prune`, or raise `modules` in \
                 [limits]"
            .to_owned(),
        wait: LATER,
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limiter of a tenant that nobody has used yet.
    fn opened(main: &Limiter) -> Limiter {
        main.of_tenant(&TenantUse::default())
    }

    #[test]
    fn a_token_of_a_tenant_has_no_higher_limit_than_the_host() {
        let limits = Limits {
            requests_per_second: 1,
            ..Limits::default()
        };
        let main = Limiter::new(limits);
        let (tenant, key) = (opened(&main), Key::Name("ann".into()));
        let own = Some(1_000_000);
        for _ in 0..2 {
            assert!(main.take_request(&key, own).is_ok());
        }
        assert!(tenant.take_request(&key, own).is_ok());
        assert!(tenant.take_request(&key, own).is_err());
    }

    /// The names of the limits that callers reach who take bytes one after the other.
    fn reached(limiter: &Limiter, callers: &[(&str, u64)]) -> Vec<&'static str> {
        let take = |&(name, bytes): &(&str, u64)| {
            let taken = limiter.take_bytes(&Key::Name(name.into()), bytes);
            taken.map_or_else(|excess| excess.name, |()| "")
        };
        callers.iter().map(take).collect()
    }

    #[test]
    fn the_callers_of_a_tenant_share_its_limit_and_those_of_others_have_their_own() {
        let limits = Limits {
            tenant_requests_per_second: 1,
            tenant_bytes_per_second: 10,
            tenant_subscriptions: 1,
            ..Limits::default()
        };
        let main = Limiter::new(limits);
        let [acme, beta] = [opened(&main), opened(&main)];
        let [ann, bob] = ["ann", "bob"].map(|name| Key::Name(name.into()));
        assert!(acme.take_request(&ann, None).is_ok());
        let excess = acme.take_request(&bob, Some(1_000_000)).unwrap_err();
        assert_eq!(excess.name, "tenant_requests_per_second");
        assert!(beta.take_request(&bob, None).is_ok());
        let long = [("ann", 5_000), ("bob", 1)];
        assert_eq!(reached(&acme, &long), ["", "tenant_bytes_per_second"]);
        assert_eq!(reached(&beta, &[("bob", 1)]), [""]);
        let open = acme.take_seats(&ann).unwrap();
        let excess = acme.take_seats(&bob).unwrap_err();
        assert_eq!(excess.name, "tenant_subscriptions");
        assert_eq!(beta.take_seats(&bob).unwrap().len(), 1);
        drop(open);
        assert_eq!(acme.take_seats(&bob).unwrap().len(), 1);
        // The main store is not a tenant.
        for _ in 0..3 {
            assert!(main.take_request(&ann, None).is_ok());
            assert!(main.take_seats(&ann).unwrap().is_empty());
        }
        assert_eq!(reached(&main, &long), ["", ""]);
    }

    #[test]
    fn what_a_tenant_refuses_takes_nothing_from_its_caller() {
        let limits = Limits {
            bytes_per_second: 1_000,
            tenant_bytes_per_second: 10,
            ..Limits::default()
        };
        let tenant = opened(&Limiter::new(limits));
        assert_eq!(reached(&tenant, &[("bob", 5_000)]), [""]);
        let names = reached(&tenant, &[("ann", 900); 4]);
        assert_eq!(names, ["tenant_bytes_per_second"; 4]);
    }

    #[test]
    fn a_tenant_that_is_closed_and_opened_waits_as_before() {
        let limits = Limits {
            tenant_requests_per_second: 1,
            tenant_bytes_per_second: 10,
            ..Limits::default()
        };
        let (main, used) = (Limiter::new(Limits::default()), TenantUse::default());
        main.replace(limits);
        let (before, ann) = (main.of_tenant(&used), Key::Name("ann".into()));
        assert!(before.take_request(&ann, None).is_ok());
        assert_eq!(reached(&before, &[("ann", 5_000)]), [""]);
        drop(before);
        let after = main.of_tenant(&used);
        let excess = after.take_request(&ann, None).unwrap_err();
        assert_eq!(excess.name, "tenant_requests_per_second");
        let names = reached(&after, &[("bob", 1)]);
        assert_eq!(names, ["tenant_bytes_per_second"]);
    }

    #[test]
    fn other_limits_end_the_waits_of_the_limits_before_also_in_tenants() {
        let slow = Limits {
            bytes_per_second: 1,
            tenant_bytes_per_second: 1,
            ..Limits::default()
        };
        let fast = Limits {
            tenant_bytes_per_second: 1_000_000,
            ..slow
        };
        let main = Limiter::new(slow);
        let tenant = opened(&main);
        let long = [("ann", 5_000), ("ann", 1)];
        assert_eq!(reached(&main, &long), ["", "bytes_per_second"]);
        assert_eq!(reached(&tenant, &long), ["", "bytes_per_second"]);
        main.replace(fast);
        assert_eq!(reached(&tenant, &[("ann", 1)]), [""]);
        assert_eq!(reached(&main, &[("ann", 1)]), [""]);
        // The same limits change nothing.
        main.replace(fast);
        assert_eq!(reached(&main, &[("ann", 1)]), ["bytes_per_second"]);
    }
}
