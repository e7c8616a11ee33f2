//! Projections: documents that are folded from the log, inline, behind it or on demand.
//!
//! A [`Service`] keeps the builds of a store going: of each, one host of all is the owner,
//! under a lease whose token is checked where its checkpoint moves. It answers what is
//! asked of documents, and does what operators order.

mod ahead;
mod cache;
mod compare;
mod cursor;
mod decisions;
mod dropped;
mod error;
mod folded;
mod freshness;
mod guard;
mod inline;
mod live;
mod mismatched;
mod orders;
mod overcome;
mod pages;
mod parked;
mod query;
mod reading;
mod rules;
mod runner;
mod service;
mod settle;
mod shared;
mod staleness;
mod status;
mod takeover;
mod tend;
mod verify;
mod writing;

use self::shared::Shared;

pub use error::Error;
pub use freshness::{NotFreshReason, WAIT_MAX};
pub use inline::Inline;
pub use query::{
    Change, ChangePlace, Compares, Condition, Freshness, Live, OrderBy, Query, View, ViewPage,
};
pub use service::Service;
pub use shared::Options;
pub use status::{
    BuildStatus, Comparison, Deployed, Difference, Order, ParkedPage, State, Status, Trouble,
};
pub use verify::{Compared, Found, Mismatched, Reached};
