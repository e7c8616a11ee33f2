//! How far projections are from the end of the log, whoever runs them.

use std::time::Duration;

use super::{BuildStatus, Error, Service, Status};
use crate::model::{Lifecycle, Position, Timestamp};
use crate::store::{self, Direction, Filter, Role};

/// How far the documents of a projection that readers get are from the end of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Lag {
    /// Name of the projection.
    pub name: Box<str>,
    /// Positions after the checkpoint.
    pub events: u64,
    /// Age of the oldest event after the checkpoint. It grows while nobody folds. None during a first
    /// build: until the build has passed the events that are older than itself. None also if the event
    /// can't be read.
    pub age: Option<Duration>,
    /// Parked events.
    pub parked: u64,
    /// Whether a host owns the build.
    pub is_owned: bool,
    /// Whether an operator paused the projection.
    pub is_paused: bool,
    /// Whether an error holds the build up.
    pub is_failing: bool,
    /// The part of the log that a rebuild has folded, or a first build; none without either.
    pub rebuilt: Option<f64>,
}

impl Service {
    /// Returns the lag of every deployed projection that has documents in the store, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn lags(&self) -> Result<Vec<Lag>, Error> {
        let mut lags = Vec::new();
        for status in self.all().await? {
            let is_live = status.settings.lifecycle == Lifecycle::Live;
            if status.deployed.is_some() && !is_live {
                lags.push(self.lag(&status).await?);
            }
        }
        Ok(lags)
    }

    async fn lag(&self, status: &Status) -> Result<Lag, Error> {
        let of = |role| status.builds.iter().find(|build| build.role == role);
        let (active, next) = (of(Role::Active), of(Role::Next));
        // Without a build, nothing is folded.
        let position = active.map_or(Position(0), |build| build.position);
        let ratio = |build: &BuildStatus| match status.log_head.0 {
            0 => 1.0,
            head => (build.position.0 as f64 / head as f64).min(1.0),
        };
        let oldest = readable(self.recorded_after(position, status.log_head).await)?;
        let served = oldest.filter(|oldest| Self::is_served(active, *oldest));
        let age = served.map(|oldest| self.age(oldest));
        let first = active.filter(|_| oldest.is_some() && age.is_none());
        Ok(Lag {
            name: status.name.clone(),
            events: status.log_head.0.saturating_sub(position.0),
            age,
            parked: active.map_or(0, |build| build.counts.parked),
            is_owned: active.is_some_and(|build| build.is_owned),
            is_paused: status.is_paused,
            is_failing: active.is_some_and(|build| build.trouble.is_some()),
            rebuilt: next.or(first).map(ratio),
        })
    }

    /// Whether a build has ever had newer documents than those before an event.
    ///
    /// An event that is older than the build was in the log when the build began, so the build has
    /// not caught up yet. A rebuild becomes active only after it has caught up.
    fn is_served(build: Option<&BuildStatus>, oldest: Option<Timestamp>) -> bool {
        oldest.is_none_or(|oldest| build.is_some_and(|build| oldest >= build.started_at))
    }

    /// Returns the age of the first event after a position; zero if there is none up to the end of
    /// the log. None if the event can't be read.
    ///
    /// # Errors
    /// When the store fails.
    pub(crate) async fn age_after(
        &self,
        position: Position,
        log_head: Position,
    ) -> Result<Option<Duration>, Error> {
        let oldest = readable(self.recorded_after(position, log_head).await)?;
        Ok(oldest.map(|oldest| self.age(oldest)))
    }

    /// When the first event after a position was recorded; none if there is none.
    async fn recorded_after(
        &self,
        position: Position,
        log_head: Position,
    ) -> Result<Option<Timestamp>, Error> {
        if position >= log_head {
            return Ok(None);
        }
        let (reader, filter) = (&self.shared.reader, Filter::default());
        let page = reader.read_log(position, Direction::Forward, 1, &filter);
        // The rest of the log may be a hole.
        Ok(page.await?.events.first().map(|event| event.recorded_at))
    }

    fn age(&self, recorded_at: Option<Timestamp>) -> Duration {
        let now = self.shared.clock.now().0;
        let age = |at: Timestamp| Duration::from_micros(now.saturating_sub(at.0));
        recorded_at.map_or(Duration::ZERO, age)
    }
}

/// Nothing, if an event can't be read. A reader that is stuck at such an event would otherwise hide the
/// figures of all others.
fn readable<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Error::Store(store::Error::Damaged(_))) => Ok(None),
        Err(error) => Err(error),
    }
}
