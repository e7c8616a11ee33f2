//! A decider with upcasters whose manifest and steps are data: tests write them into the
//! component, so that one build stands for every guest that they need.
//!
//! Its state is the list of what it has folded, each as `type@version body`. The command
//! `note` with `[["type", data], …]` decides these events. A step gives each of its
//! results the body `[old body, "type@version"]`, so that the way of an event shows.

#[cfg(target_family = "wasm")]
mod guest;

/// What stands in front of the configuration in the component.
pub const MARK: &[u8; 20] = b"QUIPU-PROBE-CONFIG: ";
/// Bytes of the configuration, with the mark.
pub const BYTES: usize = 16 << 10;
