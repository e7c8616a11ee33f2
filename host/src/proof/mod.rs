//! Recorded decisions, made again.
//!
//! [`Prover::verify`] reads the log once, decides every recorded command anew with what
//! its commit's plan had, on the state that the recorded events before it lead to, and
//! compares what comes of it with what is recorded, byte for byte. Fuel is not compared.
//! [`Prover::preflight`] lets a module decide that may become active instead, and says what
//! would be different; [`Prover::shadow`] lets it decide what is decided meanwhile. Streams
//! are shared out among threads; nothing is written.

mod acknowledge;
mod commits;
mod error;
mod judge;
mod lane;
mod name;
mod preflight;
mod prover;
mod readers;
mod refusals;
mod report;
mod shadow;
mod states;
mod stop;

pub use acknowledge::{REASON_BYTES_MAX, Run};
pub use error::Error;
pub use name::FindingName;
pub use preflight::{Objection, Policy, Preflight};
pub use prover::{Prover, Scope};
pub use report::{
    DocumentFinding, Finding, Kind, Progress, ProjectionTally, Refusals, Snapshots, Tally, Times,
    Verified, Weight,
};
pub use shadow::{End, Report, Shadow, Shadowing};

/// Findings that are told of: those of the earliest positions.
pub const FINDINGS_MAX: usize = 100;

/// Of these, of one kind and type of command.
pub const ALIKE_MAX: usize = 10;

/// Bytes of an event's data in a finding; the rest is left out.
const TEXT_MAX: usize = 400;
