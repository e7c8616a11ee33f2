//! The parts of SQLite that the tables use: the words of its SQL, and how to write next to the
//! writer of events.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, ColumnIndex};

use super::side::{Side, WritePermit};
use super::tables::cell::Cells;
use crate::{Error, Result};
use quipu_model::{Digest, EventId};

pub use sqlx::sqlite::{
    Sqlite as Database, SqliteConnection as Connection, SqlitePool as Pool, SqliteRow as Row,
};

/// The result of a statement in a transaction of the writer.
pub type Failure = Error;
/// A statement with its values.
pub type Query<'q> = sqlx::query::Query<'q, Database, SqliteArguments>;

/// Milliseconds since 1970 UTC.
macro_rules! now {
    () => {
        "CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER)"
    };
}

/// A first token: the time in microseconds, or this number if it is higher.
macro_rules! token {
    ($least:literal) => {
        concat!("max(", super::dialect::now!(), " * 1000, ", $least, ")")
    };
}

/// The end of a lease of this many milliseconds.
macro_rules! until {
    ($ms:literal) => {
        concat!(super::dialect::now!(), " + ", $ms)
    };
}

/// For how many milliseconds a row is held; NULL when nobody holds it.
macro_rules! held_for {
    () => {
        concat!(
            "nullif(max(coalesce(held_until, 0) - ",
            super::dialect::now!(),
            ", 0), 0)"
        )
    };
}

/// The greater of two numbers.
macro_rules! greatest {
    ($one:literal, $other:literal) => {
        concat!("max(", $one, ", ", $other, ")")
    };
}

/// A text that is compared by its bytes.
macro_rules! binary {
    ($text:literal) => {
        $text
    };
}

/// Rows of a JSON array, in the column `value`.
macro_rules! each {
    ($array:literal) => {
        concat!("json_each(", $array, ")")
    };
}

/// Joins rows that are looked up for each of those before.
macro_rules! lookup {
    () => {
        " CROSS JOIN "
    };
}

/// Documents of a build, by the index of their changes.
macro_rules! of_build {
    ($build:literal) => {
        concat!("build = ", $build)
    };
}

/// Nobody else writes meanwhile.
macro_rules! for_update {
    () => {
        ""
    };
}

/// The version of the stream of a row.
macro_rules! stream_version {
    ($row:literal) => {
        concat!(
            "(SELECT max(e.version) FROM events AS e WHERE e.stream_id = ",
            $row,
            ".stream_id)"
        )
    };
}

/// Snapshots and their streams, by the index of the newest ones.
macro_rules! newest_snapshots {
    () => {
        "snapshots AS p INDEXED BY newest_snapshot \
         CROSS JOIN streams AS s ON s.stream_id = p.stream_id"
    };
}
pub(super) use for_update as for_update_of_one;
pub(super) use {
    binary, each, for_update, greatest, held_for, lookup, newest_snapshots, now, of_build,
    stream_version, token, until,
};

/// Each removes up to $2 rows of a build.
pub const SWEEPS: [&str; 5] = [
    "DELETE FROM document_entries WHERE build = $1 AND (number, value, key) <= (\
         SELECT number, value, key FROM (SELECT number, value, key FROM document_entries \
             WHERE build = $1 ORDER BY number, value, key LIMIT $2) \
         ORDER BY number DESC, value DESC, key DESC LIMIT 1)",
    "DELETE FROM parked_events WHERE rowid IN (\
         SELECT rowid FROM parked_events WHERE build = $1 LIMIT $2)",
    "DELETE FROM parked_retries WHERE rowid IN (\
         SELECT rowid FROM parked_retries WHERE build = $1 LIMIT $2)",
    "DELETE FROM skipped_events WHERE rowid IN (\
         SELECT rowid FROM skipped_events WHERE build = $1 LIMIT $2)",
    "DELETE FROM documents WHERE rowid IN (\
         SELECT rowid FROM documents WHERE build = $1 LIMIT $2)",
];

/// Reads through the pool, and writes through the side connection, or through one that waits
/// for the disk.
#[derive(Clone)]
pub struct Connections {
    pool: Pool,
    side: Side,
    durable: Pool,
}

/// A connection with permission to write.
pub struct Writing {
    connection: PoolConnection<Database>,
    _passed: WritePermit,
}

/// A transaction, which is rolled back when it is dropped.
pub struct Transaction {
    inner: sqlx::Transaction<'static, Database>,
    _passed: WritePermit,
}

impl Connections {
    /// Connections of a store.
    pub fn new(pool: Pool, side: Side, durable: Pool) -> Self {
        Self {
            pool,
            side,
            durable,
        }
    }

    /// Connections for reading.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Connections for statements over a whole build, which may take minutes.
    pub fn patient_pool(&self) -> &Pool {
        &self.pool
    }

    /// A connection for reading.
    pub async fn read(&self) -> Result<PoolConnection<Database>> {
        Ok(self.pool.acquire().await?)
    }

    /// Waits for permission to write one statement.
    pub async fn write(&self) -> Result<Writing> {
        let passed = self.side.gate.pass().await;
        Ok(Writing {
            connection: self.side.pool.acquire().await?,
            _passed: passed,
        })
    }

    /// Executes a statement. Returns how many rows it changed.
    pub async fn execute(&self, query: Query<'_>) -> Result<u64> {
        let done = query.execute(&mut *self.write().await?).await?;
        Ok(done.rows_affected())
    }

    /// Begins a transaction, which may be lost in a power failure.
    pub async fn begin(&self) -> Result<Transaction> {
        self.begin_on(&self.side.pool).await
    }

    /// Begins a transaction that is on the disk when it is committed.
    pub async fn begin_durable(&self) -> Result<Transaction> {
        self.begin_on(&self.durable).await
    }

    async fn begin_on(&self, pool: &Pool) -> Result<Transaction> {
        let passed = self.side.gate.pass().await;
        Ok(Transaction {
            inner: pool.begin_with("BEGIN IMMEDIATE").await?,
            _passed: passed,
        })
    }
}

impl Deref for Writing {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Transaction {
    /// Commits the transaction.
    pub async fn commit(self) -> sqlx::Result<()> {
        self.inner.commit().await
    }
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.inner
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.inner
    }
}

/// Nobody else writes meanwhile.
pub async fn lock_builds(_: &mut Connection, _projection: &str) -> Result<()> {
    Ok(())
}

/// Nobody else writes meanwhile.
pub async fn lock_acknowledgements(_: &mut Connection) -> Result<()> {
    Ok(())
}

/// Nobody else writes meanwhile.
pub async fn lock_tokens(_: &mut Connection) -> Result<()> {
    Ok(())
}

/// Nobody else writes meanwhile.
pub async fn lock_tenants(_: &mut Connection) -> Result<()> {
    Ok(())
}

/// Nobody else writes meanwhile.
pub async fn lock_proposals(_: &mut Connection) -> Result<()> {
    Ok(())
}

/// Only one host has a file open.
pub const IS_SHARED: bool = false;

/// Nobody else writes meanwhile.
pub async fn lock_audit(_: &mut Connection) -> Result<()> {
    Ok(())
}

/// Creates a projection's view, unless it exists.
pub async fn make_view(connection: &mut Connection, name: &str, view: &str) -> Result<()> {
    // The name was checked, so it can be put between quotes.
    let sql = format!(
        "CREATE VIEW IF NOT EXISTS \"{view}\" AS SELECT key, document, change FROM documents \
         WHERE build = (SELECT id FROM builds WHERE projection = '{name}' AND role = 'active') \
             AND document IS NOT NULL"
    );
    let making = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection);
    making.await?;
    Ok(())
}

/// A column with a JSON array of texts; none for NULL.
pub fn texts(row: &Row, column: impl ColumnIndex<Row>) -> Result<Option<Vec<String>>> {
    let array: Option<&str> = row.cell(column)?;
    let list = array.map(serde_json::from_str).transpose();
    list.map_err(|error| Error::Damaged(format!("a list of texts: {error}")))
}

/// A column with a JSON array of digests; empty for NULL.
pub fn digests(row: &Row, column: &str) -> Result<Vec<Digest>> {
    let digest = |digits: &String| {
        let digest = digits.parse();
        digest.map_err(|_| Error::Damaged(format!("an activation trusts {digits:?}")))
    };
    let digits = texts(row, column)?.unwrap_or_default();
    digits.iter().map(digest).collect()
}

/// The id of an event.
pub fn event_id(row: &Row, column: usize) -> Result<EventId> {
    EventId::from_slice(row.cell(column)?)
        .map_err(|_| Error::Damaged("an event's id does not have 16 bytes".to_owned()))
}
