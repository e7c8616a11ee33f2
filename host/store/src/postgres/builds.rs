//! Projections and their builds.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnection, PgRow};

use super::arrays::signed;
use super::cell::Cells;
use super::checkpoints::micros;
use super::error::Failure;
use crate::builds::{Roles, Steered, role, role_name, view_name, without_nul};
use crate::{Build, BuildBatch, BuildClaim, BuildId, Error, Kept, Role, StoredProjection};
use quipu_model::{Digest, Position, Timestamp};

const LIST: &str = "SELECT p.name, p.paused, p.held, p.retries, b.id, b.role, b.version, \
        b.module, b.position, b.changes, b.is_inline, b.started_at, \
        coalesce(b.held_until > clock_timestamp(), false), b.trouble, b.comparison, b.plan, \
        b.stale, EXISTS (SELECT FROM parked_events AS e WHERE e.build = b.id), b.confirmed, b.waits \
    FROM projections AS p LEFT JOIN builds AS b ON b.projection = p.name AND b.role <> 'dropped' \
    WHERE $1 IS NULL OR p.name = $1 ORDER BY p.name, b.id";
const KNOW: &str = "INSERT INTO projections (name) VALUES ($1) \
    ON CONFLICT ON CONSTRAINT projection_name DO NOTHING";
/// Whoever changes which builds there are locks the projection, then the builds.
const LOCK: &str = "SELECT name FROM projections WHERE name = $1 FOR UPDATE";
const LOCK_BUILDS: &str = "SELECT id FROM builds WHERE projection = $1 AND role <> 'dropped' \
    ORDER BY id FOR UPDATE";
const BEGIN: &str = "INSERT INTO builds (projection, role, version, module, started_at, plan) \
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (projection, role) WHERE role <> 'dropped' \
    DO NOTHING RETURNING id";
const VIEW: &str = "SELECT to_regclass(quote_ident($1)) IS NOT NULL";
const HAND_OVER: &str = "UPDATE builds \
    SET module = $2, trouble = NULL, token = token + 1, held_until = NULL \
    WHERE id = $1 AND role <> 'dropped'";
const STEER: &str = "INSERT INTO projections AS p (name, paused, held, retries) \
    VALUES ($1, coalesce($2, false), coalesce($3, false), $4) \
    ON CONFLICT ON CONSTRAINT projection_name DO UPDATE SET paused = coalesce($2, p.paused), \
        held = coalesce($3, p.held), retries = p.retries + $4";
const FORGET: &str = "UPDATE builds SET trouble = NULL \
    WHERE projection = $1 AND trouble IS NOT NULL";
const TAKE_ROLE: &str =
    "UPDATE builds SET role = $2, confirmed = false, waits = NULL WHERE id = $1";
const COMPARE: &str = "UPDATE builds SET comparison = $2 WHERE id = $1";
const CONFIRM: &str = "UPDATE builds SET confirmed = true, waits = NULL \
    WHERE id = $1 AND role = 'next'";
/// The server's clock counts: hosts need not agree on the time.
const CLAIM: &str = "UPDATE builds SET token = token + 1, \
        held_until = clock_timestamp() + $2 * interval '1 microsecond' \
    WHERE id = $1 AND NOT is_inline AND role <> 'dropped' \
        AND (held_until IS NULL OR held_until <= clock_timestamp()) \
    RETURNING token, position, changes, plan, stale";
const ADVANCE: &str = "UPDATE builds SET position = greatest(position, $3), \
        changes = greatest(changes, $4), trouble = $5, \
        plan = coalesce($7, plan), stale = coalesce(stale, $8), waits = $9, \
        held_until = clock_timestamp() + $6 * interval '1 microsecond' \
    WHERE id = $1 AND token = $2 AND NOT is_inline AND role <> 'dropped' \
    RETURNING (SELECT retries FROM projections WHERE name = projection), \
        (SELECT paused FROM projections WHERE name = projection)";
const JUDGE: &str = "UPDATE builds SET plan = $3, stale = coalesce(stale, $4) \
    WHERE id = $1 AND coalesce(plan, 0) = $2 AND is_inline AND role <> 'dropped'";
const RELEASE: &str = "UPDATE builds SET held_until = NULL WHERE id = $1 AND token = $2";

type Done<T> = Result<T, Failure>;

/// Every projection, or the one of a name.
pub async fn list(
    connection: &mut PgConnection,
    name: Option<&str>,
) -> Done<Vec<StoredProjection>> {
    let rows = sqlx::query(LIST).bind(name).fetch_all(connection).await?;
    let mut projections: Vec<StoredProjection> = Vec::new();
    for row in &rows {
        let name: &str = row.cell(0)?;
        if projections.last().is_none_or(|last| *last.name != *name) {
            projections.push(StoredProjection {
                name: name.into(),
                is_paused: row.cell(1)?,
                is_held: row.cell(2)?,
                retries: row.number(3)?,
                builds: Vec::new(),
            });
        }
        if let (Some(last), Some(_)) = (projections.last_mut(), row.maybe_number(4)?) {
            last.builds.push(build(row)?);
        }
    }
    Ok(projections)
}

/// The builds of a projection, locked until the end of the transaction.
pub async fn locked(connection: &mut PgConnection, name: &str) -> Done<Vec<Build>> {
    for sql in [LOCK, LOCK_BUILDS] {
        sqlx::query(sql)
            .bind(name)
            .execute(&mut *connection)
            .await?;
    }
    let found = list(connection, Some(name)).await?.pop();
    Ok(found.map(|found| found.builds).unwrap_or_default())
}

fn build(row: &PgRow) -> Result<Build, Error> {
    let text = |column| Ok::<_, Error>(row.cell::<Option<&str>>(column)?.map(Into::into));
    Ok(Build {
        id: BuildId(row.number(4)?),
        role: role(row.cell(5)?)?,
        version: u32::try_from(row.number(6)?)
            .map_err(|_| Error::Damaged("a version of more than 32 bits".to_owned()))?,
        module: row.digest(7)?,
        position: Position(row.number(8)?),
        changes: row.number(9)?,
        is_inline: row.cell(10)?,
        started_at: Timestamp(row.number(11)?),
        is_owned: row.cell(12)?,
        trouble: text(13)?,
        comparison: text(14)?,
        plan: row.maybe_number(15)?,
        stale: text(16)?,
        has_parked: row.cell(17)?,
        is_confirmed: row.cell(18)?,
        waits: text(19)?,
    })
}

/// Begins a build, and makes the projection's view; none when there is one of this role.
pub async fn begin(
    connection: &mut PgConnection,
    name: &str,
    role: Role,
    version: u32,
    module: Digest,
    (at, plan): (Timestamp, u64),
) -> Done<Option<Build>> {
    let view = view_name(name)?;
    sqlx::query(KNOW)
        .bind(name)
        .execute(&mut *connection)
        .await?;
    // Of hosts that begin at once, one makes the view, and the others find it.
    sqlx::query(LOCK)
        .bind(name)
        .execute(&mut *connection)
        .await?;
    let row = sqlx::query(BEGIN)
        .bind(name)
        .bind(role_name(Some(role)))
        .bind(i64::from(version))
        .bind(&module.0[..])
        .bind(signed(at.0))
        .bind(signed(plan))
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let id = BuildId(row.number(0)?);
    make_view(connection, name, &view).await?;
    let begun = locked(connection, name).await?;
    Ok(begun.into_iter().find(|build| build.id == id))
}

/// Makes a projection's view, unless it is there.
async fn make_view(connection: &mut PgConnection, name: &str, view: &str) -> Done<()> {
    let found = sqlx::query(VIEW)
        .bind(view)
        .fetch_one(&mut *connection)
        .await?;
    if found.cell(0)? {
        return Ok(());
    }
    // The name was checked: it stands between quotes as it is.
    let sql = format!(
        "CREATE VIEW \"{view}\" AS SELECT key, document::json AS document, change FROM documents \
         WHERE build = (SELECT id FROM builds WHERE projection = '{name}' AND role = 'active') \
             AND document IS NOT NULL"
    );
    let made = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection);
    made.await?;
    Ok(())
}

/// Lets another module go on with a build.
pub async fn hand_over(connection: &mut PgConnection, build: BuildId, module: Digest) -> Done<()> {
    let query = sqlx::query(HAND_OVER)
        .bind(signed(build.0))
        .bind(&module.0[..]);
    query.execute(connection).await?;
    Ok(())
}

/// Does what an operator asks.
pub async fn steer(connection: &mut PgConnection, name: &str, steered: &Steered) -> Done<()> {
    sqlx::query(STEER)
        .bind(name)
        .bind(steered.paused)
        .bind(steered.held)
        .bind(signed(steered.retries))
        .execute(&mut *connection)
        .await?;
    if steered.forgets {
        sqlx::query(FORGET).bind(name).execute(connection).await?;
    }
    Ok(())
}

/// Lets builds take roles, one after the other.
pub async fn take_roles(connection: &mut PgConnection, roles: Roles) -> Done<()> {
    for (build, role) in roles {
        let query = sqlx::query(TAKE_ROLE)
            .bind(signed(build.0))
            .bind(role_name(role));
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Notes how a build compares.
pub async fn compare(
    connection: &mut PgConnection,
    build: BuildId,
    comparison: Option<&str>,
) -> Done<()> {
    let query = sqlx::query(COMPARE)
        .bind(signed(build.0))
        .bind(comparison.map(without_nul));
    query.execute(connection).await?;
    Ok(())
}

/// Notes that a next build is to take over, whatever it lacks; false when it is not one.
pub async fn confirm(connection: &mut PgConnection, build: BuildId) -> Done<bool> {
    let query = sqlx::query(CONFIRM).bind(signed(build.0));
    Ok(query.execute(connection).await?.rows_affected() > 0)
}

/// Claims a build, unless somebody owns it.
pub async fn claim(
    connection: &mut PgConnection,
    build: BuildId,
    lease: Duration,
) -> Done<Option<BuildClaim>> {
    let row = sqlx::query(CLAIM)
        .bind(signed(build.0))
        .bind(micros(lease))
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
    connection: &mut PgConnection,
    build: BuildId,
    token: u64,
    batch: &BuildBatch,
    lease: Duration,
) -> Done<Kept> {
    let row = sqlx::query(ADVANCE)
        .bind(signed(build.0))
        .bind(signed(token))
        .bind(signed(batch.position.0))
        .bind(signed(batch.changes))
        .bind(batch.trouble.as_deref().map(without_nul))
        .bind(micros(lease))
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
        is_paused: row.cell(1)?,
    })
}

/// Notes under which plan an inline build was judged.
pub async fn judge(
    connection: &mut PgConnection,
    build: BuildId,
    (from, to): (u64, u64),
    stale: Option<&str>,
) -> Done<()> {
    let query = sqlx::query(JUDGE)
        .bind(signed(build.0))
        .bind(signed(from))
        .bind(signed(to))
        .bind(stale.map(without_nul));
    query.execute(connection).await?;
    Ok(())
}

/// Gives a build back.
pub async fn release(connection: &mut PgConnection, build: BuildId, token: u64) -> Done<()> {
    let query = sqlx::query(RELEASE)
        .bind(signed(build.0))
        .bind(signed(token));
    query.execute(connection).await?;
    Ok(())
}
