//! PostgreSQL: one schema for a store, any number of hosts.
//!
//! Each host has one connection that writes and sends a batch as one call of a
//! function, a pool that reads, and one that listens. Positions become readable in
//! order by a fence of advisory locks; `horizon` in the first migration says how.

mod activation;
mod anchors;
mod arrays;
mod batch;
mod connection;
mod counting;
mod dialect;
mod documents;
mod error;
mod import;
mod inline;
mod loaded;
mod lookup;
mod losses;
mod memory;
mod origins;
mod reader;
mod recovering;
mod rejected;
mod scans;
mod schema;
mod sealing;
mod sent;
mod session;
#[path = "../tables/mod.rs"]
mod tables;
mod url;
mod wakes;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use self::connection::{Connection, Pool};
use self::dialect::Connections;
pub use self::error::database_error;
use self::session::Settings;
use self::tables::cell::{self, Cells};
use self::tables::{
    acknowledged, audit, checkpoints, digests, jobs, modules, projections, proposals, rejections,
    snapshots, tenants, tokens, turns, types,
};
pub use self::url::Url;
use super::{Error, Job, Loss, Migrated, Result, Store};
use quipu_model::Timestamp;
use quipu_model::supervise::Supervisor;

/// Options for the use of a database.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections for reading.
    pub readers: u32,
    /// How long a reader waits for a free connection.
    pub reader_wait_max: Duration,
    /// How long a reader waits for the next part of an answer, and how long the listener waits for
    /// a sign of the server. After that the connection is closed.
    pub reader_answer_max: Duration,
    /// How long one statement of the writer may take.
    pub statement_max: Duration,
    /// How long a batch waits for a connection that was lost, and how long for an answer on one.
    pub writer_wait_max: Duration,
    /// How long one part of an import may take.
    pub import_max: Duration,
    /// How often to poll for new events without a notification.
    pub poll: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            readers: 8,
            reader_wait_max: Duration::from_secs(10),
            reader_answer_max: Duration::from_secs(30),
            statement_max: Duration::from_secs(20),
            writer_wait_max: Duration::from_secs(30),
            import_max: Duration::from_secs(300),
            poll: Duration::from_secs(1),
        }
    }
}

/// Opens a store, and creates it when the schema is empty or missing.
///
/// # Errors
/// `Unavailable` when the server can't be reached, or does not answer.
pub async fn open(url: &Url, options: &Options) -> Result<Store> {
    opened(url, options, false).await
}

/// Opens an empty store for a recovery, or one in which a recovery did not finish.
pub async fn open_recovering(url: &Url) -> Result<Store> {
    opened(url, &Options::default(), true).await
}

/// Lets others open a store after its recovery.
pub async fn finish_recovering(url: &Url) -> Result<()> {
    let mut connection = connect(url, &Options::default()).await?;
    recovering::finish(&mut connection).await
}

async fn opened(url: &Url, options: &Options, is_recovery: bool) -> Result<Store> {
    let options = url.or(options);
    let base = url.options()?;
    let StoreFacts {
        secret,
        namespace,
        newest,
    } = found(url, &options, is_recovery).await?;
    // One more listens.
    let pool = Pool::new(&base, &options, options.readers.saturating_sub(1).max(1));
    let (waker, wakes) = super::wake::Waker::new();
    let settings = Settings {
        base,
        namespace,
        options,
    };
    let supervisor = Supervisor::default();
    let signals = wakes::start(&settings, (&pool, &newest), waker, &supervisor);
    let tables = Connections::new(pool.clone(), namespace);
    let loaded = loaded::LoadedHeads::new();
    let reader = (loaded.clone(), newest.clone());
    let reader = reader::Reader::new(pool.clone(), namespace, reader);
    Ok(Store {
        reader: Arc::new(reader),
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
        writer: Box::new(writer::Writer::new(
            settings,
            pool,
            signals,
            (loaded, newest),
        )),
        wakes,
        secret,
        supervisor,
    })
}

/// What a store says when it is opened.
struct StoreFacts {
    secret: [u8; 32],
    /// Distinguishes its advisory locks.
    namespace: i64,
    newest: losses::Newest,
}

/// Looks at a store, and creates it when the schema is empty or missing.
async fn found(url: &Url, options: &Options, is_recovery: bool) -> Result<StoreFacts> {
    let mut connection = connect(url, options).await?;
    session::check(&mut connection, url.schema()).await?;
    schema::check(&mut connection, url.schema()).await?;
    match is_recovery {
        true => recovering::begin(&mut connection).await?,
        false => recovering::check(&mut connection).await?,
    }
    let secret = secret(&mut connection).await?;
    let namespace = namespace(&mut connection, url.schema()).await?;
    import::follow(&mut connection, namespace).await?;
    let newest = losses::Newest::opened(&mut connection).await?;
    connection.close().await;
    Ok(StoreFacts {
        secret,
        namespace,
        newest,
    })
}

async fn namespace(connection: &mut Connection, schema: &str) -> Result<i64> {
    sqlx::query("SELECT oid::bigint % 524288 FROM pg_namespace WHERE nspname = $1")
        .bind(schema)
        .fetch_one(connection)
        .await?
        .cell(0)
}

async fn connect(url: &Url, options: &Options) -> Result<Connection> {
    let wait = url.or(options).reader_answer_max;
    Ok(Connection::open(&url.options()?, wait).await?)
}

/// Migrates a schema to the version of this program.
pub async fn migrate(url: &Url) -> Result<Migrated> {
    let mut connection = connect(url, &Options::default()).await?;
    session::check(&mut connection, url.schema()).await?;
    // A migration takes as long as the tables are large.
    let mut connection = connection.without_bound();
    let migrated = schema::migrate(&mut connection, url.schema()).await?;
    secret(&mut connection).await?;
    Ok(migrated)
}

/// Returns what hosts have found missing.
pub async fn lost(url: &Url) -> Result<Option<Loss>> {
    let mut connection = existing(url).await?;
    losses::marked(&mut connection).await
}

/// Accepts a loss. Returns false when something else is missing by now.
pub async fn accept_loss(url: &Url, loss: &Loss) -> Result<bool> {
    let mut connection = existing(url).await?;
    let namespace = namespace(&mut connection, url.schema()).await?;
    losses::accept(&mut connection, namespace, loss).await
}

/// A connection to a store, which must exist.
async fn existing(url: &Url) -> Result<Connection> {
    let mut connection = connect(url, &Options::default()).await?;
    match schema::is_there(&mut connection, url.schema()).await? {
        true => Ok(connection),
        false => Err(Error::Url(format!("there is no store at {url}"))),
    }
}

/// Records a job in a store, also while hosts use it.
pub async fn report(url: &Url, job: Job, began_at: Timestamp) -> Result<()> {
    let mut connection = connect(url, &Options::default()).await?;
    schema::check(&mut connection, url.schema()).await?;
    jobs::done(job, began_at).execute(&mut connection).await?;
    connection.close().await;
    Ok(())
}

/// Whether the schema holds a store.
pub async fn is_there(url: &Url) -> Result<bool> {
    let mut connection = connect(url, &Options::default()).await?;
    schema::is_there(&mut connection, url.schema()).await
}

/// Removes a store with all its contents. Nobody may have it open.
///
/// # Errors
/// When the server does not answer, or the user lacks the privilege.
pub async fn drop_schema(url: &Url) -> Result<()> {
    let mut connection = connect(url, &Options::default()).await?;
    schema::drop(&mut connection, url.schema()).await
}

/// Returns the store's secret, which is created with the store.
async fn secret(connection: &mut Connection) -> Result<[u8; 32]> {
    let fresh: [u8; 32] = rand::random();
    sqlx::query("INSERT INTO meta (name, value) VALUES ('secret', $1) ON CONFLICT DO NOTHING")
        .bind(&fresh[..])
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
