//! The contract of every store and every host on it: one test per rule, with the rule numbers of
//! the semantics.
#![allow(clippy::unwrap_used)]

mod access;
mod acknowledgements;
mod appending;
mod archiving;
mod atomic;
mod builds;
mod checkpoints;
mod deciding;
mod deployments;
mod documents;
mod documents_model;
mod event_ids;
mod export;
mod failed_events;
mod faults;
mod files;
mod filters;
mod idempotency;
mod inline;
mod jobs;
mod led_to;
mod limits;
mod listing;
mod metadata;
mod model;
mod modules;
mod plain;
mod plans;
mod proposals;
mod reading;
mod rejections;
mod scans;
mod signatures;
mod snapshots;
mod store;
mod temporary;
mod trouble;
mod truncation_marks;
mod turns;
mod type_counts;
mod unfit;
mod upgrades;
mod waiting;
