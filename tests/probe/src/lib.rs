//! A decider with upcasters and projections whose manifest, steps and definitions are data:
//! tests write them into the component, so that one build stands for every guest that they
//! need.
//!
//! Its state is the list of what it has folded, each as `type@version body`. The command
//! `note` with `[["type", data], …]` decides these events. A step gives each of its
//! results the body `[old body, "type@version"]`, so that the way of an event shows.
//!
//! A document is `{"count", "sum" (of the bodies' "n"), "last" (position), "seen" (the newest
//! 20 of "type@version part body"), "status" (of the newest body that has one)}`, with "tags"
//! and "annotations" of the newest event where they are asked for, and "list": the numbers
//! below the newest body's "list". What a body says is looked for in what it was before the
//! steps above lifted it:
//!
//! | member | does |
//! | --- | --- |
//! | `"keys": [text]` | the documents' keys, of a projection that goes by them |
//! | `"delete": true` | there is no document afterwards |
//! | `"large": bytes` | the document gets that long, and does not shrink again |
//! | `"bad": {"keys": how}` | `keys` fails: `trap`, `bad-event`, `unknown-event`, `internal`, `loop`, or answers `too-few` |
//! | `"bad": {"apply": how, "key": text?}` | `apply` fails likewise, or answers `not-json`; with a key only for that one |
//!
//! A projection that heals takes no notice of `large` and `bad`, one that fails answers nothing.

#[cfg(target_family = "wasm")]
mod guest;
#[cfg(target_family = "wasm")]
mod projection;

/// What stands in front of the configuration in the component.
pub const MARK: &[u8; 20] = b"QUIPU-PROBE-CONFIG: ";
/// Bytes of the configuration, with the mark.
pub const BYTES: usize = 16 << 10;
