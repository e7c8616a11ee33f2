//! The parts of PostgreSQL that the tables use: the words of its SQL, and its locks.

use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, ColumnIndex};

use super::tables::cell::Cells;
use crate::{Error, Result};
use quipu_model::{Digest, EventId};

pub use super::connection::{Connection, Pool, Transaction};
pub use super::error::Failure;
pub use sqlx::postgres::{PgRow as Row, Postgres as Database};

/// A statement with its values.
pub type Query<'q> = sqlx::query::Query<'q, Database, PgArguments>;

/// The server's time, which moves on within a transaction.
macro_rules! now {
    () => {
        "clock_timestamp()"
    };
}

/// A first token: the server's time in microseconds, or this number if it is higher.
macro_rules! token {
    ($least:literal) => {
        concat!(
            "greatest((extract(epoch FROM clock_timestamp()) * 1000000)::bigint, ",
            $least,
            "::bigint)"
        )
    };
}

/// The end of a lease of this many milliseconds.
macro_rules! until {
    ($ms:literal) => {
        concat!(
            super::dialect::now!(),
            " + ",
            $ms,
            " * interval '1 millisecond'"
        )
    };
}

/// For how many milliseconds a row is held; NULL when nobody holds it. The time is that of the
/// statement, so that it is the same in both places.
macro_rules! held_for {
    () => {
        "CASE WHEN held_until > statement_timestamp() THEN ceil(extract(epoch FROM \
         held_until - statement_timestamp()) * 1000)::bigint END"
    };
}

/// The greater of two numbers.
macro_rules! greatest {
    ($one:literal, $other:literal) => {
        concat!("greatest(", $one, ", ", $other, ")")
    };
}

/// A text that is compared by its bytes.
macro_rules! binary {
    ($text:literal) => {
        concat!($text, " COLLATE \"C\"")
    };
}

/// Rows of a JSON array, in the column `value`.
macro_rules! each {
    ($array:literal) => {
        concat!("json_array_elements(", $array, "::text::json) AS u (value)")
    };
}

/// Joins rows that are looked up for each of those before.
macro_rules! lookup {
    () => {
        " JOIN "
    };
}

/// Documents of a build, by the index of their changes: of the negative build.
macro_rules! of_build {
    ($build:literal) => {
        concat!("-build = -", $build)
    };
}

/// Nobody else changes the rows until the end of the transaction.
macro_rules! for_update {
    () => {
        " FOR UPDATE"
    };
}

/// The same, and skips rows that somebody else has locked.
macro_rules! for_update_of_one {
    () => {
        " FOR UPDATE SKIP LOCKED"
    };
}

/// The version of the stream of a row; NULL when it has no event.
macro_rules! stream_version {
    ($row:literal) => {
        concat!(
            "(SELECT nullif(o.version, 0) FROM streams AS o WHERE o.stream_id = ",
            $row,
            ".stream_id)"
        )
    };
}

/// Snapshots and their streams.
macro_rules! newest_snapshots {
    () => {
        "snapshots AS p JOIN streams AS s ON s.stream_id = p.stream_id"
    };
}
pub(super) use {
    binary, each, for_update, for_update_of_one, greatest, held_for, lookup, newest_snapshots, now,
    of_build, stream_version, token, until,
};

/// Each removes up to $2 rows of a build.
pub const SWEEPS: [&str; 5] = [
    "DELETE FROM document_entries WHERE ctid = ANY (ARRAY(\
        SELECT ctid FROM document_entries WHERE build = $1 LIMIT $2))",
    "DELETE FROM parked_events WHERE ctid = ANY (ARRAY(\
        SELECT ctid FROM parked_events WHERE build = $1 LIMIT $2))",
    "DELETE FROM parked_retries WHERE ctid = ANY (ARRAY(\
        SELECT ctid FROM parked_retries WHERE build = $1 LIMIT $2))",
    "DELETE FROM skipped_events WHERE ctid = ANY (ARRAY(\
        SELECT ctid FROM skipped_events WHERE build = $1 LIMIT $2))",
    "DELETE FROM documents WHERE ctid = ANY (ARRAY(\
        SELECT ctid FROM documents WHERE build = $1 LIMIT $2))",
];
/// A transaction that adds or drops builds locks the projection, then the builds.
const LOCK_BUILDS: [&str; 2] = [
    "SELECT name FROM projections WHERE name = $1 FOR UPDATE",
    "SELECT id FROM builds WHERE projection = $1 AND role <> 'dropped' ORDER BY id FOR UPDATE",
];
/// Hosts that acknowledge at the same time must not exceed the limit together. Readers are not
/// blocked.
const LOCK_ACKNOWLEDGEMENTS: &str = "LOCK TABLE acknowledged_findings IN SHARE ROW EXCLUSIVE MODE";
/// Nor can two tokens get the same name, or two records of the audit the same number.
const LOCK_TOKENS: &str = "LOCK TABLE tokens IN SHARE ROW EXCLUSIVE MODE";
const LOCK_TENANTS: &str = "LOCK TABLE tenants IN SHARE ROW EXCLUSIVE MODE";
const LOCK_PROPOSALS: &str = "LOCK TABLE proposals IN SHARE ROW EXCLUSIVE MODE";
const LOCK_AUDIT: &str = "LOCK TABLE audit IN SHARE ROW EXCLUSIVE MODE";
const VIEW: &str = "SELECT to_regclass(quote_ident($1)) IS NOT NULL";

/// The pool of a store, and the number that distinguishes its advisory locks.
#[derive(Clone)]
pub struct Connections {
    pool: Pool,
    patient_pool: Pool,
    pub namespace: i64,
}

impl Connections {
    /// Connections of a store.
    pub fn new(pool: Pool, namespace: i64) -> Self {
        Self {
            patient_pool: pool.patient(),
            pool,
            namespace,
        }
    }

    /// Connections for reading.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Connections for statements over a whole build, which may take minutes.
    pub fn patient_pool(&self) -> &Pool {
        &self.patient_pool
    }

    /// A connection for reading.
    pub async fn read(&self) -> Result<Box<Connection>> {
        Ok(Box::new(self.pool.acquire().await?))
    }

    /// A connection to write one statement.
    pub async fn write(&self) -> Result<Box<Connection>> {
        self.read().await
    }

    /// Executes a statement. Returns how many rows it changed.
    pub async fn execute(&self, query: Query<'_>) -> Result<u64> {
        Ok(query.execute(&self.pool).await?.rows_affected())
    }

    /// Begins a transaction, which is rolled back when it is dropped.
    pub async fn begin(&self) -> Result<Transaction> {
        Ok(self.pool.begin().await?)
    }

    /// Begins a transaction whose commit waits for the disk.
    pub async fn begin_durable(&self) -> Result<Transaction> {
        self.begin().await
    }
}

/// Prevents others from changing the builds of a projection until the end of the transaction.
pub async fn lock_builds(connection: &mut Connection, projection: &str) -> Result<()> {
    for sql in LOCK_BUILDS {
        let query = sqlx::query(sql).bind(projection);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Prevents others from acknowledging anything until the end of the transaction.
pub async fn lock_acknowledgements(connection: &mut Connection) -> Result<()> {
    let locking = sqlx::query(LOCK_ACKNOWLEDGEMENTS);
    locking.execute(connection).await?;
    Ok(())
}

/// Prevents others from making tokens until the end of the transaction.
pub async fn lock_tokens(connection: &mut Connection) -> Result<()> {
    sqlx::query(LOCK_TOKENS).execute(connection).await?;
    Ok(())
}

/// Prevents others from changing tenants until the end of the transaction.
pub async fn lock_tenants(connection: &mut Connection) -> Result<()> {
    sqlx::query(LOCK_TENANTS).execute(connection).await?;
    Ok(())
}

/// Prevents others from proposing until the end of the transaction.
pub async fn lock_proposals(connection: &mut Connection) -> Result<()> {
    sqlx::query(LOCK_PROPOSALS).execute(connection).await?;
    Ok(())
}

/// Several hosts may have a schema open.
pub const IS_SHARED: bool = true;

/// Prevents others from appending to the audit until the end of the transaction.
pub async fn lock_audit(connection: &mut Connection) -> Result<()> {
    sqlx::query(LOCK_AUDIT).execute(connection).await?;
    Ok(())
}

/// Creates a projection's view, unless it exists.
pub async fn make_view(connection: &mut Connection, name: &str, view: &str) -> Result<()> {
    let found = sqlx::query_scalar(VIEW).bind(view);
    if found.fetch_one(&mut *connection).await? {
        return Ok(());
    }
    // The name was checked, so it can be put between quotes.
    let sql = format!(
        "CREATE VIEW \"{view}\" AS SELECT key, document::json AS document, change FROM documents \
         WHERE build = (SELECT id FROM builds WHERE projection = '{name}' AND role = 'active') \
             AND document IS NOT NULL"
    );
    let making = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection);
    making.await?;
    Ok(())
}

/// A column with an array of texts; none for NULL.
pub fn texts(row: &Row, column: impl ColumnIndex<Row>) -> Result<Option<Vec<String>>> {
    row.cell(column)
}

/// A column with an array of digests; empty for NULL.
pub fn digests(row: &Row, column: &str) -> Result<Vec<Digest>> {
    let digest = |bytes: Vec<u8>| {
        let bytes = bytes.try_into();
        bytes
            .map(Digest)
            .map_err(|_| Error::Damaged("a fold that is trusted does not have 32 bytes".to_owned()))
    };
    let digests: Option<Vec<Vec<u8>>> = row.cell(column)?;
    let digests = digests.unwrap_or_default();
    digests.into_iter().map(digest).collect()
}

/// The id of an event.
pub fn event_id(row: &Row, column: usize) -> Result<EventId> {
    row.cell(column)
}
