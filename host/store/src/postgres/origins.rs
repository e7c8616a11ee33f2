//! Gaps in the positions where a store continues on another server, or from a dump.
//!
//! A promoted standby, and a restored backup, may lack events that somebody has seen. Hosts that knew
//! them may not run any more. So the store remembers the server, the timeline and the table in which
//! its events were written last. The first host that finds another one moves the sequence of
//! positions by [`GAP`], before anything is written. So no position that somebody has seen gets
//! another event, unless more than that number of positions are missing.

use sqlx::Executor;
use sqlx::postgres::PgRow;

use super::cell::Cells;
use super::connection::Connection;
use super::error::WriteResult;
use super::losses::LOCK_PLAN;

/// More positions than a standby lacks: 100 s of 10,000 events each.
const GAP: i64 = 1_000_000;

/// The server and the timeline, now and when the store was written last. A promotion begins another
/// timeline. It is known from the name of a WAL file at once, and from `pg_control_checkpoint` only
/// after the next checkpoint.
const ORIGINS: &str = "SELECT (SELECT system_identifier FROM pg_control_system()) || '/' || \
         left(pg_walfile_name(pg_current_wal_lsn()), 8), \
     'events'::regclass::oid::text, \
     (SELECT convert_from(value, 'UTF8') FROM meta WHERE name = 'origin'), \
     (SELECT convert_from(value, 'UTF8') FROM meta WHERE name = 'origin_table')";
const SET: &str = "INSERT INTO meta (name, value) VALUES ('origin', convert_to($1, 'UTF8')), \
         ('origin_table', convert_to($2, 'UTF8')) \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value";
const SKIP: &str = "SELECT last_position(), setval('positions', last_position() + $1)";

/// Where a store is: the server with its timeline, and the table of its events, which a restored dump
/// has created.
struct Origins {
    now: [String; 2],
    /// None in a store that was not written since this is remembered.
    known: [Option<String>; 2],
}

impl Origins {
    /// Whether everything is remembered as it is.
    fn is_known(&self) -> bool {
        let mut pairs = self.now.iter().zip(&self.known);
        pairs.all(|(now, known)| known.as_ref() == Some(now))
    }

    /// Whether something is remembered otherwise.
    fn is_other(&self) -> bool {
        let mut pairs = self.now.iter().zip(&self.known);
        pairs.any(|(now, known)| known.as_ref().is_some_and(|known| known != now))
    }
}

/// Moves the sequence of positions when the store has come to another server since it was written
/// last.
pub async fn check(connection: &mut Connection, namespace: i64) -> WriteResult<()> {
    match origins(connection).await? {
        Some(origins) if !origins.is_known() => arrive(connection, namespace).await,
        _ => Ok(()),
    }
}

async fn arrive(connection: &mut Connection, namespace: i64) -> WriteResult<()> {
    connection.execute("BEGIN").await?;
    // Nobody draws a position meanwhile.
    let lock = sqlx::query(LOCK_PLAN).bind(namespace);
    lock.execute(&mut *connection).await?;
    let mut moved = None;
    // Another host may have been first.
    if let Some(origins) = origins(connection).await? {
        if origins.is_other() {
            let skip = sqlx::query(SKIP).bind(GAP);
            moved = Some(skip.fetch_one(&mut *connection).await?);
        }
        let [server, table] = origins.now;
        let set = sqlx::query(SET).bind(server).bind(table);
        set.execute(&mut *connection).await?;
    }
    connection.execute("COMMIT").await?;
    moved.as_ref().map_or(Ok(()), report)
}

fn report(moved: &PgRow) -> WriteResult<()> {
    let (last, next): (i64, i64) = (moved.cell(0)?, moved.cell(1)?);
    tracing::warn!(
        last,
        next,
        "the store was promoted, restored, or is on another server: positions continue after a gap"
    );
    Ok(())
}

/// None where the server does not say it, as some services that are compatible with PostgreSQL.
async fn origins(connection: &mut Connection) -> WriteResult<Option<Origins>> {
    match sqlx::query(ORIGINS).fetch_one(connection).await {
        Ok(row) => Ok(Some(Origins {
            now: [row.cell(0)?, row.cell(1)?],
            known: [row.cell(2)?, row.cell(3)?],
        })),
        Err(sqlx::Error::Database(error)) if is_unsupported(error.code().as_deref()) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Not supported, no privilege, or no such function.
fn is_unsupported(code: Option<&str>) -> bool {
    matches!(code, Some("0A000" | "42501" | "42883"))
}
