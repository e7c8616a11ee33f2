//! The store's tables: created when there are none, checked otherwise.

use sqlx::{Connection as _, Executor, Postgres};

use super::cell::Cells;
use super::connection::Connection;
use super::session::TRY_EXCLUDE;
use super::tables::{digests, signed};
use crate::migrations::{self, POSTGRES, WRITERS_FROM, check_usable, may_run_meanwhile};
use crate::{Error, Migrated, Result};

/// How long an additive migration waits for a table that a transaction of a host uses. Meanwhile
/// others that want the table wait after it.
const LOCK_MAX: &str = "SET lock_timeout = '5s'";

/// The lock of whoever creates a store in the schema of this name.
const LOCK_CREATION: &str = "SELECT pg_advisory_xact_lock(hashtextextended('quipu ' || $1, 0))";

/// Creates the tables when the schema has none. Refuses a schema that is older than this program, and
/// a newer one that it may not use.
pub async fn check(connection: &mut Connection, schema: &str) -> Result<()> {
    let known = POSTGRES.newest();
    match found(connection, schema).await? {
        0 => migrate(connection, schema).await.map(|_| ()),
        found if found == known => Ok(()),
        found if found > known => check_newer(connection, found).await,
        found => Err(Error::TooOld { found, known }),
    }
}

/// Refuses a newer schema, unless this program does not need to know what was added.
async fn check_newer(connection: &mut Connection, found: i64) -> Result<()> {
    let from = digests::mark(connection, WRITERS_FROM).await?;
    check_usable(from.0, found, POSTGRES.newest())
}

/// Refuses a schema that was migrated since the store was opened, and that this program may not use
/// any more.
pub async fn check_still(connection: &mut Connection) -> Result<()> {
    let from = digests::mark(connection, WRITERS_FROM).await?;
    let checked = check_usable(from.0, signed(from.0), POSTGRES.newest());
    // Another host can serve the callers.
    checked.map_err(|error| Error::Unavailable(error.to_string()))
}

/// Whether the schema has the tables of a store.
pub async fn is_there(connection: &mut Connection, schema: &str) -> Result<bool> {
    Ok(found(connection, schema).await? > 0)
}

/// Migrates a schema. Hosts that start at the same time wait for each other.
pub async fn migrate(connection: &mut Connection, schema: &str) -> Result<Migrated> {
    let known = POSTGRES.newest();
    make_schema(connection, schema).await?;
    if create(connection, schema).await? {
        return Ok(Migrated { from: 0, to: known });
    }
    let from = found(connection, schema).await?;
    if from > known {
        check_newer(connection, from).await?;
        return Ok(Migrated { from, to: from });
    }
    if from > 0 && from < known {
        exclude_hosts(connection, schema, (from, known)).await?;
    }
    let migrated = POSTGRES
        .migrator()
        .run_direct(None, connection.driver(), false)
        .await;
    migrated.map_err(|error| migrations::failed(error, failed))?;
    Ok(Migrated { from, to: known })
}

/// Creates all tables in one transaction, so that nobody ever sees a part of them, not even after a
/// crash. Returns false when a store is there already.
async fn create(connection: &mut Connection, schema: &str) -> Result<bool> {
    let mut transaction = connection.driver().begin().await?;
    // Who comes second waits here, and finds the tables.
    sqlx::query(LOCK_CREATION)
        .bind(schema)
        .execute(&mut *transaction)
        .await?;
    if has_migrations(&mut *transaction, schema).await? {
        transaction.rollback().await?;
        return Ok(false);
    }
    let created = POSTGRES
        .migrator()
        .set_locking(false)
        .run_direct(None, &mut *transaction, false)
        .await;
    created.map_err(|error| migrations::failed(error, failed))?;
    transaction.commit().await?;
    Ok(true)
}

/// Refuses a migration that is not only additive while hosts are connected, and those that connect
/// until this connection ends. An additive one does not wait for them for long.
async fn exclude_hosts(
    connection: &mut Connection,
    schema: &str,
    (found, known): (i64, i64),
) -> Result<()> {
    if may_run_meanwhile(found, known) {
        sqlx::query(LOCK_MAX).execute(connection).await?;
        return Ok(());
    }
    let namespace = super::namespace(connection, schema).await?;
    let row = sqlx::query(TRY_EXCLUDE).bind(namespace);
    match row.fetch_one(connection).await?.cell(0)? {
        true => Ok(()),
        false => Err(Error::HostsConnected { found, known }),
    }
}

fn failed(error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(|it| it.code());
    match code.as_deref() {
        Some("55P03") => Error::Unavailable(
            "a transaction uses a table for longer than 5 s; run `quipu migrate` once more"
                .to_owned(),
        ),
        _ => error.into(),
    }
}

/// The number of the last migration; 0 for a schema without tables, or without any.
async fn found(connection: &mut Connection, schema: &str) -> Result<i64> {
    if !has_migrations(&mut *connection, schema).await? {
        return Ok(0);
    }
    sqlx::query("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await?
        .cell(0)
}

/// Whether a store was created in the schema.
async fn has_migrations<'c>(
    executor: impl Executor<'c, Database = Postgres>,
    schema: &str,
) -> Result<bool> {
    sqlx::query("SELECT to_regclass($1 || '._sqlx_migrations') IS NOT NULL")
        .bind(schema)
        .fetch_one(executor)
        .await?
        .cell(0)
}

/// Creates the schema if it does not exist. A user that may not create schemas needs an existing
/// one.
async fn make_schema(connection: &mut Connection, schema: &str) -> Result<()> {
    let is_there = sqlx::query("SELECT count(*) FROM pg_namespace WHERE nspname = $1")
        .bind(schema)
        .fetch_one(&mut *connection)
        .await?
        .cell::<i64>(0)?;
    if is_there > 0 {
        return Ok(());
    }
    // The name was checked when the URL was read: it needs no quotes.
    let made = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {schema}")))
        .execute(connection)
        .await;
    match made {
        Ok(_) => Ok(()),
        // Another host came first.
        Err(error)
            if error
                .as_database_error()
                .and_then(|it| it.code())
                .is_some_and(|code| code == "42P06" || code == "23505") =>
        {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes the schema with all its contents.
pub async fn drop(connection: &mut Connection, schema: &str) -> Result<()> {
    // The name was checked when the URL was read: it needs no quotes.
    let sql = sqlx::AssertSqlSafe(format!("DROP SCHEMA IF EXISTS {schema} CASCADE"));
    let dropped = sqlx::raw_sql(sql).execute(connection).await;
    dropped.map(|_| ()).map_err(Error::from)
}
