//! Recorded commits, by the ids of their commands or of their events.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::cell::Cells;
use super::encode::pairs;
use super::tables::events::known_commit;
use crate::classify::{self, RecordedIds};
use crate::{Item, Result};
use quipu_model::{EventId, StreamId};

const COMMANDS: &str = include_str!("known.sql");
const EVENTS: &str = include_str!("known_events.sql");

/// The commits under the ids of a batch.
pub async fn known(connection: &mut SqliteConnection, items: &[Item]) -> Result<RecordedIds> {
    let mut known = RecordedIds::default();
    by_commands(connection, items, &mut known).await?;
    by_events(connection, items, &mut known).await?;
    Ok(known)
}

async fn by_commands(
    connection: &mut SqliteConnection,
    items: &[Item],
    known: &mut RecordedIds,
) -> Result<()> {
    let ids: HashMap<_, _> = classify::ids(items)
        .map(|(stream, id)| ((stream.as_str(), id.as_str()), (stream, id)))
        .collect();
    if ids.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query(COMMANDS)
        .bind(pairs(ids.keys().copied()))
        .fetch_all(connection)
        .await?;
    for rows in commits(&rows)? {
        let names = (rows[0].cell::<&str>(0)?, rows[0].cell::<&str>(1)?);
        if let Some((stream, id)) = ids.get(&names) {
            let commit = Arc::new(known_commit(rows)?);
            known
                .commands
                .insert(((*stream).clone(), (*id).clone()), commit);
        }
    }
    Ok(())
}

async fn by_events(
    connection: &mut SqliteConnection,
    items: &[Item],
    known: &mut RecordedIds,
) -> Result<()> {
    let wanted: HashSet<(&StreamId, EventId)> = classify::event_ids(items).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let streams: HashMap<&str, &StreamId> = wanted
        .iter()
        .map(|(stream, _)| (stream.as_str(), *stream))
        .collect();
    let ids: Vec<_> = wanted
        .iter()
        .map(|(stream, id)| (stream.as_str(), id.simple().to_string()))
        .collect();
    let rows = sqlx::query(EVENTS)
        .bind(pairs(ids.iter().map(|(stream, id)| (*stream, id.as_str()))))
        .fetch_all(connection)
        .await?;
    for rows in commits(&rows)? {
        let Some(stream) = streams.get(rows[0].cell::<&str>(0)?) else {
            continue;
        };
        let commit = Arc::new(known_commit(rows)?);
        for (row, event) in rows.iter().zip(&commit.events) {
            let is_given = row.cell::<Option<i64>>(13)? == Some(1);
            if is_given && wanted.contains(&(*stream, event.id)) {
                let key = ((*stream).clone(), event.id);
                known.events.insert(key, Arc::clone(&commit));
            }
        }
    }
    Ok(())
}

/// The rows of each commit.
fn commits(rows: &[SqliteRow]) -> Result<Vec<&[SqliteRow]>> {
    let mut starts = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        if index == 0 || row.number(12)? == 0 {
            starts.push(index);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([rows.len()]);
    let parts = starts.iter().zip(ends);
    Ok(parts.map(|(start, end)| &rows[*start..end]).collect())
}
