//! The tables next to the log, and its rows as events, written once for both databases.
//!
//! Each back-end compiles these files as a module of its own, over its `dialect`: the types of
//! its driver, the words of SQL that differ, and how a transaction begins. Code that is generic
//! over drivers would need sqlx's bounds for every type in every function. Both drivers take
//! `$1`, and both read a boolean from what they store for one.

use super::{anchors, counting, dialect, documents, rejected, scans, sealing};

pub mod acknowledged;
pub mod audit;
pub mod builds;
pub mod cell;
pub mod checkpoints;
pub mod contents;
pub mod digests;
pub mod dropped;
pub mod events;
pub mod jobs;
pub mod lease;
pub mod modules;
pub mod parked;
pub mod projections;
pub mod proposals;
pub mod rejections;
pub mod retries;
pub mod snapshots;
pub mod tenants;
pub mod tokens;
pub mod turns;
pub mod types;

/// A number as databases store it.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
