//! The log as a file, and back: NDJSON of CloudEvents.
//!
//! [`Export`] gives everything that a store keeps of its log, as lines; [`import()`]
//! takes such lines into an empty store, which then gives the same lines again.
//! `docs/src/reference/export.md` describes the form of the file.

mod error;
mod export;
mod import;
mod line;
mod lines;
mod log;
mod read;
mod resume;
mod write;

pub use error::{Error, Failed};
pub use export::Export;
pub use import::{Imported, Target, import};
pub use line::{END, FORMAT};
pub use lines::LINE_BYTES_MAX;
