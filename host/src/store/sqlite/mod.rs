//! SQLite: one file, one writer connection, a pool of readers.
//!
//! WAL with `synchronous=FULL`: a commit is on disk before it is answered. A lock
//! file beside the store keeps a second host out.

mod cell;
mod encode;
mod error;
mod modules;
mod reader;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, SqlSafeStr};

use self::cell::Cells;
use self::error::store_error;
use super::{Error, Result, Store};

/// Numbered, forward-only; a number that has been released never changes.
const MIGRATIONS: &[(i64, &str, &str)] = &[(
    1,
    "store",
    include_str!("../../../../migrations/sqlite/0001_store.sql"),
)];

/// Pages after which the writer moves the WAL into the file.
const WAL_PAGES: usize = 4_000;
/// Bytes by which a new WAL is grown beforehand: a flush of a file that does not
/// grow costs half.
const WAL_BYTES: usize = (WAL_PAGES + 200) * (PAGE_BYTES + 24) + 32;
/// SQLite's usual page.
const PAGE_BYTES: usize = 4096;

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
    let path = &resolved(path);
    let lock = Arc::new(lock(path)?);
    grow_wal(path)?;
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
        .pragma("wal_autocheckpoint", WAL_PAGES.to_string())
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
        .connect_with(base.read_only(true).pragma("cache_size", "-16384"))
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

/// The path without links, since the lock file stands beside the file itself. A path
/// that leads nowhere is kept: opening it tells why.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(resolved) = path.canonicalize() {
        return resolved;
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize();
    match (folder, path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// Takes the lock file beside the store; it is released when the file is dropped,
/// also when the process dies.
fn lock(path: &Path) -> Result<File> {
    let beside = PathBuf::from(format!("{}.lock", path.display()));
    let unavailable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
            Error::ReadOnly(format!("{}: {error}", beside.display()))
        }
        _ => Error::Unavailable(format!("{}: {error}", beside.display())),
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&beside)
        .map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

/// Writes zeros where SQLite will write its WAL: a file without the magic number
/// counts as an empty WAL, and is written from its beginning on.
fn grow_wal(path: &Path) -> Result<()> {
    let wal = PathBuf::from(format!("{}-wal", path.display()));
    // One page at a time: one large write would be cached in large pieces, and
    // Linux's file systems then walk such a piece at every small write into it.
    let grow = || -> std::io::Result<()> {
        let mut file = File::create_new(&wal)?;
        for _ in 0..WAL_BYTES.div_ceil(PAGE_BYTES) {
            file.write_all(&[0; PAGE_BYTES])?;
        }
        file.sync_all()
    };
    match grow() {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::Unavailable(format!("{}: {error}", wal.display())))
        }
        _ => Ok(()),
    }
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
    } else if !is_empty(connection).await? {
        let reason = "the file is a database of another program".to_owned();
        return Err(Error::Damaged(reason));
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

/// Whether there is no table yet.
async fn is_empty(connection: &mut SqliteConnection) -> Result<bool> {
    let tables: i64 = sqlx::query("SELECT count(*) FROM sqlite_master")
        .fetch_one(connection)
        .await
        .map_err(|error| store_error(&error))?
        .cell(0)?;
    Ok(tables == 0)
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
