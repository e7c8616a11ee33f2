//! The one connection that writes.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{Connection, Executor};

use super::cause;
use super::cell::Cells;
use super::documents;
use super::encode::{Batch, First, Place, names};
use super::file::Lock;
use super::known::known;
use super::log::Holes;
use super::marks;
use super::memory::{Memory, Remembered, TypeKey};
use super::rows::sealed_head;
use super::side::Gate;
use super::tables::signed;
use super::temporary::Folder;
use super::turns::LifecycleChange;
use crate::classify::{self, Classified, Heads};
use crate::commit_digest::Sealer;
use crate::last_write::LastWrite;
use crate::preflight;
use crate::projected::{Basis, Documents, Projected, consecutive, project, wanted};
use crate::turns::{take, turns};
use crate::wake::Waker;
use crate::{
    Activation, BuildId, DocumentWrite, Error, EventWriter, Import, InlineFold, Item, Mark,
    Outcome, Result, StoredDocument,
};
use quipu_model::{CommandId, Digest, NewEvent, Position, StreamId, Timestamp, Version};

const HEADS: &str = include_str!("heads.sql");
const TYPE: &str = "SELECT type_id FROM event_types \
    WHERE category = ?1 AND name = ?2 AND schema_version = ?3 AND content_type = ?4";
const MODULE: &str = "SELECT module_id FROM modules WHERE digest = ?1";
const APPEND: &str = "INSERT INTO batch (base, streams, types, owners, numbers, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const ACTIVATE: &str = "INSERT INTO deployments \
    (plan, name, module_id, activated_at, activated_by, categories, trusted, projections, \
    preflight) \
    SELECT ?1, ?2, module_id, ?3, ?4, ?6, ?7, ?8, ?9 FROM modules WHERE digest = ?5";
/// An activation that retires a name has no module.
const MEMBER: &str = "INSERT INTO release_members (plan, name, module_id) \
    SELECT ?1, ?2, module_id FROM modules WHERE digest = ?3 \
    UNION ALL SELECT ?1, ?2, NULL WHERE ?3 IS NULL";

/// A row that is there only during a trial. What it has can't be compressed.
const TRIAL: &str = "INSERT INTO meta (name, value) VALUES ('trial', randomblob(?1)) \
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const TRIED: &str = "DELETE FROM meta WHERE name = 'trial'";
/// A trial writes about as much as the batch that failed, with its indexes, within these bounds.
const TRIAL_BYTES_MIN: usize = 64 << 10;
const TRIAL_BYTES_MAX: usize = 2 << 20;

/// The writer, and its memory of its writes. Nobody else writes.
pub struct Writer {
    pub(super) connection: SqliteConnection,
    /// Passed before each write, by whoever writes.
    gate: Gate,
    /// Pools that end with the writer.
    pools: Vec<SqlitePool>,
    pub(super) holes: Holes,
    pub(super) waker: Waker,
    /// None after a failed transaction: everything is read from scratch.
    pub(super) memory: Option<Memory>,
    last_write: LastWrite,
    /// Bytes of the last batch.
    batch_bytes: usize,
    /// Released last: a second host must not come in before the flush.
    lock: Lock,
    folder: Folder,
}

impl Writer {
    /// A writer on this connection.
    pub async fn open(
        connection: SqliteConnection,
        gate: Gate,
        pools: Vec<SqlitePool>,
        holes: Holes,
        waker: Waker,
        (lock, folder): (Lock, Folder),
    ) -> Result<Self> {
        let mut writer = Self {
            connection,
            gate,
            pools,
            holes,
            waker,
            memory: None,
            last_write: LastWrite::default(),
            batch_bytes: 0,
            lock,
            folder,
        };
        writer.memory = Some(Memory::read(&mut writer.connection, &writer.holes).await?);
        Ok(writer)
    }

    /// Takes out the memory, so that a failure or a cancelled call leaves no incomplete memory.
    pub(super) async fn recall(&mut self) -> Result<Memory> {
        if let Some(mut memory) = self.memory.take() {
            memory.trim();
            return Ok(memory);
        }
        _ = self.connection.execute("ROLLBACK").await;
        Memory::read(&mut self.connection, &self.holes).await
    }

    /// The heads of streams.
    pub(super) async fn heads<'a>(
        &mut self,
        memory: &mut Memory,
        streams: impl Iterator<Item = &'a StreamId>,
    ) -> Result<Heads> {
        let mut heads = Heads::new();
        let mut missing: HashMap<&str, &StreamId> = HashMap::new();
        for stream in streams {
            match memory.heads.get(stream) {
                Some(known) => _ = heads.insert(stream.clone(), known.head),
                None => _ = missing.insert(stream.as_str(), stream),
            }
        }
        if missing.is_empty() {
            return Ok(heads);
        }
        let rows = sqlx::query(HEADS)
            .bind(names(missing.keys().copied()))
            .fetch_all(&mut self.connection)
            .await?;
        for row in rows {
            let Some(stream) = missing.get(row.cell::<&str>(0)?) else {
                continue;
            };
            let head = sealed_head(&row)?;
            let stream_id = row.cell(1)?;
            heads.insert((*stream).clone(), head);
            memory
                .heads
                .insert((*stream).clone(), Remembered { stream_id, head });
        }
        Ok(heads)
    }

    /// Writes what was accepted, in one transaction. Returns the reason when a turn of an
    /// activation can't be taken.
    async fn write(
        &mut self,
        memory: &mut Memory,
        items: &[Item],
        classified: &Classified<'_>,
        documents: &[DocumentWrite],
    ) -> Result<Option<String>> {
        let turns = turns(items)?;
        let activations = activations(items, &classified.outcomes);
        let marks = &classified.marks;
        if classified.accepted.is_empty() && activations.is_empty() && marks.is_empty() {
            return Ok(None);
        }
        let base = memory.last_position + 1;
        let batch = self.encode(memory, classified).await?;
        let _passed = self.gate.pass().await;
        if activations.is_empty() && marks.is_empty() && documents.is_empty() {
            // The usual batch is a transaction by itself.
            self.insert(base, batch, Error::from).await?;
            self.last_write.succeeded();
            return Ok(None);
        }
        self.begin().await?;
        let mut written = self.write_all(&activations, marks, base, batch).await;
        if written.is_ok() {
            written = documents::write(&mut self.connection, documents).await;
        }
        if written.is_ok() && !turns.is_empty() {
            let last = Position(memory.last_position.unsigned_abs());
            let plan = classified.parts.plan;
            match take(
                turns,
                &mut LifecycleChange(&mut self.connection),
                (last, plan),
            )
            .await
            {
                Ok(None) => {}
                Ok(refusal) => {
                    self.roll_back().await?;
                    return Ok(refusal);
                }
                Err(error) => written = Err(error),
            }
        }
        self.end(written).await?;
        self.last_write.succeeded();
        for (mark, _) in marks {
            memory.mark(&mark.stream, &mark.change);
        }
        Ok(None)
    }

    async fn write_all(
        &mut self,
        activations: &[(&Activation, u64)],
        marks: &[(&Mark, Timestamp)],
        base: i64,
        batch: Batch,
    ) -> Result<()> {
        for (activation, plan) in activations {
            if !self.activate(activation, *plan).await? {
                return Err(Error::Unexpected(format!(
                    "a module of {:?} is not in the store",
                    activation.name
                )));
            }
        }
        self.insert(base, batch, Error::from).await?;
        for (mark, at) in marks {
            marks::change(&mut self.connection, &mark.stream, &mark.change, *at).await?;
        }
        Ok(())
    }

    async fn encode(&mut self, memory: &mut Memory, classified: &Classified<'_>) -> Result<Batch> {
        let (mut batch, mut sealer) = (Batch::new(), Sealer::default());
        for accepted in &classified.accepted {
            let (stream, commit) = (&accepted.write.stream, &accepted.write.commit);
            let stream_id = stream_id(memory, stream, &mut batch);
            let module_id = match commit.decided {
                Some(decided) => Some(
                    self.module_id(memory, decided.module)
                        .await?
                        .ok_or_else(|| missing(decided.module))?,
                ),
                None => None,
            };
            let digest = sealer.seal(accepted, memory.digest(stream))?;
            let mut first = Some(First {
                command_id: classify::callers_id(accepted.write).map(CommandId::as_str),
                command: sealer.command(),
                events: commit.events.len() as u64,
                plan: commit.plan,
                module_id,
                fuel: commit.decided.map(|decided| decided.fuel),
                digest: Some(digest),
            });
            for (offset, event) in commit.events.iter().enumerate() {
                let place = Place {
                    stream_id,
                    type_id: self.type_id(memory, stream, event, &mut batch).await?,
                    version: accepted.first_version.plus(offset),
                    recorded_at: accepted.recorded_at,
                    commit_offset: offset as u64,
                };
                batch.event(&place, event, first.take())?;
            }
            memory.last_position += signed(commit.events.len() as u64);
            let last = commit.events.len() as u64 - 1;
            let version = Version(accepted.first_version.0 + last);
            let at = accepted.recorded_at;
            memory.appended(stream, stream_id, version, at, Some(digest));
        }
        Ok(batch.finish())
    }

    /// The row of an event's type, which is added to the batch if it is new.
    pub(super) async fn type_id(
        &mut self,
        memory: &mut Memory,
        stream: &StreamId,
        event: &NewEvent,
        batch: &mut Batch,
    ) -> Result<i64> {
        let key = TypeKey {
            category: stream.category().into(),
            name: event.name.clone(),
            schema_version: event.schema_version,
            content_type: event.body.content_type().clone(),
        };
        if let Some(type_id) = memory.types.get(&key) {
            return Ok(*type_id);
        }
        let found = sqlx::query(TYPE)
            .bind(&*key.category)
            .bind(key.name.as_str())
            .bind(i64::from(key.schema_version))
            .bind(key.content_type.as_str())
            .fetch_optional(&mut self.connection)
            .await?;
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

    /// The row of a module; none when it is not in the store.
    pub(super) async fn module_id(
        &mut self,
        memory: &mut Memory,
        digest: Digest,
    ) -> Result<Option<i64>> {
        if let Some(module_id) = memory.modules.get(&digest) {
            return Ok(Some(*module_id));
        }
        let row = sqlx::query(MODULE)
            .bind(digest.0.to_vec())
            .fetch_optional(&mut self.connection)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let module_id = row.cell(0)?;
        memory.modules.insert(digest, module_id);
        Ok(Some(module_id))
    }

    /// Writes a batch whose first event is at `base`.
    pub(super) async fn insert(
        &mut self,
        base: i64,
        batch: Batch,
        error: fn(sqlx::Error) -> Error,
    ) -> Result<()> {
        if batch.payload.is_empty() {
            return Ok(());
        }
        self.batch_bytes = batch.payload.len();
        sqlx::query(APPEND)
            .bind(base)
            .bind(batch.streams)
            .bind(batch.types)
            .bind(batch.owners)
            .bind(batch.numbers)
            .bind(batch.payload)
            .execute(&mut self.connection)
            .await
            .map_err(error)?;
        Ok(())
    }

    /// Adds to the history of the plan. False when the module is not in the store.
    pub(super) async fn activate(&mut self, activation: &Activation, plan: u64) -> Result<bool> {
        let trusted: Vec<String> = activation.trusted.iter().map(Digest::to_string).collect();
        let trusted = names(trusted.iter().map(String::as_str));
        let done = sqlx::query(ACTIVATE)
            .bind(signed(plan))
            .bind(&activation.name)
            .bind(signed(activation.at.0))
            .bind(&activation.by)
            .bind(activation.digest.0.to_vec())
            .bind(names(activation.categories.iter().map(String::as_str)))
            .bind(trusted)
            .bind(activation.projections.to_json())
            .bind(preflight::to_json(activation.preflight.as_ref()))
            .execute(&mut self.connection)
            .await?;
        let mut is_there = done.rows_affected() == 1;
        for member in &activation.others {
            let done = sqlx::query(MEMBER)
                .bind(signed(plan))
                .bind(&member.name)
                .bind(member.digest.map(|digest| digest.0.to_vec()))
                .execute(&mut self.connection)
                .await?;
            is_there &= done.rows_affected() == 1;
        }
        Ok(is_there)
    }

    /// Begins a transaction of several statements.
    pub(super) async fn begin(&mut self) -> Result<()> {
        let begun = self.connection.execute("BEGIN IMMEDIATE").await;
        begun?;
        Ok(())
    }

    async fn roll_back(&mut self) -> Result<()> {
        let done = self.connection.execute("ROLLBACK").await;
        done?;
        Ok(())
    }

    /// Ends the transaction: commits it, or rolls it back after a failure.
    pub(super) async fn end(&mut self, mut done: Result<()>) -> Result<()> {
        if done.is_ok() {
            let committed = self.connection.execute("COMMIT").await;
            done = committed.map(|_| ()).map_err(Error::from);
        }
        if done.is_err() {
            // It may have been rolled back already.
            _ = self.connection.execute("ROLLBACK").await;
        }
        done
    }
}

/// The row of a stream, which is added to the batch if it is new.
pub(super) fn stream_id(memory: &mut Memory, stream: &StreamId, batch: &mut Batch) -> i64 {
    if let Some(known) = memory.heads.get(stream) {
        return known.stream_id;
    }
    memory.last_stream_id += 1;
    batch.stream(memory.last_stream_id, stream.as_str());
    memory.last_stream_id
}

fn activations<'a>(items: &'a [Item], outcomes: &[Outcome]) -> Vec<(&'a Activation, u64)> {
    let pairs = items.iter().zip(outcomes);
    pairs
        .filter_map(|pair| match pair {
            (Item::Activate(activation), Outcome::Activated(plan)) => Some((&**activation, *plan)),
            _ => None,
        })
        .collect()
}

fn missing(module: Digest) -> Error {
    Error::Unexpected(format!("module {module} is not in the store"))
}

/// The documents, which nobody else writes while they are inline.
#[async_trait]
impl Documents for Writer {
    type Error = Error;

    async fn read(
        &mut self,
        documents: &[(BuildId, Arc<str>)],
    ) -> Result<Vec<Option<StoredDocument>>> {
        documents::read(&mut self.connection, documents).await
    }

    async fn draw(&mut self, next: Position, events: u64) -> Result<Vec<Position>> {
        Ok(consecutive(next, events))
    }
}

impl Writer {
    async fn commit_batch(
        &mut self,
        items: &[Item],
        inline: Option<&dyn InlineFold>,
    ) -> Result<Vec<Outcome>> {
        let mut memory = self.recall().await?;
        let basis = Basis {
            heads: self.heads(&mut memory, classify::streams(items)).await?,
            known: known(&mut self.connection, items).await?,
            parts: memory.parts.clone(),
            next: Position(memory.last_position.unsigned_abs() + 1),
        };
        let projected = match wanted(inline, items) {
            None => basis.plain(items),
            Some(inline) => project(items, &basis, inline, self).await?,
        };
        let Projected {
            classified, writes, ..
        } = projected;
        let refusal = self.write(&mut memory, items, &classified, &writes).await?;
        // A commit to a file that was deleted or replaced is not acknowledged.
        self.lock.check()?;
        if let Some(reason) = refusal {
            // Nothing of the activation is stored, and it was the only item.
            self.memory = Some(memory);
            return Ok(vec![Outcome::NotSettled(reason)]);
        }
        memory.parts = classified.parts;
        self.memory = Some(memory);
        if !classified.accepted.is_empty() {
            self.waker.log();
        }
        Ok(classified.outcomes)
    }

    /// Writes, and removes what it wrote.
    async fn try_write(&mut self) -> Result<()> {
        let bytes = (2 * self.batch_bytes).clamp(TRIAL_BYTES_MIN, TRIAL_BYTES_MAX);
        let _passed = self.gate.pass().await;
        // A failed transaction may still be open.
        _ = self.connection.execute("ROLLBACK").await;
        // Each is a transaction by itself: pages that are freed in the same one are not written.
        sqlx::query(TRIAL)
            .bind(signed(bytes as u64))
            .execute(&mut self.connection)
            .await?;
        sqlx::query(TRIED).execute(&mut self.connection).await?;
        Ok(())
    }
}

#[async_trait]
impl EventWriter for Writer {
    async fn commit(
        &mut self,
        items: &[Item],
        inline: Option<&dyn InlineFold>,
    ) -> Result<Vec<Outcome>> {
        match self.commit_batch(items, inline).await {
            Ok(outcomes) => Ok(outcomes),
            Err(error) => {
                let error = cause::named(&self.lock, error);
                self.last_write.failed(&error);
                Err(error)
            }
        }
    }

    async fn import(&mut self, part: &Import) -> Result<()> {
        let _passed = self.gate.pass().await;
        if let Err(error) = self.take_in(part).await {
            return Err(cause::named(&self.lock, error));
        }
        self.lock.check()
    }

    async fn check(&mut self) -> Result<()> {
        self.lock.check()?;
        if let Some(expected) = self.last_write.expected() {
            return expected;
        }
        let trial = self.try_write().await;
        let trial = trial.map_err(|error| cause::named(&self.lock, error));
        self.last_write.tried(&trial);
        trial
    }

    async fn close(self: Box<Self>) -> Result<()> {
        for pool in &self.pools {
            pool.close().await;
        }
        let closed = self.connection.close().await;
        self.folder.remove();
        closed.map_err(Error::from)
    }
}
