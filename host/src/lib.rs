//! Quipu: an event-sourcing host whose domain logic runs as WebAssembly components.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod app;
pub mod commit;
pub mod deploy;
pub mod engine;
pub mod fold;
pub mod projection;
pub mod proof;
pub mod subscribe;
pub mod transfer;
pub mod upcast;

pub use app::{Builder, Host};
pub use quipu_model::{self as model, supervise};
pub use quipu_runtime as runtime;
pub use quipu_store as store;
