//! Messages of a scenario as a host would make them.

use std::collections::BTreeMap;

use bytes::Bytes;
use quipu::model::{
    Annotations, Body, CommandId, CommandRecord, Context, EventId, Name, Timestamp, annotations,
    check_metadata,
};
use quipu::runtime::{Manifest, Outcome};
use serde_json::Value;

/// A command, as the scenario gives it.
pub(super) struct Asked<'a> {
    pub name: &'a str,
    pub schema_version: Option<u32>,
    pub body: Body,
    pub id: Option<&'a str>,
    pub seed: Option<[u64; 4]>,
    pub principal: Option<&'a str>,
    pub metadata: &'a BTreeMap<String, Value>,
}

/// The body of a message: an empty object if there is none.
pub(super) fn body(data: Option<&Value>, json: Option<&str>) -> Result<Body, String> {
    let text = match (data, json) {
        (Some(data), _) => data.to_string(),
        (None, Some(json)) => json.to_owned(),
        (None, None) => "{}".to_owned(),
    };
    Body::json(text).map_err(|error| error.to_string())
}

pub(super) fn metadata(members: &BTreeMap<String, Value>) -> Result<Option<Bytes>, String> {
    if members.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_vec(members).map_err(|error| error.to_string())?;
    check_metadata(&text).map_err(|error| error.to_string())?;
    Ok(Some(text.into()))
}

/// The members that a guest gave an event.
pub(super) fn own_members(metadata: Option<&Bytes>) -> Annotations {
    annotations(metadata, &Context::default())
}

/// A command as the decider receives it.
pub(super) fn command(
    manifest: &Manifest,
    asked: &Asked<'_>,
    number: u64,
    now: Timestamp,
) -> Result<CommandRecord, String> {
    let given = Name::new(asked.name).map_err(|error| error.to_string())?;
    let known = manifest.command(asked.name);
    let usual_id = format!("command-{number}");
    let id = match asked.id {
        // An id that a host made, in a scenario that was recorded.
        Some(id) if id.starts_with("quipu.") => CommandId::stored(id),
        id => CommandId::new(id.unwrap_or(&usual_id)).map_err(|error| error.to_string())?,
    };
    let context = Context {
        correlation_id: Some(id.as_str().into()),
        principal: asked.principal.map(Into::into),
        ..Context::default()
    };
    Ok(CommandRecord {
        name: known.map_or(given, |known| known.name.clone()),
        schema_version: asked
            .schema_version
            .unwrap_or_else(|| known.map_or(1, |known| known.schema_version)),
        body: asked.body.clone(),
        metadata: metadata(asked.metadata)?,
        context,
        accepted_at: now,
        seed: asked.seed.unwrap_or([number, 2, 3, 4]),
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
