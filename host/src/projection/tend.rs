//! What is to be built, by what is deployed and what is there.

use super::Error;
use super::shared::Shared;
use crate::deploy::Projected;
use crate::model::Lifecycle;
use crate::store::{Build, Role, StoredProjection};

/// A build that is to be kept going.
pub(super) struct Wanted {
    pub name: String,
    pub build: Build,
}

/// Begins what is deployed and not there, hands over what a new module goes on with, and
/// removes a part of what was dropped. Tells what is to be kept going.
pub(super) async fn tend(shared: &Shared) -> Result<Vec<Wanted>, Error> {
    let plan = shared.registry.plan();
    let mut wanted = Vec::new();
    for (name, projected) in plan.projections() {
        if projected.settings.lifecycle == Lifecycle::Live {
            continue;
        }
        let stored = tended(shared, name, projected).await?;
        let builds = stored.builds.into_iter();
        let kept_going = builds.filter(|build| build.role != Role::Previous && !build.is_inline);
        wanted.extend(kept_going.map(|build| Wanted {
            name: name.to_owned(),
            build,
        }));
    }
    while !shared.ending.is_cancelled() && shared.documents.sweep().await? {
        tokio::task::yield_now().await;
    }
    Ok(wanted)
}

/// A projection, with the builds that it should have.
async fn tended(
    shared: &Shared,
    name: &str,
    projected: &Projected,
) -> Result<StoredProjection, Error> {
    let documents = &shared.documents;
    let (version, module) = (projected.definition().version, projected.module.digest());
    // Another host may do the same at the same time: what is there afterwards counts.
    for _ in 0..8 {
        let stored = documents.projection(name).await?.unwrap_or_default();
        let of = |role| {
            let mut builds = stored.builds.iter();
            builds.find(|build| build.role == role).cloned()
        };
        let (active, next) = (of(Role::Active), of(Role::Next));
        let plan = shared.registry.plan();
        let begun = (shared.clock.now(), plan.number);
        let Some(active) = active else {
            let beginning = documents.begin(name, Role::Active, version, module, begun);
            beginning.await?;
            continue;
        };
        if active.is_inline && active.plan.is_none_or(|judged| judged < plan.number) {
            let folded_by = shared.registry.module(active.module).await?;
            shared
                .judge_inline((name, &folded_by), &active, &plan)
                .await?;
            continue;
        }
        // An operator went back to the version before: that is the one to be kept right. When the
        // component went back, its documents follow.
        let previous = of(Role::Previous);
        let went_back = active.version < version
            && previous.is_some_and(|previous| previous.version == version);
        let wanted = match went_back {
            true => (active.version, active.module),
            false => (version, module),
        };
        let is_of_no_use = |next: &&Build| next.version != wanted.0 || next.stale.is_some();
        if let Some(next) = next.as_ref().filter(is_of_no_use) {
            tracing::info!(
                projection = name,
                version = next.version,
                "a rebuild is of no use any more"
            );
            documents.drop_build(name, Role::Next).await?;
            continue;
        }
        let own = [Some(&active), next.as_ref()].into_iter().flatten();
        let mut other = own
            .filter(|build| build.version == version && build.module != module)
            .map(|build| build.id);
        if let Some(build) = other.next() {
            documents.hand_over(build, module).await?;
            shared.tell();
            continue;
        }
        let is_there = active.version == wanted.0;
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
