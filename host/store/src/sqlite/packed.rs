//! Pages of the log in one row each. SQLite's library hands values over one by one, from
//! thread to thread, which costs several times what reading them does.
//!
//! Only undamaged pages are read this way. Otherwise the rows are read, which name the place of the
//! damage.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use sqlx::sqlite::SqliteRow;

use super::cell::Cells;
use crate::Result;
use crate::assemble::{Assembler, EventRow};
use quipu_model::{Digest, EventId, RecordedEvent};

/// Events from which a page is packed: a smaller one costs less as rows.
pub const PACKED_MIN: u64 = 32;

/// A statement whose one row is the bytes of the events of `events!`, and one whose row is
/// these events.
macro_rules! packed {
    (bytes $rest:expr) => {
        concat!(
            "SELECT sum(length(data) + ifnull(length(metadata), 0) + ifnull(length(command), 0)) \
             FROM (",
            $rest,
            ")"
        )
    };
    (events $rest:expr) => {
        concat!(
            "SELECT json_group_array(json_array(position, stream, version, type, schema_version, \
             content_type, recorded_at, json(tags), commit_offset, plan, fuel, length(data), \
             length(metadata), length(command), length(digest))), \
             CAST(group_concat(event_id, '') AS BLOB), CAST(group_concat(data, '') AS BLOB), \
             CAST(group_concat(metadata, '') AS BLOB), CAST(group_concat(command, '') AS BLOB), \
             CAST(group_concat(digest, '') AS BLOB) FROM (",
            $rest,
            ")"
        )
    };
}

pub(super) use packed;

/// An event, but for its bytes.
#[derive(Deserialize)]
struct Packed<'r>(
    u64,
    #[serde(borrow)] Cow<'r, str>,
    u64,
    #[serde(borrow)] Cow<'r, str>,
    u32,
    #[serde(borrow)] Cow<'r, str>,
    u64,
    Option<Vec<String>>,
    u64,
    u64,
    Option<u64>,
    usize,
    Option<usize>,
    Option<usize>,
    Option<usize>,
);

/// The bytes of a column, of which events take theirs in turn.
struct Column(Bytes);

impl Column {
    fn of(row: &SqliteRow, column: usize) -> Result<Self> {
        let bytes = row.cell::<Option<Vec<u8>>>(column)?;
        Ok(Self(bytes.map(Bytes::from).unwrap_or_default()))
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn take_one(&mut self, length: Option<usize>) -> Option<Option<Bytes>> {
        match length {
            Some(length) => self.take(length).map(Some),
            None => Some(None),
        }
    }
}

/// The events of a packed page; none when something of it is not as it should be.
pub fn unpacked(row: &SqliteRow) -> Option<Vec<RecordedEvent>> {
    let packed: Vec<Packed<'_>> = serde_json::from_str(row.cell(0).ok()?).ok()?;
    let mut columns = Vec::with_capacity(5);
    for column in 1..=5 {
        columns.push(Column::of(row, column).ok()?);
    }
    let [ids, data, metadata, commands, digests] = columns.as_mut_slice() else {
        return None;
    };
    let mut assembler = Assembler::default();
    let mut events = Vec::with_capacity(packed.len());
    for event in packed {
        let command = commands.take_one(event.13)?;
        let module = digests.take_one(event.14)?;
        let module = module.map(|bytes| <[u8; 32]>::try_from(&*bytes).map(Digest));
        let row = EventRow {
            position: event.0,
            stream: &event.1,
            version: event.2,
            name: &event.3,
            schema_version: event.4,
            content_type: &event.5,
            id: EventId::from_slice(&ids.take(16)?).ok()?,
            id_is_callers: false,
            recorded_at: event.6,
            data: data.take(event.11)?,
            metadata: metadata.take_one(event.12)?,
            tags: event.7.into_iter().flatten().map(Into::into).collect(),
            commit_offset: event.8,
            command: command.as_deref(),
            plan: event.9,
            fuel: event.10,
            module: module.transpose().ok()?,
            commit_size: 0,
            commit_digest: None,
        };
        events.push(assembler.event(row).ok()?);
    }
    // A value that is not a BLOB has another length than its bytes.
    columns
        .iter()
        .all(|column| column.0.is_empty())
        .then_some(events)
}
