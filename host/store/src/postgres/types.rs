//! Counts of events by type, kept up to a position.

use async_trait::async_trait;
use sqlx::postgres::{PgPool, PgRow};

use super::arrays::signed;
use super::cell::Cells;
use super::reader::{horizon, schema_version};
use crate::{Error, Result, TypeStore, TypeUse};
use quipu_model::{ContentType, Name, Position, Timestamp};

/// Events that one statement counts.
const CHUNK: i64 = 20_000;

const COUNTED: &str = "SELECT position FROM types_counted";
/// The position of the last event of a chunk; none when the rest is shorter.
const CHUNK_END: &str = "SELECT position FROM events WHERE position > $1 AND position <= $2 \
    ORDER BY position OFFSET $3 - 1 LIMIT 1";
/// Counts from `$1` up to `$2`, unless another host has come first: who finds the row
/// locked waits, and then finds it moved.
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
/// Joined from the left: a type that is missing shows as damage.
const TYPES: &str = "SELECT t.category, t.name, t.schema_version, t.content_type, c.events, \
    c.first_position, c.first_recorded_at, c.last_position, c.last_recorded_at \
    FROM type_counts AS c LEFT JOIN event_types AS t ON t.type_id = c.type_id \
    ORDER BY t.category COLLATE \"C\", t.name COLLATE \"C\", t.schema_version, \
        t.content_type COLLATE \"C\"";

/// Counts in a schema.
pub struct Types {
    pool: PgPool,
    namespace: i64,
}

impl Types {
    /// Counts of the store behind these connections.
    pub fn new(pool: PgPool, namespace: i64) -> Self {
        Self { pool, namespace }
    }

    /// Counts up to the horizon as it is now: an event that commits later stands above
    /// it. Each chunk is a transaction of its own.
    async fn count(&self) -> Result<()> {
        let end = signed(horizon(&self.pool, self.namespace).await?.0);
        loop {
            let row = sqlx::query(COUNTED).fetch_one(&self.pool).await;
            let from: i64 = row?.cell(0)?;
            if from >= end {
                return Ok(());
            }
            let row = sqlx::query(CHUNK_END)
                .bind(from)
                .bind(end)
                .bind(CHUNK)
                .fetch_optional(&self.pool)
                .await?;
            let to = row.map_or(Ok(end), |row| row.cell(0))?;
            sqlx::query(COUNT)
                .bind(from)
                .bind(to)
                .execute(&self.pool)
                .await?;
        }
    }
}

#[async_trait]
impl TypeStore for Types {
    async fn types(&self) -> Result<Vec<TypeUse>> {
        self.count().await?;
        let rows = sqlx::query(TYPES).fetch_all(&self.pool).await;
        rows?.iter().map(type_use).collect()
    }
}

fn type_use(row: &PgRow) -> Result<TypeUse> {
    let content_type = ContentType::new(row.cell(3)?);
    Ok(TypeUse {
        category: row.cell::<&str>(0)?.into(),
        name: Name::stored(row.cell(1)?),
        schema_version: schema_version(row, 2)?,
        content_type: content_type.map_err(|error| Error::Damaged(error.to_string()))?,
        events: row.number(4)?,
        oldest: (Position(row.number(5)?), Timestamp(row.number(6)?)),
        newest: (Position(row.number(7)?), Timestamp(row.number(8)?)),
    })
}
