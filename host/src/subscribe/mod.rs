//! Subscriptions: the events in the log, followed by newly committed ones, with no gap and no
//! duplicate in between.
//!
//! A [`Hub`] reads the log once after its head, into a ring of the newest events that all
//! subscriptions share. A subscription catches up by reading its own pages, with its filter, until
//! its position is within the ring. If it is too slow and its position leaves the ring, it goes
//! back to reading pages, so buffers never grow without limit. A subscription that waits needs
//! neither a task nor a query, and is only woken by an event that it wants.
//!
//! The ring has events as they are stored. Events that a subscription takes from the ring or from a
//! page are lifted for it, under the plan that is current then. When an event is published, filters
//! of types are checked against all names that the event could get under the plan that is current
//! then. No guest is called for that.

mod batch;
mod claimed;
mod commits;
mod error;
mod feed;
mod hub;
mod interest;
mod lease;
mod named;
mod options;
mod page;
mod request;
mod ring;
mod subscription;
mod waiters;

pub use claimed::{EventBatch, NAMES_MAX, Owner, Reading, Start};
pub use commits::{Committed, OnCommit};
pub use error::Error;
pub use hub::Hub;
pub use named::Named;
pub use options::Options;
pub use request::{Message, Place, Subscribe};
pub use subscription::Subscription;
