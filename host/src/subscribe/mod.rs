//! Subscriptions: what is in the log, then what is committed, without a seam.
//!
//! A [`Hub`] reads the log once behind its head, into a ring of the newest events that
//! all subscriptions share. A subscription catches up by pages of its own, with its
//! filter, until it is within the ring; who falls behind the ring reads pages again, so
//! nothing is buffered without end. One that waits costs neither a task nor a query, and
//! is woken only by an event that it wants.
//!
//! The ring holds events as they are stored. What a subscription takes from it or from a
//! page is lifted for it, under the plan that is current then. Whether an event may
//! concern a filter of types is judged by all names that it could come to have under the
//! plan that is current when it is put up; no guest is asked for that.

mod batch;
mod board;
mod claimed;
mod commits;
mod error;
mod feed;
mod hub;
mod lease;
mod named;
mod options;
mod page;
mod request;
mod ring;
mod subscription;
mod wants;

pub use claimed::{EventBatch, NAMES_MAX, Owner, Reading, Start};
pub use commits::{Committed, OnCommit};
pub use error::Error;
pub use hub::Hub;
pub use named::Named;
pub use options::Options;
pub use request::{Message, Place, Subscribe};
pub use subscription::Subscription;
