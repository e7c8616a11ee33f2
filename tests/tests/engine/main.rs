//! The engine: what concurrency, failures and hostile guests must not change.
#![allow(clippy::unwrap_used)]

mod hostile;
mod injected;
mod inline;
mod property;
mod purity;
mod raw;
mod replaced;
mod same_ids;
mod stale_head;
mod supervised;
