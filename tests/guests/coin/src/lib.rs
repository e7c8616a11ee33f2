//! A purse of wei. One coin is a number of 19 digits.
//!
//! `deposit` and `spend` take `{"wei"}`; `check` takes `{"at_least"}` and is rejected as
//! `too-little` when there is less. An event that spends more than there is traps.

use quipu_guest::{Context, Decider, Rejection, decider};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The text before the digit that says how many wei each deposit loses. Tests write another digit
/// into the component to make the next version of this guest.
pub const MARK: &[u8; 18] = b"QUIPU-COIN-LOSES: ";
static LOSS: [u8; 19] = *b"QUIPU-COIN-LOSES: 0";

/// The commands.
#[derive(JsonSchema, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Pays in.
    Deposit {
        /// The amount.
        wei: u128,
    },
    /// Pays out.
    Spend {
        /// The amount.
        wei: u128,
    },
    /// Checks that there is enough.
    Check {
        /// The required amount.
        at_least: u128,
    },
}

/// The events.
#[derive(JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Wei were paid in.
    Deposited {
        /// The amount.
        wei: u128,
    },
    /// Wei were paid out.
    Spent {
        /// The amount.
        wei: u128,
    },
    /// There was enough.
    Checked {
        /// The amount that there was.
        wei: u128,
    },
}

/// The state.
#[derive(Default, Serialize, Deserialize)]
pub struct Coin {
    wei: u128,
}

impl Decider for Coin {
    const CATEGORY: &'static str = "coin";
    const REJECTIONS: &'static [&'static str] = &["too-little"];
    type Command = Command;
    type Event = Event;

    fn decide(&self, command: Command, _: &Context) -> Result<Vec<Event>, Rejection> {
        let (least, event) = match command {
            Command::Deposit { wei } => (0, Event::Deposited { wei }),
            Command::Spend { wei } => (wei, Event::Spent { wei }),
            Command::Check { at_least } => (at_least, Event::Checked { wei: self.wei }),
        };
        if self.wei < least {
            let message = format!("it has {}", self.wei);
            return Err(Rejection::new("too-little", message));
        }
        Ok(vec![event])
    }

    fn evolve(self, event: Event) -> Self {
        let wei = match event {
            Event::Deposited { wei } => self.wei + wei - loss(),
            Event::Spent { wei } => self.wei - wei,
            Event::Checked { .. } => self.wei,
        };
        Self { wei }
    }
}

decider!(Coin);

fn loss() -> u128 {
    let digit = std::hint::black_box(&LOSS)[MARK.len()];
    u128::from(digit - b'0')
}
