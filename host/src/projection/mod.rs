//! Projections: documents that are folded from the log, either inline, asynchronously or on demand.
//!
//! A [`Service`] runs the builds of a store. Only one host at a time owns a build: it has a lease,
//! and its token is checked whenever the checkpoint moves. The service also answers reads of
//! documents, and executes operators' commands.

mod cache;
mod compare;
mod cursor;
mod cutover;
mod decisions;
mod dropped;
mod error;
mod error_policy;
mod flush;
mod folded;
mod freshness;
mod guard;
mod inline;
mod lag;
mod lease;
mod live;
mod management;
mod mismatched;
mod owner;
mod page_cache;
mod parked;
mod prefetch;
mod queries;
mod query;
mod reconcile;
mod rules;
mod scanned;
mod service;
mod settle;
mod shared;
mod staleness;
mod status;
mod steps;
mod traced;
mod verify;

use self::shared::Shared;

pub use error::Error;
pub use freshness::{NotFreshReason, WAIT_MAX};
pub use inline::Inline;
pub use lag::Lag;
pub use query::{
    Change, ChangePlace, Compares, Condition, Freshness, Live, OrderBy, Query, View, ViewPage,
};
pub use service::Service;
pub use shared::Options;
pub use status::{
    Action, BuildStatus, Comparison, Deployed, Difference, ParkedPage, State, Status, Trouble,
};
pub use steps::{STEPS_MAX, Step, StepChange, Steps};
pub use verify::{Compared, MismatchSink, Mismatched, Reached};
