//! Upcasting: stored events as their readers want them, lifted when they are read.
//!
//! A [`Chain`] holds the steps of one category, whichever components bring them. What a
//! reader names ([`Names`]) and a chain make a [`Lift`], which knows the way of each type
//! and version; a [`Lifter`] goes it, with instances of the upcasters. Stored events never
//! change.

mod chain;
mod error;
mod event;
mod lift;
mod lifter;
mod names;
mod way;

pub use chain::{Chain, Conflict};
pub use error::Error;
pub use event::Liftable;
pub use lift::{Lift, Route};
pub use lifter::Lifter;
pub use names::{Aliases, Names, aliases_of};
pub use way::Way;

/// How events are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Lifted by the upcasters that are active, to what the active deciders read.
    #[default]
    Lifted,
    /// As they are stored.
    Stored,
}
