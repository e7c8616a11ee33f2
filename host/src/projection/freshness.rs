//! Waiting until a projection is as fresh as a read requires, and the reasons why it may not be.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use super::management::check_name;
use super::reconcile::reconcile;
use super::{Error, Freshness, Service, Shared, Trouble};
use crate::deploy::Plan;
use crate::model::{Lifecycle, Position};
use crate::store::{Build, Role};

/// Longest time that a read waits for a projection to become fresh.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// Shortest and longest pause between two checks for documents that another host wrote.
const LOOKS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// Why a projection is not as fresh as a read requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotFreshReason {
    /// The active build has stopped before an event that failed.
    Stopped,
    /// The projection is paused.
    Paused,
    /// An event that the read requires is parked.
    Parked,
    /// The projection did not reach the position in time.
    Lagging,
    /// The documents were folded by rules that have changed since.
    Stale,
}

impl NotFreshReason {
    /// Returns the name of the reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Parked => "parked",
            Self::Lagging => "lagging",
            Self::Stale => "stale",
        }
    }

    /// Describes the problem with the projection, and what to do next.
    pub(super) fn advice(self, projection: &str) -> String {
        match self {
            Self::Stopped => format!(
                "its active build has stopped; `quipu projection {projection}` says before which \
                 event and why"
            ),
            Self::Paused => {
                format!("it is paused; `quipu projection {projection} resume` lets it go on")
            }
            Self::Parked => format!(
                "the event after it is parked; `quipu projection {projection} parked` lists what \
                 waits, `retry-parked` retries it after a fix, `drop-parked` leaves it out"
            ),
            Self::Lagging => "the time to wait is over; try again, or wait longer".to_owned(),
            Self::Stale => format!(
                "its documents were folded by rules that have changed since; `quipu projection \
                 {projection}` shows the rebuild"
            ),
        }
    }
}

/// The active build of a projection.
pub(super) struct Active {
    pub build: Build,
    /// Minimum position of the build: documents read after this value was determined include at
    /// least everything up to here.
    pub position: Position,
    /// The documents may differ from those that a rebuild under the current plan would produce:
    /// they are known to differ, or the check is still running.
    pub is_stale: bool,
    is_paused: bool,
    /// Another module is deployed with the same version. It takes over the build, even if the build
    /// has stopped.
    is_replaced: bool,
}

impl Service {
    /// Waits until a projection is fresh enough for a read of any document.
    ///
    /// # Errors
    /// When there is no such projection, it is live or does not become fresh enough in time, or the
    /// store fails.
    pub async fn until_fresh(&self, name: &str, freshness: Freshness) -> Result<(), Error> {
        self.fresh(name, None, freshness).await.map(drop)
    }

    /// Returns the active build as soon as it is fresh enough for a read of one document, or of any
    /// document if `key` is `None`.
    pub(super) async fn fresh(
        &self,
        name: &str,
        key: Option<&str>,
        freshness: Freshness,
    ) -> Result<Active, Error> {
        let until = Instant::now() + freshness.wait.min(WAIT_MAX);
        let mut progress = self.shared.progress.subscribe();
        let mut grown = self.shared.grown.clone();
        let mut pause = LOOKS.0;
        loop {
            progress.borrow_and_update();
            grown.borrow_and_update();
            let active = self.shared.active(name).await?;
            if let Some((reason, position)) = self.obstacle(&active, key, freshness.after).await? {
                return Err(not_fresh(name, freshness, reason, position));
            }
            let position = active.position;
            let is_known = freshness.after == Position(0) || !active.is_stale;
            if position >= freshness.after && is_known {
                return Ok(active);
            }
            let build = active.build;
            if Instant::now() >= until {
                return Err(not_fresh(
                    name,
                    freshness,
                    NotFreshReason::Lagging,
                    position,
                ));
            }
            tokio::select! {
                _ = progress.changed() => {}
                changed = grown.changed(), if build.is_inline => {
                    changed.map_err(|_| Error::Stopped)?;
                }
                () = sleep(pause) => pause = (pause * 2).min(LOOKS.1),
                () = sleep_until(until) => {}
                () = self.shared.ending.cancelled() => return Err(Error::Stopped),
            }
        }
    }

    /// Returns why waiting for a position cannot help, and the position that is reached. `None` if
    /// the position is reached, or may still be.
    async fn obstacle(
        &self,
        active: &Active,
        key: Option<&str>,
        after: Position,
    ) -> Result<Option<(NotFreshReason, Position)>, Error> {
        let (build, position) = (&active.build, active.position);
        if after == Position(0) {
            return Ok(None);
        }
        if build.stale.is_some() {
            return Ok(Some((NotFreshReason::Stale, position)));
        }
        if build.has_parked {
            let first = self.first_parked(build, key).await?;
            if let Some(first) = first.filter(|first| *first <= after) {
                let before = Position(first.0.saturating_sub(1));
                return Ok(Some((NotFreshReason::Parked, before)));
            }
        }
        if position >= after && !active.is_stale || build.is_inline {
            return Ok(None);
        }
        let trouble = Trouble::read(build.trouble.as_deref());
        let is_stopped = trouble.is_some_and(|trouble| trouble.is_stopped);
        Ok(match is_stopped && !active.is_replaced {
            true => Some((NotFreshReason::Stopped, position)),
            false if active.is_paused => Some((NotFreshReason::Paused, position)),
            false => None,
        })
    }

    /// Returns the position of the first event that is parked for a document, or for any document.
    /// Events parked for their stream always count, because the documents they concern are unknown.
    async fn first_parked(
        &self,
        build: &Build,
        key: Option<&str>,
    ) -> Result<Option<Position>, Error> {
        let documents = &self.shared.documents;
        let heads = documents.parked_heads(build.id).await?;
        let of_document = match key {
            Some(key) => {
                let parked = documents.parked_for(build.id, key).await?;
                parked.map(|parked| parked.first_position)
            }
            None => heads.documents,
        };
        Ok([of_document, heads.streams].into_iter().flatten().min())
    }
}

fn not_fresh(
    name: &str,
    freshness: Freshness,
    reason: NotFreshReason,
    position: Position,
) -> Error {
    Error::NotFresh {
        projection: name.to_owned(),
        position,
        after: freshness.after,
        reason,
    }
}

impl Shared {
    /// Returns the active build.
    pub(super) async fn active(&self, name: &str) -> Result<Active, Error> {
        check_name(name)?;
        let plan: Arc<Plan> = self.registry.plan();
        let projected = plan.projection(name);
        if projected.is_some_and(|it| it.settings.lifecycle == Lifecycle::Live) {
            return Err(Error::IsLive(name.to_owned()));
        }
        // Must be read before the build: an inline build then includes everything up to this head.
        let head = match plan.inline_projection(name) {
            Some(_) => Some(self.reader.log_head().await?),
            None => None,
        };
        let mut found = self.active_build(name).await?;
        if found.is_none() && projected.is_some() {
            // The projection was deployed a moment ago.
            reconcile(self).await?;
            self.notify();
            found = self.active_build(name).await?;
        }
        let (build, is_paused) = found.ok_or_else(|| Error::NotFound(name.to_owned()))?;
        let position = match head.filter(|_| build.is_inline) {
            Some(head) => head.max(build.position),
            None => build.position,
        };
        let is_judged = build.plan.is_some_and(|judged| judged >= plan.number);
        let is_stale = build.stale.is_some() || projected.is_some() && !is_judged;
        let is_replaced = projected.is_some_and(|it| {
            it.definition().version == build.version && it.module.digest() != build.module
        });
        Ok(Active {
            build,
            position,
            is_stale,
            is_paused,
            is_replaced,
        })
    }

    async fn active_build(&self, name: &str) -> Result<Option<(Build, bool)>, Error> {
        let Some(stored) = self.documents.projection(name).await? else {
            return Ok(None);
        };
        let is_paused = stored.is_paused;
        let mut builds = stored.builds.into_iter();
        let active = builds.find(|build| build.role == Role::Active);
        Ok(active.map(|build| (build, is_paused)))
    }
}
