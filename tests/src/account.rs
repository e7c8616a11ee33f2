//! The rules of the guest `account`, written a second time in plain Rust for comparison.

use quipu::model::{Command, RecordedEvent};
use serde_json::Value;

/// The state of an account after its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// `none`, `open` or `closed`.
    pub status: Status,
    /// The owner.
    pub owner: String,
    /// The balance.
    pub balance: u64,
}

/// The stage of an account's life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Status {
    /// Never opened.
    #[default]
    None,
    /// Open.
    Open,
    /// Closed permanently.
    Closed,
}

/// An event's type and body, or the code of a rejection.
pub type Decision = Result<(&'static str, Value), &'static str>;

impl Account {
    /// The result of a command.
    pub fn decide(&self, command: &Command) -> Decision {
        let body: Value = serde_json::from_slice(command.body.bytes()).unwrap();
        let name = command.name.as_str();
        match (self.status, name) {
            (Status::Closed, _) => return Err("closed"),
            (Status::None, "open") => return Ok(("opened", body)),
            (Status::None, _) => return Err("not-open"),
            (Status::Open, "open") => return Err("already-open"),
            (Status::Open, "close") => return Ok(("closed", body)),
            (Status::Open, _) => {}
        }
        let amount = body["amount"].as_i64().unwrap();
        match name {
            _ if amount <= 0 => Err("invalid-amount"),
            "withdraw" if amount.unsigned_abs() > self.balance => Err("insufficient-funds"),
            "withdraw" => Ok(("withdrawn", body)),
            _ => Ok(("deposited", body)),
        }
    }

    /// The account after one more event.
    #[must_use]
    pub fn after(mut self, event: &RecordedEvent) -> Self {
        let body: Value = serde_json::from_slice(event.body.bytes()).unwrap();
        let amount = body["amount"].as_u64().unwrap_or(0);
        match event.name.as_str() {
            "opened" => {
                self.status = Status::Open;
                self.owner = body["owner"].as_str().unwrap().to_owned();
            }
            "deposited" => self.balance = self.balance.saturating_add(amount),
            "withdrawn" => self.balance = self.balance.saturating_sub(amount),
            "closed" => self.status = Status::Closed,
            other => panic!("no event of an account: {other}"),
        }
        self
    }

    /// The account at every version, starting at 0.
    pub fn history(events: &[RecordedEvent]) -> Vec<Self> {
        let mut states = vec![Self::default()];
        for event in events {
            let state = states.last().cloned().unwrap_or_default().after(event);
            states.push(state);
        }
        states
    }

    /// The state as the guest's view shows it.
    pub fn view(&self) -> Value {
        let status = match self.status {
            Status::None => "none",
            Status::Open => "open",
            Status::Closed => "closed",
        };
        serde_json::json!({ "status": status, "owner": self.owner, "balance": self.balance })
    }
}
