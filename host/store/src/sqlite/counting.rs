//! Counts events by type, chunk by chunk, through the pool of readers: only the adding takes the
//! lock of the writer.

use serde::Serialize;

use super::dialect::Connections;
use super::tables::cell::Cells;
use super::tables::signed;
use crate::{Error, Result};

/// Positions that are counted at once.
const CHUNK: u64 = 50_000;

/// The position up to which events are counted, that of the next event, and the last one.
const COUNTED: &str = "SELECT c.position, \
     (SELECT min(position) FROM events WHERE position > c.position), \
     (SELECT max(position) FROM events) FROM types_counted AS c";
/// The events between two positions. Only the columns before the data are read.
const COUNT: &str = "SELECT n.type_id, n.events, n.first, f.recorded_at, n.last, l.recorded_at \
     FROM (SELECT type_id, count(*) AS events, min(position) AS first, max(position) AS last \
         FROM events WHERE position BETWEEN $1 AND $2 GROUP BY type_id) AS n \
     JOIN events AS f ON f.position = n.first JOIN events AS l ON l.position = n.last";
const MOVE: &str = "UPDATE types_counted SET position = $2 WHERE position = $1";
/// $1: a JSON array of what was counted, in the order of the columns.
const ADD: &str = "INSERT INTO type_counts (type_id, events, first_position, \
         first_recorded_at, last_position, last_recorded_at) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 \
     FROM json_each($1) WHERE true \
     ON CONFLICT (type_id) DO UPDATE SET events = events + excluded.events, \
         last_position = excluded.last_position, last_recorded_at = excluded.last_recorded_at";
/// The events of one type in a chunk: the row of the type, their number, and the first and the last
/// of them.
#[derive(Serialize)]
struct Counted(i64, i64, i64, i64, i64, i64);

/// Positions that come next.
struct Chunk {
    /// Up to here it is counted already.
    after: i64,
    first: i64,
    last: i64,
}

/// Counts up to the end of the log.
pub async fn count(connections: &Connections) -> Result<()> {
    let mut end = None;
    while let Some(chunk) = next(connections, &mut end).await? {
        let counted = counted(connections, &chunk).await?;
        // If somebody else has counted it meanwhile, the next chunk is after that.
        add(connections, &chunk, &counted).await?;
    }
    Ok(())
}

/// The next chunk before the end of the log, which is looked up once.
async fn next(connections: &Connections, end: &mut Option<i64>) -> Result<Option<Chunk>> {
    let row = sqlx::query(COUNTED)
        .fetch_optional(connections.pool())
        .await?;
    let row = row.ok_or_else(|| Error::Damaged("types_counted has no row".to_owned()))?;
    let after = row.cell(0)?;
    let next = row.cell::<Option<i64>>(1)?;
    let end = *end.get_or_insert(row.cell::<Option<i64>>(2)?.unwrap_or(0));
    let first = next.filter(|first| *first <= end);
    Ok(first.map(|first| Chunk {
        after,
        first,
        last: first.saturating_add(signed(CHUNK) - 1).min(end),
    }))
}

async fn counted(connections: &Connections, chunk: &Chunk) -> Result<Vec<Counted>> {
    let rows = sqlx::query(COUNT)
        .bind(chunk.first)
        .bind(chunk.last)
        .fetch_all(connections.pool())
        .await?;
    rows.iter()
        .map(|row| {
            let cell = |column| row.cell(column);
            Ok(Counted(
                cell(0)?,
                cell(1)?,
                cell(2)?,
                cell(3)?,
                cell(4)?,
                cell(5)?,
            ))
        })
        .collect()
}

/// Adds a chunk to the counts, unless somebody else has counted since it was begun.
async fn add(connections: &Connections, chunk: &Chunk, counted: &[Counted]) -> Result<()> {
    let rows =
        serde_json::to_string(counted).map_err(|error| Error::Unexpected(error.to_string()))?;
    let mut adding = connections.begin().await?;
    let moved = sqlx::query(MOVE)
        .bind(chunk.after)
        .bind(chunk.last)
        .execute(&mut *adding)
        .await?;
    if moved.rows_affected() == 1 {
        let added = sqlx::query(ADD).bind(rows).execute(&mut *adding).await;
        added?;
    }
    Ok(adding.commit().await?)
}
