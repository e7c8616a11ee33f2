//! Folding: the state of a stream out of its events, or of a snapshot and the events
//! behind it.
//!
//! [`Rules`] are what folds: a decider and the upcaster steps of its category. A snapshot
//! is opened only where the rules allow it; whatever is wrong with one, the stream is
//! folded from its first event instead. A [`Folder`] folds streams apart from the
//! commands, from committed events alone.

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
pub use trial::Trial;
