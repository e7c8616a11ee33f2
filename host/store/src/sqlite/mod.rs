//! SQLite: one file, one writer connection, a pool of readers.
//!
//! WAL with `synchronous=FULL`: a commit is on disk before it is answered. Data that may be lost in
//! a power failure (checkpoints, snapshots, counts of types, documents) is written through a side
//! connection that does not wait for the disk. A lock file next to the store keeps a second host
//! out.
//!
//! A `memory:` store is the same in a temporary folder, and never waits for the disk.

mod anchors;
mod backup;
mod cause;
mod counting;
mod dialect;
mod documents;
mod encode;
mod error;
mod file;
mod import;
mod known;
mod log;
mod marks;
mod memory;
mod packed;
mod reader;
mod rejected;
mod rows;
mod scans;
mod sealing;
mod side;
mod streams;
#[path = "../tables/mod.rs"]
mod tables;
mod temporary;
#[cfg(test)]
mod tests;
mod wal;
mod writer;

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};

pub use self::backup::backup;
use self::dialect::Connections;
pub use self::error::database_error;
pub use self::file::delete;
use self::side::{Gate, Side};
use self::tables::cell::{self, Cells};
use self::tables::{
    acknowledged, audit, checkpoints, digests, jobs, modules, projections, proposals, rejections,
    snapshots, tenants, tokens, turns, types,
};
use self::temporary::Folder;
use super::migrations::{self, SQLITE, WRITERS_FROM, check_usable};
use super::wake::Waker;
use super::{Error, Job, Migrated, Result, Source, Store, StoredBytes};
use quipu_model::Timestamp;
use quipu_model::supervise::Supervisor;

/// Rows that a reading connection fetches ahead of the reader. Each may have a MiB.
const ROWS_AHEAD: usize = 16;

/// How long the connection for rare writes that wait for the disk stays open.
const DURABLE_IDLE: Duration = Duration::from_secs(10);

/// How to open a file.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections for reading.
    pub readers: u32,
    /// How long a connection waits for another program's lock.
    pub busy_timeout: Duration,
    /// Most pages that the file may have; none for no limit other than the disk.
    pub pages_max: Option<u32>,
    /// Pages of the WAL from which on the writer waits for readers, so that the WAL can be written
    /// from its beginning again.
    pub wal_pages_max: u32,
    /// How often it is checked.
    pub wal_look: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            readers: 4,
            busy_timeout: Duration::from_secs(5),
            pages_max: None,
            wal_pages_max: 16_000,
            wal_look: Duration::from_secs(5),
        }
    }
}

/// Opens a file, making it if it is missing.
pub async fn open(path: &Path, options: &Options) -> Result<Store> {
    open_in(Folder::permanent(), path, options).await
}

/// Makes a store in a temporary folder, which is removed when the store is closed or dropped.
/// Nothing in it outlives the process, so nothing waits for the disk.
pub async fn open_temporary(options: &Options) -> Result<Store> {
    let (folder, path) = Folder::temporary()?;
    open_in(folder, &path, options).await
}

async fn open_in(folder: Folder, path: &Path, options: &Options) -> Result<Store> {
    let path = &file::resolved(path);
    file::check_free(path)?;
    file::check_names(path)?;
    let is_new = file::is_new(path)?;
    let mut lock = file::lock(path)?;
    let synchronous = match folder.is_temporary() {
        true => SqliteSynchronous::Off,
        false => SqliteSynchronous::Full,
    };
    if is_new {
        create(path, synchronous).await?;
    }
    lock.take_database(path)?;
    if !folder.is_temporary() {
        file::grow_wal(path)?;
    }
    let base = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(false)
        .busy_timeout(options.busy_timeout)
        .disable_statement_logging();
    let writing = base
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .pragma("wal_autocheckpoint", file::WAL_PAGES.to_string())
        .pragma("cache_size", "-65536")
        .thread_name(|_| "quipu-sqlite".to_owned());
    let writing = match options.pages_max {
        Some(pages) => writing.pragma("max_page_count", pages.to_string()),
        None => writing,
    };
    let mut connection = writing.connect().await?;
    run_migrations(&mut connection).await?;
    let secret = secret(&mut connection).await?;
    release_all(&mut connection).await?;
    let pool: SqlitePool = SqlitePoolOptions::new()
        .max_connections(options.readers)
        .connect_with(
            base.read_only(true)
                .pragma("cache_size", "-16384")
                .row_buffer_size(ROWS_AHEAD),
        )
        .await?;
    let gate = Gate::default();
    let side = Side::new(&writing, synchronous, gate.clone(), folder.clone());
    let (waker, wakes) = Waker::new();
    let holes = log::Holes::default();
    let bounds = (options.wal_pages_max, options.wal_look);
    let wal = wal::Wal::new((path, &writing), gate.clone(), bounds);
    let durable = SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(DURABLE_IDLE)
        .connect_lazy_with(writing);
    let pools = vec![pool.clone(), side.pool(), durable.clone(), wal.pool()];
    lock.remember(path)?;
    let place = (lock, folder.clone());
    let writer = writer::Writer::open(connection, gate, pools, holes.clone(), waker, place).await?;
    let tables = Connections::new(pool.clone(), side, durable);
    let supervisor = Supervisor::default();
    let keeping = supervisor.restarting("keeper of the WAL", move || wal.clone().keep_short());
    tokio::spawn(keeping);
    Ok(Store {
        reader: Arc::new(reader::Reader::new(pool, holes, folder)),
        writer: Box::new(writer),
        modules: Arc::new(modules::Modules(tables.clone())),
        checkpoints: Arc::new(checkpoints::Checkpoints(tables.clone())),
        snapshots: Arc::new(snapshots::Snapshots(tables.clone())),
        types: Arc::new(types::Types(tables.clone())),
        documents: Arc::new(projections::Projections(tables.clone())),
        rejections: Arc::new(rejections::Rejections(tables.clone())),
        acknowledgements: Arc::new(acknowledged::Acknowledgements(tables.clone())),
        tokens: Arc::new(tokens::Tokens(tables.clone())),
        audit: Arc::new(audit::Audit(tables.clone())),
        tenants: Arc::new(tenants::Tenants(tables.clone())),
        proposals: Arc::new(proposals::Proposals(tables.clone())),
        jobs: Arc::new(jobs::Jobs(tables.clone())),
        digests: Arc::new(digests::Digests(tables)),
        wakes,
        secret,
        supervisor,
    })
}

/// Makes the file and marks it as a store, before anything is written to a WAL.
async fn create(path: &Path, synchronous: SqliteSynchronous) -> Result<()> {
    let connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .synchronous(synchronous)
        .pragma("application_id", file::APPLICATION_ID.to_string())
        .disable_statement_logging()
        .connect()
        .await?;
    connection.close().await.map_err(Error::from)
}

/// Migrates a file to the version of this program, and creates it if it is missing.
pub async fn migrate(path: &Path) -> Result<Migrated> {
    let from = match file::is_new(&file::resolved(path))? {
        true => 0,
        false => {
            let mut connection = connect_reading(path).await?;
            let found = version(&mut connection).await?;
            connection.close().await?;
            found
        }
    };
    let store = open(path, &Options::default()).await?;
    store.writer.close().await?;
    let to = SQLITE.newest().max(from);
    Ok(Migrated { from, to })
}

/// Whether the file is a store.
pub fn is_there(path: &Path) -> Result<bool> {
    Ok(!file::is_new(&file::resolved(path))?)
}

/// Refuses a path without a store. Creates nothing.
pub fn check_exists(path: &Path) -> Result<()> {
    let path = &file::resolved(path);
    match file::is_new(path)? {
        true => Err(missing(path)),
        false => Ok(()),
    }
}

fn missing(path: &Path) -> Error {
    Error::Unavailable(format!(
        "there is no store at {}; check the path, or create a store with `quipu serve`",
        path.display()
    ))
}

/// Opens a file only for reading, also while a host has it open.
pub async fn open_reading(path: &Path) -> Result<Source> {
    let (reader, tables) = reading_tables(path).await?;
    Ok(Source {
        reader,
        modules: Arc::new(modules::Modules(tables.clone())),
        snapshots: Arc::new(snapshots::Snapshots(tables.clone())),
        documents: Arc::new(projections::Projections(tables.clone())),
        digests: Arc::new(digests::Digests(tables)),
    })
}

/// The same for what has digests.
pub async fn open_bytes(path: &Path) -> Result<StoredBytes> {
    let (reader, tables) = reading_tables(path).await?;
    Ok(StoredBytes {
        reader,
        digests: Arc::new(digests::Digests(tables.clone())),
        modules: Arc::new(modules::Modules(tables.clone())),
        snapshots: Arc::new(snapshots::Snapshots(tables.clone())),
        audit: Arc::new(audit::Audit(tables.clone())),
        acknowledgements: Arc::new(acknowledged::Acknowledgements(tables)),
    })
}

async fn reading_tables(path: &Path) -> Result<(Arc<reader::Reader>, Connections)> {
    let mut connection = connect_reading(path).await?;
    let found = version(&mut connection).await?;
    match found.cmp(&SQLITE.newest()) {
        Ordering::Equal => {}
        Ordering::Greater => check_newer(&mut connection, found).await?,
        Ordering::Less => {
            return Err(Error::ReadOnly(format!(
                "{} has schema version {found}, this program reads {}: run `quipu migrate`",
                path.display(),
                SQLITE.newest()
            )));
        }
    }
    let holes = log::Holes::default();
    holes.read(&mut connection).await?;
    let pool = SqlitePoolOptions::new()
        .max_connections(Options::default().readers)
        .connect_lazy_with(reading(path).row_buffer_size(ROWS_AHEAD));
    let side = Side::reading(pool.clone());
    let tables = Connections::new(pool.clone(), side, pool.clone());
    let reader = reader::Reader::new(pool, holes, Folder::permanent());
    Ok((Arc::new(reader), tables))
}

/// Records a job in a file, also while a host has it open. It writes one row, for which a host
/// waits less than for its own next commit.
pub async fn report(path: &Path, job: Job, began_at: Timestamp) -> Result<()> {
    let path = &file::resolved(path);
    if file::is_new(path)? {
        return Err(missing(path));
    }
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .synchronous(SqliteSynchronous::Normal)
        .foreign_keys(false)
        .busy_timeout(Options::default().busy_timeout)
        .disable_statement_logging()
        .connect()
        .await?;
    jobs::done(job, began_at).execute(&mut connection).await?;
    connection.close().await.map_err(Error::from)
}

/// A connection that changes nothing.
async fn connect_reading(path: &Path) -> Result<SqliteConnection> {
    let path = &file::resolved(path);
    if file::is_new(path)? {
        return Err(missing(path));
    }
    let connecting = reading(path).connect().await;
    connecting.map_err(Error::from)
}

fn reading(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file::resolved(path))
        .read_only(true)
        .foreign_keys(false)
        .busy_timeout(Options::default().busy_timeout)
        .disable_statement_logging()
}

/// Refuses a newer schema, unless this program does not need to know what was added.
async fn check_newer(connection: &mut SqliteConnection, found: i64) -> Result<()> {
    let from = digests::mark(connection, WRITERS_FROM).await?;
    check_usable(from.0, found, SQLITE.newest())
}

/// The number of the last migration that was run; 0 before the first.
async fn version(connection: &mut SqliteConnection) -> Result<i64> {
    let found = sqlx::query("SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
        .fetch_one(&mut *connection)
        .await?
        .cell::<i64>(0)?;
    if found == 0 {
        return Ok(0);
    }
    sqlx::query("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await?
        .cell(0)
}

async fn run_migrations(connection: &mut SqliteConnection) -> Result<()> {
    let found = version(connection).await?;
    if found > SQLITE.newest() {
        return check_newer(connection, found).await;
    }
    let run = SQLITE.migrator().run_direct(None, connection, false).await;
    run.map_err(|error| migrations::failed(error, Error::from))
}

/// Releases every lease when a store is opened: the lock says that no host is left that could
/// have one.
async fn release_all(connection: &mut SqliteConnection) -> Result<()> {
    for sql in [
        "UPDATE checkpoints SET held_until = NULL WHERE held_until IS NOT NULL",
        "UPDATE builds SET held_until = NULL WHERE held_until IS NOT NULL",
    ] {
        sqlx::query(sql).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Returns the store's secret, which is created with the store.
async fn secret(connection: &mut SqliteConnection) -> Result<[u8; 32]> {
    let fresh: [u8; 32] = rand::random();
    sqlx::query("INSERT INTO meta (name, value) VALUES ('secret', ?1) ON CONFLICT DO NOTHING")
        .bind(fresh.to_vec())
        .execute(&mut *connection)
        .await?;
    let secret: Vec<u8> = sqlx::query("SELECT value FROM meta WHERE name = 'secret'")
        .fetch_one(connection)
        .await?
        .cell(0)?;
    secret
        .try_into()
        .map_err(|_| Error::Damaged("the secret does not have 32 bytes".to_owned()))
}
