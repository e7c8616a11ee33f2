//! An event as readers see it, made before it is stored, or from its complete stored form.

use std::sync::Arc;

use bytes::Bytes;

use super::Decided;
use super::page::composed_metadata;
use quipu_model::{
    CommandRecord, CommitData, NewEvent, Position, RecordedEvent, StreamId, Timestamp, Version,
};

/// The place of an event.
pub struct Place<'a> {
    pub stream: &'a StreamId,
    pub version: Version,
    pub position: Position,
    pub recorded_at: Timestamp,
}

/// The data that the events of a commit share.
#[derive(Default)]
pub struct Origin {
    pub data: Arc<CommitData>,
    /// The command's value, if the events were decided.
    pub metadata: Option<Bytes>,
}

impl Origin {
    /// The origin of a commit.
    pub fn of(command: Option<&CommandRecord>, decided: Option<Decided>, plan: u64) -> Self {
        let module = decided.map(|decided| decided.module);
        let fuel = decided.map(|decided| decided.fuel);
        let led_to_it = decided.and(command);
        Self {
            data: Arc::new(CommitData::of(command, plan, module, fuel)),
            metadata: led_to_it.and_then(|command| command.metadata.clone()),
        }
    }
}

/// The event at its place.
pub fn event(event: &NewEvent, place: &Place<'_>, origin: &Origin) -> RecordedEvent {
    RecordedEvent {
        id: event.id,
        stream: place.stream.clone(),
        version: place.version,
        position: place.position,
        name: event.name.clone(),
        schema_version: event.schema_version,
        body: event.body.clone(),
        metadata: composed_metadata(origin.metadata.as_ref(), event.metadata.as_ref()),
        tags: event.tags.clone(),
        recorded_at: place.recorded_at,
        commit: Arc::clone(&origin.data),
        stored_as: None,
    }
}
