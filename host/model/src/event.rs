use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Body, CommandId, CommandRecord, Digest, Invalid, Name, Position, StreamId, Timestamp, Version,
};

/// Id of an event: the caller's, or a UUID version 7 made by the host.
pub type EventId = Uuid;

/// Creates a UUID version 7 in about 50 ns.
///
/// `Uuid::now_v7` asks the operating system for randomness each time, which takes ten times as
/// long. Ids created within the same millisecond have no order.
pub fn fresh_id() -> Uuid {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
}

/// An event to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Event id. It is known before the append, so that the answer needs no look-up.
    pub id: EventId,
    /// Whether the caller chose the id. Such an event may be sent a second time.
    pub id_is_callers: bool,
    /// Type of the event.
    pub name: Name,
    /// Schema version of the body, from 1.
    pub schema_version: u32,
    /// The data.
    pub body: Body,
    /// A JSON object, stored as given. For a decided event these are its own annotations. The
    /// command's metadata is stored once, with the commit.
    pub metadata: Option<Bytes>,
    /// `name:value` labels.
    pub tags: Vec<Arc<str>>,
}

impl NewEvent {
    /// An event of schema version 1 with a new id, without metadata and tags.
    ///
    /// # Errors
    /// When the type's name is not well-formed.
    pub fn new(name: &str, body: Body) -> Result<Self, Invalid> {
        Ok(Self {
            id: fresh_id(),
            id_is_callers: false,
            name: Name::new(name)?,
            schema_version: 1,
            body,
            metadata: None,
            tags: Vec::new(),
        })
    }

    /// Whether both events are the same as decisions. Event ids are ignored, because the host
    /// creates them after the decision.
    pub fn is_same_decision(&self, other: &Self) -> bool {
        self.name == other.name
            && self.schema_version == other.schema_version
            && self.body == other.body
            && self.metadata == other.metadata
            && self.tags == other.tags
    }
}

/// An event as it is stored in the log. Immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Event id.
    pub id: EventId,
    /// The stream that the event belongs to.
    pub stream: StreamId,
    /// Number of the event in its stream, from 1.
    pub version: Version,
    /// Position of the event in the log.
    pub position: Position,
    /// Type of the event.
    pub name: Name,
    /// Schema version of the body.
    pub schema_version: u32,
    /// The data.
    pub body: Body,
    /// A JSON object: the command's metadata, if the event was decided, followed by the event's
    /// own.
    pub metadata: Option<Bytes>,
    /// `name:value` labels.
    pub tags: Vec<Arc<str>>,
    /// Time at which the host recorded the event.
    pub recorded_at: Timestamp,
    /// Data about the commit, shared by all its events.
    pub commit: Arc<CommitData>,
    /// The stored form of a lifted event. `None` when the event is stored as it is here.
    pub stored_as: Option<Box<StoredAs>>,
}

/// The stored form of an event that was lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAs {
    /// Stored type.
    pub name: Name,
    /// Stored schema version.
    pub schema_version: u32,
    /// Number of this part of the stored event, from 0. All parts share version, position and id.
    pub part: u32,
    /// Number of parts that the stored event was split into; 1 when it was not split.
    pub parts: u32,
}

impl StoredAs {
    /// Describes part `part` of `parts` of an event.
    pub fn of(event: &RecordedEvent, part: u32, parts: u32) -> Self {
        let first = event.stored_as.as_deref();
        Self {
            name: first.map_or(&event.name, |first| &first.name).clone(),
            schema_version: first.map_or(event.schema_version, |first| first.schema_version),
            part,
            parts,
        }
    }
}

impl RecordedEvent {
    /// Whether this is the last part of its stored event. Readers store their checkpoint only after
    /// the last part.
    pub fn is_last_part(&self) -> bool {
        self.stored_as
            .as_ref()
            .is_none_or(|stored| stored.part + 1 >= stored.parts)
    }
}

/// The data about a commit that readers can see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitData {
    /// Id of the command, from the caller or the host. `None` for a direct append without one.
    pub command_id: Option<CommandId>,
    /// The module that decided. `None` for a direct append.
    pub module: Option<Digest>,
    /// The plan that was active at the commit.
    pub plan: u64,
    /// Fuel used by the decision. `None` for a direct append.
    pub fuel: Option<u64>,
    /// Groups the commands and events of one conversation.
    pub correlation_id: Option<Arc<str>>,
    /// The message that led to this commit.
    pub causation_id: Option<Arc<str>>,
    /// Identity of the caller, as far as the host can vouch for it.
    pub principal: Option<Arc<str>>,
    /// W3C trace context of the request.
    pub traceparent: Option<Arc<str>>,
}

impl CommitData {
    /// Collects the data about a commit that readers can see.
    pub fn of(
        command: Option<&CommandRecord>,
        plan: u64,
        module: Option<Digest>,
        fuel: Option<u64>,
    ) -> Self {
        let context = command
            .map(|command| command.context.clone())
            .unwrap_or_default();
        Self {
            command_id: command.map(|command| command.id.clone()),
            module,
            plan,
            fuel,
            correlation_id: context.correlation_id,
            causation_id: context.causation_id,
            principal: context.principal,
            traceparent: context.traceparent,
        }
    }
}
