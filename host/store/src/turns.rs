//! Turns of an activation: which builds change how they are folded, in its transaction.

use std::time::Duration;

use async_trait::async_trait;

use super::builds::Roles;
use super::{BuildId, DocumentWrite, Error, Item, Result, Role, Settle, Turn};
use quipu_model::Position;

/// How long an activation may fold events that a build has not seen. Nobody can append meanwhile.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// A build as a turn reads it.
#[derive(Debug, Clone)]
pub struct BuildRow {
    pub id: BuildId,
    pub role: Role,
    pub is_inline: bool,
    pub position: Position,
    /// The greatest change number of a document.
    pub changes: u64,
}

/// The result of a writer's statements.
type WriteResult<T, R> = std::result::Result<T, <R as BuildRows>::Error>;

/// Builds, in the transaction of an activation.
#[async_trait]
pub trait BuildRows: Send {
    /// The error type of its statements.
    type Error: From<Error>;

    /// Returns a build that is not dropped. Nobody else changes it before the activation ends.
    async fn one(&mut self, build: BuildId) -> WriteResult<Option<BuildRow>, Self>;

    /// Returns the builds of a projection, which nobody else changes either.
    async fn of(&mut self, projection: &str) -> WriteResult<Vec<BuildRow>, Self>;

    /// Returns whether events are parked in it.
    async fn has_parked(&mut self, build: BuildId) -> WriteResult<bool, Self>;

    /// Changes the roles of builds.
    async fn take_roles(&mut self, roles: Roles) -> WriteResult<(), Self>;

    /// Makes a projection's next build wait for the operator's action to switch.
    async fn hold(&mut self, projection: &str) -> WriteResult<(), Self>;

    /// Makes a build no longer inline, with a checkpoint at a position. A build whose rules were
    /// not judged under the previous plan is stale.
    async fn detach(&mut self, build: BuildId, last: Position, plan: u64) -> WriteResult<(), Self>;

    /// Makes a build inline from a plan on, and adds these documents. Its owner loses the build.
    async fn attach(
        &mut self,
        build: BuildId,
        last: Position,
        plan: u64,
        writes: Vec<DocumentWrite>,
    ) -> WriteResult<(), Self>;
}

/// Returns the turns of a batch. An activation with turns is the only item of its batch.
///
/// # Errors
/// When the batch has other items.
pub fn turns(items: &[Item]) -> Result<&[Turn]> {
    let turns = items.iter().find_map(|item| match item {
        Item::Activate(activation) if !activation.turns.is_empty() => Some(&*activation.turns),
        _ => None,
    });
    match turns {
        Some(_) if items.len() > 1 => Err(Error::Unexpected(
            "an activation with turns must be the only item of its batch".to_owned(),
        )),
        turns => Ok(turns.unwrap_or_default()),
    }
}

/// Takes turns in order, under a plan that comes with them. The last event of the log is at `last`.
/// Returns the reason when a turn can't be taken. Then nothing of the activation may be stored.
pub async fn take<R: BuildRows>(
    turns: &[Turn],
    rows: &mut R,
    (last, plan): (Position, u64),
) -> WriteResult<Option<String>, R> {
    for turn in turns {
        let refusal = match turn {
            Turn::Async(build) => {
                let row = rows.one(*build).await?;
                if row.is_some_and(|row| row.is_inline) {
                    rows.detach(*build, last, plan).await?;
                }
                None
            }
            Turn::Switch { projection, next } => {
                let builds = rows.of(projection).await?;
                take_roles(rows, switched(&builds, *next)).await?
            }
            Turn::RollBack {
                projection,
                previous,
            } => {
                let builds = rows.of(projection).await?;
                take_roles(rows, rolled_back(&builds, *previous)).await?
            }
            Turn::Inline { build, settle } => attach(rows, *build, &**settle, (last, plan)).await?,
            Turn::Hold(projection) => {
                rows.hold(projection).await?;
                None
            }
        };
        if refusal.is_some() {
            return Ok(refusal);
        }
    }
    Ok(None)
}

async fn take_roles<R: BuildRows>(
    rows: &mut R,
    roles: std::result::Result<Roles, String>,
) -> WriteResult<Option<String>, R> {
    match roles {
        Ok(roles) => rows.take_roles(roles).await.map(|()| None),
        Err(refusal) => Ok(Some(refusal)),
    }
}

async fn attach<R: BuildRows>(
    rows: &mut R,
    build: BuildId,
    settle: &dyn Settle,
    (last, plan): (Position, u64),
) -> WriteResult<Option<String>, R> {
    let id = build.0;
    let row = match rows.one(build).await? {
        Some(row) if row.is_inline => return Ok(None),
        Some(row) if row.role == Role::Active => row,
        Some(_) => return Ok(Some(format!("build {id} is not the active one"))),
        None => return Ok(Some(format!("there is no build {id}"))),
    };
    if rows.has_parked(build).await? {
        let why = "retry them, or drop them";
        return Ok(Some(format!(
            "events are parked in the projection's build {id}; {why}"
        )));
    }
    let offset = row.changes.saturating_sub(row.position.0);
    let settling = settle.settle(row.position, last, offset);
    let settling = tokio::time::timeout(SETTLE_MAX, settling);
    let writes = match settling.await {
        Ok(Ok(Some(writes))) => writes,
        Ok(Ok(None)) => {
            let (from, to) = (row.position.0, last.0);
            return Ok(Some(format!(
                "build {id} is at position {from}, too far before {to}; let it catch up, then \
                 try again"
            )));
        }
        // A guest's fault, or an event that can't be read: not the store's failure.
        Ok(Err(Error::Unexpected(why))) => return Ok(Some(why)),
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => {
            let seconds = SETTLE_MAX.as_secs();
            return Ok(Some(format!(
                "what build {id} has not seen was not folded within {seconds} s"
            )));
        }
    };
    rows.attach(build, last, plan, writes).await.map(|()| None)
}

fn of_role(builds: &[BuildRow], role: Role) -> Option<&BuildRow> {
    builds.iter().find(|build| build.role == role)
}

/// Returns the active build, which must not be inline, if there is one.
fn active(builds: &[BuildRow]) -> std::result::Result<Option<BuildId>, String> {
    match of_role(builds, Role::Active) {
        Some(active) if active.is_inline => {
            let id = active.id.0;
            Err(format!("build {id} is inline; it becomes async first"))
        }
        active => Ok(active.map(|active| active.id)),
    }
}

fn switched(builds: &[BuildRow], next: BuildId) -> std::result::Result<Roles, String> {
    if of_role(builds, Role::Next).is_none_or(|build| build.id != next) {
        return Err(format!("build {} is not the next one", next.0));
    }
    let previous = of_role(builds, Role::Previous).map(|build| (build.id, None));
    let active = active(builds)?.map(|active| (active, Some(Role::Previous)));
    let next = (next, Some(Role::Active));
    Ok(previous.into_iter().chain(active).chain([next]).collect())
}

fn rolled_back(builds: &[BuildRow], previous: BuildId) -> std::result::Result<Roles, String> {
    if of_role(builds, Role::Previous).is_none_or(|build| build.id != previous) {
        return Err(format!("build {} is not the previous one", previous.0));
    }
    let previous = (previous, Some(Role::Active));
    Ok(match active(builds)? {
        None => vec![previous],
        // Without a role for a moment, because no two builds may have the same role.
        Some(active) => vec![(active, None), previous, (active, Some(Role::Previous))],
    })
}
