//! Decides which builds to start, replace and run, from what is deployed and what is stored.

use std::sync::Arc;

use super::Error;
use super::shared::Shared;
use crate::deploy::{self, Plan, Projected};
use crate::model::Lifecycle;
use crate::runtime::Definition;
use crate::store::{Build, Role, StoredProjection};

/// A build that should run.
pub(super) struct Wanted {
    pub name: String,
    pub build: Build,
}

/// Starts builds that are deployed but missing, and passes builds to new modules that can continue
/// them. Returns the builds that should run.
pub(super) async fn reconcile(shared: &Shared) -> Result<Vec<Wanted>, Error> {
    let plan = shared.registry.plan();
    let mut wanted = Vec::new();
    for (name, projected) in plan.projections() {
        if projected.settings.lifecycle == Lifecycle::Live {
            continue;
        }
        let stored = reconcile_one(shared, &plan, name, projected).await?;
        let builds = stored.builds.into_iter();
        let kept_going = builds.filter(|build| build.role != Role::Previous && !build.is_inline);
        wanted.extend(kept_going.map(|build| Wanted {
            name: name.to_owned(),
            build,
        }));
    }
    Ok(wanted)
}

/// Removes the contents of dropped builds, part by part, until nothing is left or something else is
/// to be done. Returns whether there is more.
///
/// # Errors
/// When the store fails.
pub(super) async fn sweep(
    shared: &Shared,
    is_interrupted: impl Fn() -> bool,
) -> Result<bool, Error> {
    while shared.documents.sweep().await? {
        if shared.ending.is_cancelled() || is_interrupted() {
            return Ok(true);
        }
        tokio::task::yield_now().await;
    }
    Ok(false)
}

/// Returns a projection after it has been given the builds that it should have.
///
/// Nothing is changed if a build was begun under a later plan than this one: the plan has been
/// replaced since, and what it asks for is of no use.
pub(super) async fn reconcile_one(
    shared: &Shared,
    plan: &Arc<Plan>,
    name: &str,
    projected: &Projected,
) -> Result<StoredProjection, Error> {
    let documents = &shared.documents;
    let (version, module) = (projected.definition().version, projected.module.digest());
    // Another host may do the same at the same time, so the stored state is read after every
    // change.
    for _ in 0..8 {
        let stored = documents.projection(name).await?.unwrap_or_default();
        let of = |role| {
            let mut builds = stored.builds.iter();
            builds.find(|build| build.role == role).cloned()
        };
        let (active, next) = (of(Role::Active), of(Role::Next));
        let is_later = |build: &Build| build.plan.is_some_and(|begun| begun > plan.number);
        if active.iter().chain(&next).any(is_later) {
            return Ok(stored);
        }
        let begun = (shared.clock.now(), plan.number);
        let Some(active) = active else {
            let beginning = documents.begin(name, Role::Active, version, module, begun);
            beginning.await?;
            continue;
        };
        if active.is_inline && active.plan.is_none_or(|judged| judged < plan.number) {
            let folded_by = shared.registry.module(active.module).await?;
            shared
                .judge_inline((name, &folded_by), &active, plan)
                .await?;
            continue;
        }
        // An operator rolled back to the previous version. That version is the one to run, until
        // another module of its component becomes active.
        let replaced = of(Role::Previous).filter(|previous| previous.version == version);
        let went_back = match replaced {
            Some(replaced) if active.version < version => {
                let component = projected.module.manifest().name.as_str();
                let since = replaced.plan.unwrap_or_default();
                !was_replaced(shared, component, (since, plan.number)).await?
            }
            _ => false,
        };
        let wanted = match went_back {
            true => (active.version, active.module),
            false => (version, module),
        };
        // A build made with a different definition does not fit, even if the version is the same.
        let definition = projected.definition();
        let (mut active_fits, mut next_fits) = (true, true);
        for (build, fits) in [
            (Some(&active), &mut active_fits),
            (next.as_ref(), &mut next_fits),
        ] {
            if let Some(build) = build.filter(|it| it.version == version && it.module != module) {
                *fits = is_of(shared, build, (name, definition)).await?;
            }
        }
        let is_of_no_use =
            |next: &&Build| next.version != wanted.0 || next.stale.is_some() || !next_fits;
        if let Some(next) = next.as_ref().filter(is_of_no_use) {
            tracing::info!(
                projection = name,
                version = next.version,
                "an obsolete rebuild is removed"
            );
            documents.drop_build(name, Role::Next).await?;
            continue;
        }
        let own = [Some(&active).filter(|_| active_fits), next.as_ref()];
        let mut other = own
            .into_iter()
            .flatten()
            .filter(|build| build.version == version && build.module != module)
            .map(|build| build.id);
        if let Some(build) = other.next() {
            documents.hand_over(build, module).await?;
            shared.notify();
            continue;
        }
        let is_there = active.version == wanted.0 && active_fits;
        if next.is_none() && (!is_there || active.stale.is_some()) {
            if let Some(reason) = &active.stale {
                tracing::info!(projection = name, %reason, "a stale projection is rebuilt");
            }
            let (version, module) = wanted;
            let beginning = documents.begin(name, Role::Next, version, module, begun);
            beginning.await?;
            continue;
        }
        return Ok(stored);
    }
    Ok(documents.projection(name).await?.unwrap_or_default())
}

/// Whether another module became active under a name after a plan, up to the present one.
async fn was_replaced(
    shared: &Shared,
    name: &str,
    (plan, present): (u64, u64),
) -> Result<bool, Error> {
    let mut active = None;
    for deployment in shared.history(present).await?.iter() {
        let named = deployment.members().find(|(member, _)| *member == name);
        let Some((_, module)) = named else {
            continue;
        };
        if deployment.plan > plan && module != active {
            return Ok(true);
        }
        active = module;
    }
    Ok(false)
}

/// Whether a build was made with a definition. If its module is gone, the answer is no.
async fn is_of(
    shared: &Shared,
    build: &Build,
    (name, definition): (&str, &Definition),
) -> Result<bool, Error> {
    match shared.registry.module(build.module).await {
        Ok(module) => {
            let made = module.projection(name);
            Ok(made.is_some_and(|made| definition.makes_the_same_as(made)))
        }
        Err(deploy::Error::Store(error)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(projection = name, %error, "a build's module can't be read");
            Ok(false)
        }
    }
}
