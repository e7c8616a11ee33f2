//! Limits of each caller: requests, bytes, long answers, stored components, connections and failed
//! logins.
//!
//! A caller with a name has its own share; all callers without one share that of their address. The
//! answer to a caller that has reached a limit is `rate-limited`, which says that this caller has to
//! wait. `overloaded` says that the host has too much to do, whoever asks.

mod body;
mod buckets;
mod excess;
mod key;
mod seats;

use std::net::IpAddr;
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
        }
    }
}

/// Rates of callers. Invented addresses can't take the places of names.
#[derive(Debug, Default)]
struct Rates {
    names: Buckets<Arc<str>>,
    addresses: Buckets<Network>,
}

impl Rates {
    fn clear(&self) {
        self.names.clear();
        self.addresses.clear();
    }

    fn take(&self, key: &Key, rate: Rate, units: u64) -> std::result::Result<(), Duration> {
        let now = Instant::now();
        match key {
            Key::Name(name) => self.names.take(name, rate, units, now),
            Key::Address(address) => self.addresses.take(address, rate, units, now),
        }
    }
}

/// The limits in force, and how much of them each caller uses.
#[derive(Debug, Default)]
pub struct Limiter {
    limits: Arc<RwLock<Limits>>,
    /// The limits bound those that tokens have of their own.
    are_upper: bool,
    requests: Rates,
    bytes: Rates,
    logins: Buckets<Network>,
    seats: Seats,
}

impl Limiter {
    /// Nobody has used anything yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Arc::new(RwLock::new(limits)),
            ..Self::default()
        }
    }

    /// The same limits, also when they change, for other callers, whose tokens can't have higher ones.
    pub(crate) fn separate(&self) -> Self {
        Self {
            limits: Arc::clone(&self.limits),
            are_upper: true,
            ..Self::default()
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the limits while the host runs. Answers that were open without a limit don't count.
    pub fn replace(&self, limits: Limits) {
        let mut current = self.limits.write().unwrap_or_else(PoisonError::into_inner);
        if *current != limits {
            *current = limits;
            // Whoever waits waits for a time that the limits before have set.
            self.requests.clear();
            self.bytes.clear();
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

    /// Counts a request of a caller, who may have a limit of its own.
    pub(crate) fn take_request(
        &self,
        key: &Key,
        own: Option<u32>,
    ) -> std::result::Result<(), Excess> {
        let of_host = self.limits().requests_per_second;
        let max = match own {
            Some(own) if self.are_upper && of_host > 0 => own.min(of_host),
            own => own.unwrap_or(of_host),
        };
        if max == 0 {
            return Ok(());
        }
        let rate = Rate {
            units: max.into(),
            per: SECOND,
        };
        self.requests.take(key, rate, 1).map_err(|wait| {
            let whose = match own {
                Some(_) => "the token of this caller allows",
                None => "a caller may send",
            };
            let what = format!("{whose} {max} requests per second, and this one is above it");
            Excess::rate("requests_per_second", max.into(), what, wait)
        })
    }

    /// Counts bytes of a caller's body.
    pub(crate) fn take_bytes(&self, key: &Key, bytes: u64) -> std::result::Result<(), Excess> {
        let max = self.limits().bytes_per_second;
        if max == 0 || bytes == 0 {
            return Ok(());
        }
        let rate = Rate {
            units: max,
            per: SECOND,
        };
        self.bytes.take(key, rate, bytes).map_err(|wait| {
            let what = format!("a caller may send {max} bytes per second, and has sent more");
            Excess::rate("bytes_per_second", max, what, wait)
        })
    }
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
/// `rate-limited` when the caller has reached a limit.
pub(crate) fn admit(app: &App, caller: &Caller, request: &mut Request) -> Result<()> {
    let limiter = &app.options.limits;
    let (limits, own) = (limiter.limits(), own(caller));
    if limits.requests_per_second == 0 && limits.bytes_per_second == 0 && own.is_none() {
        return Ok(());
    }
    let key = Key::of(caller, Visit::of(request).peer());
    limiter.take_request(&key, own)?;
    if limits.bytes_per_second == 0 || request.body().is_end_stream() {
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

/// Counts a long answer until it ends. One more than the caller may have open is not sent.
pub(crate) fn seated(
    app: &App,
    caller: &Caller,
    peer: Option<IpAddr>,
    response: Response,
) -> Response {
    let max = app.options.limits.limits().subscriptions;
    if max == 0 || response.body().size_hint().exact().is_some() {
        return response;
    }
    let key = Key::of(caller, peer);
    let Some(seat) = app.options.limits.seats.take(&key, max) else {
        let excess = Excess {
            name: "subscriptions",
            value: max.into(),
            what: format!("a caller may have {max} subscriptions and other long answers open"),
            remedy: "close one of them first".to_owned(),
            wait: SECOND,
        };
        return Failure::from(excess).into_response();
    };
    response.map(|body| {
        Body::new(seats::Seated {
            body,
            seat: Some(seat),
        })
    })
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

    #[test]
    fn a_token_of_a_tenant_has_no_higher_limit_than_the_host() {
        let limits = Limits {
            requests_per_second: 1,
            ..Limits::default()
        };
        let main = Limiter::new(limits);
        let (tenant, key) = (main.separate(), Key::Name("ann".into()));
        let own = Some(1_000_000);
        for _ in 0..2 {
            assert!(main.take_request(&key, own).is_ok());
        }
        assert!(tenant.take_request(&key, own).is_ok());
        assert!(tenant.take_request(&key, own).is_err());
    }
}
