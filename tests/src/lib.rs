//! Code shared by the tests: stores to run on, guests to deploy, faults to inject, and the simple
//! models that answers are compared with.
//!
//! `on_every_store!` makes a test of each rule on each store.

#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod account;
pub mod bank;
pub mod build;
pub mod certificates;
pub mod clock;
pub mod coin;
pub mod counting;
pub mod digests;
pub mod documents;
pub mod examples;
pub mod faults;
pub mod fuzz;
pub mod golden;
pub mod guest;
pub mod held;
pub mod issuer;
pub mod lines;
pub mod loan_books;
pub mod loan_documents;
pub mod log;
pub mod patience;
pub mod place;
pub mod postgres;
pub mod probe;
pub mod seed;
pub mod signing;

pub use patience::PATIENCE;
pub use place::Place;
