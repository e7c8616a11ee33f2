//! Events and commands as JSON.

use std::fmt::Display;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use quipu::model::{Body, CommandRecord, RecordedEvent};

use crate::body::base64;

/// An event of the log.
#[derive(Serialize, ToSchema)]
pub struct Event<'a> {
    /// Its id, a UUID.
    id: String,
    /// The stream it belongs to.
    stream: &'a str,
    /// Its version in the stream, from 1.
    version: u64,
    /// Its position in the log, from 1.
    position: u64,
    /// Its type.
    r#type: &'a str,
    /// Schema version of the data, from 1.
    schema_version: u32,
    /// The index of this part within its stored event, from 0; absent for an event that was not
    /// split.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u32>,
    /// The stored form; absent when it equals this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_as: Option<StoredForm<'a>>,
    #[serde(flatten)]
    data: Data<'a>,
    /// Metadata of the command, then of the event; `{}` if there is none.
    #[schema(value_type = HashMap<String, serde_json::Value>)]
    metadata: &'a RawValue,
    /// `name:value` labels.
    tags: Vec<&'a str>,
    /// When the host recorded it.
    #[schema(format = "date-time")]
    recorded_at: String,
    commit: Commit<'a>,
}

/// The stored form of an event.
#[derive(Serialize, ToSchema)]
pub struct StoredForm<'a> {
    /// Its type.
    r#type: &'a str,
    /// Its schema version.
    schema_version: u32,
}

/// The lifted form of a stored event, or a part of it.
#[derive(Serialize, ToSchema)]
pub struct LiftedPart<'a> {
    /// Its type.
    r#type: &'a str,
    /// Schema version of the data.
    schema_version: u32,
    /// The index of this part, from 0; absent for an event that was not split.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<u32>,
    #[serde(flatten)]
    data: Data<'a>,
}

/// The cause of an event.
#[derive(Serialize, ToSchema)]
pub struct Commit<'a> {
    /// The command's id; null for a raw append without an id.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = Option<String>)]
    command_id: Option<&'a quipu::model::CommandId>,
    /// Digest of the module that decided; null for a raw append.
    #[serde(serialize_with = "shown")]
    #[schema(value_type = Option<String>)]
    module: Option<quipu::model::Digest>,
    /// The plan under which the event was created.
    plan: u64,
    /// Fuel that the decision used; null for a raw append.
    fuel: Option<u64>,
    /// Groups messages that belong to one conversation.
    correlation_id: Option<&'a str>,
    /// The message that led to this commit.
    causation_id: Option<&'a str>,
    /// Who sent the command or the append.
    principal: Option<&'a str>,
    /// W3C trace context of the request.
    traceparent: Option<&'a str>,
}

/// The command that led to an event, with everything except the state that its decision depended
/// on.
#[derive(Serialize, ToSchema)]
pub struct Command<'a> {
    /// The command's id, from the caller or the host.
    id: &'a str,
    /// Its type, as the module saw it.
    r#type: &'a str,
    /// Schema version of the data, as the module saw it.
    schema_version: u32,
    #[serde(flatten)]
    data: Data<'a>,
    /// Metadata of the caller; `{}` if there is none.
    #[schema(value_type = HashMap<String, serde_json::Value>)]
    metadata: &'a RawValue,
    /// When the host accepted it.
    #[schema(format = "date-time")]
    accepted_at: String,
    /// The only source of randomness of the decision, 32 bytes in hex.
    seed: String,
    /// Groups messages that belong to one conversation; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    /// The message that led to the command; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<&'a str>,
    /// Who sent the command; absent when the host has not verified the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    /// W3C trace context of the request; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
}

/// Data to be sent: JSON as `data`, anything else as `data_base64`.
#[derive(Serialize, ToSchema)]
pub struct Data<'a> {
    /// Media type of `data_base64`; absent for JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    /// JSON, byte for byte as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<&'a RawValue>,
    /// Bytes that are not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

impl<'a> Data<'a> {
    /// The data of a body.
    pub fn of(body: &'a Body) -> Self {
        let json = body
            .as_json()
            .and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
        Self {
            content_type: json.is_none().then(|| body.content_type().as_str()),
            data_base64: json.is_none().then(|| base64(body.bytes())),
            data: json,
        }
    }

    /// The data as JSON, or its media type and its bytes in base64.
    pub fn into_parts(self) -> (Option<&'a RawValue>, Option<&'a str>, Option<String>) {
        (self.data, self.content_type, self.data_base64)
    }
}

impl<'a> Command<'a> {
    /// The view of a command.
    pub fn of(command: &'a CommandRecord) -> Self {
        let context = &command.context;
        Self {
            id: command.id.as_str(),
            r#type: command.name.as_str(),
            schema_version: command.schema_version,
            data: Data::of(&command.body),
            metadata: metadata_of(command.metadata.as_deref()),
            accepted_at: command.accepted_at.to_string(),
            seed: command.seed.map(|part| format!("{part:016x}")).concat(),
            correlation_id: context.correlation_id.as_deref(),
            causation_id: context.causation_id.as_deref(),
            principal: context.principal.as_deref(),
            traceparent: context.traceparent.as_deref(),
        }
    }
}

impl<'a> Event<'a> {
    /// The view of an event.
    pub fn of(event: &'a RecordedEvent) -> Self {
        let commit = &*event.commit;
        Self {
            id: event.id.to_string(),
            stream: event.stream.as_str(),
            version: event.version.0,
            position: event.position.0,
            r#type: event.name.as_str(),
            schema_version: event.schema_version,
            part: part(event),
            stored_as: StoredForm::of(event),
            data: Data::of(&event.body),
            metadata: metadata_of(event.metadata.as_deref()),
            tags: event.tags.iter().map(|tag| &**tag).collect(),
            recorded_at: event.recorded_at.to_string(),
            commit: Commit {
                command_id: commit.command_id.as_ref(),
                module: commit.module,
                plan: commit.plan,
                fuel: commit.fuel,
                correlation_id: commit.correlation_id.as_deref(),
                causation_id: commit.causation_id.as_deref(),
                principal: commit.principal.as_deref(),
                traceparent: commit.traceparent.as_deref(),
            },
        }
    }
}

impl<'a> StoredForm<'a> {
    fn of(event: &'a RecordedEvent) -> Option<Self> {
        let stored = event.stored_as.as_deref()?;
        let is_same = (&stored.name, stored.schema_version) == (&event.name, event.schema_version);
        (!is_same).then(|| Self {
            r#type: stored.name.as_str(),
            schema_version: stored.schema_version,
        })
    }
}

impl<'a> LiftedPart<'a> {
    /// The view of a lifted event.
    pub fn of(event: &'a RecordedEvent) -> Self {
        Self {
            r#type: event.name.as_str(),
            schema_version: event.schema_version,
            part: part(event),
            data: Data::of(&event.body),
        }
    }
}

fn part(event: &RecordedEvent) -> Option<u32> {
    let stored = event.stored_as.as_deref();
    stored.filter(|it| it.parts > 1).map(|it| it.part)
}

/// Stored metadata; an empty object if there is none.
pub(crate) fn metadata_of(bytes: Option<&[u8]>) -> &RawValue {
    let given = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
    given.unwrap_or_else(empty_object)
}

fn empty_object<'a>() -> &'a RawValue {
    serde_json::from_str("{}").expect("an empty object is JSON")
}

/// The value as text, or null.
pub(crate) fn shown<T: Display, S: Serializer>(
    value: &Option<T>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}
