//! Shipping: the log of a host in a folder of segments, and its way back into a store.
//!
//! `ship` writes the folder, `recover` makes a store from it, and `drill` tries that. The folder has
//! [segments](segment) of export lines, and a [manifest] that lists them. The first segments may be
//! the [base]. A file that the manifest does not list was not shipped.

mod archive;
mod base;
mod contents;
mod drill;
mod host;
mod line;
mod manifest;
mod marks;
mod partial;
mod recover;
mod replay;
mod reports;
mod segment;
mod ship;
mod shipper;
mod spool;
mod until;

pub use drill::Drill;
pub use manifest::sync_folder;
pub use recover::Recover;
pub use ship::Ship;
