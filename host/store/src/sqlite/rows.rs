//! Statements whose rows are events, and heads of streams.

use sqlx::sqlite::SqliteRow;

use super::cell::Cells;
use super::tables::events::commit_digest;
use crate::{Head, Result};
use quipu_model::{Timestamp, Version};

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
             e.command, e.plan, e.fuel, m.digest, e.module_id, (e.event_id_given IS TRUE), \
             e.commit_size, e.commit_digest ",
            $rest
        )
    };
}

pub(super) use {commits, events, stored_events};

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

/// The mark of a truncated stream.
pub fn mark(row: &SqliteRow, column: usize) -> Result<Version> {
    match row.cell::<Option<i64>>(column)? {
        Some(_) => Ok(Version(row.number(column)?)),
        None => Ok(Version::NONE),
    }
}
