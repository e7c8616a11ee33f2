//! What every store and every host on it promise: a test for each rule, under the
//! number that it has in the semantics.
#![allow(clippy::unwrap_used)]

mod appending;
mod deciding;
mod deployments;
mod faults;
mod files;
mod idempotency;
mod limits;
mod reading;
mod store;
