//! Projections and their builds.

use std::time::Duration;

use super::cell::{Cells, from_row};
use super::dialect::{self, Connection, greatest, now, until};
use super::lease::{is_free, millis, release};
use super::signed;
use crate::builds::{Roles, Steered, role, role_name, view_name, without_nul};
use crate::{BatchOutcome, Build, BuildBatch, BuildClaim, BuildId, Result, Role, StoredProjection};
use quipu_model::{Digest, Position, Timestamp};

const LIST: &str = concat!(
    "SELECT p.name, p.paused, p.held, p.retries, b.id, b.role, b.version, b.module, b.position, \
     b.changes, b.is_inline, b.started_at, coalesce(b.held_until > ",
    now!(),
    ", false) AS is_owned, b.trouble, b.comparison, b.plan, b.stale, \
     EXISTS (SELECT 1 FROM parked_events AS e WHERE e.build = b.id) AS has_parked, \
     b.confirmed, b.waits \
     FROM projections AS p LEFT JOIN builds AS b ON b.projection = p.name AND b.role <> 'dropped' \
     WHERE $1 IS NULL OR p.name = $1 ORDER BY p.name, b.id"
);
const KNOW: &str = "INSERT INTO projections (name) VALUES ($1) ON CONFLICT (name) DO NOTHING";
const BEGIN: &str = "INSERT INTO builds (projection, role, version, module, started_at, plan, \
     has_digests) VALUES ($1, $2, $3, $4, $5, $6, true) ON CONFLICT (projection, role) WHERE role <> 'dropped' \
     DO NOTHING RETURNING id";
const HAND_OVER: &str = "UPDATE builds \
     SET module = $2, trouble = NULL, token = token + 1, held_until = NULL \
     WHERE id = $1 AND role <> 'dropped'";
const STEER: &str = "INSERT INTO projections AS p (name, paused, held, retries) \
     VALUES ($1, coalesce($2, false), coalesce($3, false), $4) ON CONFLICT (name) DO UPDATE SET \
     paused = coalesce($2, p.paused), held = coalesce($3, p.held), retries = p.retries + $4";
const FORGET: &str = "UPDATE builds SET trouble = NULL \
     WHERE projection = $1 AND trouble IS NOT NULL";
pub const TAKE_ROLE: &str =
    "UPDATE builds SET role = $2, confirmed = false, waits = NULL WHERE id = $1";
const COMPARE: &str = "UPDATE builds SET comparison = $2 WHERE id = $1";
const CONFIRM: &str = "UPDATE builds SET confirmed = true, waits = NULL \
     WHERE id = $1 AND role = 'next'";
const CLAIM: &str = concat!(
    "UPDATE builds SET token = token + 1, held_until = ",
    until!("$2"),
    " WHERE id = $1 AND NOT is_inline AND role <> 'dropped' AND ",
    is_free!(),
    " RETURNING token, position, changes, module, plan, stale"
);
const ADVANCE: &str = concat!(
    "UPDATE builds SET position = ",
    greatest!("position", "$3"),
    ", changes = ",
    greatest!("changes", "$4"),
    ", trouble = $5, plan = coalesce($7, plan), stale = coalesce(stale, $8), waits = $9, \
     held_until = ",
    until!("$6"),
    " WHERE id = $1 AND token = $2 AND NOT is_inline AND role <> 'dropped' \
     RETURNING (SELECT retries FROM projections WHERE name = projection) AS retries, \
         (SELECT paused FROM projections WHERE name = projection) AS paused"
);
const JUDGE: &str = "UPDATE builds SET plan = $3, stale = coalesce(stale, $4) \
     WHERE id = $1 AND coalesce(plan, 0) = $2 AND is_inline AND role <> 'dropped'";
const RELEASE: &str = release!("builds", "id");

from_row!(Build, |row| Ok(Build {
    id: BuildId(row.number("id")?),
    role: role(row.cell("role")?)?,
    version: row.small("version")?,
    module: row.digest("module")?,
    position: Position(row.number("position")?),
    changes: row.number("changes")?,
    is_inline: row.cell("is_inline")?,
    started_at: Timestamp(row.number("started_at")?),
    is_owned: row.cell("is_owned")?,
    trouble: row.maybe_text("trouble")?,
    comparison: row.maybe_text("comparison")?,
    plan: row.maybe_number("plan")?,
    stale: row.maybe_text("stale")?,
    has_parked: row.cell("has_parked")?,
    is_confirmed: row.cell("confirmed")?,
    waits: row.maybe_text("waits")?,
}));

from_row!(StoredProjection, |row| Ok(StoredProjection {
    name: row.cell::<&str>("name")?.into(),
    is_paused: row.cell("paused")?,
    is_held: row.cell("held")?,
    retries: row.number("retries")?,
    builds: Vec::new(),
}));

from_row!(BuildClaim, |row| Ok(BuildClaim {
    token: row.number("token")?,
    position: Position(row.number("position")?),
    changes: row.number("changes")?,
    module: row.digest("module")?,
    plan: row.maybe_number("plan")?,
    stale: row.maybe_text("stale")?,
}));

/// Every projection, or the one of a name.
pub async fn list(
    connection: &mut Connection,
    name: Option<&str>,
) -> Result<Vec<StoredProjection>> {
    let rows = sqlx::query(LIST).bind(name).fetch_all(connection).await?;
    let mut projections: Vec<StoredProjection> = Vec::new();
    for row in &rows {
        let name: &str = row.cell("name")?;
        if projections.last().is_none_or(|last| *last.name != *name) {
            projections.push(sqlx::FromRow::from_row(row)?);
        }
        if let (Some(last), Some(_)) = (projections.last_mut(), row.maybe_number("id")?) {
            last.builds.push(sqlx::FromRow::from_row(row)?);
        }
    }
    Ok(projections)
}

/// The builds of a projection, which nobody else changes until the end of the transaction.
pub async fn locked(connection: &mut Connection, name: &str) -> Result<Vec<Build>> {
    dialect::lock_builds(connection, name).await?;
    let found = list(connection, Some(name)).await?.pop();
    Ok(found.map(|found| found.builds).unwrap_or_default())
}

/// Begins a build, and makes the projection's view; none when there is one of this role.
pub async fn begin(
    connection: &mut Connection,
    name: &str,
    role: Role,
    version: u32,
    module: Digest,
    (at, plan): (Timestamp, u64),
) -> Result<Option<Build>> {
    let view = view_name(name)?;
    let know = sqlx::query(KNOW).bind(name);
    know.execute(&mut *connection).await?;
    // When several hosts start at once, one creates the view, and the others find it.
    dialect::lock_builds(connection, name).await?;
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
    dialect::make_view(connection, name, &view).await?;
    let begun = locked(connection, name).await?;
    Ok(begun.into_iter().find(|build| build.id == id))
}

/// Changes the module of a build.
pub async fn hand_over(connection: &mut Connection, build: BuildId, module: Digest) -> Result<()> {
    let query = sqlx::query(HAND_OVER)
        .bind(signed(build.0))
        .bind(&module.0[..]);
    query.execute(connection).await?;
    Ok(())
}

/// Performs an operator's action.
pub async fn steer(connection: &mut Connection, name: &str, steered: &Steered) -> Result<()> {
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

/// Changes the roles of builds, one after the other.
pub async fn take_roles(connection: &mut Connection, roles: Roles) -> sqlx::Result<()> {
    for (build, role) in roles {
        let query = sqlx::query(TAKE_ROLE)
            .bind(signed(build.0))
            .bind(role_name(role));
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Records how a build compares.
pub async fn compare(
    connection: &mut Connection,
    build: BuildId,
    comparison: Option<&str>,
) -> Result<()> {
    let query = sqlx::query(COMPARE)
        .bind(signed(build.0))
        .bind(comparison.map(without_nul));
    query.execute(connection).await?;
    Ok(())
}

/// Records that a next build is to switch, whatever it lacks. Returns false when it is not a next
/// build.
pub async fn confirm(connection: &mut Connection, build: BuildId) -> Result<bool> {
    let query = sqlx::query(CONFIRM).bind(signed(build.0));
    Ok(query.execute(connection).await?.rows_affected() > 0)
}

/// Claims a build, unless somebody owns it.
pub async fn claim(
    connection: &mut Connection,
    build: BuildId,
    lease: Duration,
) -> Result<Option<BuildClaim>> {
    let claim = sqlx::query_as(CLAIM)
        .bind(signed(build.0))
        .bind(millis(lease));
    Ok(claim.fetch_optional(connection).await?)
}

/// Moves the checkpoint, if the token is the last one.
pub async fn advance(
    connection: &mut Connection,
    build: BuildId,
    token: u64,
    batch: &BuildBatch,
    lease: Duration,
) -> Result<BatchOutcome> {
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
        return Ok(BatchOutcome::Lost);
    };
    Ok(BatchOutcome::Done {
        retries: row.number("retries")?,
        is_paused: row.cell("paused")?,
    })
}

/// Records under which plan an inline build was judged.
pub async fn judge(
    connection: &mut Connection,
    build: BuildId,
    (from, to): (u64, u64),
    stale: Option<&str>,
) -> Result<()> {
    let query = sqlx::query(JUDGE)
        .bind(signed(build.0))
        .bind(signed(from))
        .bind(signed(to))
        .bind(stale.map(without_nul));
    query.execute(connection).await?;
    Ok(())
}

/// Releases a build.
pub async fn release(connection: &mut Connection, build: BuildId, token: u64) -> Result<()> {
    let query = sqlx::query(RELEASE)
        .bind(signed(build.0))
        .bind(signed(token));
    query.execute(connection).await?;
    Ok(())
}
