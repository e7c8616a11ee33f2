//! Imports an export.

use std::collections::{BTreeSet, HashMap};

use sqlx::Executor;

use super::arrays::{Ground, Rows, owners};
use super::batch::send;
use super::cell::Cells;
use super::connection::Connection;
use super::error::{Failure, WriteResult};
use super::memory::{Memory, TypeKey};
use super::tables::{digests, signed};
use super::{activation, anchors, lookup, turns};
use crate::stored::{
    Continued, check_anchor, check_import, holds_inline, last_unproved, module_missing,
    no_stream_to_archive, plan_out_of_order,
};
use crate::{Anchor, Deployment, Error, Import, StoredEvent};
use quipu_model::{Position, StreamId};

const LOCK_PLAN: &str = "SELECT pg_advisory_xact_lock($1::int, 1)";
const LAST: &str =
    "SELECT greatest(last_position(), (SELECT coalesce(max(position), 0) FROM events))";
const COMMIT_SIZE: &str = "SELECT e.commit_size::bigint FROM streams AS s \
    JOIN events AS e ON e.stream_id = s.stream_id AND e.version = $2 WHERE s.name = $1";
const FOLLOW: &str = "SELECT follow_import($1)";
const ARCHIVE: &str = "UPDATE streams SET archived_at = $2 WHERE name = $1 AND version > 0";

/// Imports one part, all or nothing.
pub async fn part(
    connection: &mut Connection,
    memory: &mut Memory,
    namespace: i64,
    part: &Import,
) -> WriteResult<()> {
    connection.execute("BEGIN").await?;
    // Nobody reads the plan for an append meanwhile. Other hosts may not write at all: see
    // `Session::exclude_others`.
    let done = async {
        sqlx::query(LOCK_PLAN)
            .bind(namespace)
            .execute(&mut *connection)
            .await?;
        if let Some(projection) = turns::inline(connection).await? {
            return Err(holds_inline(&projection).into());
        }
        match part {
            Import::Events(given) => events(connection, memory, namespace, given).await,
            Import::Plan(deployment) => plan(connection, deployment).await,
            Import::Archived(stream, since) => {
                let done = sqlx::query(ARCHIVE)
                    .bind(stream.as_str())
                    .bind(signed(since.0))
                    .execute(&mut *connection)
                    .await?;
                match done.rows_affected() {
                    0 => Err(no_stream_to_archive(stream).into()),
                    _ => Ok(()),
                }
            }
            Import::Truncated(anchor) => truncate(connection, anchor).await,
            // The session locks other hosts out, for all parts together.
            Import::Begin | Import::End => Ok(()),
        }
    }
    .await;
    match done {
        Ok(()) => {
            connection.execute("COMMIT").await?;
            follow(connection, namespace).await?;
        }
        Err(failure) => {
            connection.execute("ROLLBACK").await?;
            return Err(failure);
        }
    }
    let floor = memory.floor;
    *memory = Memory::new();
    memory.floor = floor;
    if let Import::Events(events) = part
        && let Some(last) = events.last()
    {
        memory.floor = Some(signed(last.position.0));
    }
    Ok(())
}

/// Makes the imported events readable, if nobody has done so yet.
pub async fn follow(connection: &mut Connection, namespace: i64) -> sqlx::Result<()> {
    let follow = sqlx::query(FOLLOW).bind(namespace);
    follow.execute(connection).await.map(|_| ())
}

/// The end of the log, where nobody appends. Imported events are after it once they are followed.
pub async fn end(connection: &mut Connection, namespace: i64) -> Result<Position, Failure> {
    follow(connection, namespace).await?;
    let row = sqlx::query(LAST).fetch_one(connection).await?;
    Ok(Position(row.number(0)?))
}

async fn events(
    connection: &mut Connection,
    memory: &mut Memory,
    namespace: i64,
    given: &[StoredEvent],
) -> WriteResult<()> {
    let row = sqlx::query(LAST).fetch_one(&mut *connection).await?;
    let last = Position(row.number(0)?);
    let streams: BTreeSet<&StreamId> = given.iter().map(|event| &event.stream).collect();
    let heads = lookup::heads(connection, streams.iter().copied()).await?;
    for continued in check_import(given, last, |stream| heads.get(stream).copied())? {
        continued.check(commit_size(connection, &continued).await?)?;
    }
    let mut ground = Ground::default();
    ground.add_heads(streams.into_iter().collect(), Vec::new(), &heads);
    let owners: HashMap<_, _> = owners(&ground.locked);
    let mut rows = Rows::new(&ground);
    for stored in given {
        let event = &stored.event;
        let key = TypeKey {
            category: stored.stream.category().into(),
            name: event.name.clone(),
            schema_version: event.schema_version,
            content_type: event.body.content_type().clone(),
        };
        let type_id = lookup::type_id(connection, memory, key).await?;
        let decided = stored.commit.as_ref().and_then(|commit| commit.decided);
        let module_id = match decided {
            Some(decided) => {
                let module = lookup::module_id(connection, memory, decided.module).await;
                Some(module.map_err(|failure| unfit(failure, module_missing(decided.module)))?)
            }
            None => None,
        };
        let owner = owners.get(stored.stream.as_str()).copied();
        rows.stored(stored, owner.unwrap_or_default(), type_id, module_id)?;
    }
    let plan = lookup::parts(connection).await?.plan;
    let sent = send(connection, namespace, plan, &ground, &rows).await;
    let known = || Error::Import("something of it is in the store already".to_owned());
    let row = sent.map_err(|failure| unfit(failure, known()))?;
    match row.cell::<i32>(0)? {
        0 => match last_unproved(given) {
            Some(unproved) => Ok(digests::raise_unproved(connection, unproved).await?),
            None => Ok(()),
        },
        other => Err(Error::Unexpected(format!("append_batch answers {other}")).into()),
    }
}

/// Number of the events of a commit that was begun in an earlier part; none when no
/// commit begins there.
async fn commit_size(
    connection: &mut Connection,
    continued: &Continued<'_>,
) -> Result<Option<u64>, Failure> {
    let row = sqlx::query(COMMIT_SIZE)
        .bind(continued.stream.as_str())
        .bind(signed(continued.first.0))
        .fetch_optional(connection)
        .await?;
    let size = row.map(|row| row.maybe_number(0)).transpose()?;
    Ok(size.flatten())
}

/// A violation means that the import does not fit the store: the server refuses only constraints
/// and references, and can't name them.
fn unfit(failure: Failure, unfit: Error) -> Failure {
    match failure {
        Failure::Refused(Error::Unexpected(_)) => unfit.into(),
        other => other,
    }
}

async fn plan(connection: &mut Connection, deployment: &Deployment) -> WriteResult<()> {
    let last = lookup::parts(connection).await?.plan;
    if deployment.plan != last + 1 {
        return Err(plan_out_of_order(deployment.plan, last).into());
    }
    if activation::activate(connection, deployment).await? {
        return Ok(());
    }
    Err(module_missing(deployment.digest).into())
}

async fn truncate(connection: &mut Connection, anchor: &Anchor) -> WriteResult<()> {
    let heads = lookup::heads(connection, std::iter::once(&anchor.stream)).await?;
    check_anchor(anchor, heads.get(&anchor.stream).copied())?;
    anchors::truncate(connection, &anchor.stream, anchor.before, &anchor.snapshot).await?;
    Ok(())
}
