//! The outcomes of commands and appends as JSON.

use serde::Serialize;
use utoipa::ToSchema;

use quipu::engine::Executed;
use quipu::store::KnownEvent;

use crate::event::{Data, shown};

/// The outcome of a command.
#[derive(Serialize, ToSchema)]
pub struct Outcome<'a> {
    /// The stream.
    stream: &'a str,
    /// Its version after the command.
    version: u64,
    /// Position of the last event; null if there are no events.
    position: Option<u64>,
    /// The command's events.
    events: Vec<DecidedEvent<'a>>,
    /// Whether the command created the stream: its first event is the stream's first.
    created: bool,
    /// Whether this is the recorded outcome of an earlier request.
    replayed: bool,
    /// Digest of the module that decided.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = Option<String>)]
    module: Option<quipu::model::Digest>,
    /// Fuel that the decision used.
    fuel: Option<u64>,
}

/// An event in the outcome of a command.
#[derive(Serialize, ToSchema)]
pub struct DecidedEvent<'a> {
    /// Its id, a UUID.
    id: String,
    /// Its type.
    r#type: &'a str,
    /// Its version in the stream.
    version: u64,
    /// Its position in the log.
    position: u64,
    #[serde(flatten)]
    data: Data<'a>,
}

impl<'a> Outcome<'a> {
    /// The view of an executed command.
    pub fn of(executed: &'a Executed) -> Self {
        Self {
            stream: executed.stream.as_str(),
            version: executed.version.0,
            position: executed.position.map(|position| position.0),
            events: executed.events.iter().map(DecidedEvent::of).collect(),
            created: executed.has_created(),
            replayed: executed.replayed,
            module: executed.module,
            fuel: executed.fuel,
        }
    }
}

impl<'a> DecidedEvent<'a> {
    fn of(event: &'a KnownEvent) -> Self {
        Self {
            id: event.id.to_string(),
            r#type: event.name.as_str(),
            version: event.version.0,
            position: event.position.0,
            data: Data::of(&event.body),
        }
    }
}

/// The outcome of a raw append.
#[derive(Serialize, ToSchema)]
pub struct AppendOutcome<'a> {
    /// The stream.
    stream: &'a str,
    /// Its version after the append.
    version: u64,
    /// Position of the last event; null if there are no events.
    position: Option<u64>,
    /// Version and position of each event.
    events: Vec<AppendedEvent>,
    /// Whether the append created the stream: its first event is the stream's first.
    created: bool,
    /// Whether this is the recorded outcome of an earlier request.
    replayed: bool,
}

/// An event in the outcome of a raw append.
#[derive(Serialize, ToSchema)]
pub struct AppendedEvent {
    /// Its id, a UUID.
    id: String,
    /// Its version in the stream.
    version: u64,
    /// Its position in the log.
    position: u64,
}

impl<'a> AppendOutcome<'a> {
    /// The view of a raw append.
    pub fn of(appended: &'a Executed) -> Self {
        let place = |event: &KnownEvent| AppendedEvent {
            id: event.id.to_string(),
            version: event.version.0,
            position: event.position.0,
        };
        Self {
            stream: appended.stream.as_str(),
            version: appended.version.0,
            position: appended.position.map(|position| position.0),
            events: appended.events.iter().map(place).collect(),
            created: appended.has_created(),
            replayed: appended.replayed,
        }
    }
}
