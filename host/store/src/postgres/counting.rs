//! Counts events by type, up to a position.

use super::dialect::Connections;
use super::reader::horizon;
use super::tables::cell::Cells;
use super::tables::signed;
use crate::Result;

/// Events that one statement counts.
const CHUNK: i64 = 20_000;

const COUNTED: &str = "SELECT position FROM types_counted";
/// Returns the position of the last event of a chunk; none when the rest is shorter.
const CHUNK_END: &str = "SELECT position FROM events WHERE position > $1 AND position <= $2 \
    ORDER BY position OFFSET $3 - 1 LIMIT 1";
/// Counts from `$1` up to `$2`, unless another host was first: a host that finds the row locked
/// waits, and then finds that the position has moved.
const COUNT: &str = "WITH moved AS (\
        UPDATE types_counted SET position = $2 WHERE position = $1 RETURNING position\
    ), uses AS (\
        SELECT type_id, count(*) AS events, min(position) AS oldest, max(position) AS newest \
        FROM events WHERE position > $1 AND position <= $2 AND EXISTS (SELECT FROM moved) \
        GROUP BY type_id\
    ) \
    INSERT INTO type_counts AS c (type_id, events, first_position, first_recorded_at, \
        last_position, last_recorded_at) \
    SELECT u.type_id, u.events, \
        u.oldest, (SELECT recorded_at FROM events WHERE position = u.oldest), \
        u.newest, (SELECT recorded_at FROM events WHERE position = u.newest) \
    FROM uses AS u \
    ON CONFLICT ON CONSTRAINT type_count DO UPDATE SET events = c.events + excluded.events, \
        last_position = excluded.last_position, \
        last_recorded_at = excluded.last_recorded_at";
/// Counts up to the current horizon: an event that commits later is after it. Each chunk is a
/// transaction of its own.
pub async fn count(connections: &Connections) -> Result<()> {
    let end = signed(horizon(connections.pool(), connections.namespace).await?.0);
    loop {
        let row = sqlx::query(COUNTED).fetch_one(connections.pool()).await;
        let from: i64 = row?.cell(0)?;
        if from >= end {
            return Ok(());
        }
        let row = sqlx::query(CHUNK_END)
            .bind(from)
            .bind(end)
            .bind(CHUNK)
            .fetch_optional(connections.pool())
            .await?;
        let to = row.map_or(Ok(end), |row| row.cell(0))?;
        sqlx::query(COUNT)
            .bind(from)
            .bind(to)
            .execute(connections.pool())
            .await?;
    }
}
