//! The engine under concurrency, failures and hostile guests.
#![allow(clippy::unwrap_used)]

mod abandoned;
mod checked;
mod hostile;
mod injected;
mod inline;
mod property;
mod purity;
mod raw;
mod replaced;
mod resumed;
mod same_ids;
mod stale_head;
mod supervised;
mod unloadable;
mod validating;
mod warm;
