//! The component's exports: a thin layer over [`driver`](crate::driver),
//! [`Steps`](crate::Steps) and [`Projection`](crate::Projection). Not for authors.
//!
//! `generated` is what wit-bindgen makes of `wit/domain.wit`. The test `bindings` compares it
//! with the contract and renews it.
//!
//! Each interface is a world of its own, so that a component exports only those that its
//! author implements, and contains no code for the others.

#![allow(missing_docs)]

pub mod decider;
#[rustfmt::skip]
#[allow(
    unsafe_code,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "written by wit-bindgen: the component model's calls pass raw memory"
)]
mod generated;
pub mod manifest;
pub mod projection;
pub mod upcaster;

use std::sync::Once;

use crate::driver::FoldError;
use crate::log;
use crate::rejection::bounded;

pub(crate) use generated::manifest::quipu::domain::{diagnostics, types};

/// A trap carries no text, so the panic's text is logged first.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| log::error(&panic.to_string())));
    });
}

fn not_json(what: &str) -> String {
    format!("{what}: body is binary, expected JSON")
}

impl From<FoldError> for types::FoldError {
    fn from(error: FoldError) -> Self {
        match error {
            FoldError::UnknownEvent(text) => types::FoldError::UnknownEvent(bounded(text)),
            FoldError::BadEvent(text) => types::FoldError::BadEvent(bounded(text)),
            FoldError::Internal(text) => types::FoldError::Internal(bounded(text)),
        }
    }
}
