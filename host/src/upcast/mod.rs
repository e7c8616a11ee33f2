//! Upcasting: stored events are lifted to the versions that readers need when they are read.
//!
//! A [`Chain`] contains the steps of one category from all components. A chain and the names that a
//! reader declares ([`Names`]) make a [`Lift`], which knows the route of each type and version. A
//! [`Lifter`] runs the steps with instances of the upcasters. Stored events never change.

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

/// The form in which events are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Lifted by the active upcasters to the versions that the active deciders read.
    #[default]
    Lifted,
    /// As they are stored.
    Stored,
}
