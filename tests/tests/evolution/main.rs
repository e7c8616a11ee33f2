//! State that survives change: upcasters, snapshots, truncation and time travel, by hosts on every
//! store. The rule numbers are those of the semantics.
#![allow(clippy::unwrap_used)]

mod anchors;
mod chains;
mod conflicts;
mod exact;
mod folds;
mod guards;
mod loan;
mod past;
mod property;
mod support;
mod taking;
