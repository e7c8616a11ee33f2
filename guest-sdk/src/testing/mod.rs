//! Native tests in three steps: given events, when a command, then events.
//!
//! The given events, the decided ones, and the state between them are converted through the JSON
//! that a host would store, so a type that can't be read back fails here. Failures panic with both
//! sides. [`lifted`] is for events of older versions, [`migrated`] for snapshots, [`projected`] for
//! documents; [`check_guest`], [`check_steps`] and [`check_projection`] find what a host would
//! refuse at upload. [`check_cuts`], [`check_decides_again`], [`Projected::check_cuts`] and
//! [`check_lifts`] find answers that depend on more than their arguments.
//!
//! ```
//! # use quipu_guest::{Aggregate, Context, Events, Rejection, testing::given};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Deserialize)] #[serde(rename_all = "kebab-case")] enum Command { Press {} }
//! # #[derive(Serialize, Deserialize, Debug, PartialEq)] #[serde(rename_all = "kebab-case")]
//! # enum Event { Pressed {} }
//! # #[derive(Default, Serialize, Deserialize)] struct Button { pressed: bool }
//! # impl Aggregate for Button {
//! #     const CATEGORY: &'static str = "button";
//! #     type Command = Command;
//! #     type Event = Event;
//! #     fn execute(&self, _: Command, _: &Context, events: &mut Events<Event>) -> Result<(), Rejection> {
//! #         if self.pressed { return Err(Rejection::new("stuck", "it is pressed already")) }
//! #         events.raise(Event::Pressed {});
//! #         Ok(())
//! #     }
//! #     fn apply(&mut self, _: Event) { self.pressed = true; }
//! # }
//! # quipu_guest::aggregate!(Button);
//! given::<Button>([]).when(Command::Press {}).then([Event::Pressed {}]);
//! given::<Button>([Event::Pressed {}]).when(Command::Press {}).rejected("stuck");
//! assert_eq!(given::<Button>([]).view(), r#"{"pressed":false}"#);
//! ```

mod answer;
mod check;
mod determinism;
mod diff;
mod exact;
mod given;
mod lifted;
mod outcome;
mod projected;

pub use check::{check_guest, check_steps};
pub use determinism::{check_cuts, check_decides_again};
pub use given::{Given, given, migrated};
pub use lifted::{Lifted, check_lifts, lifted};
pub use outcome::{Decided, Outcome, Rejected};
pub use projected::{Projected, check_projection, projected};

use crate::{Aggregate, Guest};

type Command<G> = <<G as Guest>::Aggregate as Aggregate>::Command;
type Event<G> = <<G as Guest>::Aggregate as Aggregate>::Event;
