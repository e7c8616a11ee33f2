use std::sync::Arc;
use std::time::Duration;

use quipu_mcp::Mode;

use super::deprecation::{DEPRECATED, Deprecation};
use super::limits::Limiter;
use super::logs::LogRing;
use super::tls::Tls;
use super::{Console, Reload, Rules, TenantOptions};

/// Limits of requests.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of a JSON body. Slightly more than the largest append in base64.
    pub body_bytes_max: usize,
    /// Bytes of a component.
    pub module_bytes_max: usize,
    /// Bytes of one line of NDJSON.
    pub line_bytes_max: usize,
    /// Commands of one NDJSON request in flight, at most one for each stream.
    pub lines_in_flight_max: usize,
    /// Lines of one NDJSON request that wait for an earlier one of their stream.
    pub lines_waiting_max: usize,
    /// Time from a request's head to the head of its answer; then the answer is `timeout`. A line
    /// of NDJSON waits for the same time while the host is overloaded.
    pub request_time_max: Duration,
    /// The same time for an upload of a component, which is compiled before the answer.
    pub upload_time_max: Duration,
    /// How long a client may leave a ready answer unread. Then it is disconnected; a subscription
    /// is notified first if possible.
    pub slow_reader_max: Duration,
    /// Maximum number of open connections. Lower if the process may not open that many files: 64 of
    /// them, or three quarters if that is less, are reserved for everything else. One more
    /// connection closes the one that has been idle longest, or waits while none is idle.
    pub connections_max: usize,
    /// Maximum number of requests in flight of one HTTP/2 connection.
    pub connection_requests_max: u32,
    /// How long a request's line and headers may take to arrive, and the first ones on a
    /// connection, with the TLS handshake. Then the connection is closed.
    pub head_time_max: Duration,
    /// How long a connection without a request in flight stays open.
    pub idle_max: Duration,
    /// How long 16 KiB of a body, or its rest, may take to arrive; for NDJSON, one byte of a line
    /// that has begun. Then the request ends with `body-timeout`.
    pub body_wait_max: Duration,
    /// How long the next line of NDJSON may take to begin.
    pub lines_wait_max: Duration,
    /// Bytes in memory of all bodies that are being read or executed, lines included; an eighth is
    /// reserved for those of up to 64 KiB. Further bodies are rejected as `overloaded`.
    pub bodies_bytes_max: usize,
    /// Bytes in memory of all answers with pages of events or documents; one connection may use an
    /// eighth. Further answers wait for half of `request_time_max`, then they are rejected as
    /// `overloaded`.
    pub answers_bytes_max: usize,
    /// How long requests are still accepted after the server was asked to shut down. `/readyz` answers
    /// `not-ready` meanwhile.
    pub drain_delay: Duration,
    /// Names under which the host is reached, besides addresses and names without a dot. A request
    /// for another name is refused: a web page may have made its own name lead here.
    pub hosts: Vec<String>,
    /// Origins of the web pages that may call the host, as `https://shop.example`. Requests of
    /// other pages are refused.
    pub origins: Vec<String>,
    /// Requests without a token may do everything, although the store has tokens. Without tokens
    /// they may anyway.
    pub allow_unauthenticated: bool,
    /// Issuers of JSON web tokens, client certificates, and the policy.
    pub rules: Arc<Rules>,
    /// Limits of each caller, which can change while the host runs.
    pub limits: Arc<Limiter>,
    /// With a certificate the host serves https, otherwise http.
    pub tls: Option<Arc<Tls>>,
    /// Reads settings a second time, when `POST /v1/reload` asks for it.
    pub reload: Option<Reload>,
    /// Pages for web browsers.
    pub console: Console,
    /// Which tools for agents `/mcp` has; none by default.
    pub mcp: Option<Mode>,
    /// Whether who proposed a command may approve it.
    pub approve_own_proposals: bool,
    /// The last lines of the log of this process; none when `/v1/logs` has none.
    pub logs: Option<LogRing>,
    /// Serves tenants, which callers name in `Quipu-Tenant`.
    pub tenants: Option<TenantOptions>,
    /// Operations and parameters whose answers say that they are deprecated.
    pub deprecated: &'static [Deprecation],
}

impl Options {
    /// The minimum of `bodies_bytes_max`, so that every body has room: while the largest is read it
    /// takes up to twice its length.
    pub fn bodies_bytes_least(&self) -> usize {
        let largest = self.body_bytes_max.max(self.module_bytes_max);
        largest.saturating_mul(4)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            body_bytes_max: 24 << 20,
            module_bytes_max: 64 << 20,
            line_bytes_max: 2 << 20,
            lines_in_flight_max: 256,
            lines_waiting_max: 4_096,
            request_time_max: Duration::from_secs(30),
            upload_time_max: Duration::from_secs(150),
            slow_reader_max: Duration::from_secs(30),
            connections_max: 4_096,
            connection_requests_max: 100,
            head_time_max: Duration::from_secs(15),
            idle_max: Duration::from_secs(120),
            body_wait_max: Duration::from_secs(20),
            lines_wait_max: Duration::from_secs(600),
            bodies_bytes_max: 256 << 20,
            answers_bytes_max: 256 << 20,
            drain_delay: Duration::ZERO,
            hosts: Vec::new(),
            origins: Vec::new(),
            allow_unauthenticated: false,
            rules: Arc::default(),
            limits: Arc::default(),
            tls: None,
            reload: None,
            console: Console::default(),
            mcp: None,
            approve_own_proposals: false,
            logs: None,
            tenants: None,
            deprecated: DEPRECATED,
        }
    }
}
