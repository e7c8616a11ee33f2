//! Quipu: an event-sourcing host whose domain logic runs as WebAssembly components.

pub mod model;
pub mod runtime;
