//! Counts of events by type, kept up to a position.

use async_trait::async_trait;

use super::cell::{Cells, from_row};
use super::counting;
use super::dialect::{Connections, binary};
use crate::{Error, Result, TypeStore, TypeUse};
use quipu_model::{ContentType, Name, Position, Timestamp};

/// A left join, so that a missing type shows as damage.
const TYPES: &str = concat!(
    "SELECT t.category, t.name, t.schema_version, t.content_type, c.events, \
     c.first_position, c.first_recorded_at, c.last_position, c.last_recorded_at \
     FROM type_counts AS c LEFT JOIN event_types AS t ON t.type_id = c.type_id ORDER BY ",
    binary!("t.category"),
    ", ",
    binary!("t.name"),
    ", t.schema_version, ",
    binary!("t.content_type")
);

/// Counts of events.
pub struct Types(pub Connections);

from_row!(TypeUse, |row| {
    let content_type = ContentType::new(row.cell("content_type")?);
    let place = |position: &str, at: &str| {
        let at = Timestamp(row.number(at)?);
        Ok::<_, Error>((Position(row.number(position)?), at))
    };
    Ok(TypeUse {
        category: row.cell::<&str>("category")?.into(),
        name: Name::stored(row.cell("name")?),
        schema_version: row.small("schema_version")?,
        content_type: content_type.map_err(|error| Error::Damaged(error.to_string()))?,
        events: row.number("events")?,
        oldest: place("first_position", "first_recorded_at")?,
        newest: place("last_position", "last_recorded_at")?,
    })
});

#[async_trait]
impl TypeStore for Types {
    async fn types(&self) -> Result<Vec<TypeUse>> {
        counting::count(&self.0).await?;
        Ok(sqlx::query_as(TYPES).fetch_all(self.0.pool()).await?)
    }
}
