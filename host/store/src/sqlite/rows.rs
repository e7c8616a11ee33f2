//! Rows as events. What can't be read is damage, named by its place.

use std::sync::Arc;

use bytes::Bytes;
use sqlx::sqlite::SqliteRow;

use super::cell::Cells;
use crate::assemble::{Assembler, EventRow};
pub use crate::assemble::{body, stream_id};
use crate::{Decided, Error, Head, LoadedEvent, Result, StoredCommit, StoredEvent, record};
use quipu_model::{
    CommandId, CommandRecord, Digest, EventId, Name, NewEvent, Position, RecordedEvent, Timestamp,
    Version,
};

/// A statement whose rows are events as readers see them. The data of a commit, which is stored
/// with its first event, is looked up only for the other events.
macro_rules! events {
    ($rest:expr) => {
        concat!(
            "SELECT e.position, s.name AS stream, e.version, t.name AS type, t.schema_version, \
             t.content_type, e.event_id, e.recorded_at, e.data, e.metadata, e.tags, \
             e.commit_offset, CASE e.commit_offset WHEN 0 THEN e.command ELSE c.command END \
             AS command, CASE e.commit_offset WHEN 0 THEN e.plan ELSE c.plan END AS plan, \
             CASE e.commit_offset WHEN 0 THEN e.fuel ELSE c.fuel END AS fuel, m.digest ",
            $rest,
        )
    };
}

/// The join after an event's own table: the columns of `events!` about its commit.
macro_rules! commits {
    () => {
        "LEFT JOIN events AS c ON c.version = e.version - e.commit_offset \
             AND c.stream_id = CASE WHEN e.commit_offset > 0 THEN e.stream_id END \
         LEFT JOIN modules AS m ON m.module_id = \
             CASE e.commit_offset WHEN 0 THEN e.module_id ELSE c.module_id END "
    };
}

/// A statement whose rows are events with all that is kept of them. Its columns are
/// those of `events!`, and more.
macro_rules! stored_events {
    ($rest:expr) => {
        concat!(
            "SELECT e.position, s.name, e.version, t.name, t.schema_version, t.content_type, \
             e.event_id, e.recorded_at, e.data, e.metadata, e.tags, e.commit_offset, \
             e.command, e.plan, e.fuel, m.digest, e.module_id, e.event_id_given, e.commit_size, \
             e.commit_digest ",
            $rest
        )
    };
}

pub(super) use {commits, events, stored_events};

/// The columns of `events!` and `stored_events!` whose bytes count in a page.
pub const SIZED: [usize; 3] = [8, 9, 12];

/// Events in the form of `events!`; those of one commit share its data.
pub fn recorded(rows: &[SqliteRow]) -> Result<Vec<RecordedEvent>> {
    let mut assembler = Assembler::default();
    rows.iter()
        .map(|row| assembler.event(event_row(row).map_err(|error| damaged_at(row, error))?))
        .collect()
}

/// Events in the form of `stored_events!`.
pub fn stored(rows: &[SqliteRow]) -> Result<Vec<StoredEvent>> {
    rows.iter()
        .map(|row| stored_event(row).map_err(|error| damaged_at(row, error)))
        .collect()
}

/// An event of a load.
pub fn loaded_event(row: &SqliteRow) -> Result<LoadedEvent> {
    Ok(LoadedEvent {
        version: Version(row.number(0)?),
        name: Name::stored(row.cell(1)?),
        schema_version: row.cell(2)?,
        body: body(row.cell(3)?, row.cell::<Vec<u8>>(5)?.into())?,
        recorded_at: Timestamp(row.number(4)?),
        command_id: row.cell::<Option<&str>>(6)?.map(CommandId::stored),
    })
}

/// Reads the head of a stream from a row of `heads.sql`, or from one that begins with its columns.
pub fn head(row: &SqliteRow) -> Result<Head> {
    Ok(Head {
        version: Version(row.number(2)?),
        recorded_at: Timestamp(row.number(3)?),
        archived: row.cell::<Option<i64>>(4)?.is_some(),
        truncated_before: mark(row, 5)?,
        digest: None,
    })
}

/// Reads a row of `heads.sql`, with the digest of the last commit.
pub fn sealed_head(row: &SqliteRow) -> Result<Head> {
    let digest = commit_digest(row, 6)?;
    Ok(Head {
        digest,
        ..head(row)?
    })
}

/// The digest of a commit. One that does not have 32 bytes is not a digest.
pub fn commit_digest(row: &SqliteRow, column: usize) -> Result<Option<Digest>> {
    let bytes = row.cell::<Option<&[u8]>>(column)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(Digest))
}

/// The mark of a truncated stream.
pub fn mark(row: &SqliteRow, column: usize) -> Result<Version> {
    match row.cell::<Option<i64>>(column)? {
        Some(_) => Ok(Version(row.number(column)?)),
        None => Ok(Version::NONE),
    }
}

/// An event's id.
pub fn event_id(row: &SqliteRow, column: usize) -> Result<EventId> {
    EventId::from_slice(row.cell(column)?)
        .map_err(|_| Error::Damaged("an event's id does not have 16 bytes".to_owned()))
}

/// Adds to an error the place of the row that can't be read.
fn damaged_at(row: &SqliteRow, error: Error) -> Error {
    match (error, row.number(0)) {
        (Error::Damaged(why), Ok(position)) => {
            Error::Damaged(format!("position {position}: {why}"))
        }
        (other, _) => other,
    }
}

/// A row of `events!`.
fn event_row(row: &SqliteRow) -> Result<EventRow<'_>> {
    Ok(EventRow {
        position: row.number(0)?,
        stream: row.cell(1)?,
        version: row.number(2)?,
        name: row.cell(3)?,
        schema_version: row.cell(4)?,
        content_type: row.cell(5)?,
        id: event_id(row, 6)?,
        // Readers do not receive these three.
        id_is_callers: false,
        commit_size: 0,
        commit_digest: None,
        recorded_at: row.number(7)?,
        data: row.cell::<Vec<u8>>(8)?.into(),
        metadata: row.cell::<Option<Vec<u8>>>(9)?.map(Bytes::from),
        tags: tags(row)?,
        commit_offset: row.number(11)?,
        command: row.cell(12)?,
        plan: row.number(13)?,
        fuel: row.cell::<Option<i64>>(14)?.map(i64::unsigned_abs),
        module: row.maybe_digest(15)?,
    })
}

fn stored_event(row: &SqliteRow) -> Result<StoredEvent> {
    let event = NewEvent {
        id: event_id(row, 6)?,
        id_is_callers: row.cell::<Option<i64>>(17)? == Some(1),
        name: Name::stored(row.cell(3)?),
        schema_version: row.cell(4)?,
        body: body(row.cell(5)?, row.cell::<Vec<u8>>(8)?.into())?,
        metadata: row.cell::<Option<Vec<u8>>>(9)?.map(Bytes::from),
        tags: tags(row)?,
    };
    let commit_offset = row.number(11)?;
    let commit = match commit_offset {
        0 => Some(stored_commit(row)?),
        _ => None,
    };
    Ok(StoredEvent {
        event,
        stream: stream_id(row.cell(1)?)?,
        version: Version(row.number(2)?),
        position: Position(row.number(0)?),
        recorded_at: Timestamp(row.number(7)?),
        commit_offset,
        commit,
    })
}

fn stored_commit(row: &SqliteRow) -> Result<StoredCommit> {
    let decided = match row.cell::<Option<i64>>(16)? {
        Some(_) => Some(Decided {
            module: row.digest(15)?,
            fuel: row.number(14)?,
        }),
        None => None,
    };
    Ok(StoredCommit {
        command: command(row)?,
        decided,
        plan: row.number(13)?,
        events: row.number(18)?,
        digest: commit_digest(row, 19)?,
    })
}

fn command(row: &SqliteRow) -> Result<Option<CommandRecord>> {
    let bytes = row.cell::<Option<&[u8]>>(12)?;
    bytes.map(record::decode).transpose()
}

fn tags(row: &SqliteRow) -> Result<Vec<Arc<str>>> {
    let Some(array) = row.cell::<Option<&str>>(10)? else {
        return Ok(Vec::new());
    };
    let tags: Vec<String> = serde_json::from_str(array)
        .map_err(|error| Error::Damaged(format!("tags of an event: {error}")))?;
    Ok(tags.into_iter().map(Arc::from).collect())
}
