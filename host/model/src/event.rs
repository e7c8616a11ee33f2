use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    Body, CommandId, CommandRecord, Digest, Invalid, Name, Position, StreamId, Timestamp, Version,
};

/// Id of an event: the caller's, or a UUID version 7 made by the host.
pub type EventId = Uuid;

/// A fresh UUID version 7, in about 50 ns: `Uuid::now_v7` asks the operating
/// system for randomness each time, which takes ten times as long. Ids of one
/// millisecond are in no order.
pub fn fresh_id() -> Uuid {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
}

/// An event that is to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its id; known before the append, so that the answer needs no look-up.
    pub id: EventId,
    /// The caller chose the id, so that the event may come again.
    pub id_is_callers: bool,
    /// Its type.
    pub name: Name,
    /// Schema version of the body, from 1.
    pub schema_version: u32,
    /// The data.
    pub body: Body,
    /// A JSON object, kept as given. For a decided event: its own annotations;
    /// the command's metadata are stored once with the commit.
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

    /// Whether a guest has decided the same: ids of events are the host's, and no part of
    /// a decision.
    pub fn is_same_decision(&self, other: &Self) -> bool {
        self.name == other.name
            && self.schema_version == other.schema_version
            && self.body == other.body
            && self.metadata == other.metadata
            && self.tags == other.tags
    }
}

/// An event as it stands in the log. Immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its id.
    pub id: EventId,
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Its place in the stream, from 1.
    pub version: Version,
    /// Its place in the log.
    pub position: Position,
    /// Its type.
    pub name: Name,
    /// Schema version of the body.
    pub schema_version: u32,
    /// The data.
    pub body: Body,
    /// The command's metadata, if it was decided, then its own; a JSON object.
    pub metadata: Option<Bytes>,
    /// `name:value` labels.
    pub tags: Vec<Arc<str>>,
    /// When the host recorded it.
    pub recorded_at: Timestamp,
    /// What led to it, shared by the events of one commit.
    pub commit: Arc<CommitData>,
    /// How it is stored, where it was lifted; none: as it is here.
    pub stored_as: Option<Box<StoredAs>>,
}

/// The stored event that a lifted one was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAs {
    /// Its type.
    pub name: Name,
    /// Its schema version.
    pub schema_version: u32,
    /// Which part of it this is, from 0. Parts share version, position and id.
    pub part: u32,
    /// How many parts it was split into; 1 for one that is whole.
    pub parts: u32,
}

impl StoredAs {
    /// Part number `part` of `parts` of an event.
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
    /// Whether nothing else of its stored event follows: a reader that keeps its place
    /// keeps it here.
    pub fn is_last_part(&self) -> bool {
        self.stored_as
            .as_ref()
            .is_none_or(|stored| stored.part + 1 >= stored.parts)
    }
}

/// What led to a commit, as far as readers are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitData {
    /// Id of the command, the caller's or the host's; none for a raw append without one.
    pub command_id: Option<CommandId>,
    /// The module that decided; none for a raw append.
    pub module: Option<Digest>,
    /// The plan under which the commit was made.
    pub plan: u64,
    /// Fuel that the decision took; none for a raw append.
    pub fuel: Option<u64>,
    /// Groups what belongs to one conversation.
    pub correlation_id: Option<Arc<str>>,
    /// The message that led to this commit.
    pub causation_id: Option<Arc<str>>,
    /// Who asked for it, as far as the host can vouch for it.
    pub principal: Option<Arc<str>>,
    /// W3C trace context of the request.
    pub traceparent: Option<Arc<str>>,
}

impl CommitData {
    /// What readers are told of a commit.
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
