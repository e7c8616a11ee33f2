//! The host over HTTP: JSON in, JSON or a problem document (RFC 9457) out.
//!
//! Thin over [`Host`]: what is refused here is the form of a request, never its
//! meaning. Data and metadata pass through as they are, byte for byte; they are
//! scanned once and never built up as a tree.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod acknowledgements;
mod activate;
mod activity;
mod answer;
mod answering;
mod appends;
mod budget;
mod builds;
mod changes;
mod choices;
mod commands;
mod connection;
mod connections;
mod definitions;
mod deployments;
mod documents;
mod export;
mod headers;
mod health;
pub mod lanes;
pub mod line;
mod lines;
mod log;
mod long_read;
mod marks;
mod modules;
mod openapi;
mod options;
mod pace;
mod params;
mod patience;
mod preflights;
mod problem;
mod projections;
mod rejections;
mod request;
mod router;
mod runs;
mod server;
mod shadows;
mod snapshots;
mod sse;
mod state;
mod streams;
mod subscribe;
mod subscriptions;
mod types;
mod verify;
mod view;

pub use acknowledgements::{AcknowledgementList, AcknowledgementView};
pub use builds::{
    BuildView, ComparisonView, DeployedView, DifferenceView, ProjectionList, ProjectionView,
    SetAsideList, SetAsideView, TroubleView,
};
pub use definitions::{DefinitionView, IndexView, SourceEventView, SourceView};
pub use deployments::{DeploymentList, DeploymentView, SettingsView, SummaryView};
pub use export::ImportView;
pub use health::{CheckView, ProjectionState, SnapshotCounts, Status};
pub use lines::{LineAnswer, Lines};
pub use modules::{
    MigrationView, ModuleEntry, ModuleList, ModuleView, PrunedModule, PrunedView, TypeView,
    UpcastView,
};
pub use openapi::openapi;
pub use options::Options;
pub use preflights::{JudgedView, ObjectionView, PreflightView};
pub use problem::{Code, Expected, Problem, Rejection};
pub use router::router;
pub use runs::{ProgressView, RunLine};
pub use server::serve;
pub use shadows::ShadowView;
pub use snapshots::{CheckedSnapshot, CheckedView, FoundView, SnapshotView, TakenView};
pub use subscriptions::{NamedList, NamedView};
pub use types::{
    EventPlace, EventTypeView, ModuleName, StepView, StoredFormView, TypeList, TypeReader,
    TypeVersion,
};
pub use verify::{FindingView, ProjectionTallyView, SnapshotTallyView, TallyView, VerifiedView};

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use budget::{Bodies, Budget};
use quipu::Host;

/// What handlers share.
#[derive(Clone)]
pub(crate) struct App {
    host: Host,
    options: Arc<Options>,
    /// Memory for bodies.
    bodies: Bodies,
    /// Memory for answers with pages.
    answers: Budget,
    /// Turns at reading large bodies.
    readings: Arc<Semaphore>,
    /// The server was told to end: long requests come to theirs.
    ending: CancellationToken,
}
