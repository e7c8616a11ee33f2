//! The connection that writes.

use std::time::{Duration, Instant};

use sqlx::Row;
use sqlx::postgres::{PgConnectOptions, PgConnection};

use super::Options;
use super::cell::Cells;
use super::connection::Connection;
use super::error::Failure;
use crate::{Error, Result};

/// The options of every connection of a store.
#[derive(Debug, Clone)]
pub struct Settings {
    pub base: PgConnectOptions,
    /// Distinguishes this schema's advisory locks from those of other schemas.
    pub namespace: i64,
    pub options: Options,
}

/// The server's side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backend {
    process: i32,
    /// The start time in microseconds, because process ids are reused.
    started_at: i64,
}

/// A connection that may write.
pub struct Session {
    pub connection: Connection,
    pub backend: Backend,
    excludes_others: bool,
}

/// A host that has ended or is frozen holds neither locks nor the horizon for longer.
const BOUNDS: [(&str, &str); 6] = [
    ("lock_timeout", "10000"),
    ("idle_in_transaction_session_timeout", "10000"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20000"),
];

/// Why a server is not used.
const TAKES_NO_WRITES: &str = "the server takes no writes now: it is a standby that was not \
    promoted, or read-only";

/// The lock of the hosts of a store. Each host shares it while it is connected for writing. A
/// migration and an import have it exclusively.
const TRY_ENTER: &str = "SELECT pg_try_advisory_lock_shared($1::int, 2)";
pub const TRY_EXCLUDE: &str = "SELECT pg_try_advisory_lock($1::int, 2)";
const ADMIT: &str = "SELECT pg_advisory_unlock($1::int, 2)";

/// Why a host does not write.
const EXCLUDED: &str = "an import or a migration of the store excludes other hosts; writes continue \
    when it has ended";

/// Pauses between two checks of a back-end that should have ended.
const GONE_CHECK_PAUSE: Duration = Duration::from_millis(20);
/// The writer bounds what it does as a whole.
const NO_BOUND: Duration = Duration::MAX;

/// Checks that a server, and any proxy in between, applies the requested settings.
pub async fn check(connection: &mut Connection, schema: &str) -> Result<()> {
    const SETTINGS: &str = "SELECT current_setting('server_encoding'), current_setting('search_path'), \
        current_setting('synchronous_commit'), current_setting('default_transaction_isolation'), \
        current_setting('fsync')";
    let row = sqlx::query(SETTINGS).fetch_one(connection).await;
    let row = row?;
    let encoding: String = row.cell(0)?;
    if encoding != "UTF8" {
        return Err(Error::Url(format!(
            "the database has encoding {encoding}, in which not every text can be stored; make \
             one with `CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0`"
        )));
    }
    let settings = [
        ("search_path", schema),
        ("synchronous_commit", "on"),
        ("default_transaction_isolation", "read committed"),
    ];
    for (column, (name, expected)) in (1..).zip(settings) {
        let found: String = row.cell(column)?;
        if found != expected {
            return Err(Error::Url(format!(
                "the connection has {name} {found:?} although {expected:?} was asked for: what is \
                 between leaves out the `options` of a connection. Connect to PostgreSQL \
                 directly, or remove `options` from the pooler's ignore_startup_parameters"
            )));
        }
    }
    let fsync: String = row.cell(4)?;
    if fsync != "on" {
        tracing::warn!(
            "the server of the store has fsync = {fsync}: when its machine fails, acknowledged \
             events are lost, or the whole store. Set fsync = on"
        );
    }
    Ok(())
}

/// How to connect for transactions that others may have to wait for.
pub fn bounded(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().options(BOUNDS)
}

/// Refuses a connection to a server that has not been promoted. It may show less than was
/// acknowledged, and it has no advisory locks: what others are about to make visible there would
/// be missed. Once promoted, a server is a standby again only after its connections have ended.
pub async fn refuse_standby(connection: &mut PgConnection) -> sqlx::Result<()> {
    let is_standby = sqlx::query("SELECT pg_is_in_recovery()");
    match is_standby.fetch_one(connection).await?.try_get(0)? {
        true => Err(sqlx::Error::Io(std::io::Error::other(TAKES_NO_WRITES))),
        false => Ok(()),
    }
}

impl Session {
    /// Connects for writing.
    ///
    /// # Errors
    /// `Lost` while the server takes no writes.
    pub async fn begin(settings: &Settings) -> std::result::Result<Self, Failure> {
        let statement_ms = settings.options.statement_max.as_millis().to_string();
        let options = bounded(&settings.base).options([
            ("statement_timeout", statement_ms.as_str()),
            // Every statement of a writer finds few rows by an index.
            ("plan_cache_mode", "force_generic_plan"),
        ]);
        let mut connection = Connection::open(&options, NO_BOUND).await?;
        let row = sqlx::query(
            "SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint, \
                 current_setting('transaction_read_only') = 'on' \
             FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        )
        .fetch_one(&mut connection)
        .await?;
        if row.cell(2)? {
            let why = Error::Unavailable(TAKES_NO_WRITES.to_owned());
            return Err(Failure::Lost(why));
        }
        Ok(Self {
            backend: Backend {
                process: row.cell(0)?,
                started_at: row.cell(1)?,
            },
            connection,
            excludes_others: false,
        })
    }

    /// Says that a host uses the store, to migrations, to imports, and to a host that finds events
    /// lost. Nothing is written before.
    ///
    /// # Errors
    /// `Lost` while an import or a migration excludes other hosts.
    pub async fn enter(&mut self, namespace: i64) -> std::result::Result<(), Failure> {
        let entering = sqlx::query(TRY_ENTER).bind(namespace);
        let row = entering.fetch_one(&mut self.connection).await?;
        match row.cell(0)? {
            true => Ok(()),
            false => Err(Failure::Lost(Error::Unavailable(EXCLUDED.to_owned()))),
        }
    }

    /// Keeps other hosts from writing until [`Self::admit_others`], or until the connection ends.
    ///
    /// # Errors
    /// `Refused` while other hosts are connected.
    pub async fn exclude_others(&mut self, namespace: i64) -> std::result::Result<(), Failure> {
        if self.excludes_others {
            return Ok(());
        }
        // Its own shared lock does not conflict.
        let excluding = sqlx::query(TRY_EXCLUDE).bind(namespace);
        let row = excluding.fetch_one(&mut self.connection).await?;
        self.excludes_others = row.cell(0)?;
        match self.excludes_others {
            true => Ok(()),
            false => Err(Failure::Refused(Error::OthersConnected)),
        }
    }

    /// Lets other hosts write.
    pub async fn admit_others(&mut self, namespace: i64) -> std::result::Result<(), Failure> {
        if self.excludes_others {
            let admitting = sqlx::query(ADMIT).bind(namespace);
            admitting.execute(&mut self.connection).await?;
            self.excludes_others = false;
        }
        Ok(())
    }

    /// Ends another back-end of this host and waits until it has ended. Its work has then been
    /// committed, or never will be. A back-end whose commit waits for a synchronous standby is not
    /// ended: that would show the commit to everybody although the standby does not have it.
    pub async fn end(
        &mut self,
        other: Backend,
        until: Instant,
    ) -> std::result::Result<bool, Failure> {
        loop {
            let still_there = sqlx::query(
                "SELECT CASE WHEN wait_event = 'SyncRep' THEN false \
                     ELSE pg_terminate_backend(pid) END \
                 FROM pg_stat_activity WHERE pid = $1 \
                 AND (extract(epoch FROM backend_start) * 1000000)::bigint = $2",
            )
            .bind(other.process)
            .bind(other.started_at)
            .fetch_optional(&mut self.connection)
            .await?;
            if still_there.is_none() {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            tokio::time::sleep(GONE_CHECK_PAUSE).await;
        }
    }

    /// Waits until a synchronous standby, if one is required, has everything that was committed so
    /// far. A commit that lost its connection may be visible before. An earlier back-end that
    /// waited for the same is ended.
    pub async fn confirm(&mut self, earlier: Option<Backend>) -> std::result::Result<(), Failure> {
        if let Some(earlier) = earlier {
            let ending = sqlx::query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 \
                 AND (extract(epoch FROM backend_start) * 1000000)::bigint = $2",
            );
            let ending = ending.bind(earlier.process).bind(earlier.started_at);
            ending.fetch_optional(&mut self.connection).await?;
        }
        // Standbys receive commits in their order, and this is one.
        let message = sqlx::query("SELECT pg_logical_emit_message(true, 'quipu', 'confirm')");
        message.fetch_one(&mut self.connection).await?;
        Ok(())
    }
}
