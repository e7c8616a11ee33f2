//! Projections on every store: lifecycles, errors, rebuilds, reading.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod errors;
mod folding;
mod inline;
mod parking;
mod reading;
mod rebuilding;
mod support;
