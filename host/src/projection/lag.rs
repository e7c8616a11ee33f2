//! How far projections are from the end of the log, whoever runs them.

use std::time::Duration;

use super::{BuildStatus, Error, Service, Status};
use crate::model::{Lifecycle, Position};
use crate::store::{Direction, Filter, Role};

/// How far the documents of a projection that readers get are from the end of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Lag {
    /// Name of the projection.
    pub name: Box<str>,
    /// Positions after the checkpoint.
    pub events: u64,
    /// Age of the oldest event after the checkpoint. It grows while nobody folds.
    pub age: Duration,
    /// Parked events.
    pub parked: u64,
    /// Whether a host owns the build.
    pub is_owned: bool,
    /// Whether an error holds the build up.
    pub is_failing: bool,
    /// The part of the log that a rebuild has folded; none without a rebuild.
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
        let rebuilt = |build: &BuildStatus| match status.log_head.0 {
            0 => 1.0,
            head => (build.position.0 as f64 / head as f64).min(1.0),
        };
        Ok(Lag {
            name: status.name.clone(),
            events: status.log_head.0.saturating_sub(position.0),
            age: self.age_after(position, status.log_head).await?,
            parked: active.map_or(0, |build| build.counts.parked),
            is_owned: active.is_some_and(|build| build.is_owned),
            is_failing: active.is_some_and(|build| build.trouble.is_some()),
            rebuilt: next.map(rebuilt),
        })
    }

    /// The age of the first event after a position.
    async fn age_after(&self, position: Position, head: Position) -> Result<Duration, Error> {
        if position >= head {
            return Ok(Duration::ZERO);
        }
        let (reader, filter) = (&self.shared.reader, Filter::default());
        let page = reader.read_log(position, Direction::Forward, 1, &filter);
        let page = page.await?;
        let now = self.shared.clock.now().0;
        // The rest of the log may be a hole.
        let oldest = page.events.first().map_or(now, |event| event.recorded_at.0);
        Ok(Duration::from_micros(now.saturating_sub(oldest)))
    }
}
