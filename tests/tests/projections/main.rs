//! Projections on every store: lifecycles, errors, rebuilds, reading.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod child;
mod crash;
mod dropping;
mod errors;
mod evolving;
mod failing;
mod folding;
mod fresh;
mod guarded;
mod handed_over;
mod honest;
mod hosts;
mod inline;
mod lagging;
mod loans;
mod parking;
mod random_releases;
mod reading;
mod rebuilding;
mod support;
mod under_load;
mod verifying;
