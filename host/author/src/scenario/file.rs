use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Json;

/// A scenario file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenarios {
    /// The file that it was read from.
    #[serde(skip)]
    pub path: PathBuf,
    /// The scenarios, in order.
    pub scenarios: Vec<Scenario>,
}

/// One scenario.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The rule that it shows.
    pub name: String,
    /// The stream of all events and commands that name none. Without it: key 1 in the category of
    /// the only decider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// What has happened, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Message>,
    /// The command that is decided. Without it the scenario is about what was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Message>,
    /// What must follow.
    pub then: Expected,
}

/// An event that is recorded, or a command.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Type of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Type of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Schema version. Without it: the one that the component declares for the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<u32>,
    /// The body. Without it: an empty object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Json>,
    /// The body as JSON text, for numbers with more digits than YAML keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// Its stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Time in RFC 3339 at which the event was recorded or the command accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Id of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The caller of the command, as the host vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The seed of the command's random numbers and ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<[u64; 4]>,
    /// Metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Json>,
    /// Tags of the event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// What must follow. Everything that is named must be true; at least one thing must be named.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Exactly these events, in this order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<Event>>,
    /// A rejection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejected>,
    /// The guest can't read the command; the text is part of its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_command: Option<String>,
    /// The state as the decider shows it, after the events of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Json>,
    /// The given events as their decider, or without one any reader, receives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Vec<Event>>,
    /// Documents by projection and key; null: there is no such document.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub documents: BTreeMap<String, BTreeMap<String, Json>>,
}

/// An expected event.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Its type.
    pub event: String,
    /// Schema version; without it, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<u32>,
    /// The body; without it and `json`, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Json>,
    /// The body as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// Exactly these tags; without it, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// Metadata that the event has; other members may be there, too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, Json>,
}

/// An expected rejection.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Rejected {
    /// Its code.
    Code(String),
    /// Its code and more.
    Full(FullRejection),
}

impl<'de> Deserialize<'de> for Rejected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RejectedVisitor)
    }
}

struct RejectedVisitor;

impl<'de> Visitor<'de> for RejectedVisitor {
    type Value = Rejected;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a code, or `code`, `message`, `details`")
    }

    fn visit_str<E: de::Error>(self, code: &str) -> Result<Rejected, E> {
        Ok(Rejected::Code(code.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rejected, A::Error> {
        FullRejection::deserialize(MapAccessDeserializer::new(map)).map(Rejected::Full)
    }
}

/// An expected rejection with more than its code.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullRejection {
    /// Its code.
    pub code: String,
    /// Its message; without it, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Its details; without it, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Json>,
}

impl Expected {
    /// Whether nothing is expected.
    pub fn is_empty(&self) -> bool {
        self.events.is_none()
            && self.rejected.is_none()
            && self.invalid_command.is_none()
            && self.state.is_none()
            && self.lifted.is_none()
            && self.documents.is_empty()
    }
}
