//! The events of category `{{category}}`: the decider writes them, and the projection reads them.

use quipu_guest::{Message, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Message, Serialize, Deserialize, JsonSchema, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    Opened { title: String },
    Added { amount: u64 },
    Closed { at: Time },
}
