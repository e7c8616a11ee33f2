//! Re-decides recorded commands and compares the results with what is recorded.
//!
//! [`Prover::verify`] reads the log once. It re-decides every recorded command with the modules of
//! its commit's plan, on the state that results from the recorded events before it, and compares
//! the result with what is recorded, byte for byte. Fuel is not compared. [`Prover::preflight`]
//! lets a candidate decide instead, and reports what would be different. [`Prover::shadow`] lets a
//! candidate decide live commands without effect. Streams are distributed among threads. Nothing is
//! written.

mod acknowledge;
mod cancel;
mod decider_source;
mod digests;
mod error;
mod name;
mod preflight;
mod prover;
mod readers;
mod reassemble;
mod rejections;
mod replay;
mod report;
mod shadow;
mod state_cache;

pub use acknowledge::Run;
pub use digests::{Digests, LOG, verify_stored};
pub use error::Error;
pub use name::FindingName;
pub use preflight::{Objection, Policy, Preflight};
pub use prover::{Prover, Scope};
pub use report::{
    DocumentFinding, Finding, Kind, Progress, ProjectionTally, Refusals, Snapshots, Tally, Times,
    Verified, Weight,
};
pub use shadow::{End, Report, Shadow, Shadowing};

/// Limit for the number of findings that are reported, starting with the earliest positions.
pub const FINDINGS_MAX: usize = 100;

/// Limit for the number of reported findings of one kind and one command type.
pub const ALIKE_MAX: usize = 10;

/// Limit for the bytes of an event's data in a finding. The rest is left out.
const TEXT_MAX: usize = 400;
