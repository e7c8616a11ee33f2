//! Quipu: an event-sourcing host whose domain logic runs as WebAssembly components.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod app;
pub mod bench;
pub mod cli;
pub mod commit;
pub mod deploy;
pub mod engine;
pub mod fold;
pub mod guests;
pub mod http;
pub mod model;
pub mod projection;
pub mod proof;
pub mod runtime;
pub mod store;
pub mod subscribe;
pub mod supervise;
pub mod transfer;
pub mod upcast;

pub use app::{Builder, Host};
