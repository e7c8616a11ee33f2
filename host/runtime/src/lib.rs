//! The sandbox. Only this crate checks, compiles and calls components.
//!
//! A [`Runtime`] turns bytes into a [`Module`], or returns the reason why they are [`Refused`]. An
//! [`Instance`] of a module contains any number of aggregates and is one fault domain: after a
//! fault that spent it ([`Instance::is_spent`]), it is dropped with all of them. Every call runs
//! under the [`Limits`]. Whatever a guest does, the host gets an answer or a [`Fault`], and never
//! panics.
//!
//! Nothing here is asynchronous. A call takes as long as the guest runs, up to its fuel or the
//! deadline, so calls belong on dedicated threads.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bindings;
mod code_cache;
mod compiler;
mod diagnostics;
mod documents;
mod fault;
mod functions;
mod instance;
mod instance_pool;
mod interfaces;
mod load;
mod manifest;
mod memory;
mod module;
mod options;
mod projections;
mod sandbox;
mod steps;
mod ticker;
mod upload_error;
mod usage;
mod validate;

pub use compiler::{Compiler, FAILED as COMPILER_FAILED};
pub use documents::Work;
pub use fault::{Failure, Fault, FaultKind};
pub use functions::Functions;
pub use instance::{Aggregate, FoldEvent, Instance, Snapshot};
pub use instance_pool::Idle;
pub use load::Runtime;
pub use manifest::Manifest;
pub use module::{Export, Module};
pub use options::{Limits, Options};
pub use projections::{Definition, Detail, Source};
pub use sandbox::processor_time;
pub use steps::{Lifted, Step};
pub use upload_error::Refused;
pub use usage::Usage;
pub use validate::{Decision, Outcome};

/// The cost of a call: about one unit per instruction of the guest, equal on every machine.
pub type Fuel = u64;

/// Why a runtime can't be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine does not work on this machine, or not with these options.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    /// The operating system could not create the thread that measures deadlines.
    #[error("no thread for the deadline's clock: {0}")]
    Ticker(std::io::Error),
    /// The folder for compiled components can't be created.
    #[error("cache folder {path}: {error}")]
    Cache {
        /// The folder.
        path: std::path::PathBuf,
        /// The cause.
        error: std::io::Error,
    },
}
