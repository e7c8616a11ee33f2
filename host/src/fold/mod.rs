//! Folds the state of a stream from its events, or from a snapshot and the events after it.
//!
//! [`Rules`] consist of a decider and the upcaster steps of its category. A snapshot is opened only
//! if the rules allow it. Whatever is wrong with a snapshot, the stream is folded from its first
//! event instead. A [`Folder`] folds streams independently of commands, from committed events only.

mod compare;
mod counts;
mod error;
mod folder;
mod open;
mod rules;
mod trial;

pub use compare::{Agreement, Found, Taken};
pub use counts::{Counts, Snapshots};
pub use error::Error;
pub use folder::{Folder, From, Until, no_anchor, off_the_reactor};
pub use open::Open;
pub use rules::{Rules, Start, Unusable};
pub use trial::{Effect, Ground, States, Trial};
