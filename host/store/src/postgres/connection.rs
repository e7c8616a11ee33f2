//! Connections whose every statement is answered in a bounded time.
//!
//! A server that has lost its power, and a proxy that holds a connection to one, close nothing.
//! The driver waits for them without a bound, also when it checks a connection that returns to its
//! pool. So each wait is bounded here, and a connection that is silent is closed.

use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgQueryResult, PgRow, PgStatement,
    PgTypeInfo, Postgres,
};
use sqlx::{ConnectOptions, Connection as _, Either, Execute, Executor, SqlStr};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::Options;
use super::session::{bounded, refuse_standby};

/// How long a statement over a whole build may take, and how long the server works for a reader that
/// may be gone.
const PATIENT: Duration = Duration::from_secs(600);
/// How long to wait for connections to close, which matters to nobody.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// A step of an answer: a row, or the end of a statement.
type Step = sqlx::Result<Either<PgQueryResult, PgRow>>;

/// Bounds the wait for a server.
pub async fn answered<T>(
    wait: Duration,
    answer: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    let answer = timeout(wait, answer).await;
    answer.unwrap_or_else(|_| Err(silent(wait)))
}

fn silent(wait: Duration) -> sqlx::Error {
    let why = format!(
        "the server did not answer within {} ms (reader_answer_max_ms in the store's URL): it \
         can't be reached, or it is overloaded",
        wait.as_millis()
    );
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, why))
}

/// A connection. A statement fails when the server is silent for too long.
#[derive(Debug)]
pub struct Connection {
    inner: Inner,
    wait: Duration,
}

#[derive(Debug)]
enum Inner {
    Own(Box<PgConnection>),
    Pooled(Pooled),
}

/// A connection of a pool. It returns to the pool when it is dropped, unless the server is silent.
#[derive(Debug)]
struct Pooled {
    connection: PoolConnection<Postgres>,
    wait: Duration,
    /// Whether the connection is closed instead.
    is_lost: bool,
}

impl Connection {
    /// Connects. Each statement waits at most this long for the next part of its answer.
    pub async fn open(options: &PgConnectOptions, wait: Duration) -> sqlx::Result<Self> {
        let options = options.clone().disable_statement_logging();
        let connection = answered(wait, options.connect()).await?;
        Ok(Self {
            inner: Inner::Own(Box::new(connection)),
            wait,
        })
    }

    /// Removes the bound, for statements whose duration nobody knows.
    pub fn without_bound(mut self) -> Self {
        self.wait = Duration::MAX;
        self
    }

    /// Closes the connection. It does not matter whether the server notices.
    pub async fn close(self) {
        if let Inner::Own(connection) = self.inner {
            _ = timeout(CLOSE_MAX, connection.close()).await;
        }
    }

    /// The connection as the driver knows it, without bounds.
    pub fn driver(&mut self) -> &mut PgConnection {
        self.parts().0
    }

    fn parts(&mut self) -> (&mut PgConnection, Option<&mut bool>) {
        match &mut self.inner {
            Inner::Own(connection) => (connection, None),
            Inner::Pooled(pooled) => (&mut pooled.connection, Some(&mut pooled.is_lost)),
        }
    }

    /// Closes the connection when it is dropped.
    fn lose(&mut self) {
        if let (_, Some(is_lost)) = self.parts() {
            *is_lost = true;
        }
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if self.is_lost {
            self.connection.close_on_drop();
        } else if let Ok(runtime) = Handle::try_current() {
            // The driver first waits until the server is ready. When that lasts, the connection is
            // closed, and makes room for another one. So it is when this task panics.
            runtime.spawn(timeout(self.wait, self.connection.return_to_pool()));
        }
    }
}

impl<'c> Executor<'c> for &'c mut Connection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Step>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let wait = self.wait;
        let (connection, is_lost) = self.parts();
        let answer = Some((connection.fetch_many(query), is_lost));
        let steps = stream::unfold(answer, move |answer| async move {
            let (mut answer, is_lost) = answer?;
            match timeout(wait, answer.next()).await {
                Ok(step) => Some((step?, Some((answer, is_lost)))),
                Err(_) => {
                    if let Some(is_lost) = is_lost {
                        *is_lost = true;
                    }
                    Some((Err(silent(wait)), None))
                }
            }
        });
        steps.boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            // To its end, so that the connection is ready for the next statement.
            let mut answer = self.fetch_many(query);
            let mut found = None;
            while let Some(step) = answer.try_next().await? {
                if let Either::Right(row) = step {
                    found.get_or_insert(row);
                }
            }
            Ok(found)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let wait = self.wait;
            let (connection, _) = self.parts();
            let prepared = answered(wait, connection.prepare_with(sql, parameters)).await;
            if prepared.is_err() {
                self.lose();
            }
            prepared
        })
    }
}

/// Connections for reading, and for writing what is not in the log.
#[derive(Debug, Clone)]
pub struct Pool {
    inner: PgPool,
    wait: Duration,
}

/// A pool of the driver, whose checks are bounded.
pub fn driver_pool(base: &PgConnectOptions, options: &Options, connections: u32) -> PgPool {
    let statement_ms = options
        .reader_answer_max
        .max(PATIENT)
        .as_millis()
        .to_string();
    let base = bounded(base).options([("statement_timeout", statement_ms)]);
    // Short enough that a new connection can be opened in the rest of the time.
    let check = options.reader_wait_max / 4;
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(options.reader_wait_max)
        .after_connect(|connection, _| Box::pin(refuse_standby(connection)))
        .test_before_acquire(false)
        .before_acquire(move |connection, _| {
            Box::pin(async move {
                let checked = timeout(check, connection.ping()).await;
                checked
                    .unwrap_or_else(|_| Err(silent(check)))
                    .map(|()| true)
            })
        })
        .connect_lazy_with(base)
}

impl Pool {
    /// A pool that connects when it is used.
    pub fn new(base: &PgConnectOptions, options: &Options, connections: u32) -> Self {
        Self {
            inner: driver_pool(base, options, connections),
            wait: options.reader_answer_max,
        }
    }

    /// The same connections, for statements that may take minutes.
    pub fn patient(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            wait: self.wait.max(PATIENT),
        }
    }

    /// Waits for a connection.
    pub async fn acquire(&self) -> sqlx::Result<Connection> {
        Ok(Connection {
            inner: Inner::Pooled(Pooled {
                connection: self.inner.acquire().await?,
                wait: self.wait,
                is_lost: false,
            }),
            wait: self.wait,
        })
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> sqlx::Result<Transaction> {
        let mut transaction = Transaction {
            connection: self.acquire().await?,
            is_open: true,
        };
        transaction.execute("BEGIN").await?;
        Ok(transaction)
    }

    /// Closes the connections that are not in use, and gives up those that are after a while.
    pub async fn close(&self) {
        _ = timeout(CLOSE_MAX, self.inner.close()).await;
    }
}

impl<'p> Executor<'p> for &'p Pool {
    type Database = Postgres;

    /// Reads the whole answer before it returns a part.
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Step>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let answer = async move {
            let mut connection = self.acquire().await?;
            let steps: Vec<_> = connection.fetch_many(query).try_collect().await?;
            Ok::<_, sqlx::Error>(stream::iter(steps.into_iter().map(Ok)))
        };
        stream::once(answer).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<PgRow>>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move { self.acquire().await?.fetch_optional(query).await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, sqlx::Result<PgStatement>>
    where
        'p: 'e,
    {
        Box::pin(async move { self.acquire().await?.prepare_with(sql, parameters).await })
    }
}

/// A transaction. When it is dropped, its connection is closed, and the server rolls it back.
pub struct Transaction {
    connection: Connection,
    is_open: bool,
}

impl Transaction {
    /// Commits the transaction.
    pub async fn commit(mut self) -> sqlx::Result<()> {
        self.connection.execute("COMMIT").await?;
        self.is_open = false;
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.is_open {
            self.connection.lose();
        }
    }
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
