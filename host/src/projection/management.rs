//! Executes operators' commands to projections, and reports the status of projections.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::compare::compare;
use super::cutover::turn;
use super::reconcile::reconcile_one;
use super::{Action, BuildStatus, Comparison, Deployed, Error, Service, State, Status, Trouble};
use crate::deploy::{Entry, LifecycleChange, Plan, ProjectionChanges, Release};
use crate::model::{Lifecycle, Position, SettingsChange, Timestamp};
use crate::store::{Build, ParkedFilter, Role, Steer, StoredProjection, Turn};

/// How long a `switch` waits for the rebuild to take over, and the pause between two checks.
const SWITCHED_IN: Duration = Duration::from_secs(3);
const SWITCH_CHECK_PAUSE: Duration = Duration::from_millis(20);
/// Longest name of a projection, in bytes.
const NAME_BYTES_MAX: usize = 48;

impl Service {
    /// Returns the status of every projection that is deployed or still has builds, sorted by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all(&self) -> Result<Vec<Status>, Error> {
        let plan = self.shared.registry.plan();
        let head = self.shared.reader.log_head().await?;
        let mut stored = self.shared.documents.projections().await?;
        for (name, _) in plan.projections() {
            if stored.iter().all(|known| *known.name != *name) {
                stored.push(named(name));
            }
        }
        stored.sort_by(|one, other| one.name.cmp(&other.name));
        let mut all = Vec::with_capacity(stored.len());
        for stored in stored {
            let is_there = plan.projection(&stored.name).is_some() || !stored.builds.is_empty();
            if is_there {
                all.push(self.standing(&plan, stored, head).await?);
            }
        }
        Ok(all)
    }

    /// Returns the status of a projection.
    ///
    /// # Errors
    /// When there is no such projection, or the store fails.
    pub async fn status(&self, name: &str) -> Result<Status, Error> {
        let plan = self.shared.registry.plan();
        let head = self.shared.reader.log_head().await?;
        let stored = self.stored(&plan, name).await?;
        let mut status = self.standing(&plan, stored.clone(), head).await?;
        // Compared only when a single status is requested, because it reads all documents of both
        // builds.
        let mut builds = status.builds.iter_mut();
        if let Some(next) = builds.find(|build| build.state == State::Ready) {
            next.comparison = compare(&self.shared, &stored).await?;
        }
        Ok(status)
    }

    /// Returns the stored record of a projection that is deployed or still has builds.
    pub(super) async fn stored(&self, plan: &Plan, name: &str) -> Result<StoredProjection, Error> {
        check_name(name)?;
        let stored = self.shared.documents.projection(name).await?;
        let is_deployed = plan.projection(name).is_some();
        match stored.filter(|stored| is_deployed || !stored.builds.is_empty()) {
            Some(stored) => Ok(stored),
            None if is_deployed => Ok(named(name)),
            None => Err(Error::NotFound(name.to_owned())),
        }
    }

    async fn standing(
        &self,
        plan: &Plan,
        stored: StoredProjection,
        log_head: Position,
    ) -> Result<Status, Error> {
        let projected = plan.projection(&stored.name);
        let mut builds = Vec::with_capacity(stored.builds.len());
        for build in &stored.builds {
            builds.push(self.build_status(plan, &stored, build, log_head).await?);
        }
        builds.sort_by_key(|build| match build.role {
            Role::Active => 0,
            Role::Next => 1,
            Role::Previous => 2,
        });
        Ok(Status {
            deployed: projected.map(|projected| Deployed {
                component: projected.module.manifest().name.clone(),
                module: projected.module.digest(),
                version: projected.definition().version,
            }),
            settings: projected.map(|it| it.settings).unwrap_or_default(),
            is_paused: stored.is_paused,
            is_held: stored.is_held,
            log_head,
            builds,
            name: stored.name,
        })
    }

    async fn build_status(
        &self,
        plan: &Plan,
        stored: &StoredProjection,
        build: &Build,
        log_head: Position,
    ) -> Result<BuildStatus, Error> {
        let counts = self.shared.documents.counts(build.id).await?;
        let failing = self.shared.inline.failing(&stored.name);
        let mut trouble = Trouble::read(build.trouble.as_deref());
        if let Some(why) = failing.filter(|_| build.is_inline) {
            trouble = Some(Trouble::failing(why, self.shared.clock.now()));
        }
        let position = match build.is_inline {
            true => log_head,
            false => build.position,
        };
        let waits = build.waits.clone().filter(|_| build.role == Role::Next);
        let is_live = plan
            .projection(&stored.name)
            .is_some_and(|it| it.settings.lifecycle == Lifecycle::Live);
        // Until the current plan is checked, nobody knows whether the documents are still correct.
        let is_judged = build.plan.is_some_and(|judged| judged >= plan.number);
        let state = match build.role {
            Role::Previous => State::Kept,
            _ if plan.projection(&stored.name).is_none() || is_live => State::Orphaned,
            _ if build.is_inline && trouble.is_some() => State::Failing,
            _ if build.is_inline && build.stale.is_some() => State::Stale,
            _ if build.is_inline => State::Inline,
            _ if trouble.as_ref().is_some_and(|it| it.is_stopped) => State::Stopped,
            _ if stored.is_paused => State::Paused,
            _ if trouble.is_some() => State::Retrying,
            _ if build.stale.is_some() => State::Stale,
            Role::Next if waits.is_some() && position >= log_head && is_judged => State::Ready,
            Role::Next if stored.is_held && position >= log_head && is_judged => State::Ready,
            _ if position >= log_head && is_judged => State::CaughtUp,
            _ => State::CatchingUp,
        };
        let remaining = match state {
            State::CatchingUp => self.remaining(build, log_head),
            _ => None,
        };
        Ok(BuildStatus {
            role: build.role,
            version: build.version,
            module: build.module,
            position,
            state,
            counts,
            started_at: build.started_at,
            is_owned: build.is_owned,
            trouble,
            plan: build.plan,
            stale: build.stale.clone(),
            comparison: Comparison::read(build.comparison.as_deref()),
            waits,
            remaining,
        })
    }

    /// Estimates the time until a build has caught up, from its average speed since it started.
    fn remaining(&self, build: &Build, log_head: Position) -> Option<Duration> {
        let taken = self.shared.clock.now().0;
        let taken = taken.saturating_sub(build.started_at.0);
        let left = log_head.0.saturating_sub(build.position.0);
        remaining(taken, build.position.0, left)
    }

    /// Executes an operator's command, and returns the status of the projection afterwards.
    ///
    /// # Errors
    /// When there is no such projection, the command is not possible in its current state, or the
    /// store fails.
    pub async fn control(&self, name: &str, action: Action) -> Result<Status, Error> {
        let plan = self.shared.registry.plan();
        let mut stored = self.stored(&plan, name).await?;
        // The rebuild of a deployment starts with the owner's next check, and a command about
        // builds may come before it.
        if matches!(action, Action::Switch | Action::RollBack | Action::Cancel)
            && let Some(projected) = plan.projection(name)
            && projected.settings.lifecycle != Lifecycle::Live
        {
            stored = reconcile_one(&self.shared, &plan, name, projected).await?;
        }
        let documents = &self.shared.documents;
        match action {
            Action::Pause => documents.steer(name, Steer::Paused(true)).await?,
            Action::Resume => {
                self.shared.inline.resume(name);
                documents.steer(name, Steer::Paused(false)).await?;
                documents.steer(name, Steer::Resume).await?;
            }
            Action::Rebuild { hold } => self.rebuild(&plan, &stored, hold).await?,
            Action::RetryParked => documents.steer(name, Steer::Retry).await?,
            Action::RetryParkedOf { subject, position } => {
                self.retry_parked(&stored, &subject, position).await?;
            }
            Action::DropParked {
                subject,
                position,
                reason,
            } => {
                let which = ParkedFilter { subject, position };
                self.drop_parked(name, &which, &reason).await?;
            }
            Action::Switch => {
                let none = || refused(name, "no rebuild is under way; begin one with `rebuild`");
                let mut builds = stored.builds.iter();
                let next = builds.find(|build| build.role == Role::Next);
                // Confirmed before the hold ends, so that no owner checks in between what the
                // rebuild lacks.
                if !documents.confirm(next.ok_or_else(none)?.id).await? {
                    return Err(none());
                }
                documents.steer(name, Steer::Held(false)).await?;
                self.shared.notify();
                self.switched(name).await?;
            }
            Action::RollBack => self.roll_back(&plan, &stored).await?,
            Action::Detach => self.detach(&plan, name).await?,
            Action::Cancel => {
                if !documents.drop_build(name, Role::Next).await? {
                    return Err(refused(name, "no rebuild is under way"));
                }
                documents.steer(name, Steer::Held(false)).await?;
            }
            Action::Drop => self.drop_old(&plan, &stored).await?,
        }
        self.shared.notify();
        match self.status(name).await {
            // Nothing is left of the projection.
            Err(Error::NotFound(_)) => {
                let head = self.shared.reader.log_head().await?;
                self.standing(&plan, named(name), head).await
            }
            status => status,
        }
    }

    async fn rebuild(
        &self,
        plan: &Plan,
        stored: &StoredProjection,
        hold: bool,
    ) -> Result<(), Error> {
        let name = &*stored.name;
        let Some(projected) = plan.projection(name) else {
            return Err(refused(name, "no active component defines it any more"));
        };
        if projected.settings.lifecycle == Lifecycle::Live {
            return Err(Error::IsLive(name.to_owned()));
        }
        let (version, module) = (projected.definition().version, projected.module.digest());
        let (documents, now) = (&self.shared.documents, self.shared.clock.now());
        let under_way = || refused(name, "a rebuild is under way; `cancel` gives it up");
        // Returns before the hold is changed, so that the running rebuild's hold stays as it is.
        if stored.builds.iter().any(|build| build.role == Role::Next) {
            return Err(under_way());
        }
        documents.steer(name, Steer::Held(hold)).await?;
        let begun = documents.begin(name, Role::Next, version, module, (now, plan.number));
        begun.await?.map(|_| ()).ok_or_else(under_way)
    }

    /// Waits a moment for a rebuild to take over. A rebuild that has caught up does so immediately,
    /// any other one later.
    async fn switched(&self, name: &str) -> Result<(), Error> {
        let until = Instant::now() + SWITCHED_IN;
        while Instant::now() < until {
            let stored = self.shared.documents.projection(name).await?;
            let mut builds = stored.iter().flat_map(|stored| &stored.builds);
            if !builds.any(|build| build.role == Role::Next) {
                break;
            }
            sleep(SWITCH_CHECK_PAUSE).await;
        }
        Ok(())
    }

    async fn roll_back(&self, plan: &Plan, stored: &StoredProjection) -> Result<(), Error> {
        let name = &*stored.name;
        let of = |role| stored.builds.iter().find(move |build| build.role == role);
        let (Some(active), Some(previous)) = (of(Role::Active), of(Role::Previous)) else {
            return Err(refused(name, "no build before this one is kept"));
        };
        if of(Role::Next).is_some() {
            return Err(refused(name, "a rebuild is under way; `cancel` it first"));
        }
        if plan.inline_projection(name).is_some() {
            // The build catches up asynchronously and then becomes inline by itself.
            let back = Turn::RollBack {
                projection: name.into(),
                previous: previous.id,
            };
            let turning = LifecycleChange {
                projection: name.into(),
                turns: vec![Turn::Async(active.id), back],
                inline: None,
                judged: None,
            };
            return turn(&self.shared, name, turning).await;
        }
        match self.shared.documents.roll_back(name).await? {
            true => Ok(()),
            false => Err(refused(
                name,
                "its builds have changed meanwhile; check its status, then retry",
            )),
        }
    }

    /// Makes an inline projection asynchronous.
    async fn detach(&self, plan: &Plan, name: &str) -> Result<(), Error> {
        let Some(projected) = plan.projection(name) else {
            return Err(refused(name, "no active component defines it any more"));
        };
        if projected.settings.lifecycle != Lifecycle::Inline {
            return Err(refused(name, "it is not inline"));
        }
        let change = SettingsChange {
            lifecycle: Some(Lifecycle::Async),
            on_error: None,
        };
        let keeping = ProjectionChanges {
            changes: [(name.to_owned(), change)].into(),
            // Nothing else of the component is checked.
            turning: Some(LifecycleChange {
                projection: name.into(),
                turns: Vec::new(),
                inline: None,
                judged: None,
            }),
            ..ProjectionChanges::default()
        };
        let release = Release::from(projected.module.digest());
        let registry = &self.shared.registry;
        registry
            .activate(&release, Entry::default(), &keeping)
            .await?;
        self.shared.inline.resume(name);
        Ok(())
    }

    async fn drop_old(&self, plan: &Plan, stored: &StoredProjection) -> Result<(), Error> {
        let name = &*stored.name;
        let documents = &self.shared.documents;
        let is_used = plan
            .projection(name)
            .is_some_and(|it| it.settings.lifecycle != Lifecycle::Live);
        let roles: &[Role] = match is_used {
            true => &[Role::Previous],
            false => &[Role::Previous, Role::Next, Role::Active],
        };
        let mut dropped = false;
        for role in roles {
            dropped |= documents.drop_build(name, *role).await?;
        }
        match dropped {
            true => Ok(()),
            false => Err(refused(name, "no build before the active one is kept")),
        }
    }

    pub(super) async fn build(&self, name: &str, role: Role) -> Result<Build, Error> {
        let plan = self.shared.registry.plan();
        let stored = self.stored(&plan, name).await?;
        let mut builds = stored.builds.into_iter();
        let found = builds.find(|build| build.role == role);
        found.ok_or_else(|| refused(name, "it has no such build"))
    }
}

/// Checks that a text can be the name of a projection. The store may be unable to hold any other
/// text.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let is_of_names = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let has_form = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| is_of_names(byte) || b"_-".contains(&byte));
    match has_form {
        true => Ok(()),
        false => Err(Error::NotFound(format!("{name:?}"))),
    }
}

/// The time that the rest takes at the speed of what is done, in microseconds. `None` if nothing is
/// done, or the time is longer than anything can say.
fn remaining(taken_us: u64, done: u64, left: u64) -> Option<Duration> {
    let micros = u128::from(taken_us) * u128::from(left);
    let micros = micros.checked_div(u128::from(done))?;
    u64::try_from(micros).ok().map(Duration::from_micros)
}

fn named(name: &str) -> StoredProjection {
    StoredProjection {
        name: name.into(),
        ..StoredProjection::default()
    }
}

pub(super) fn refused(projection: &str, why: &str) -> Error {
    Error::Refused {
        projection: projection.to_owned(),
        why: why.to_owned(),
    }
}

impl Trouble {
    /// Decodes an error as the owner of a build encoded it. A text that cannot be decoded becomes
    /// the error message itself.
    pub(super) fn read(written: Option<&str>) -> Option<Self> {
        let written = written?;
        let read = serde_json::from_str(written);
        Some(read.unwrap_or_else(|_| Self::failing(written.to_owned(), Timestamp(0))))
    }

    /// Encodes the error for the store.
    pub(super) fn written(&self) -> Box<str> {
        let written = serde_json::to_string(self);
        written.map_or_else(|_| self.error.clone(), Into::into)
    }

    fn failing(why: String, since: Timestamp) -> Self {
        Self {
            is_stopped: false,
            position: None,
            stream: None,
            document: None,
            error: why.into(),
            since,
            attempts: 0,
        }
    }
}

impl Comparison {
    fn read(written: Option<&str>) -> Option<Self> {
        serde_json::from_str(written?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remaining_time_is_estimated_from_any_figures() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (taken_us, done, left, expected) in [
            (10_000_000, 100, 50, seconds(5)),
            (10_000_000, 100, 0, seconds(0)),
            (0, 100, 50, seconds(0)),
            (10_000_000, 0, 50, None),
            (1_800_000_000_000_000, 1, u64::MAX, None),
            (u64::MAX, 1, u64::MAX, None),
            (
                u64::MAX,
                u64::MAX,
                u64::MAX,
                Some(Duration::from_micros(u64::MAX)),
            ),
        ] {
            assert_eq!(
                remaining(taken_us, done, left),
                expected,
                "{taken_us} {done} {left}"
            );
        }
    }
}
