//! Projections and their builds.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};

use super::cell::Cells;
use super::checkpoints::{millis, now};
use super::encode::signed;
use crate::builds::{Roles, Steered, role, role_name, view_name, without_nul};
use crate::{Build, BuildBatch, BuildClaim, BuildId, Error, Kept, Result, Role, StoredProjection};
use quipu_model::{Digest, Position, Timestamp};

const LIST: &str = concat!(
    "SELECT p.name, p.paused, p.held, p.retries, b.id, b.role, b.version, b.module, b.position, \
     b.changes, b.is_inline, b.started_at, coalesce(b.held_until > ",
    now!(),
    ", 0), b.trouble, b.comparison, b.plan, b.stale, \
     EXISTS (SELECT 1 FROM parked_events AS e WHERE e.build = b.id), b.confirmed, b.waits \
     FROM projections AS p LEFT JOIN builds AS b ON b.projection = p.name AND b.role <> 'dropped' \
     WHERE ?1 IS NULL OR p.name = ?1 ORDER BY p.name, b.id"
);
const KNOW: &str = "INSERT INTO projections (name) VALUES (?1) ON CONFLICT (name) DO NOTHING";
const BEGIN: &str = "INSERT INTO builds (projection, role, version, module, started_at, plan) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (projection, role) WHERE role <> 'dropped' \
     DO NOTHING RETURNING id";
const HAND_OVER: &str = "UPDATE builds \
     SET module = ?2, trouble = NULL, token = token + 1, held_until = NULL \
     WHERE id = ?1 AND role <> 'dropped'";
const STEER: &str = "INSERT INTO projections (name, paused, held, retries) \
     VALUES (?1, coalesce(?2, 0), coalesce(?3, 0), ?4) ON CONFLICT (name) DO UPDATE SET \
     paused = coalesce(?2, paused), held = coalesce(?3, held), retries = retries + ?4";
const FORGET: &str = "UPDATE builds SET trouble = NULL WHERE projection = ?1";
const TAKE_ROLE: &str = "UPDATE builds SET role = ?2, confirmed = 0, waits = NULL WHERE id = ?1";
const COMPARE: &str = "UPDATE builds SET comparison = ?2 WHERE id = ?1";
const CONFIRM: &str = "UPDATE builds SET confirmed = 1, waits = NULL \
     WHERE id = ?1 AND role = 'next'";
const CLAIM: &str = concat!(
    "UPDATE builds SET token = token + 1, held_until = ",
    now!(),
    " + ?2 WHERE id = ?1 AND is_inline = 0 AND role <> 'dropped' \
     AND (held_until IS NULL OR held_until <= ",
    now!(),
    ") RETURNING token, position, changes, plan, stale"
);
const ADVANCE: &str = concat!(
    "UPDATE builds SET position = max(position, ?3), changes = max(changes, ?4), trouble = ?5, \
     plan = coalesce(?7, plan), stale = coalesce(stale, ?8), waits = ?9, held_until = ",
    now!(),
    " + ?6 WHERE id = ?1 AND token = ?2 AND is_inline = 0 AND role <> 'dropped' \
     RETURNING (SELECT retries FROM projections WHERE name = projection), \
         (SELECT paused FROM projections WHERE name = projection)"
);
const JUDGE: &str = "UPDATE builds SET plan = ?3, stale = coalesce(stale, ?4) \
     WHERE id = ?1 AND coalesce(plan, 0) = ?2 AND is_inline = 1 AND role <> 'dropped'";
const RELEASE: &str = "UPDATE builds SET held_until = NULL WHERE id = ?1 AND token = ?2";
const RELEASE_ALL: &str = "UPDATE builds SET held_until = NULL WHERE held_until IS NOT NULL";

/// Every projection, or the one of a name.
pub async fn list(
    connection: &mut SqliteConnection,
    name: Option<&str>,
) -> Result<Vec<StoredProjection>> {
    let rows = sqlx::query(LIST).bind(name).fetch_all(connection).await?;
    let mut projections: Vec<StoredProjection> = Vec::new();
    for row in &rows {
        let name: &str = row.cell(0)?;
        if projections.last().is_none_or(|last| *last.name != *name) {
            projections.push(StoredProjection {
                name: name.into(),
                is_paused: row.cell::<i64>(1)? != 0,
                is_held: row.cell::<i64>(2)? != 0,
                retries: row.number(3)?,
                builds: Vec::new(),
            });
        }
        if let (Some(last), Some(_)) = (projections.last_mut(), row.cell::<Option<i64>>(4)?) {
            last.builds.push(build(row)?);
        }
    }
    Ok(projections)
}

/// The builds of a projection.
pub async fn of(connection: &mut SqliteConnection, name: &str) -> Result<Vec<Build>> {
    let found = list(connection, Some(name)).await?.pop();
    Ok(found.map(|found| found.builds).unwrap_or_default())
}

fn build(row: &SqliteRow) -> Result<Build> {
    let text = |column| Ok::<_, Error>(row.cell::<Option<&str>>(column)?.map(Into::into));
    Ok(Build {
        id: BuildId(row.number(4)?),
        role: role(row.cell(5)?)?,
        version: row.cell(6)?,
        module: row.digest(7)?,
        position: Position(row.number(8)?),
        changes: row.number(9)?,
        is_inline: row.cell::<i64>(10)? != 0,
        started_at: Timestamp(row.number(11)?),
        is_owned: row.cell::<i64>(12)? != 0,
        trouble: text(13)?,
        comparison: text(14)?,
        plan: row.maybe_number(15)?,
        stale: text(16)?,
        has_parked: row.cell::<i64>(17)? != 0,
        is_confirmed: row.cell::<i64>(18)? != 0,
        waits: text(19)?,
    })
}

/// Begins a build, and makes the projection's view; none when there is one of this role.
pub async fn begin(
    connection: &mut SqliteConnection,
    name: &str,
    role: Role,
    version: u32,
    module: Digest,
    (at, plan): (Timestamp, u64),
) -> Result<Option<Build>> {
    let view = view_name(name)?;
    execute(connection, sqlx::query(KNOW).bind(name)).await?;
    let row = sqlx::query(BEGIN)
        .bind(name)
        .bind(role_name(Some(role)))
        .bind(i64::from(version))
        .bind(module.0.to_vec())
        .bind(signed(at.0))
        .bind(signed(plan))
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let id = BuildId(row.number(0)?);
    // The name was checked: it stands between quotes as it is.
    let sql = format!(
        "CREATE VIEW IF NOT EXISTS \"{view}\" AS SELECT key, document, change FROM documents \
         WHERE build = (SELECT id FROM builds WHERE projection = '{name}' AND role = 'active') \
             AND document IS NOT NULL"
    );
    let made = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection);
    made.await?;
    let begun = of(connection, name).await?;
    Ok(begun.into_iter().find(|build| build.id == id))
}

/// Lets another module go on with a build.
pub async fn hand_over(
    connection: &mut SqliteConnection,
    build: BuildId,
    module: Digest,
) -> Result<()> {
    let query = sqlx::query(HAND_OVER)
        .bind(signed(build.0))
        .bind(module.0.to_vec());
    execute(connection, query).await.map(|_| ())
}

/// Does what an operator asks.
pub async fn steer(connection: &mut SqliteConnection, name: &str, steered: &Steered) -> Result<()> {
    let query = sqlx::query(STEER)
        .bind(name)
        .bind(steered.paused.map(i64::from))
        .bind(steered.held.map(i64::from))
        .bind(signed(steered.retries));
    execute(connection, query).await?;
    if steered.forgets {
        execute(connection, sqlx::query(FORGET).bind(name)).await?;
    }
    Ok(())
}

/// Lets builds take roles, one after the other.
pub async fn take_roles(connection: &mut SqliteConnection, roles: Roles) -> Result<()> {
    for (build, role) in roles {
        let query = sqlx::query(TAKE_ROLE)
            .bind(signed(build.0))
            .bind(role_name(role));
        execute(connection, query).await?;
    }
    Ok(())
}

/// Notes how a build compares.
pub async fn compare(
    connection: &mut SqliteConnection,
    build: BuildId,
    comparison: Option<&str>,
) -> Result<()> {
    let query = sqlx::query(COMPARE)
        .bind(signed(build.0))
        .bind(comparison.map(without_nul));
    execute(connection, query).await.map(|_| ())
}

/// Notes that a next build is to take over, whatever it lacks; false when it is not one.
pub async fn confirm(connection: &mut SqliteConnection, build: BuildId) -> Result<bool> {
    let query = sqlx::query(CONFIRM).bind(signed(build.0));
    execute(connection, query).await.map(|rows| rows > 0)
}

/// Claims a build, unless somebody owns it.
pub async fn claim(
    connection: &mut SqliteConnection,
    build: BuildId,
    lease: Duration,
) -> Result<Option<BuildClaim>> {
    let row = sqlx::query(CLAIM)
        .bind(signed(build.0))
        .bind(millis(lease))
        .fetch_optional(connection)
        .await?;
    let claim = row.map(|row| {
        Ok(BuildClaim {
            token: row.number(0)?,
            position: Position(row.number(1)?),
            changes: row.number(2)?,
            plan: row.maybe_number(3)?,
            stale: row.cell::<Option<&str>>(4)?.map(Into::into),
        })
    });
    claim.transpose()
}

/// Moves the checkpoint, if the token is the last one.
pub async fn advance(
    connection: &mut SqliteConnection,
    build: BuildId,
    token: u64,
    batch: &BuildBatch,
    lease: Duration,
) -> Result<Kept> {
    let row = sqlx::query(ADVANCE)
        .bind(signed(build.0))
        .bind(signed(token))
        .bind(signed(batch.position.0))
        .bind(signed(batch.changes))
        .bind(batch.trouble.as_deref().map(without_nul))
        .bind(millis(lease))
        .bind(batch.plan.map(signed))
        .bind(batch.stale.as_deref().map(without_nul))
        .bind(batch.waits.as_deref().map(without_nul))
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else {
        return Ok(Kept::Lost);
    };
    Ok(Kept::Done {
        retries: row.number(0)?,
        is_paused: row.cell::<i64>(1)? != 0,
    })
}

/// Notes under which plan an inline build was judged.
pub async fn judge(
    connection: &mut SqliteConnection,
    build: BuildId,
    (from, to): (u64, u64),
    stale: Option<&str>,
) -> Result<()> {
    let query = sqlx::query(JUDGE)
        .bind(signed(build.0))
        .bind(signed(from))
        .bind(signed(to))
        .bind(stale.map(without_nul));
    execute(connection, query).await.map(|_| ())
}

/// Gives a build back.
pub async fn release(connection: &mut SqliteConnection, build: BuildId, token: u64) -> Result<()> {
    let query = sqlx::query(RELEASE)
        .bind(signed(build.0))
        .bind(signed(token));
    execute(connection, query).await.map(|_| ())
}

/// Gives every build back when a store is opened, as names are.
pub async fn release_all(connection: &mut SqliteConnection) -> Result<()> {
    let query = sqlx::query(RELEASE_ALL);
    execute(connection, query).await.map(|_| ())
}

/// Rows that a statement changed.
async fn execute(
    connection: &mut SqliteConnection,
    query: sqlx::query::Query<'_, sqlx::Sqlite, SqliteArguments>,
) -> Result<u64> {
    let done = query.execute(connection).await;
    done.map(|done| done.rows_affected()).map_err(Error::from)
}
