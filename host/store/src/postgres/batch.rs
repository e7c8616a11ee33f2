//! One try to commit a batch.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sqlx::Executor;
use sqlx::postgres::PgRow;

use super::arrays::{Ground, Rows, head_after, owners};
use super::cell::Cells;
use super::connection::Connection;
use super::error::{Failure, WriteResult};
use super::inline::Locks;
use super::loaded::LoadedHeads;
use super::losses::Newest;
use super::memory::{Memory, TypeKey};
use super::sent::{SentBatch, place};
use super::tables::signed;
use super::turns::LifecycleChange;
use super::{activation, anchors, documents, import, lookup};
use crate::classify::{Classified, Heads, Parts, RecordedIds, Refused, classify};
use crate::projected::{Basis, Projected, project};
use crate::turns::{take, turns};
use crate::{Change, Check, Deployment, Error, Head, InlineFold, Item, Mark, Outcome, Turn};
use quipu_model::{Digest, ExpectedVersion, Position, StreamId, Version};

pub const APPEND: &str = "SELECT outcome, positions FROM append_batch(\
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
    $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34)";
const LOCK: &str = "SELECT name, version, recorded_at, archived_at, truncated_before, digest \
    FROM lock_streams($1, $2)";
const LOCK_PLAN: &str = "SELECT pg_advisory_xact_lock($1::int, 1)";
const SHARE_PLAN: &str = "SELECT pg_advisory_xact_lock_shared($1::int, 1)";

/// The answer of `append_batch`.
const WRITTEN: i32 = 0;
const OTHER_PLAN: i32 = 1;
const OTHER_VERSION: i32 = 2;
const KNOWN_ID: i32 = 3;

/// A try on one connection.
pub struct Attempt<'c> {
    pub connection: &'c mut Connection,
    pub memory: &'c mut Memory,
    pub loaded: &'c LoadedHeads,
    pub newest: &'c Newest,
    pub namespace: i64,
    pub sent: &'c mut Option<SentBatch>,
    /// The inline projections, if they may take something of the batch.
    pub inline: Option<&'c dyn InlineFold>,
}

/// What a batch has written.
#[derive(Default)]
struct WrittenBatch {
    /// The positions of the events.
    positions: Vec<i64>,
    /// The digests of the commits.
    digests: Vec<Digest>,
}

impl Attempt<'_> {
    /// Commits the items. With `locked`, or when beliefs prove wrong twice, the rows that the items
    /// depend on are locked before they are read.
    pub async fn commit(&mut self, items: &[Item], locked: bool) -> WriteResult<Vec<Outcome>> {
        let activates = items.iter().any(|item| matches!(item, Item::Activate(_)));
        if activates || locked || self.inline.is_some() || items.iter().any(truncates) {
            return self.locked(items, activates).await;
        }
        let mut known = RecordedIds::default();
        if self.memory.ids_are_known {
            known = self.known(items).await?;
        }
        for _ in 0..2 {
            let heads = self.believed(items).await?;
            let parts = self.parts().await?;
            let (next, refused) = (Position(1), Refused::new());
            let classified = classify(items, heads.clone(), &known, parts, next, &refused);
            match self.append(items, &heads, &known, &classified, &[]).await? {
                (WRITTEN, written) => {
                    return Ok(self.finish(classified, &written));
                }
                (OTHER_PLAN, _) => self.memory.forget_parts(),
                (OTHER_VERSION, _) => break,
                (KNOWN_ID, _) => known = self.known(items).await?,
                (other, _) => return Err(unexpected(other)),
            }
        }
        self.locked(items, false).await
    }

    /// Locks first, then reads, then writes, all in one transaction.
    async fn locked(&mut self, items: &[Item], activates: bool) -> WriteResult<Vec<Outcome>> {
        self.connection.execute("BEGIN").await?;
        let tried = self.within(items, activates).await;
        if let Err(Failure::Again(_) | Failure::Refused(_)) = &tried {
            self.connection.execute("ROLLBACK").await?;
        }
        tried
    }

    async fn within(&mut self, items: &[Item], activates: bool) -> WriteResult<Vec<Outcome>> {
        let turns = turns(items)?;
        let plan_lock = if activates { LOCK_PLAN } else { SHARE_PLAN };
        sqlx::query(plan_lock)
            .bind(self.namespace)
            .execute(&mut *self.connection)
            .await?;
        // The folded documents are seldom out of date; `append_batch` reports it when they were.
        if activates || self.inline.is_none() {
            self.memory.forget_parts();
        }
        let basis = Basis {
            heads: self.lock(items).await?,
            known: self.known(items).await?,
            parts: self.parts().await?,
            next: Position(1),
        };
        let Projected {
            classified,
            writes,
            positions,
        } = match self.inline {
            None => basis.classified(items, &Refused::new()).into(),
            Some(inline) => {
                let mut locks = Locks {
                    connection: &mut *self.connection,
                    namespace: self.namespace,
                };
                project(items, &basis, inline, &mut locks).await?
            }
        };
        let Basis { heads, known, .. } = &basis;
        let (outcome, written) = self
            .append(items, heads, known, &classified, &positions)
            .await?;
        if outcome == OTHER_PLAN {
            let why = "the plan was raised".to_owned();
            return Err(Failure::Again(Error::Unavailable(why)));
        }
        if outcome != WRITTEN {
            return Err(Failure::Again(Error::Unavailable(
                "streams that are only read change all the time".to_owned(),
            )));
        }
        for deployment in deployments(items, &classified.outcomes) {
            if !activation::activate(self.connection, &deployment).await? {
                let digest = deployment.digest;
                return Err(
                    Error::Unexpected(format!("module {digest} is not in the store")).into(),
                );
            }
        }
        if let Some(reason) = self.turn(turns, &classified).await? {
            *self.sent = None;
            self.connection.execute("ROLLBACK").await?;
            return Ok(vec![Outcome::NotSettled(reason)]);
        }
        for (mark, _) in &classified.marks {
            self.mark(mark).await?;
        }
        documents::write(self.connection, &writes).await?;
        self.connection.execute("COMMIT").await?;
        Ok(self.finish(classified, &written))
    }

    /// Takes the turns of an activation that passed. Returns the reason when they can't be taken.
    async fn turn(
        &mut self,
        turns: &[Turn],
        classified: &Classified<'_>,
    ) -> WriteResult<Option<String>> {
        if turns.is_empty() || !matches!(classified.outcomes[..], [Outcome::Activated(_)]) {
            return Ok(None);
        }
        let last = import::end(self.connection, self.namespace).await?;
        let mut turning = LifecycleChange(&mut *self.connection);
        take(turns, &mut turning, (last, classified.parts.plan)).await
    }

    /// Sends the classified batch, with positions if they are drawn already. Returns the answer,
    /// with the positions of the events and the digests of the commits. The written rows stay in `sent`, because the transaction
    /// may not have ended.
    async fn append(
        &mut self,
        items: &[Item],
        heads: &Heads,
        known: &RecordedIds,
        classified: &Classified<'_>,
        drawn: &[Position],
    ) -> WriteResult<(i32, WrittenBatch)> {
        let mut ground = Ground::default();
        let (locked, seen) = streams(items);
        ground.add_heads(locked, seen, heads);
        ground.unknown(items, known);
        ground.plan = items
            .iter()
            .any(|item| matches!(item, Item::Check(check) if check.plan.is_some()));
        let mut rows = self.rows(&ground, classified).await?;
        rows.positions = drawn.iter().map(|position| signed(position.0)).collect();
        let activated = deployments(items, &classified.outcomes).next();
        *self.sent = Some(SentBatch::new(classified, activated));
        if ground.is_empty() && rows.owners.is_empty() {
            return Ok((WRITTEN, WrittenBatch::default()));
        }
        let plan = self.memory.parts.as_ref().map_or(0, |parts| parts.plan);
        let row = send(self.connection, self.namespace, plan, &ground, &rows).await?;
        let outcome = row.cell(0)?;
        if outcome != WRITTEN {
            *self.sent = None;
        }
        let positions: Option<Vec<i64>> = row.cell(1)?;
        let written = WrittenBatch {
            positions: positions.unwrap_or_default(),
            digests: rows.sealed,
        };
        Ok((outcome, written))
    }

    /// The rows of what was accepted.
    async fn rows<'a>(
        &mut self,
        ground: &Ground<'_>,
        classified: &Classified<'a>,
    ) -> WriteResult<Rows<'a>> {
        let mut rows = Rows::new(ground);
        let owners = owners(&ground.locked);
        // Of several marks of a stream, the last one applies.
        let archived = classified
            .marks
            .iter()
            .filter_map(|(mark, at)| match mark.change {
                Change::Archived(archived) => {
                    Some((mark.stream.as_str(), archived.then(|| signed(at.0))))
                }
                Change::Truncated { .. } | Change::Whole => None,
            });
        let archived: BTreeMap<&str, Option<i64>> = archived.collect();
        (rows.marks, rows.marked_at) = archived.into_iter().unzip();
        let mut type_ids = Vec::new();
        for accepted in &classified.accepted {
            let stream = &accepted.write.stream;
            type_ids.clear();
            for event in &accepted.write.commit.events {
                let key = TypeKey {
                    category: stream.category().into(),
                    name: event.name.clone(),
                    schema_version: event.schema_version,
                    content_type: event.body.content_type().clone(),
                };
                type_ids.push(lookup::type_id(self.connection, self.memory, key).await?);
            }
            let module_id = match accepted.write.commit.decided {
                Some(decided) => {
                    let module = decided.module;
                    Some(lookup::module_id(self.connection, self.memory, module).await?)
                }
                None => None,
            };
            let owner = owners.get(stream.as_str()).copied().unwrap_or_default();
            rows.commit(accepted, owner, &type_ids, module_id)?;
        }
        Ok(rows)
    }

    /// Returns the believed heads of the streams of a batch. The version that a check names is
    /// believed, and so is that a stream is new. Unknown heads are read: a commit needs the digest
    /// of the one before it.
    async fn believed(&mut self, items: &[Item]) -> WriteResult<Heads> {
        let mut heads = Heads::new();
        let (mut new, mut checked) = (HashSet::new(), HashMap::new());
        let mut unknown = BTreeSet::new();
        for (stream, guess) in guesses(items) {
            if let Some(head) = self.memory.heads.get(stream) {
                heads.insert(stream.clone(), *head);
                continue;
            }
            if unknown.contains(stream) || new.contains(stream) {
                continue;
            }
            match guess {
                Guess::New => _ = new.insert(stream),
                Guess::At(version) => _ = checked.entry(stream).or_insert(version),
                Guess::Written(version) => {
                    match version.and_then(|version| self.loaded.take(stream, version)) {
                        Some(head) => {
                            self.memory.heads.insert(stream.clone(), head);
                            heads.insert(stream.clone(), head);
                        }
                        None => _ = unknown.insert(stream),
                    }
                }
            }
        }
        for (stream, version) in checked {
            let is_new = version == Version::NONE || new.contains(stream);
            if !is_new && !unknown.contains(stream) && !heads.contains_key(stream) {
                heads.insert(stream.clone(), believed_at(version));
            }
        }
        if !unknown.is_empty() {
            let read = lookup::heads(self.connection, unknown.iter().copied()).await?;
            for (stream, head) in read {
                self.memory.heads.insert(stream.clone(), head);
                heads.insert(stream, head);
            }
        }
        Ok(heads)
    }

    /// Locks the streams of a batch, and reads all their heads.
    async fn lock(&mut self, items: &[Item]) -> WriteResult<Heads> {
        let (locked, seen) = streams(items);
        for stream in locked.iter().chain(&seen) {
            self.memory.heads.remove(*stream);
        }
        let names: Vec<&str> = locked.iter().map(|stream| stream.as_str()).collect();
        let mut heads = Heads::new();
        if !names.is_empty() {
            let rows = sqlx::query(LOCK)
                .bind(&names)
                .bind(&names)
                .fetch_all(&mut *self.connection)
                .await?;
            let by_name: HashMap<&str, &StreamId> =
                locked.iter().map(|it| (it.as_str(), *it)).collect();
            for row in &rows {
                if let Some(stream) = by_name.get(row.cell::<&str>(0)?)
                    && let Some(head) = lookup::head(row, 1)?
                {
                    heads.insert((*stream).clone(), head);
                }
            }
        }
        heads.extend(lookup::heads(self.connection, seen.into_iter()).await?);
        for (stream, head) in &heads {
            self.memory.heads.insert(stream.clone(), *head);
        }
        Ok(heads)
    }

    async fn known(&mut self, items: &[Item]) -> WriteResult<RecordedIds> {
        let known = lookup::known(self.connection, items).await?;
        self.memory.ids_are_known = !known.commands.is_empty() || !known.events.is_empty();
        Ok(known)
    }

    async fn parts(&mut self) -> WriteResult<Parts> {
        if let Some(parts) = &self.memory.parts {
            return Ok(parts.clone());
        }
        let parts = lookup::parts(self.connection).await?;
        self.memory.parts = Some(parts.clone());
        Ok(parts)
    }

    /// Truncates a stream, or undoes it.
    async fn mark(&mut self, mark: &Mark) -> WriteResult<()> {
        match &mark.change {
            Change::Archived(_) => {}
            Change::Truncated { before, anchor } => {
                anchors::truncate(self.connection, &mark.stream, *before, anchor).await?;
            }
            Change::Whole => anchors::make_whole(self.connection, &mark.stream).await?,
        }
        Ok(())
    }

    /// Remembers what was committed, and adds the positions to the outcomes.
    fn finish(&mut self, classified: Classified<'_>, written: &WrittenBatch) -> Vec<Outcome> {
        let positions = &written.positions;
        for (accepted, digest) in classified.accepted.iter().zip(&written.digests) {
            let stream = accepted.write.stream.clone();
            self.memory
                .heads
                .insert(stream, head_after(accepted, *digest));
        }
        for (mark, _) in &classified.marks {
            self.memory.heads.remove(&mark.stream);
        }
        if let Some(last) = positions.last() {
            self.memory.floor = self.memory.floor.max(Some(*last));
            let mut accepted = classified.accepted.iter().rev();
            if let Some(event) = accepted.find_map(|it| it.write.commit.events.last()) {
                self.newest.saw(*last, event.id);
            }
        }
        self.memory.parts = Some(classified.parts);
        let mut outcomes = classified.outcomes;
        place(&mut outcomes, positions);
        outcomes
    }
}

/// Sends a batch.
pub async fn send(
    connection: &mut Connection,
    namespace: i64,
    plan: u64,
    ground: &Ground<'_>,
    rows: &Rows<'_>,
) -> WriteResult<PgRow> {
    let row = sqlx::query(APPEND)
        .bind(namespace)
        .bind(signed(plan))
        .bind(&ground.locked)
        .bind(&ground.locked_versions)
        .bind(&ground.locked_archived)
        .bind(&ground.locked_digests)
        .bind(&ground.seen)
        .bind(&ground.seen_versions)
        .bind(&ground.seen_archived)
        .bind(&ground.id_streams)
        .bind(&ground.ids)
        .bind(&ground.event_id_streams)
        .bind(&ground.event_ids)
        .bind(&rows.marks)
        .bind(&rows.marked_at)
        .bind(&rows.positions)
        .bind(&rows.owners)
        .bind(&rows.versions)
        .bind(&rows.type_ids)
        .bind(&rows.event_ids)
        .bind(&rows.event_ids_given)
        .bind(&rows.times)
        .bind(&rows.offsets)
        .bind(&rows.data)
        .bind(&rows.metadata)
        .bind(&rows.tags)
        .bind(&rows.command_ids)
        .bind(&rows.sizes)
        .bind(&rows.plans)
        .bind(&rows.module_ids)
        .bind(&rows.fuels)
        .bind(&rows.commands)
        .bind(&rows.digests)
        .bind(&rows.last_digests)
        .fetch_one(connection)
        .await?;
    Ok(row)
}

/// Returns the streams of a batch that are locked, and those that are only read, each in the order
/// of its bytes.
fn streams(items: &[Item]) -> (Vec<&StreamId>, Vec<&StreamId>) {
    let (mut locked, mut seen) = (BTreeSet::new(), BTreeSet::new());
    for item in items {
        match item {
            Item::Append { writes, .. } => locked.extend(writes.iter().map(|it| &it.stream)),
            Item::Mark(mark) => locked.extend([&mark.stream, &mark.write.stream]),
            Item::Check(Check {
                stream,
                version: Some(_),
                ..
            }) => _ = seen.insert(stream),
            Item::Check(_) | Item::Activate(_) => {}
        }
    }
    let seen = seen.difference(&locked).copied().collect();
    (locked.into_iter().collect(), seen)
}

/// What an item says about the head of a stream.
enum Guess {
    /// It is read or checked only, at this version.
    At(Version),
    /// There is no such stream.
    New,
    /// It is written, which needs its whole head; at this version, if the item names one.
    Written(Option<Version>),
}

/// Returns each stream that a batch depends on, in order of the items, with what its item says about
/// it.
fn guesses(items: &[Item]) -> impl Iterator<Item = (&StreamId, Guess)> {
    items.iter().flat_map(|item| match item {
        Item::Append { writes, .. } => writes
            .iter()
            .map(|write| {
                let guess = match write.expected {
                    ExpectedVersion::NoStream | ExpectedVersion::Exact(Version::NONE) => Guess::New,
                    ExpectedVersion::Exact(version) => Guess::Written(Some(version)),
                    _ => Guess::Written(None),
                };
                (&write.stream, guess)
            })
            .collect(),
        Item::Mark(mark) => vec![
            (&mark.stream, Guess::Written(None)),
            (&mark.write.stream, Guess::Written(None)),
        ],
        Item::Check(check) => match check.version {
            Some(version) => vec![(&check.stream, Guess::At(version))],
            None => Vec::new(),
        },
        Item::Activate(_) => Vec::new(),
    })
}

/// A caller that names a version has seen the stream at this version and not archived. The mark is
/// not believed but read by the batch that changes it.
fn believed_at(version: Version) -> Head {
    Head {
        version,
        recorded_at: quipu_model::Timestamp(0),
        archived: false,
        truncated_before: Version::NONE,
        digest: None,
    }
}

/// Returns whether an item changes a mark that `append_batch` does not support.
fn truncates(item: &Item) -> bool {
    matches!(
        item,
        Item::Mark(Mark {
            change: Change::Truncated { .. } | Change::Whole,
            ..
        })
    )
}

/// The activations that passed.
fn deployments<'a>(
    items: &'a [Item],
    outcomes: &'a [Outcome],
) -> impl Iterator<Item = Deployment> + 'a {
    let pairs = items.iter().zip(outcomes);
    pairs.filter_map(|pair| match pair {
        (Item::Activate(activation), Outcome::Activated(plan)) => {
            Some(activation.deployment(*plan))
        }
        _ => None,
    })
}

fn unexpected(outcome: i32) -> Failure {
    Failure::Refused(Error::Unexpected(format!("append_batch answers {outcome}")))
}
