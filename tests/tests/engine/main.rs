//! The engine: what concurrency, failures and hostile guests must not change.
#![allow(clippy::unwrap_used)]

mod property;
