//! The host over HTTP: JSON in, JSON or a problem document (RFC 9457) out.
//!
//! A thin layer over [`Host`]: it rejects malformed requests, and leaves their meaning to the host.
//! Data and metadata pass through unchanged, byte for byte; they are scanned once and never parsed
//! into a tree.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod acknowledgements;
mod activate;
mod activity;
mod administration;
mod answer;
mod answering;
mod appends;
mod audit;
mod backups;
mod budget;
mod callers;
mod can;
mod changes;
mod commands;
mod connection;
mod connections;
mod console;
mod deed;
mod deploying;
mod deployments;
pub mod deprecation;
mod documents;
mod domain;
mod draining;
mod export;
mod failure;
mod framing;
mod headers;
mod health;
mod limits;
mod lines;
mod log;
mod log_context;
mod logs;
mod long_read;
mod marks;
mod mcp;
mod meters;
mod metrics;
mod modules;
mod newest;
mod openapi;
mod options;
mod pace;
mod pages;
mod params;
mod patience;
mod payload;
mod pending;
mod percent;
mod preflights;
mod previews;
mod projections;
mod proposals;
mod rejections;
mod reload;
mod request;
mod router;
mod rules;
mod runs;
mod server;
mod shadows;
mod snapshots;
mod sse;
mod state;
mod steps;
mod streams;
mod subscribe;
mod subscriptions;
mod tenants;
pub mod tls;
mod tokens;
mod trace;
mod types;
mod verify;

pub use console::{Console, ConsoleMode, ConsoleSetting};
pub use limits::{Limiter, Limits, TenantLimiter, TenantLimits};
pub use log_context::log_fields;
pub use logs::{LogLevel, LogRing};
pub use openapi::openapi;
pub use options::Options;
pub use reload::Reload;
pub use router::router;
pub use rules::{InForce, Rules};
pub use server::{Listeners, serve};
pub use tenants::{OpenedTenant, Opener, TenantOptions};

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use budget::{Bodies, Budget};
use quipu::Host;

/// The state that all handlers share.
#[derive(Clone)]
pub(crate) struct App {
    host: Host,
    options: Arc<Options>,
    /// Who may ask for what.
    access: Arc<access::Access>,
    /// Which operations the address answers.
    serves: administration::Serves,
    /// What is counted of requests.
    meters: Arc<meters::Meters>,
    /// Reads figures of the store for measurements.
    sampler: metrics::Sampler,
    /// Memory for bodies.
    bodies: Bodies,
    /// Memory for answers with pages.
    answers: Budget,
    /// Permits to read large bodies.
    readings: Arc<Semaphore>,
    /// The description of the active domain.
    domain: domain::Described,
    /// Whether there are tenants, and whether this is one of them.
    tenancy: tenants::Tenancy,
    /// The server was asked to shut down: it is not ready.
    draining: CancellationToken,
    /// The listener closes: long requests end.
    ending: CancellationToken,
    /// Requests that are complete also if their caller leaves.
    pending: pending::PendingRequests,
    /// Long runs, as the console shows them.
    newest: Arc<newest::NewestRuns>,
}
