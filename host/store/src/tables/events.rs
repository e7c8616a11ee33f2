//! Rows of the log as events. What can't be read is damage, named by its place.
//!
//! The statements are those of each database, because their ways to the same columns differ.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use super::cell::Cells;
use super::dialect::{Row, event_id, texts};
use crate::assemble::{self, Assembler, EventRow, body};
use crate::page::{Room, in_order, missing, page_bounds};
use crate::{
    Direction, Error, Head, KnownCommit, KnownEvent, LoadedEvent, Result, StoredEvent, StreamPage,
    record,
};
use quipu_model::{
    CommandId, CommitData, Digest, Name, Position, RecordedEvent, StreamId, Timestamp, Version,
};

/// The columns of events whose bytes count in a page.
pub const SIZED: [usize; 3] = [8, 9, 12];

/// The rows of a page, up to its bounds in bytes, and whether that cut it. `sized` are the columns
/// whose bytes count.
pub async fn page(
    mut reading: impl Stream<Item = sqlx::Result<Row>> + Unpin,
    sized: &[usize],
) -> Result<(Vec<Row>, bool)> {
    let (mut rows, mut room) = (Vec::new(), Room::default());
    while let Some(row) = reading.next().await {
        let row = row?;
        let bytes = sized.iter().map(|column| row.bytes(*column)).sum();
        rows.push(row);
        if !room.take(bytes) {
            return Ok((rows, true));
        }
    }
    Ok((rows, false))
}

/// Events as readers see them: position, stream, version, type, schema version, content type, id,
/// recorded-at, data, metadata, tags, place in the commit; then of the commit: command, plan, fuel,
/// module. Those of one commit share its data.
pub fn recorded(rows: &[Row]) -> Result<Vec<RecordedEvent>> {
    let mut assembler = Assembler::default();
    rows.iter()
        .map(|row| {
            let plan = row.number(13);
            let event = plan.and_then(|plan| event_row(row, plan));
            assembler.event(event.map_err(|error| damaged_at(row, error))?)
        })
        .collect()
}

/// A page of a stream, of whose versions none is missing.
pub fn recorded_stream(
    stream: &StreamId,
    head: Head,
    (from, direction, limit): (Version, Direction, usize),
    (rows, is_cut): (&[Row], bool),
) -> Result<StreamPage> {
    let events = recorded(rows)?;
    let expected = in_order(page_bounds(from, direction, limit, head), direction);
    let versions = events.iter().map(|event| event.version.0);
    missing(versions, expected, is_cut).map_err(|version| version_missing(stream, version))?;
    Ok(StreamPage::new(head, events, direction))
}

/// Events with all that is stored of them. The columns are those of `recorded`, and the row of the
/// module, whether the id is the caller's, the size of the commit and its digest. The columns of
/// the commit are read only at its first event.
pub fn stored(rows: &[Row]) -> Result<Vec<StoredEvent>> {
    rows.iter()
        .map(|row| assemble::stored(stored_row(row).map_err(|error| damaged_at(row, error))?))
        .collect()
}

/// Events of a load, after a version of their stream.
pub fn loaded(stream: &StreamId, after: Version, rows: &[Row]) -> Result<Vec<LoadedEvent>> {
    let events = rows
        .iter()
        .map(|row| loaded_event(row).map_err(|error| damaged_in(stream, row, error)))
        .collect::<Result<Vec<_>>>()?;
    let versions = events.iter().map(|event| event.version.0);
    missing(versions, after.0.saturating_add(1).., true)
        .map_err(|version| version_missing(stream, version))?;
    Ok(events)
}

/// A commit from the rows of its events. The first two columns are the question.
pub fn known_commit(rows: &[Row]) -> Result<KnownCommit> {
    let first = &rows[0];
    let record = first.cell::<Option<&[u8]>>(2)?;
    let record = record.map(record::decode).transpose()?;
    let (plan, fuel) = (first.number(9)?, first.maybe_number(10)?);
    let data = CommitData::of(record.as_ref(), plan, first.maybe_digest(11)?, fuel);
    let events = rows.iter().map(|row| {
        Ok(KnownEvent {
            id: event_id(row, 3)?,
            name: Name::stored(row.cell(4)?),
            version: Version(row.number(5)?),
            position: Position(row.number(6)?),
            body: body(row.cell(7)?, row.cell::<Vec<u8>>(8)?.into())?,
        })
    });
    Ok(KnownCommit {
        record,
        data,
        events: events.collect::<Result<_>>()?,
    })
}

/// The digest of a commit. One that does not have 32 bytes is not a digest.
pub fn commit_digest(row: &Row, column: usize) -> Result<Option<Digest>> {
    let bytes = row.cell::<Option<&[u8]>>(column)?;
    Ok(bytes.and_then(|bytes| bytes.try_into().ok()).map(Digest))
}

fn event_row(row: &Row, plan: u64) -> Result<EventRow<'_>> {
    Ok(EventRow {
        position: row.number(0)?,
        stream: row.cell(1)?,
        version: row.number(2)?,
        name: row.cell(3)?,
        schema_version: schema_version(row, 4)?,
        content_type: row.cell(5)?,
        id: event_id(row, 6)?,
        // Readers do not receive these three.
        id_is_callers: false,
        commit_size: 0,
        commit_digest: None,
        recorded_at: row.number(7)?,
        data: row.cell::<Vec<u8>>(8)?.into(),
        metadata: row.cell::<Option<Vec<u8>>>(9)?.map(Bytes::from),
        tags: texts(row, 10)?
            .into_iter()
            .flatten()
            .map(Arc::from)
            .collect(),
        commit_offset: row.number(11)?,
        command: row.cell(12)?,
        plan,
        fuel: row.maybe_number(14)?,
        module: row.maybe_digest(15)?,
    })
}

fn stored_row(row: &Row) -> Result<EventRow<'_>> {
    let (plan, commit_size) = match row.number(11)? {
        0 => (row.number(13)?, row.number(18)?),
        _ => (0, 0),
    };
    let module = match row.cell::<Option<i64>>(16)? {
        Some(_) => Some(row.digest(15)?),
        None => None,
    };
    Ok(EventRow {
        module,
        id_is_callers: row.cell(17)?,
        commit_size,
        commit_digest: commit_digest(row, 19)?,
        ..event_row(row, plan)?
    })
}

fn loaded_event(row: &Row) -> Result<LoadedEvent> {
    Ok(LoadedEvent {
        version: Version(row.number(0)?),
        name: Name::stored(row.cell(1)?),
        schema_version: schema_version(row, 2)?,
        body: body(row.cell(3)?, row.cell::<Vec<u8>>(5)?.into())?,
        recorded_at: Timestamp(row.number(4)?),
        command_id: row.cell::<Option<&str>>(6)?.map(CommandId::stored),
    })
}

/// The schema version of a type.
fn schema_version(row: &Row, column: usize) -> Result<u32> {
    u32::try_from(row.number(column)?)
        .map_err(|_| Error::Damaged("a schema version that is too large".to_owned()))
}

/// Adds to an error the place of the row that can't be read.
fn damaged_at(row: &Row, error: Error) -> Error {
    match (error, row.number(0)) {
        (Error::Damaged(why), Ok(position)) => {
            Error::Damaged(format!("position {position}: {why}"))
        }
        (other, _) => other,
    }
}

/// Adds to an error the place of the row of a load that can't be read.
fn damaged_in(stream: &StreamId, row: &Row, error: Error) -> Error {
    match (error, row.number(0)) {
        (Error::Damaged(why), Ok(version)) => {
            Error::Damaged(format!("stream {stream}, version {version}: {why}"))
        }
        (other, _) => other,
    }
}

fn version_missing(stream: &StreamId, version: u64) -> Error {
    Error::Damaged(format!("stream {stream}: version {version} is missing"))
}
