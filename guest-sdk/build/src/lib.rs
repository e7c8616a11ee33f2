//! Compiles a guest project to a WebAssembly component.
//!
//! `quipu build` runs [`build()`]. [`toolchain`] finds a compiler for [`TARGET`], and [`ensure()`]
//! installs one where there is none.
//!
//! ```no_run
//! use quipu_guest_build::{Options, build};
//!
//! let built = build("example-guests/loan".as_ref(), &Options::default())?;
//! println!("{}", built.component.display());
//! # Ok::<(), quipu_guest_build::Error>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod apt;
mod build;
mod dependencies;
mod ensure;
mod error;
mod examples;
mod install;
mod machine;
mod package;
pub mod toolchain;

pub use build::{Built, Options, build};
pub use ensure::{Ensured, Installer, ensure};
pub use error::Error;
pub use examples::{component, example};
pub use install::Tool;
pub use machine::Machine;
pub use toolchain::{Missing, TARGET, Toolchain};
