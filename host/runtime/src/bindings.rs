//! Rust types of the WIT contract, generated at compile time.
//!
//! The world is the one with every export. Each interface has its own index, so a component with
//! fewer exports is called through those that it has.
#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "domain-guest",
    ownership: Borrowing { duplicate_if_necessary: true },
});

pub(super) use self::quipu::domain::diagnostics::Level;
pub(super) use self::quipu::domain::types;
pub(super) use exports::quipu::domain::{decider, manifest, projection, upcaster};

/// The package shared by host and guests.
pub(super) const PACKAGE: &str = "quipu:domain";
/// Prefix of the compatible versions. A published interface never changes.
pub(super) const COMPATIBLE: &str = "0.1.";
/// The only import that has functions.
pub(super) const DIAGNOSTICS: &str = "quipu:domain/diagnostics@0.1.0";
