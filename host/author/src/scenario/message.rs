//! Messages of a scenario as a host would make them.

use std::collections::BTreeMap;

use bytes::Bytes;
use quipu::model::{
    Annotations, Body, CommandId, CommandRecord, Context, EventId, Name, Timestamp, annotations,
    check_metadata,
};
use quipu::runtime::{Manifest, Outcome};

use super::{Json, Message};

/// The body of a message: an empty object if there is none.
pub(super) fn body(message: &Message) -> Result<Body, String> {
    let text = match (&message.data, &message.json) {
        (Some(data), _) => data.as_str().to_owned(),
        (None, Some(json)) => json.clone(),
        (None, None) => "{}".to_owned(),
    };
    Body::json(text).map_err(|error| error.to_string())
}

pub(super) fn metadata(members: &BTreeMap<String, Json>) -> Result<Option<Bytes>, String> {
    if members.is_empty() {
        return Ok(None);
    }
    let text = Json::object(members).as_str().to_owned();
    check_metadata(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(Some(text.into()))
}

/// The members that a guest gave an event.
pub(super) fn own_members(metadata: Option<&Bytes>) -> Annotations {
    annotations(metadata, &Context::default())
}

/// A command as the decider receives it.
pub(super) fn command(
    manifest: &Manifest,
    message: &Message,
    number: u64,
    now: Timestamp,
) -> Result<CommandRecord, String> {
    let name = message.command.as_deref().unwrap_or_default();
    let given = Name::new(name).map_err(|error| error.to_string())?;
    let known = manifest.command(name);
    let usual_id = format!("command-{number}");
    let id = match message.id.as_deref() {
        // An id that a host made, in a scenario that was recorded.
        Some(id) if id.starts_with("quipu.") => CommandId::stored(id),
        id => CommandId::new(id.unwrap_or(&usual_id)).map_err(|error| error.to_string())?,
    };
    let context = Context {
        correlation_id: Some(id.as_str().into()),
        principal: message.principal.as_deref().map(Into::into),
        ..Context::default()
    };
    Ok(CommandRecord {
        name: known.map_or(given, |known| known.name.clone()),
        schema_version: message
            .schema_version
            .unwrap_or_else(|| known.map_or(1, |known| known.schema_version)),
        body: body(message)?,
        metadata: metadata(&message.metadata)?,
        context,
        accepted_at: now,
        seed: message.seed.unwrap_or([number, 2, 3, 4]),
        id,
    })
}

/// The outcome with event ids that do not differ between two decisions.
pub(super) fn same_ids(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Events(mut events) => {
            for (number, event) in (1..).zip(&mut events) {
                event.id = uuid(number);
            }
            Outcome::Events(events)
        }
        other => other,
    }
}

pub(super) fn uuid(number: u64) -> EventId {
    EventId::from_u128(number.into())
}
