//! Exports the log to a file and imports it: NDJSON of CloudEvents.
//!
//! [`Export`] writes everything that a store has of its log, as lines. [`import()`] reads such
//! lines into an empty store, whose own export then has the same lines.
//! `docs/src/reference/export.md` describes the format of the file.

mod digests;
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
pub use line::{END, FAILED, FORMAT, Totals};
pub use lines::LINE_BYTES_MAX;
pub use read::check_line;
pub use write::{
    archived as write_archived, begin as write_begin, end as write_end, failed as write_failed,
};
