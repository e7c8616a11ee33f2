//! Lookups of a writer before it writes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::cell::Cells;
use super::connection::Connection;
use super::error::WriteResult;
use super::memory::{Memory, TypeKey};
use super::tables::events::{commit_digest, known_commit};
use super::tables::signed;
use crate::classify::{self, Heads, Parts, RecordedIds};
use crate::{Error, Head, Item, KnownCommit, ProjectionPlan, Result};
use quipu_model::{CommandId, Digest, EventId, StreamId, Timestamp, Version};

const HEADS: &str = "SELECT name, version, recorded_at, archived_at, truncated_before, digest \
    FROM streams WHERE name = ANY ($1)";
const PARTS: &str = "SELECT plan, coalesce(categories, ARRAY[name]), projections \
    FROM deployments ORDER BY plan";
const TYPE: &str = "SELECT type_id FROM event_types \
    WHERE category = $1 AND name = $2 AND schema_version = $3 AND content_type = $4";
const NEW_TYPE: &str = "INSERT INTO event_types (category, name, schema_version, content_type) \
    VALUES ($1, $2, $3, $4) ON CONFLICT ON CONSTRAINT event_type DO NOTHING";
const MODULE: &str = "SELECT module_id FROM modules WHERE digest = $1";

/// Recorded commits with their events in order; `command` and the other data of the commit are in
/// the row of the first event. The first columns identify the question.
macro_rules! known {
    ($type:literal, $found:literal) => {
        concat!(
            "SELECT u.name, u.id, c.command, e.event_id, t.name, e.version, e.position, \
             t.content_type, e.data, c.plan, c.fuel, m.digest \
             FROM unnest($1::text[], $2::",
            $type,
            "[]) AS u (name, id) \
             JOIN streams AS s ON s.name = u.name ",
            $found,
            " JOIN events AS e ON e.stream_id = c.stream_id \
                 AND e.version BETWEEN c.version AND c.version + c.commit_size - 1 \
             JOIN event_types AS t ON t.type_id = e.type_id \
             LEFT JOIN modules AS m ON m.module_id = c.module_id \
             ORDER BY u.name, u.id, e.version"
        )
    };
}

const KNOWN_COMMANDS: &str = known!(
    "text",
    "CROSS JOIN LATERAL (SELECT * FROM events AS c \
         WHERE -c.stream_id = -s.stream_id AND c.command_id = u.id LIMIT 1) AS c"
);
const KNOWN_EVENTS: &str = known!(
    "uuid",
    "CROSS JOIN LATERAL (SELECT * FROM events AS f \
         WHERE -f.stream_id = -s.stream_id AND f.event_id = u.id AND f.event_id_given LIMIT 1) AS f \
     JOIN events AS c ON c.stream_id = f.stream_id AND c.version = f.version - f.commit_offset"
);

/// Reads the heads of streams. Streams that do not exist are left out.
pub async fn heads<'a>(
    connection: &mut Connection,
    streams: impl Iterator<Item = &'a StreamId>,
) -> WriteResult<Heads> {
    let by_name: BTreeMap<&str, &StreamId> = streams.map(|it| (it.as_str(), it)).collect();
    if by_name.is_empty() {
        return Ok(Heads::new());
    }
    let names: Vec<&str> = by_name.keys().copied().collect();
    let rows = sqlx::query(HEADS).bind(names).fetch_all(connection).await?;
    let mut heads = Heads::new();
    for row in &rows {
        if let Some(stream) = by_name.get(row.cell::<&str>(0)?)
            && let Some(head) = head(row, 1)?
        {
            heads.insert((*stream).clone(), head);
        }
    }
    Ok(heads)
}

/// Reads a head from five columns: version, recorded-at, archived-at, the mark of a truncated
/// stream, the digest of the last commit. None at version 0.
pub fn head(row: &PgRow, first: usize) -> Result<Option<Head>> {
    let version = row.number(first)?;
    if version == 0 {
        return Ok(None);
    }
    Ok(Some(Head {
        version: Version(version),
        recorded_at: Timestamp(row.number(first + 1)?),
        archived: row.cell::<Option<i64>>(first + 2)?.is_some(),
        truncated_before: Version(row.number(first + 3)?),
        digest: commit_digest(row, first + 4)?,
    }))
}

/// Reads the plan, and for each of its parts the plan that last changed it.
pub async fn parts(connection: &mut Connection) -> WriteResult<Parts> {
    let mut parts = Parts::default();
    for row in sqlx::query(PARTS).fetch_all(connection).await? {
        let categories: Vec<String> = row.cell(1)?;
        let projections = ProjectionPlan::of_json(row.cell(2)?)?;
        parts.activated(row.number(0)?, &categories, &projections);
    }
    Ok(parts)
}

/// The records under the ids of a batch.
pub async fn known(connection: &mut Connection, items: &[Item]) -> WriteResult<RecordedIds> {
    let mut known = RecordedIds::default();
    let ids: HashMap<(&str, &str), (&StreamId, &CommandId)> = classify::ids(items)
        .map(|(stream, id)| ((stream.as_str(), id.as_str()), (stream, id)))
        .collect();
    if !ids.is_empty() {
        let (streams, names): (Vec<&str>, Vec<&str>) = ids.keys().copied().unzip();
        let query = sqlx::query(KNOWN_COMMANDS).bind(streams).bind(names);
        let rows = query.fetch_all(&mut *connection).await?;
        for rows in rows.chunk_by(|one, other| same::<&str>(one, other)) {
            if let Some((stream, id)) = ids.get(&(rows[0].cell(0)?, rows[0].cell(1)?)) {
                let key = ((*stream).clone(), (*id).clone());
                known.commands.insert(key, Arc::new(known_commit(rows)?));
            }
        }
    }
    let ids: HashMap<(&str, EventId), &StreamId> = classify::event_ids(items)
        .map(|(stream, id)| ((stream.as_str(), id), stream))
        .collect();
    if !ids.is_empty() {
        let (streams, names): (Vec<&str>, Vec<Uuid>) = ids.keys().copied().unzip();
        let query = sqlx::query(KNOWN_EVENTS).bind(streams).bind(names);
        let rows = query.fetch_all(connection).await?;
        let mut commits: HashMap<(StreamId, Version), Arc<KnownCommit>> = HashMap::new();
        for rows in rows.chunk_by(|one, other| same::<Uuid>(one, other)) {
            let id = rows[0].cell(1)?;
            if let Some(stream) = ids.get(&(rows[0].cell(0)?, id)) {
                // Events of one commit are given the same.
                let first = ((*stream).clone(), Version(rows[0].number(5)?));
                let found = match commits.get(&first) {
                    Some(one) => Arc::clone(one),
                    None => Arc::new(known_commit(rows)?),
                };
                commits.insert(first, Arc::clone(&found));
                known.events.insert(((*stream).clone(), id), found);
            }
        }
    }
    Ok(known)
}

/// Whether two rows answer the same question.
fn same<'r, I>(one: &'r PgRow, other: &'r PgRow) -> bool
where
    I: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + PartialEq,
{
    let question = |row: &'r PgRow| Some((row.cell::<&str>(0).ok()?, row.cell::<I>(1).ok()?));
    question(one) == question(other)
}

/// The number of a type of events; a new one is made.
pub async fn type_id(
    connection: &mut Connection,
    memory: &mut Memory,
    key: TypeKey,
) -> WriteResult<i64> {
    if let Some(type_id) = memory.types.get(&key) {
        return Ok(*type_id);
    }
    for _ in 0..2 {
        let found = sqlx::query(TYPE)
            .bind(&*key.category)
            .bind(key.name.as_str())
            .bind(i64::from(key.schema_version))
            .bind(key.content_type.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        if let Some(row) = found {
            let type_id = row.cell(0)?;
            memory.types.insert(key, type_id);
            return Ok(type_id);
        }
        sqlx::query(NEW_TYPE)
            .bind(&*key.category)
            .bind(key.name.as_str())
            .bind(i64::from(key.schema_version))
            .bind(key.content_type.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Err(Error::Unexpected(format!("type {} can't be made", key.name)).into())
}

/// The number of a module.
pub async fn module_id(
    connection: &mut Connection,
    memory: &mut Memory,
    digest: Digest,
) -> WriteResult<i64> {
    if let Some(module_id) = memory.modules.get(&digest) {
        return Ok(*module_id);
    }
    let row = sqlx::query(MODULE)
        .bind(&digest.0[..])
        .fetch_optional(connection)
        .await?;
    let missing = || Error::Unexpected(format!("module {digest} is not in the store"));
    let module_id = row.ok_or_else(missing)?.cell(0)?;
    memory.modules.insert(digest, module_id);
    Ok(module_id)
}

/// A number for SQL.
pub fn bound(limit: usize) -> i64 {
    signed(limit as u64)
}
