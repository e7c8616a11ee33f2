//! The sandbox: components are checked, compiled and called here and nowhere else.
//!
//! A [`Runtime`] turns bytes into a [`Module`], or says why it is [`Refused`]. An
//! [`Instance`] of a module holds any number of aggregates and is one fault
//! domain: after a fault that spent it ([`Instance::is_spent`]) it is dropped
//! with all of them. Every call runs under the [`Limits`]; whatever a guest does,
//! the host gets an answer or a [`Fault`], and never panics.
//!
//! Nothing here waits or is asynchronous. Calls take as long as the guest does,
//! up to its fuel or the deadline, so they belong on threads of their own.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
mod bindings;
mod compiled;
mod compiler;
mod diagnostics;
mod documents;
mod fault;
mod idle;
mod instance;
mod load;
mod manifest;
mod memory;
mod module;
mod options;
mod projections;
mod refused;
mod sandbox;
mod steps;
mod surface;
mod ticker;

pub use answer::{Decision, Outcome};
pub use compiler::{Compiler, FAILED as COMPILER_FAILED};
pub use documents::Work;
pub use fault::{Failure, Fault, FaultKind};
pub use idle::Idle;
pub use instance::{Aggregate, FoldEvent, Instance, Snapshot};
pub use load::Runtime;
pub use manifest::Manifest;
pub use module::{Export, Module};
pub use options::{Limits, Options};
pub use projections::{Definition, Detail, Source};
pub use refused::Refused;
pub use steps::{Lifted, Step};

/// What a call cost: about one unit for each instruction of the guest, equal on
/// every machine.
pub type Fuel = u64;

/// A runtime that can't be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The compiler or sandbox does not work on this machine, or not with these options.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    /// The operating system gives no thread for the deadline's clock.
    #[error("no thread for the deadline's clock: {0}")]
    Ticker(std::io::Error),
    /// The folder for compiled components can't be made.
    #[error("cache folder {path}: {error}")]
    Cache {
        /// The folder.
        path: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
}
