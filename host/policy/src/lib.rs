//! Policies of a Quipu host in Cedar: who may do what beyond the roles.
//!
//! The roles are policies too. A policy of the host can permit more, and forbid what a role allows;
//! what is forbidden stays so whatever else permits it. The lists of a grant limit both: a policy never
//! leads beyond them.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cases;
mod entities;
mod mistake;
mod parts;
mod policy;

pub use cases::{Case, Cases, Outcome};
pub use entities::{SCHEMA, Target};
pub use mistake::Mistake;
pub use policy::{Decision, Denied, POLICY_BYTES_MAX, Policy, roles};
