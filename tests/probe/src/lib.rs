//! A decider with upcasters and projections whose manifest, steps and definitions are data: tests
//! write them into the component, so one build serves for every guest that they need.
//!
//! Its state is the list of the events it has folded, each as `type@version body`. The command
//! `note` with `[["type", data], …]` decides these events. A step gives each of its results the
//! body `[old body, "type@version"]`, so that the path of an event is visible.
//!
//! A document is `{"count", "sum" (of the bodies' "n"), "last" (position), "seen" (the newest 20 of
//! "type@version part body"), "status" (of the newest body that has one)}`. If the projection asks
//! for them, it has the "tags" and "annotations" of the newest event. "list" has the numbers below
//! the newest body's "list". The following members of a body are looked up in the body as it was
//! before the steps above lifted it:
//!
//! | member | effect |
//! | --- | --- |
//! | `"keys": [text]` | the documents' keys, in a projection with keys |
//! | `"delete": true` | the document is deleted |
//! | `"large": bytes` | the document grows to this length, and does not shrink |
//! | `"bad": {"keys": how}` | `keys` fails: `trap`, `bad-event`, `unknown-event`, `internal`, `loop`, or returns `too-few` |
//! | `"bad": {"apply": how, "key": text?}` | `apply` fails in the same ways, or returns `not-json`; with a key only for that document |
//!
//! A projection that heals ignores `large` and `bad`; one that fails returns only errors.

#[cfg(target_family = "wasm")]
mod guest;
#[cfg(target_family = "wasm")]
mod projection;

/// The bytes that mark the configuration in the component.
pub const MARK: &[u8; 20] = b"QUIPU-PROBE-CONFIG: ";
/// The size of the configuration in bytes, with the mark.
pub const BYTES: usize = 16 << 10;
