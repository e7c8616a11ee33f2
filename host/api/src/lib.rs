//! What a host and its clients exchange over HTTP: JSON types, problem codes, lines of NDJSON.
//!
//! The server writes these types, clients read them. They are made from the types of the library
//! ([`quipu`]); nothing here opens a connection or depends on an HTTP framework.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod acknowledgements;
pub mod body;
pub mod choices;
mod code;
mod convert;
mod definitions;
mod deployments;
pub mod domain;
pub mod event;
mod health;
mod import;
pub mod json_diff;
mod lanes;
pub mod line;
mod line_answer;
pub mod masked;
mod modules;
mod ndjson;
pub mod outcome;
mod preflights;
mod previews;
mod problem;
mod projection_status;
mod proposals;
mod reload;
mod run;
mod shadows;
mod snapshots;
mod subscriptions;
mod tenants;
mod trace;
mod types;
mod verify;

pub use access::{
    AuditCheck, AuditList, AuditView, CanView, CreatedToken, GrantView, TokenList, TokenView,
    Whoami,
};
pub use acknowledgements::{AcknowledgementList, AcknowledgementView};
pub use code::Code;
pub use definitions::{DefinitionView, IndexView, SourceEventView, SourceView};
pub use deployments::{DeploymentList, DeploymentView, MemberView, SettingsView, SummaryView};
pub use health::{CheckView, LostEvents, ProjectionState, SnapshotCounts, Status};
pub use import::ImportView;
pub use lanes::Lanes;
pub use line_answer::LineAnswer;
pub use modules::{
    MigrationView, ModuleEntry, ModuleList, ModuleView, PrunedModule, PrunedView, TypeView,
    UpcastView,
};
pub use ndjson::Lines;
pub use preflights::{JudgedView, ObjectionView, PreflightView, ReleaseChangeView};
pub use previews::PreviewView;
pub use problem::{Expected, LimitView, Problem, Rejection, Result};
pub use projection_status::{
    BuildView, ComparisonView, DeployedView, DifferenceView, FailedEventList, FailedEventView,
    ProjectionList, ProjectionView, TroubleView, cursor,
};
pub use proposals::{ProposalList, ProposalView, effect};
pub use reload::Reloaded;
pub use run::{ProgressView, RunLine};
pub use shadows::ShadowView;
pub use snapshots::{CheckedSnapshot, CheckedView, FoundView, SnapshotView, TakenView};
pub use subscriptions::{ClaimView, NamedList, NamedView};
pub use tenants::{CreatedTenant, TenantList, TenantView};
pub use trace::{TraceEntry, TraceView};
pub use types::{
    EventPlace, EventTypeView, ModuleName, StepView, StoredFormView, TypeList, TypeReader,
    TypeVersion,
};
pub use verify::{
    DigestTallyView, FindingView, ProjectionTallyView, SnapshotTallyView, TallyView, VerifiedView,
};
