//! Named subscriptions whose handler is elsewhere.

use std::time::Duration;

use super::Host;
use crate::model::Position;
use crate::store::{Checkpoint, Claim};
use crate::subscribe::{Error, EventBatch, Owner, Reading, Start};

impl Host {
    /// Claims a named subscription for a time, for a handler elsewhere: it reads with
    /// [`read_claimed`](Self::read_claimed), and acknowledges what is handled. The name is the
    /// same as that of [`subscription`](Self::subscription): one of all owns it at a time. One
    /// that is new begins at `start`, else at the first event.
    ///
    /// # Errors
    /// When the name is none, is held, or begins after the end of the log; when there are too
    /// many names; when the store fails.
    pub async fn claim(
        &self,
        name: &str,
        start: Option<Start>,
        lease: Duration,
    ) -> Result<Claim, Error> {
        self.tenant.hub.claim(name, start, lease).await
    }

    /// Reads the events after the checkpoint of a named subscription, and extends its lease. The
    /// same events are returned until they are acknowledged.
    ///
    /// # Errors
    /// When the name is another's by now or gone, the next event can't be lifted, the filter
    /// makes no sense, or the store fails.
    pub async fn read_claimed(
        &self,
        owner: Owner<'_>,
        reading: Reading,
    ) -> Result<EventBatch, Error> {
        self.tenant.hub.read(owner, reading).await
    }

    /// Stores that everything up to a position is handled, and holds the name from now on. A
    /// position before the stored one changes nothing. Returns the stored one.
    ///
    /// # Errors
    /// When the name is another's by now or gone, the log has not reached the position, or the
    /// store fails.
    pub async fn acknowledge_events(
        &self,
        owner: Owner<'_>,
        position: Position,
    ) -> Result<Position, Error> {
        self.tenant.hub.acknowledge(owner, position).await
    }

    /// Gives a named subscription back. Nothing is done when it is another's by now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release(&self, name: &str, token: u64) -> Result<(), Error> {
        self.tenant.hub.release(name, token).await
    }

    /// Moves the place of a named subscription anywhere in the log, and takes it from its owner.
    ///
    /// # Errors
    /// When there is no such name, the log has not reached the position, or the store fails.
    pub async fn seek(&self, name: &str, start: Start) -> Result<Checkpoint, Error> {
        self.tenant.hub.seek(name, start).await
    }

    /// Removes a named subscription that nobody holds.
    ///
    /// # Errors
    /// When there is no such name, it is held, or the store fails.
    pub async fn forget(&self, name: &str) -> Result<(), Error> {
        self.tenant.hub.forget(name).await
    }

    /// How far a named subscription has come, and whether it is held.
    ///
    /// # Errors
    /// When there is no such name, or the store fails.
    pub async fn named_subscription(&self, name: &str) -> Result<Checkpoint, Error> {
        self.tenant.hub.name(name).await
    }

    /// Named subscriptions in the order of their names' bytes, at most 1,000, after one of them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn named_subscriptions(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, Error> {
        self.tenant.hub.names(after, limit).await
    }
}
