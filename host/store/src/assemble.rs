//! Converts columns to events, in the same way for every back-end with rows.

use std::sync::Arc;

use bytes::Bytes;

use super::page::composed_metadata;
use super::{Decided, Error, Result, StoredCommit, StoredEvent, record};
use quipu_model::{
    Body, CommandRecord, CommitData, ContentType, Digest, EventId, Name, NewEvent, Position,
    RecordedEvent, StreamId, Timestamp, Version,
};

/// An event as a row has it.
pub struct EventRow<'r> {
    pub position: u64,
    pub stream: &'r str,
    pub version: u64,
    pub name: &'r str,
    pub schema_version: u32,
    pub content_type: &'r str,
    pub id: EventId,
    pub id_is_callers: bool,
    pub recorded_at: u64,
    pub data: Bytes,
    pub metadata: Option<Bytes>,
    pub tags: Vec<Arc<str>>,
    pub commit_offset: u64,
    /// The data of the commit, which is stored with its first event, whichever event this row is.
    pub command: Option<&'r [u8]>,
    pub plan: u64,
    pub fuel: Option<u64>,
    pub module: Option<Digest>,
    pub commit_size: u64,
    /// Only read for an export.
    pub commit_digest: Option<Digest>,
}

/// The values that distinguish rows of `event_types`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TypeKey {
    pub category: Arc<str>,
    pub name: Name,
    pub schema_version: u32,
    pub content_type: ContentType,
}

/// Makes events from rows. Consecutive events of one commit share its data.
#[derive(Default)]
pub struct Assembler {
    current: Option<Current>,
}

/// The commit of the previous row.
struct Current {
    stream: Arc<str>,
    first: u64,
    data: Arc<CommitData>,
    /// The command's value, if the events were decided.
    metadata: Option<Bytes>,
}

impl Assembler {
    /// The event of a row, as readers see it.
    pub fn event(&mut self, row: EventRow<'_>) -> Result<RecordedEvent> {
        let position = row.position;
        self.read(row).map_err(|error| damaged_at(position, error))
    }

    fn read(&mut self, row: EventRow<'_>) -> Result<RecordedEvent> {
        let first = row.version.saturating_sub(row.commit_offset);
        let commit = match &mut self.current {
            Some(current) if &*current.stream == row.stream && current.first == first => current,
            other => other.insert(Current::of(&row, first)?),
        };
        Ok(RecordedEvent {
            id: row.id,
            stream: stream_id(row.stream)?,
            version: Version(row.version),
            position: Position(row.position),
            name: Name::stored(row.name),
            schema_version: row.schema_version,
            body: body(row.content_type, row.data)?,
            metadata: composed_metadata(commit.metadata.as_ref(), row.metadata.as_ref()),
            tags: row.tags,
            recorded_at: Timestamp(row.recorded_at),
            commit: Arc::clone(&commit.data),
            stored_as: None,
        })
    }
}

impl Current {
    fn of(row: &EventRow<'_>, first: u64) -> Result<Self> {
        let command = row.command.map(record::decode).transpose()?;
        let decided = command.as_ref().filter(|_| row.module.is_some());
        Ok(Self {
            stream: row.stream.into(),
            first,
            metadata: decided.and_then(|command| command.metadata.clone()),
            data: Arc::new(CommitData::of(
                command.as_ref(),
                row.plan,
                row.module,
                row.fuel,
            )),
        })
    }
}

/// The event of a row, with all that the store keeps of it.
pub fn stored(row: EventRow<'_>) -> Result<StoredEvent> {
    let position = row.position;
    stored_event(row).map_err(|error| damaged_at(position, error))
}

fn stored_event(row: EventRow<'_>) -> Result<StoredEvent> {
    let commit = (row.commit_offset == 0).then(|| stored_commit(&row));
    Ok(StoredEvent {
        stream: stream_id(row.stream)?,
        version: Version(row.version),
        position: Position(row.position),
        recorded_at: Timestamp(row.recorded_at),
        commit_offset: row.commit_offset,
        commit: commit.transpose()?,
        event: NewEvent {
            id: row.id,
            id_is_callers: row.id_is_callers,
            name: Name::stored(row.name),
            schema_version: row.schema_version,
            body: body(row.content_type, row.data)?,
            metadata: row.metadata,
            tags: row.tags,
        },
    })
}

fn stored_commit(row: &EventRow<'_>) -> Result<StoredCommit> {
    let command: Option<CommandRecord> = row.command.map(record::decode).transpose()?;
    let decided = match (row.module, row.fuel) {
        (None, _) => None,
        (Some(module), Some(fuel)) => Some(Decided { module, fuel }),
        (Some(_), None) => {
            let why = "the fuel of a decided commit is missing";
            return Err(Error::Damaged(why.to_owned()));
        }
    };
    Ok(StoredCommit {
        command,
        decided,
        plan: row.plan,
        events: row.commit_size,
        digest: row.commit_digest,
    })
}

/// A body that was checked before it was stored.
pub fn body(content_type: &str, bytes: Bytes) -> Result<Body> {
    let content_type =
        ContentType::new(content_type).map_err(|error| Error::Damaged(error.to_string()))?;
    Ok(Body::stored(content_type, bytes))
}

/// The id of a stream that was checked before it was stored.
pub fn stream_id(name: &str) -> Result<StreamId> {
    StreamId::new(name).map_err(|error| Error::Damaged(error.to_string()))
}

/// Adds to an error the place of the row that can't be read.
fn damaged_at(position: u64, error: Error) -> Error {
    match error {
        Error::Damaged(why) => Error::Damaged(format!("position {position}: {why}")),
        other => other,
    }
}
