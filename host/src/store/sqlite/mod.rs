//! SQLite: one file, one writer connection, a pool of readers.
//!
//! WAL with `synchronous=FULL`: a commit is on disk before it is answered. A lock
//! file beside the store keeps a second host out.

mod cell;
mod encode;
mod error;
mod file;
mod modules;
mod reader;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlSafeStr};

use self::cell::Cells;
use self::error::store_error;
use super::{Error, Result, Store};

/// Numbered, forward-only; a number that has been released never changes.
const MIGRATIONS: &[(i64, &str, &str)] = &[(
    1,
    "store",
    include_str!("../../../../migrations/sqlite/0001_store.sql"),
)];

/// Rows that a reading connection is ahead of who reads: each may have a MiB.
const ROWS_AHEAD: usize = 16;

/// How to open a file.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections for reading.
    pub readers: u32,
    /// How long a connection waits for another program's lock.
    pub busy_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            readers: 4,
            busy_timeout: Duration::from_secs(5),
        }
    }
}

/// Opens a file, making it if it is missing.
pub async fn open(path: &Path, options: &Options) -> Result<Store> {
    let path = &file::resolved(path);
    let is_new = file::is_new(path)?;
    let lock = Arc::new(file::lock(path)?);
    if is_new {
        create(path).await?;
    }
    file::grow_wal(path)?;
    let base = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(false)
        .busy_timeout(options.busy_timeout)
        .disable_statement_logging();
    let writing = base
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", file::WAL_PAGES.to_string())
        .pragma("cache_size", "-65536")
        .thread_name(|_| "quipu-sqlite".to_owned());
    let mut connection = writing
        .connect()
        .await
        .map_err(|error| store_error(&error))?;
    migrate(&mut connection).await?;
    let secret = secret(&mut connection).await?;
    let pool: SqlitePool = SqlitePoolOptions::new()
        .max_connections(options.readers)
        .connect_with(
            base.read_only(true)
                .pragma("cache_size", "-16384")
                .row_buffer_size(ROWS_AHEAD),
        )
        .await
        .map_err(|error| store_error(&error))?;
    let writer = writer::Writer::open(connection, pool.clone(), lock).await?;
    Ok(Store {
        reader: Arc::new(reader::Reader::new(pool.clone())),
        writer: Box::new(writer),
        modules: Arc::new(modules::Modules::new(pool, writing)),
        secret,
    })
}

/// Makes the file and marks it as a store, before anything is written to a WAL.
async fn create(path: &Path) -> Result<()> {
    let connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .pragma("application_id", file::APPLICATION_ID.to_string())
        .disable_statement_logging()
        .connect()
        .await
        .map_err(|error| store_error(&error))?;
    connection
        .close()
        .await
        .map_err(|error| store_error(&error))
}

async fn migrate(connection: &mut SqliteConnection) -> Result<()> {
    let known = MIGRATIONS.last().map_or(0, |(number, ..)| *number);
    let found = sqlx::query("SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| store_error(&error))?
        .cell::<i64>(0)?;
    if found > 0 {
        let found: i64 = sqlx::query("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
            .fetch_one(&mut *connection)
            .await
            .map_err(|error| store_error(&error))?
            .cell(0)?;
        if found > known {
            return Err(Error::TooNew { found, known });
        }
    }
    let migrations = MIGRATIONS.iter().map(|(number, name, sql)| {
        let sql = sql.into_sql_str();
        Migration::new(*number, (*name).into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
        .run_direct(None, connection, false)
        .await
        .map_err(|error| Error::Damaged(format!("migrations: {error}")))
}

/// The store's secret, made when the store is.
async fn secret(connection: &mut SqliteConnection) -> Result<[u8; 32]> {
    let fresh: [u8; 32] = rand::random();
    sqlx::query("INSERT INTO meta (name, value) VALUES ('secret', ?1) ON CONFLICT DO NOTHING")
        .bind(fresh.to_vec())
        .execute(&mut *connection)
        .await
        .map_err(|error| store_error(&error))?;
    let kept: Vec<u8> = sqlx::query("SELECT value FROM meta WHERE name = 'secret'")
        .fetch_one(connection)
        .await
        .map_err(|error| store_error(&error))?
        .cell(0)?;
    kept.try_into()
        .map_err(|_| Error::Damaged("the secret does not have 32 bytes".to_owned()))
}
