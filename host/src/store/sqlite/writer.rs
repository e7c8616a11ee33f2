//! The one connection that writes.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use hashlink::LruCache;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Connection, Executor};

use super::cell::Cells;
use super::encode::{Batch, names, pairs, signed};
use super::error::store_error;
use super::reader::known_commit;
use crate::model::{ContentType, Digest, Name, Position, StreamId, Timestamp, Version};
use crate::store::classify::{self, Accepted, Classified, Heads, Known, Parts, classify};
use crate::store::{Activation, Error, EventWriter, Head, Item, KnownEvent, Outcome, Result};

const HEADS: &str = include_str!("heads.sql");
const KNOWN: &str = include_str!("known.sql");
const LAST_IDS: &str = "SELECT \
    (SELECT coalesce(max(position), 0) FROM events), \
    (SELECT coalesce(max(stream_id), 0) FROM streams), \
    (SELECT coalesce(max(type_id), 0) FROM event_types)";
const TYPE: &str = "SELECT type_id FROM event_types \
    WHERE category = ?1 AND name = ?2 AND schema_version = ?3 AND content_type = ?4";
const MODULE: &str = "SELECT module_id FROM modules WHERE digest = ?1";
const PARTS: &str = "SELECT plan, name FROM deployments ORDER BY plan";
const APPEND: &str = "INSERT INTO batch (base, streams, types, owners, numbers, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const ACTIVATE: &str = "INSERT INTO deployments (plan, name, module_id, activated_at, activated_by) \
    SELECT ?1, ?2, module_id, ?3, ?4 FROM modules WHERE digest = ?5";

/// Streams whose heads are remembered, at about 150 bytes each.
const HEADS_MAX: usize = 100_000;
/// Types of events that are remembered.
const TYPES_MAX: usize = 10_000;
/// Modules that are remembered.
const MODULES_MAX: usize = 1_000;

/// What tells one row of `event_types` from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TypeKey {
    pub category: Arc<str>,
    pub name: Name,
    pub schema_version: u32,
    pub content_type: ContentType,
}

/// The writer, and what it remembers of what it wrote: no one else writes.
pub struct Writer {
    connection: SqliteConnection,
    readers: SqlitePool,
    /// None after a failed transaction: everything is read anew.
    memory: Option<Memory>,
    /// Released last: a second host must not come in before the flush.
    _lock: Arc<File>,
}

/// A stream's row and where it stands.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    stream_id: i64,
    head: Head,
}

struct Memory {
    last_position: i64,
    last_stream_id: i64,
    last_type_id: i64,
    heads: LruCache<StreamId, Remembered>,
    types: LruCache<TypeKey, i64>,
    modules: LruCache<Digest, i64>,
    parts: Parts,
}

impl Writer {
    /// A writer on this connection.
    pub async fn open(
        connection: SqliteConnection,
        readers: SqlitePool,
        lock: Arc<File>,
    ) -> Result<Self> {
        let mut writer = Self {
            connection,
            readers,
            memory: None,
            _lock: lock,
        };
        writer.memory = Some(writer.remember().await?);
        Ok(writer)
    }

    async fn remember(&mut self) -> Result<Memory> {
        let last = sqlx::query(LAST_IDS)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| store_error(&error))?;
        let mut parts = Parts::default();
        let deployments = sqlx::query(PARTS)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| store_error(&error))?;
        for row in deployments {
            parts.plan = row.number(0)?;
            parts.deciders.insert(row.cell(1)?, parts.plan);
        }
        Ok(Memory {
            last_position: last.cell(0)?,
            last_stream_id: last.cell(1)?,
            last_type_id: last.cell(2)?,
            heads: LruCache::new(HEADS_MAX),
            types: LruCache::new(TYPES_MAX),
            modules: LruCache::new(MODULES_MAX),
            parts,
        })
    }

    async fn commit(&mut self, items: &[Item]) -> Result<Vec<Outcome>> {
        // Taken out, so that a failure or a cancelled call leaves nothing half-known.
        let mut memory = match self.memory.take() {
            Some(memory) => memory,
            None => {
                _ = self.connection.execute("ROLLBACK").await;
                self.remember().await?
            }
        };
        let heads = self.heads(&mut memory, items).await?;
        let known = self.known(items).await?;
        let next = Position(memory.last_position.unsigned_abs() + 1);
        let classified = classify(items, heads, &known, memory.parts.clone(), next);
        self.write(&mut memory, items, &classified).await?;
        memory.parts = classified.parts;
        self.memory = Some(memory);
        Ok(classified.outcomes)
    }

    /// Where the streams of a batch stand.
    async fn heads(&mut self, memory: &mut Memory, items: &[Item]) -> Result<Heads> {
        let mut heads = Heads::new();
        let mut missing = Vec::new();
        for stream in classify::streams(items) {
            match memory.heads.get(stream) {
                Some(known) => _ = heads.insert(stream.clone(), known.head),
                None => missing.push(stream),
            }
        }
        if missing.is_empty() {
            return Ok(heads);
        }
        let rows = sqlx::query(HEADS)
            .bind(names(missing.iter().map(|stream| stream.as_str())))
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| store_error(&error))?;
        let by_name: HashMap<&str, &StreamId> = missing
            .iter()
            .map(|stream| (stream.as_str(), *stream))
            .collect();
        for row in rows {
            let Some(stream) = by_name.get(row.cell::<&str>(0)?) else {
                continue;
            };
            let head = Head {
                version: Version(row.number(2)?),
                recorded_at: Timestamp(row.number(3)?),
                archived: row.cell::<Option<i64>>(4)?.is_some(),
            };
            heads.insert((*stream).clone(), head);
            memory.heads.insert(
                (*stream).clone(),
                Remembered {
                    stream_id: row.cell(1)?,
                    head,
                },
            );
        }
        Ok(heads)
    }

    /// The records under the ids of a batch.
    async fn known(&mut self, items: &[Item]) -> Result<Known> {
        let ids: HashMap<_, _> = classify::ids(items)
            .map(|(stream, id)| ((stream.as_str(), id.as_str()), (stream, id)))
            .collect();
        if ids.is_empty() {
            return Ok(Known::new());
        }
        let rows = sqlx::query(KNOWN)
            .bind(pairs(ids.keys().copied()))
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| store_error(&error))?;
        let mut known = Known::new();
        let mut rows = rows.iter().peekable();
        while let Some(first) = rows.next() {
            let names = (first.cell::<&str>(0)?, first.cell::<&str>(1)?);
            let mut events: Vec<KnownEvent> = vec![super::reader::known_event(first)?];
            while let Some(row) =
                rows.next_if(|row| matches!(row.cell::<Option<&[u8]>>(2), Ok(None)))
            {
                events.push(super::reader::known_event(row)?);
            }
            let Some((stream, id)) = ids.get(&names) else {
                continue;
            };
            let commit = known_commit(first, events)?;
            known.insert(((*stream).clone(), (*id).clone()), Arc::new(commit));
        }
        Ok(known)
    }

    /// Writes what was accepted, in one transaction.
    async fn write(
        &mut self,
        memory: &mut Memory,
        items: &[Item],
        classified: &Classified<'_>,
    ) -> Result<()> {
        let activations = activations(items, &classified.outcomes);
        if classified.accepted.is_empty() && activations.is_empty() {
            return Ok(());
        }
        let base = memory.last_position + 1;
        let batch = self.encode(memory, classified).await?;
        if activations.is_empty() {
            return self.insert(base, batch).await;
        }
        self.connection
            .execute("BEGIN IMMEDIATE")
            .await
            .map_err(|error| store_error(&error))?;
        for (activation, plan) in activations {
            self.activate(activation, plan).await?;
        }
        self.insert(base, batch).await?;
        self.connection
            .execute("COMMIT")
            .await
            .map_err(|error| store_error(&error))?;
        Ok(())
    }

    async fn encode(&mut self, memory: &mut Memory, classified: &Classified<'_>) -> Result<Batch> {
        let mut batch = Batch::new();
        let mut type_ids = Vec::new();
        for accepted in &classified.accepted {
            let stream = &accepted.write.stream;
            let stream_id = match memory.heads.get(stream) {
                Some(known) => known.stream_id,
                None => {
                    memory.last_stream_id += 1;
                    batch.stream(memory.last_stream_id, stream.as_str());
                    memory.last_stream_id
                }
            };
            type_ids.clear();
            for event in &accepted.write.commit.events {
                let key = TypeKey {
                    category: stream.category().into(),
                    name: event.name.clone(),
                    schema_version: event.schema_version,
                    content_type: event.body.content_type().clone(),
                };
                type_ids.push(self.type_id(memory, key, &mut batch).await?);
            }
            let module_id = match accepted.write.commit.decided {
                Some(decided) => Some(self.module_id(memory, decided.module).await?),
                None => None,
            };
            batch.commit(accepted, stream_id, &type_ids, module_id)?;
            memory.last_position += signed(type_ids.len() as u64);
            let head = head_after(accepted);
            memory
                .heads
                .insert(stream.clone(), Remembered { stream_id, head });
        }
        Ok(batch.finish())
    }

    async fn type_id(
        &mut self,
        memory: &mut Memory,
        key: TypeKey,
        batch: &mut Batch,
    ) -> Result<i64> {
        if let Some(type_id) = memory.types.get(&key) {
            return Ok(*type_id);
        }
        let found = sqlx::query(TYPE)
            .bind(&*key.category)
            .bind(key.name.as_str())
            .bind(i64::from(key.schema_version))
            .bind(key.content_type.as_str())
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| store_error(&error))?;
        let type_id = match found {
            Some(row) => row.cell(0)?,
            None => {
                memory.last_type_id += 1;
                batch.event_type(memory.last_type_id, &key);
                memory.last_type_id
            }
        };
        memory.types.insert(key, type_id);
        Ok(type_id)
    }

    async fn module_id(&mut self, memory: &mut Memory, digest: Digest) -> Result<i64> {
        if let Some(module_id) = memory.modules.get(&digest) {
            return Ok(*module_id);
        }
        let row = sqlx::query(MODULE)
            .bind(digest.0.to_vec())
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|error| store_error(&error))?
            .ok_or_else(|| Error::Unexpected(format!("module {digest} is not in the store")))?;
        let module_id = row.cell(0)?;
        memory.modules.insert(digest, module_id);
        Ok(module_id)
    }

    async fn insert(&mut self, base: i64, batch: Batch) -> Result<()> {
        if batch.payload.is_empty() {
            return Ok(());
        }
        sqlx::query(APPEND)
            .bind(base)
            .bind(batch.streams)
            .bind(batch.types)
            .bind(batch.owners)
            .bind(batch.numbers)
            .bind(batch.payload)
            .execute(&mut self.connection)
            .await
            .map_err(|error| store_error(&error))?;
        Ok(())
    }

    async fn activate(&mut self, activation: &Activation, plan: u64) -> Result<()> {
        let done = sqlx::query(ACTIVATE)
            .bind(signed(plan))
            .bind(&activation.name)
            .bind(signed(activation.at.0))
            .bind(&activation.by)
            .bind(activation.digest.0.to_vec())
            .execute(&mut self.connection)
            .await
            .map_err(|error| store_error(&error))?;
        if done.rows_affected() == 1 {
            return Ok(());
        }
        Err(Error::Unexpected(format!(
            "module {} is not in the store",
            activation.digest
        )))
    }
}

fn activations<'a>(items: &'a [Item], outcomes: &[Outcome]) -> Vec<(&'a Activation, u64)> {
    let pairs = items.iter().zip(outcomes);
    pairs
        .filter_map(|pair| match pair {
            (Item::Activate(activation), Outcome::Activated(plan)) => Some((activation, *plan)),
            _ => None,
        })
        .collect()
}

fn head_after(accepted: &Accepted<'_>) -> Head {
    let last = accepted.write.commit.events.len() as u64 - 1;
    Head {
        version: Version(accepted.first_version.0 + last),
        recorded_at: accepted.recorded_at,
        archived: false,
    }
}

impl EventWriter for Writer {
    fn commit<'a>(&'a mut self, items: &'a [Item]) -> BoxFuture<'a, Result<Vec<Outcome>>> {
        Self::commit(self, items).boxed()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        async move {
            self.readers.close().await;
            self.connection
                .close()
                .await
                .map_err(|error| store_error(&error))
        }
        .boxed()
    }
}
