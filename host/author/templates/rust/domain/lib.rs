//! Decides the commands of category `{{category}}`. Its events are in the crate `events`, which the
//! projection in `views` reads, too.

use quipu_guest::{Context, Decider, Rejection, decider};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use {{name}}_events::Event;

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    Open { title: String },
    Add { amount: u64 },
    Close,
}

/// The state: only what the rules need.
#[derive(Default, Serialize, Deserialize, Debug, PartialEq)]
pub struct State {
    pub is_open: bool,
    pub total: u64,
}

/// The highest total.
pub const TOTAL_MAX: u64 = 1_000;

impl Decider for State {
    const CATEGORY: &'static str = "{{category}}";
    const REJECTIONS: &'static [&'static str] = &["already-open", "not-open", "limit-exceeded"];
    type Command = Command;
    type Event = Event;

    /// The rules. Time and random numbers come from the context, never from the machine.
    fn decide(&self, command: Command, context: &Context) -> Result<Vec<Event>, Rejection> {
        match command {
            Command::Open { .. } if self.is_open => {
                Err(Rejection::new("already-open", "it is open"))
            }
            Command::Open { title } => Ok(vec![Event::Opened { title }]),
            _ if !self.is_open => Err(Rejection::new("not-open", "open it first")),
            Command::Add { amount } if amount > TOTAL_MAX.saturating_sub(self.total) => {
                let message = format!("the total is {}, at most {TOTAL_MAX}", self.total);
                Err(Rejection::new("limit-exceeded", message))
            }
            Command::Add { amount } => Ok(vec![Event::Added { amount }]),
            Command::Close => Ok(vec![Event::Closed {
                at: context.accepted_at(),
            }]),
        }
    }

    /// What an event changes. It accepts every event that was ever stored.
    fn evolve(self, event: Event) -> Self {
        match event {
            Event::Opened { .. } => State {
                is_open: true,
                ..self
            },
            Event::Added { amount } => State {
                total: self.total.saturating_add(amount),
                ..self
            },
            Event::Closed { .. } => State {
                is_open: false,
                ..self
            },
        }
    }
}

decider!(State);
