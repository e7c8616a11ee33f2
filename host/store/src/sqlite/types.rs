//! Counts of events by type.

use async_trait::async_trait;
use serde::Serialize;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::cell::Cells;
use super::encode::signed;
use super::side::{Side, commit};
use crate::{Error, Result, TypeStore, TypeUse};
use quipu_model::{ContentType, Name, Position, Timestamp};

/// Positions that are counted at once.
const CHUNK: u64 = 50_000;

/// Up to where events are counted, the next one behind that, and the last one.
const STANDING: &str = "SELECT c.position, \
     (SELECT min(position) FROM events WHERE position > c.position), \
     (SELECT max(position) FROM events) FROM types_counted AS c";
/// What stands between two positions. Only what is in front of the data is read.
const COUNT: &str = "SELECT n.type_id, n.events, n.first, f.recorded_at, n.last, l.recorded_at \
     FROM (SELECT type_id, count(*) AS events, min(position) AS first, max(position) AS last \
         FROM events WHERE position BETWEEN ?1 AND ?2 GROUP BY type_id) AS n \
     JOIN events AS f ON f.position = n.first JOIN events AS l ON l.position = n.last";
const MOVE: &str = "UPDATE types_counted SET position = ?2 WHERE position = ?1";
/// ?1: a JSON array of what was counted, in the order of the columns.
const ADD: &str = "INSERT INTO type_counts (type_id, events, first_position, \
         first_recorded_at, last_position, last_recorded_at) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 \
     FROM json_each(?1) WHERE true \
     ON CONFLICT (type_id) DO UPDATE SET events = events + excluded.events, \
         last_position = excluded.last_position, last_recorded_at = excluded.last_recorded_at";
const TYPES: &str = "SELECT t.category, t.name, t.schema_version, t.content_type, c.events, \
         c.first_position, c.first_recorded_at, c.last_position, c.last_recorded_at \
     FROM type_counts AS c JOIN event_types AS t ON t.type_id = c.type_id \
     ORDER BY t.category, t.name, t.schema_version, t.content_type";

/// Counts through the pool of readers, chunk by chunk, and adds what it found to the
/// counts through the side connection: only the adding takes the lock of the writer.
pub struct Types {
    pool: SqlitePool,
    side: Side,
}

/// What a chunk holds of a type: its row, how many, and the first and the last of them.
#[derive(Serialize)]
struct Counted(i64, i64, i64, i64, i64, i64);

/// Positions that come next.
struct Chunk {
    /// Up to here it is counted already.
    behind: i64,
    first: i64,
    last: i64,
}

impl Types {
    /// Counts of the store behind these connections.
    pub fn new(pool: SqlitePool, side: Side) -> Self {
        Self { pool, side }
    }

    /// The next chunk before the end of the log, which is looked up once.
    async fn next(&self, end: &mut Option<i64>) -> Result<Option<Chunk>> {
        let row = sqlx::query(STANDING).fetch_optional(&self.pool).await?;
        let row = row.ok_or_else(|| Error::Damaged("types_counted has no row".to_owned()))?;
        let behind = row.cell(0)?;
        let next = row.cell::<Option<i64>>(1)?;
        let end = *end.get_or_insert(row.cell::<Option<i64>>(2)?.unwrap_or(0));
        let first = next.filter(|first| *first <= end);
        Ok(first.map(|first| Chunk {
            behind,
            first,
            last: first.saturating_add(signed(CHUNK) - 1).min(end),
        }))
    }

    async fn count(&self, chunk: &Chunk) -> Result<Vec<Counted>> {
        let rows = sqlx::query(COUNT)
            .bind(chunk.first)
            .bind(chunk.last)
            .fetch_all(&self.pool)
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
    async fn add(&self, chunk: &Chunk, counted: &[Counted]) -> Result<()> {
        let rows =
            serde_json::to_string(counted).map_err(|error| Error::Unexpected(error.to_string()))?;
        let mut turn = self.side.turn().await?;
        let mut adding = turn.begin().await?;
        let moved = sqlx::query(MOVE)
            .bind(chunk.behind)
            .bind(chunk.last)
            .execute(&mut *adding)
            .await?;
        if moved.rows_affected() == 1 {
            let added = sqlx::query(ADD).bind(rows).execute(&mut *adding).await;
            added?;
        }
        commit(adding).await
    }
}

fn type_use(row: &SqliteRow) -> Result<TypeUse> {
    let content_type =
        ContentType::new(row.cell(3)?).map_err(|error| Error::Damaged(error.to_string()))?;
    let place = |column| {
        let at = Timestamp(row.number(column + 1)?);
        Ok::<_, Error>((Position(row.number(column)?), at))
    };
    Ok(TypeUse {
        category: row.cell::<&str>(0)?.into(),
        name: Name::stored(row.cell(1)?),
        schema_version: row.cell(2)?,
        content_type,
        events: row.number(4)?,
        oldest: place(5)?,
        newest: place(7)?,
    })
}

#[async_trait]
impl TypeStore for Types {
    async fn types(&self) -> Result<Vec<TypeUse>> {
        let mut end = None;
        while let Some(chunk) = self.next(&mut end).await? {
            let counted = self.count(&chunk).await?;
            // If somebody else has counted it meanwhile, what comes next is behind that.
            self.add(&chunk, &counted).await?;
        }
        let rows = sqlx::query(TYPES).fetch_all(&self.pool).await?;
        rows.iter().map(type_use).collect()
    }
}
