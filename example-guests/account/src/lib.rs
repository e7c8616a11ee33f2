//! Example guest: a bank account, in the mutable style ([`Aggregate`]).
//!
//! | command | body | event |
//! | --- | --- | --- |
//! | `open` | `{"owner": string}` | `opened` `{"owner"}` |
//! | `deposit` | `{"amount": integer}` | `deposited` `{"amount"}` |
//! | `withdraw` | `{"amount": integer}` | `withdrawn` `{"amount"}` |
//! | `close` | `{}` | `closed` `{}` |
//!
//! Amounts are whole units of the smallest coin.
//!
//! | rejection | when |
//! | --- | --- |
//! | `not-open` | the account has never been opened |
//! | `already-open` | it is open |
//! | `closed` | it has been closed, which is for good |
//! | `invalid-amount` | an amount is zero or negative |
//! | `insufficient-funds` | a withdrawal above the balance; details `{"balance"}` |
//! | `balance-limit` | a deposit would lift the balance above [`BALANCE_MAX`] |
//!
//! The view: `{"status": "none" | "open" | "closed", "owner", "balance"}`.

use quipu_guest::{Aggregate, Context, Events, Rejection, aggregate};
use serde::{Deserialize, Serialize};

/// The highest balance: the largest integer that every JSON parser reads exactly.
pub const BALANCE_MAX: u64 = (1 << 53) - 1;

/// The commands.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Opens the account.
    Open {
        /// Name of the owner.
        owner: String,
    },
    /// Pays money in.
    Deposit {
        /// Signed, so that a negative amount is rejected rather than unreadable.
        amount: i64,
    },
    /// Pays money out, at most the balance.
    Withdraw {
        /// Signed, as with a deposit.
        amount: i64,
    },
    /// Closes the account permanently. The remaining balance is paid out elsewhere.
    Close {},
}

/// The events.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The account was opened.
    Opened {
        /// Name of the owner.
        owner: String,
    },
    /// Money was paid in.
    Deposited {
        /// At least 1.
        amount: u64,
    },
    /// Money was paid out.
    Withdrawn {
        /// At least 1.
        amount: u64,
    },
    /// The account was closed.
    Closed {},
}

/// The state of an account.
#[derive(Default, Serialize, Deserialize, Debug, PartialEq)]
pub struct Account {
    status: Status,
    owner: String,
    balance: u64,
}

#[derive(Default, Serialize, Deserialize, Debug, PartialEq, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum Status {
    #[default]
    None,
    Open,
    Closed,
}

impl Aggregate for Account {
    const CATEGORY: &'static str = "account";
    const REJECTIONS: &'static [&'static str] = &[
        "not-open",
        "already-open",
        "closed",
        "invalid-amount",
        "insufficient-funds",
        "balance-limit",
    ];
    type Command = Command;
    type Event = Event;

    fn execute(
        &self,
        command: Command,
        _: &Context,
        events: &mut Events<Event>,
    ) -> Result<(), Rejection> {
        match (self.status, &command) {
            (Status::Closed, _) => return Err(Rejection::new("closed", "the account is closed")),
            (Status::None, Command::Open { .. }) => {}
            (Status::None, _) => {
                return Err(Rejection::new(
                    "not-open",
                    "the account has not been opened",
                ));
            }
            (Status::Open, Command::Open { .. }) => {
                return Err(Rejection::new("already-open", "the account is open"));
            }
            (Status::Open, _) => {}
        }
        events.raise(match command {
            Command::Open { owner } => Event::Opened { owner },
            Command::Deposit { amount } => self.deposit(positive(amount)?)?,
            Command::Withdraw { amount } => self.withdraw(positive(amount)?)?,
            Command::Close {} => Event::Closed {},
        });
        Ok(())
    }

    // Saturating, because events may also be appended without a decision.
    fn apply(&mut self, event: Event) {
        match event {
            Event::Opened { owner } => {
                self.status = Status::Open;
                self.owner = owner;
            }
            Event::Deposited { amount } => self.balance = self.balance.saturating_add(amount),
            Event::Withdrawn { amount } => self.balance = self.balance.saturating_sub(amount),
            Event::Closed {} => self.status = Status::Closed,
        }
    }
}

aggregate!(Account);

impl Account {
    fn deposit(&self, amount: u64) -> Result<Event, Rejection> {
        match self.balance.checked_add(amount) {
            Some(balance) if balance <= BALANCE_MAX => Ok(Event::Deposited { amount }),
            _ => Err(Rejection::new(
                "balance-limit",
                format!(
                    "balance {}, deposit {amount}, at most {BALANCE_MAX}",
                    self.balance
                ),
            )),
        }
    }

    fn withdraw(&self, amount: u64) -> Result<Event, Rejection> {
        #[derive(Serialize)]
        struct Details {
            balance: u64,
        }
        if amount > self.balance {
            let message = format!("balance {}, withdrawal {amount}", self.balance);
            let rejection = Rejection::new("insufficient-funds", message);
            return Err(rejection.details(Details {
                balance: self.balance,
            }));
        }
        Ok(Event::Withdrawn { amount })
    }
}

fn positive(amount: i64) -> Result<u64, Rejection> {
    match u64::try_from(amount) {
        Ok(amount) if amount > 0 => Ok(amount),
        _ => Err(Rejection::new(
            "invalid-amount",
            format!("amount {amount}, at least 1"),
        )),
    }
}
