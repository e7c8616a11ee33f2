//! What is read from the store to show how a host is doing.

use std::time::Duration;

use super::Host;
use crate::model::Position;
use crate::projection::{self, Lag};
use crate::store::{CHECKPOINTS_PAGE_MAX, Checkpoint, LastJobs, Loss};
use crate::subscribe;

/// Named subscriptions whose age is read: those with the largest lag.
const AGES_MAX: usize = 100;

/// Figures of the store at one moment. They are the same on every host of the store.
#[derive(Debug, Clone)]
pub struct Figures {
    /// How far the log can be read.
    pub log_head: Position,
    /// Bytes that the store takes; none if it does not say.
    pub store_bytes: Option<u64>,
    /// The acknowledged events that the store does not have any more, as far as this host knows.
    pub lost: Option<Loss>,
    /// The projections, by name.
    pub projections: Vec<Lag>,
    /// Named subscriptions, those with the largest lag first.
    pub subscriptions: Vec<SubscriptionLag>,
    /// When backups and verifications were last done.
    pub last_jobs: LastJobs,
}

/// How far a named subscription is from the end of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionLag {
    /// Name of the subscription.
    pub name: String,
    /// Positions between its checkpoint and the end of the log.
    pub events: u64,
    /// Age of the oldest event after its checkpoint. It grows while nobody handles events. None for
    /// all but the 100 subscriptions with the largest lag, and if the event can't be read.
    pub age: Option<Duration>,
    /// Whether it has an owner now.
    pub is_held: bool,
}

impl Host {
    /// Returns which acknowledged events the store does not have any more, as far as this host knows.
    pub fn lost(&self) -> Option<Loss> {
        self.tenant.reader.lost()
    }

    /// Reads figures of the store. It reads a few rows of each projection, at most 1,000 named
    /// subscriptions, and one event for each of 100.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn figures(&self) -> Result<Figures, projection::Error> {
        let reader = &self.tenant.reader;
        let log_head = reader.log_head().await?;
        let named = self.tenant.hub.names(None, CHECKPOINTS_PAGE_MAX).await;
        let named = named.map_err(|error| match error {
            subscribe::Error::Store(error) => projection::Error::Store(error),
            _ => projection::Error::Stopped,
        })?;
        let lag = |it: Checkpoint| SubscriptionLag {
            events: log_head.0.saturating_sub(it.position.0),
            age: None,
            is_held: it.held_for.is_some(),
            name: it.name,
        };
        let mut subscriptions: Vec<_> = named.into_iter().map(lag).collect();
        subscriptions.sort_by_key(|one| std::cmp::Reverse(one.events));
        let projections = &self.tenant.projections;
        for one in subscriptions.iter_mut().take(AGES_MAX) {
            let checkpoint = Position(log_head.0 - one.events);
            one.age = projections.age_after(checkpoint, log_head).await?;
        }
        Ok(Figures {
            log_head,
            store_bytes: reader.bytes().await?,
            lost: reader.lost(),
            projections: projections.lags().await?,
            subscriptions,
            last_jobs: self.last_jobs().await?,
        })
    }
}
