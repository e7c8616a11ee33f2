//! Measurements of requests, since the host was started.

mod requests;

use super::failure::Failure;
use quipu::access::Action;
use quipu::meters::Counter;
use quipu_api::Code;
use utoipa::openapi::OpenApi;

pub(super) use requests::{Active, RequestMeters};

/// Why a caller was not let in.
pub(super) const LOGIN_REASONS: [&str; 4] = ["missing", "refused", "rate-limited", "unavailable"];

/// What the HTTP layer counts by itself.
#[derive(Default)]
pub(super) struct Meters {
    logins: [Counter; LOGIN_REASONS.len()],
    denied: [Counter; Action::ALL.len()],
    pub rate_limited: Counter,
    /// Subscriptions that ended with `too-slow`.
    pub subscribers_late: Counter,
    /// Subscriptions whose connection was closed because the client did not read.
    pub subscribers_closed: Counter,
    /// Requests to all listeners, with those to tenants. A tenant has none.
    pub requests: RequestMeters,
}

impl Meters {
    /// Measures requests to the operations of a description.
    pub fn new(description: &OpenApi) -> Self {
        Self {
            requests: RequestMeters::new(description),
            ..Self::default()
        }
    }

    /// Counts a request whose caller is not known.
    pub fn failed_login(&self, failure: &Failure, has_credential: bool) {
        let is = |code: Code| failure.0.code == code.as_str();
        let reason = match () {
            () if is(Code::RateLimited) => 2,
            () if !is(Code::Unauthorized) => 3,
            () if has_credential => 1,
            () => 0,
        };
        self.logins[reason].add(1);
    }

    /// Counts a request that its caller may not send.
    pub fn denied(&self, action: Action) {
        if let Some(index) = Action::ALL.iter().position(|known| *known == action) {
            self.denied[index].add(1);
        }
    }

    /// Failed logins, by reason.
    pub fn failed_logins(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.logins.iter().map(Counter::get);
        LOGIN_REASONS.into_iter().zip(counts)
    }

    /// Denied requests, by the action that they need.
    pub fn denials(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.denied.iter().map(Counter::get);
        Action::ALL.iter().map(|action| action.as_str()).zip(counts)
    }
}
