//! Imports a part of an export.

use sqlx::sqlite::SqliteConnection;

use super::cell::Cells;
use super::encode::{Batch, First, Place};
use super::error::import_error;
use super::marks;
use super::memory::Memory;
use super::tables::{digests, signed};
use super::turns;
use super::writer::{Writer, stream_id};
use crate::stored::{
    Continued, check_anchor, check_import, holds_inline, last_unproved, module_missing,
    no_stream_to_archive, plan_out_of_order,
};
use crate::{
    Activation, Anchor, Change, Deployment, Import, Result, StoredCommit, StoredEvent, record,
};
use quipu_model::{CommandId, Position, Timestamp};

const COMMIT_SIZE: &str = "SELECT e.commit_size FROM streams AS s \
    JOIN events AS e ON e.stream_id = s.stream_id AND e.version = ?2 WHERE s.name = ?1";

/// Events whose positions follow each other, and the position of the first.
struct Run {
    base: i64,
    batch: Batch,
}

impl Writer {
    /// Imports a part of an export.
    pub(super) async fn take_in(&mut self, part: &Import) -> Result<()> {
        // No other host can have the file open.
        if matches!(part, Import::Begin | Import::End) {
            return Ok(());
        }
        let mut memory = self.recall().await?;
        if let Some(projection) = turns::inline(&mut self.connection).await? {
            self.memory = Some(memory);
            return Err(holds_inline(&projection));
        }
        match part {
            Import::Events(events) => self.take_events(&mut memory, events).await?,
            Import::Plan(deployment) => self.take_plan(&mut memory, deployment).await?,
            Import::Archived(stream, since) => {
                if !marks::archive(&mut self.connection, stream, Some(*since)).await? {
                    return Err(no_stream_to_archive(stream));
                }
                memory.mark(stream, &Change::Archived(true));
            }
            Import::Truncated(anchor) => self.take_anchor(&mut memory, anchor).await?,
            Import::Begin | Import::End => {}
        }
        self.memory = Some(memory);
        self.waker.log();
        Ok(())
    }

    async fn take_plan(&mut self, memory: &mut Memory, deployment: &Deployment) -> Result<()> {
        let after = memory.parts.plan;
        if deployment.plan != after + 1 {
            return Err(plan_out_of_order(deployment.plan, after));
        }
        let activation = Activation {
            name: deployment.name.clone(),
            digest: deployment.digest,
            others: deployment.others.clone(),
            categories: deployment.categories.clone(),
            trusted: deployment.trusted.clone(),
            projections: deployment.projections.clone(),
            turns: Vec::new(),
            plan: after,
            at: deployment.activated_at,
            by: deployment.activated_by.clone(),
            preflight: deployment.preflight.clone(),
        };
        self.begin().await?;
        let activated = match self.activate(&activation, deployment.plan).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(module_missing(deployment.digest)),
            Err(error) => Err(error),
        };
        self.end(activated).await?;
        memory
            .parts
            .activate(&deployment.categories, &deployment.projections);
        Ok(())
    }

    async fn take_anchor(&mut self, memory: &mut Memory, anchor: &Anchor) -> Result<()> {
        let stream = &anchor.stream;
        let heads = self.heads(memory, std::iter::once(stream)).await?;
        check_anchor(anchor, heads.get(stream).copied())?;
        let change = Change::Truncated {
            before: anchor.before,
            anchor: Box::new(anchor.snapshot.clone()),
        };
        self.begin().await?;
        let written =
            marks::change(&mut self.connection, stream, &change, Timestamp::default()).await;
        self.end(written).await?;
        memory.mark(stream, &change);
        Ok(())
    }

    async fn take_events(&mut self, memory: &mut Memory, events: &[StoredEvent]) -> Result<()> {
        let streams = events.iter().map(|event| &event.stream);
        let heads = self.heads(memory, streams).await?;
        let last = Position(memory.last_position.unsigned_abs());
        for continued in check_import(events, last, |stream| heads.get(stream).copied())? {
            let events = commit_size(&mut self.connection, &continued).await?;
            continued.check(events)?;
        }
        let hole = last_hole(events, last);
        let unproved = last_unproved(events);
        let runs = self.encode_runs(memory, events).await?;
        self.begin().await?;
        let written = self.write_runs(runs, hole, unproved).await;
        self.end(written).await
    }

    async fn write_runs(
        &mut self,
        runs: Vec<Run>,
        hole: Option<Position>,
        unproved: Option<Position>,
    ) -> Result<()> {
        for run in runs {
            self.insert(run.base, run.batch, import_error).await?;
        }
        if let Some(unproved) = unproved {
            digests::raise_unproved(&mut self.connection, unproved).await?;
        }
        match hole {
            Some(hole) => self.holes.write(&mut self.connection, hole.0).await,
            None => Ok(()),
        }
    }

    async fn encode_runs(
        &mut self,
        memory: &mut Memory,
        events: &[StoredEvent],
    ) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        let mut rest = events;
        while let Some(first) = rest.first() {
            let follows =
                |(n, event): (u64, &StoredEvent)| event.position.0 == first.position.0 + n;
            let length = (0..).zip(rest).take_while(|pair| follows(*pair)).count();
            let (run, others) = rest.split_at(length);
            let mut batch = Batch::new();
            for event in run {
                self.encode_stored(memory, event, &mut batch).await?;
            }
            memory.last_position = signed(first.position.0) + signed(length as u64) - 1;
            runs.push(Run {
                base: signed(first.position.0),
                batch: batch.finish(),
            });
            rest = others;
        }
        Ok(runs)
    }

    async fn encode_stored(
        &mut self,
        memory: &mut Memory,
        stored: &StoredEvent,
        batch: &mut Batch,
    ) -> Result<()> {
        let stream = &stored.stream;
        let stream_id = stream_id(memory, stream, batch);
        let place = Place {
            stream_id,
            type_id: self.type_id(memory, stream, &stored.event, batch).await?,
            version: stored.version,
            recorded_at: stored.recorded_at,
            commit_offset: stored.commit_offset,
        };
        let mut command = Vec::new();
        let mut digest = memory.digest(stream);
        let first = match &stored.commit {
            Some(commit) => {
                let module_id = self.imported_module(memory, commit).await?;
                let record = commit.command.as_ref();
                if let Some(record) = record {
                    record::encode(record, &mut command)?;
                }
                digest = commit.digest;
                Some(First {
                    command_id: commit.callers_id().map(CommandId::as_str),
                    command: record.map(|_| &*command),
                    events: commit.events,
                    plan: commit.plan,
                    module_id,
                    fuel: commit.decided.map(|decided| decided.fuel),
                    digest,
                })
            }
            None => None,
        };
        batch.event(&place, &stored.event, first)?;
        let (version, at) = (stored.version, stored.recorded_at);
        memory.appended(stream, stream_id, version, at, digest);
        Ok(())
    }

    async fn imported_module(
        &mut self,
        memory: &mut Memory,
        commit: &StoredCommit,
    ) -> Result<Option<i64>> {
        let Some(decided) = commit.decided else {
            return Ok(None);
        };
        let module_id = self.module_id(memory, decided.module).await?;
        module_id
            .map(Some)
            .ok_or_else(|| module_missing(decided.module))
    }
}

/// Number of the events of a commit that was begun in an earlier part; none when no
/// commit begins there.
async fn commit_size(
    connection: &mut SqliteConnection,
    continued: &Continued<'_>,
) -> Result<Option<u64>> {
    let row = sqlx::query(COMMIT_SIZE)
        .bind(continued.stream.as_str())
        .bind(signed(continued.first.0))
        .fetch_optional(connection)
        .await?;
    let size = row.map(|row| row.cell::<Option<i64>>(0)).transpose()?;
    Ok(size.flatten().map(i64::unsigned_abs))
}

/// The event after the last hole.
fn last_hole(events: &[StoredEvent], last: Position) -> Option<Position> {
    let before = [last]
        .into_iter()
        .chain(events.iter().map(|it| it.position));
    let pairs = before.zip(events.iter().map(|event| event.position));
    pairs
        .filter(|(before, at)| at.0 != before.0 + 1)
        .last()
        .map(|(_, at)| at)
}
