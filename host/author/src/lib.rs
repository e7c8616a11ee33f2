//! Tools for authors of guests.
//!
//! Everything here works on folders and component files, without a host and without a store:
//! [`project`] makes, builds and watches a project, and [`scenario`] plays given/when/then
//! scenarios against components of any language, and [`conform`](mod@conform) checks a component
//! against the contract.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod components;
pub mod conform;
mod mistake;
pub mod project;
pub mod scenario;
mod schemas;

pub use components::{Components, Error};
pub use schemas::unsupported_schemas;
