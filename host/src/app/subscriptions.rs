//! Named subscriptions whose handler runs in another process.

use std::time::Duration;

use super::Host;
use crate::model::Position;
use crate::store::{Checkpoint, Claim};
use crate::subscribe::{Error, EventBatch, Owner, Reading, Start};

impl Host {
    /// Claims a named subscription for a time, for a handler in another process. The handler reads
    /// with [`read_claimed`](Self::read_claimed), and acknowledges the events that it has handled.
    /// Names are shared with [`subscription`](Self::subscription): a name has one owner at a time.
    /// A new subscription begins at `start`, or else at the first event.
    ///
    /// # Errors
    /// When the name is invalid or held, or `start` is after the end of the log; when there are too
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
    /// When the name has another owner by now or was removed, the next event can't be lifted, the
    /// filter is invalid, or the store fails.
    pub async fn read_claimed(
        &self,
        owner: Owner<'_>,
        reading: Reading,
    ) -> Result<EventBatch, Error> {
        self.tenant.hub.read(owner, reading).await
    }

    /// Stores that everything up to a position is handled, and extends the lease from now on. A
    /// position before the stored one changes nothing. Returns the stored position.
    ///
    /// # Errors
    /// When the name has another owner by now or was removed, the log has not reached the position,
    /// or the store fails.
    pub async fn acknowledge_events(
        &self,
        owner: Owner<'_>,
        position: Position,
    ) -> Result<Position, Error> {
        self.tenant.hub.acknowledge(owner, position).await
    }

    /// Releases a named subscription. Does nothing when it has another owner by now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release(&self, name: &str, token: u64) -> Result<(), Error> {
        self.tenant.hub.release(name, token).await
    }

    /// Moves the checkpoint of a named subscription anywhere in the log, and takes it from its
    /// owner.
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

    /// Returns the checkpoint of a named subscription, and whether it is held.
    ///
    /// # Errors
    /// When there is no such name, or the store fails.
    pub async fn named_subscription(&self, name: &str) -> Result<Checkpoint, Error> {
        self.tenant.hub.name(name).await
    }

    /// Returns named subscriptions in the order of their names' bytes, at most 1,000, after one of
    /// them.
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
