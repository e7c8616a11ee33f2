//! Projections and their builds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::builds::{Roles, Steered, UNJUDGED};
use crate::{Build, BuildBatch, BuildClaim, BuildId, Kept, Role, StoredProjection};
use quipu_model::{Digest, Position, Timestamp};

/// Projections, and builds of all of them.
#[derive(Clone, Default)]
pub struct Builds {
    steered: BTreeMap<Box<str>, Steering>,
    rows: BTreeMap<BuildId, Row>,
    last: u64,
}

#[derive(Clone, Default)]
struct Steering {
    is_paused: bool,
    is_held: bool,
    retries: u64,
}

#[derive(Clone)]
struct Row {
    projection: Box<str>,
    /// Of one that is dropped, the role that it had.
    build: Build,
    is_dropped: bool,
    token: u64,
    /// None when nobody owns it.
    until: Option<Instant>,
}

impl Row {
    /// Whether an owner may write to it.
    fn is_kept(&self) -> bool {
        !self.is_dropped && !self.build.is_inline
    }

    fn is_owned(&self) -> bool {
        self.until.is_some_and(|until| until > Instant::now())
    }

    fn lose_owner(&mut self) {
        self.token += 1;
        self.until = None;
    }
}

/// When a lease is over; one that never ends is a thousand years long.
fn until(lease: Duration) -> Instant {
    let longest = Duration::from_secs(1_000 * 366 * 24 * 3_600);
    Instant::now() + lease.min(longest)
}

impl Builds {
    /// Every projection, or the one of a name.
    pub fn projections(&self, name: Option<&str>) -> Vec<StoredProjection> {
        let asked = self
            .steered
            .iter()
            .filter(|(of, _)| name.is_none_or(|name| ***of == *name));
        asked
            .map(|(name, steering)| StoredProjection {
                name: name.clone(),
                is_paused: steering.is_paused,
                is_held: steering.is_held,
                retries: steering.retries,
                builds: self.of(name),
            })
            .collect()
    }

    /// The builds of a projection.
    pub fn of(&self, name: &str) -> Vec<Build> {
        let rows = self.rows.values();
        rows.filter(|row| !row.is_dropped && *row.projection == *name)
            .map(|row| Build {
                is_owned: row.is_owned(),
                ..row.build.clone()
            })
            .collect()
    }

    /// Begins a build, unless there is one of this role.
    pub fn begin(
        &mut self,
        name: &str,
        role: Role,
        version: u32,
        module: Digest,
        (at, plan): (Timestamp, u64),
    ) -> Option<Build> {
        self.steered.entry(name.into()).or_default();
        if self.of(name).iter().any(|build| build.role == role) {
            return None;
        }
        self.last += 1;
        let build = Build {
            id: BuildId(self.last),
            role,
            version,
            module,
            position: Position(0),
            changes: 0,
            is_inline: false,
            started_at: at,
            is_owned: false,
            trouble: None,
            comparison: None,
            plan: Some(plan),
            stale: None,
            has_parked: false,
            is_confirmed: false,
            waits: None,
        };
        let row = Row {
            projection: name.into(),
            build: build.clone(),
            is_dropped: false,
            token: 0,
            until: None,
        };
        self.rows.insert(build.id, row);
        Some(build)
    }

    /// Lets another module go on.
    pub fn hand_over(&mut self, build: BuildId, module: Digest) {
        if let Some(row) = self.living(build) {
            row.build.module = module;
            row.build.trouble = None;
            row.lose_owner();
        }
    }

    fn living(&mut self, build: BuildId) -> Option<&mut Row> {
        self.rows.get_mut(&build).filter(|row| !row.is_dropped)
    }

    /// Does what an operator asks.
    pub fn steer(&mut self, name: &str, steered: &Steered) {
        let steering = self.steered.entry(name.into()).or_default();
        steering.is_paused = steered.paused.unwrap_or(steering.is_paused);
        steering.is_held = steered.held.unwrap_or(steering.is_held);
        steering.retries += steered.retries;
        if steered.forgets {
            let rows = self.rows.values_mut();
            for row in rows.filter(|row| *row.projection == *name) {
                row.build.trouble = None;
            }
        }
    }

    /// How often parked events of a projection were asked to be retried.
    pub fn retries(&self, name: &str) -> u64 {
        self.steered
            .get(name)
            .map_or(0, |steering| steering.retries)
    }

    /// Lets builds take roles.
    pub fn take_roles(&mut self, roles: Roles) {
        for (build, role) in roles {
            if let Some(row) = self.rows.get_mut(&build) {
                row.is_dropped = role.is_none();
                row.build.role = role.unwrap_or(row.build.role);
                row.build.is_confirmed = false;
                row.build.waits = None;
            }
        }
    }

    /// Notes how a build compares.
    pub fn compare(&mut self, build: BuildId, comparison: Option<&str>) {
        if let Some(row) = self.rows.get_mut(&build) {
            row.build.comparison = comparison.map(Into::into);
        }
    }

    /// Notes that a next build is to take over, whatever it lacks.
    pub fn confirm(&mut self, build: BuildId) -> bool {
        let row = self.living(build);
        let Some(row) = row.filter(|row| row.build.role == Role::Next) else {
            return false;
        };
        row.build.is_confirmed = true;
        row.build.waits = None;
        true
    }

    /// The first build that is dropped.
    pub fn first_dropped(&self) -> Option<BuildId> {
        let mut dropped = self.rows.iter().filter(|(_, row)| row.is_dropped);
        dropped.next().map(|(build, _)| *build)
    }

    /// Forgets a build.
    pub fn remove(&mut self, build: BuildId) {
        self.rows.remove(&build);
    }

    /// Claims a build.
    pub fn claim(&mut self, build: BuildId, lease: Duration) -> Option<BuildClaim> {
        let row = self.rows.get_mut(&build)?;
        if !row.is_kept() || row.is_owned() {
            return None;
        }
        row.token += 1;
        row.until = Some(until(lease));
        Some(BuildClaim {
            token: row.token,
            position: row.build.position,
            changes: row.build.changes,
            plan: row.build.plan,
            stale: row.build.stale.clone(),
        })
    }

    /// Moves the checkpoint, if the token is the last one.
    pub fn advance(
        &mut self,
        build: BuildId,
        token: u64,
        batch: &BuildBatch,
        lease: Duration,
    ) -> Kept {
        let row = self.rows.get_mut(&build);
        let Some(row) = row.filter(|row| row.is_kept() && row.token == token) else {
            return Kept::Lost;
        };
        let build = &mut row.build;
        build.position = build.position.max(batch.position);
        build.changes = build.changes.max(batch.changes);
        build.trouble.clone_from(&batch.trouble);
        build.plan = batch.plan.or(build.plan);
        build.stale = build.stale.take().or_else(|| batch.stale.clone());
        build.waits.clone_from(&batch.waits);
        row.until = Some(until(lease));
        let steering = self.steered.get(&row.projection);
        Kept::Done {
            retries: steering.map_or(0, |steering| steering.retries),
            is_paused: steering.is_some_and(|steering| steering.is_paused),
        }
    }

    /// Gives a build back.
    pub fn release(&mut self, build: BuildId, token: u64) {
        let row = self.rows.get_mut(&build);
        if let Some(row) = row.filter(|row| row.token == token) {
            row.until = None;
        }
    }

    /// A build that is not dropped.
    pub fn one(&self, build: BuildId) -> Option<Build> {
        let row = self.rows.get(&build).filter(|row| !row.is_dropped)?;
        Some(row.build.clone())
    }

    /// Lets a build be inline no longer, with everything up to a position in it.
    pub fn detach(&mut self, build: BuildId, last: Position, plan: u64) {
        if let Some(row) = self.living(build) {
            row.build.is_inline = false;
            row.build.position = last;
            row.build.changes = row.build.changes.max(last.0);
            if row
                .build
                .plan
                .is_some_and(|judged| judged < plan.saturating_sub(1))
            {
                row.build.stale.get_or_insert_with(|| UNJUDGED.into());
            }
        }
    }

    /// Lets a build be inline; its owner loses it.
    pub fn attach(&mut self, build: BuildId, last: Position, plan: u64) {
        if let Some(row) = self.living(build) {
            row.build.is_inline = true;
            row.build.position = last;
            row.build.plan = Some(plan);
            row.build.trouble = None;
            row.lose_owner();
        }
    }

    /// Lets a projection's next build wait for the order to switch.
    pub fn hold(&mut self, name: &str) {
        self.steered.entry(name.into()).or_default().is_held = true;
    }

    /// Notes under which plan an inline build was judged.
    pub fn judge(&mut self, build: BuildId, (from, to): (u64, u64), stale: Option<&str>) {
        let Some(row) = self.living(build) else {
            return;
        };
        let build = &mut row.build;
        if build.is_inline && build.plan.unwrap_or_default() == from {
            build.plan = Some(to);
            build.stale = build.stale.take().or_else(|| stale.map(Into::into));
        }
    }

    /// A projection that is inline, if there is one.
    pub fn inline(&self) -> Option<&str> {
        let mut rows = self.rows.values();
        let row = rows.find(|row| row.build.is_inline && !row.is_dropped)?;
        Some(&row.projection)
    }

    /// Whether nothing of these builds has changed that turns rest on.
    pub fn stand_as(&self, others: &Self) -> bool {
        let standing = |builds: &Self| {
            let rows = builds.rows.values();
            let standing = rows.map(|row| {
                let build = &row.build;
                let is_dropped = row.is_dropped;
                (build.id, build.role, is_dropped, build.position, row.token)
            });
            standing.collect::<Vec<_>>()
        };
        standing(self) == standing(others)
    }

    /// Takes a build from its owner.
    pub fn lose_owner(&mut self, build: BuildId) {
        if let Some(row) = self.living(build) {
            row.lose_owner();
        }
    }
}
