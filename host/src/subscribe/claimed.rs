//! Named subscriptions whose handler is outside the host. A client claims the name, reads events
//! and acknowledges them.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::batch::{Batch, Bounds, Over};
use super::hub::Shared;
use super::interest::Which;
use super::named::{PREFIX, PREFIX_END, key_of};
use super::{Error, Hub, Message, Subscribe};
use crate::model::{Position, RecordedEvent, Version};
use crate::store::{Checkpoint, Claim, Filter};
use crate::upcast::Form;

/// Limit for the number of named subscriptions that clients create in a store.
pub const NAMES_MAX: usize = 1_000;
/// Bytes of events after which an answer is complete.
const BYTES_MAX: usize = 1 << 20;
/// How long a read waits for an event before it returns its checkpoint, while it has not caught up.
const EVENT_WAIT: Duration = Duration::from_secs(1);

/// Where a new named subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// After this position. 0 means all events.
    After(Position),
    /// After the current end of the log.
    Now,
}

/// The owner of a named subscription.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// Name of the subscription.
    pub name: &'a str,
    /// The token that the claim returned.
    pub token: u64,
    /// Length of the lease, counted from each call.
    pub lease: Duration,
}

/// Options of a read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Selects the events to return. The checkpoint moves past all others too.
    pub filter: Filter,
    /// Whether events are lifted, or returned as they are stored.
    pub form: Form,
    /// Largest number of events. It may be exceeded only by the parts of a split event.
    pub limit: usize,
    /// How long to wait if there are no events, at most half of the lease.
    pub wait: Duration,
}

/// Events for the owner of a named subscription.
#[derive(Debug, Clone)]
pub struct EventBatch {
    /// The events in log order.
    pub events: Vec<Arc<RecordedEvent>>,
    /// The position to acknowledge after all events are handled. It may move on even if there are
    /// no events.
    pub next: Position,
}

impl Hub {
    /// Claims a named subscription for the time of a lease. A new one starts at `start`, or at the
    /// first event if `start` is `None`.
    ///
    /// # Errors
    /// When the name is not valid, another client owns it, or its checkpoint is after the end of
    /// the log; when there are too many names; when the store fails.
    pub async fn claim(
        &self,
        name: &str,
        start: Option<Start>,
        lease: Duration,
    ) -> Result<Claim, Error> {
        let (key, shared) = (key_of(name)?, &self.shared);
        if shared.checkpoints.checkpoint(&key).await?.is_none() {
            if self.names(None, NAMES_MAX).await?.len() >= NAMES_MAX {
                return Err(Error::TooManyNames(NAMES_MAX));
            }
            if let Some(start) = start {
                let position = shared.position_of(start).await?;
                shared.checkpoints.create(&key, position).await?;
            }
        }
        let Some(claim) = shared.checkpoints.claim(&key, lease).await? else {
            return Err(self.held(name).await?);
        };
        if let Err(error) = shared.existing(claim.position).await {
            self.release(name, claim.token).await?;
            return Err(error);
        }
        Ok(claim)
    }

    /// Reads the events after the checkpoint of a named subscription, and extends the lease. The
    /// same events are returned until they are acknowledged. Returns no events when none arrive in
    /// the given time, or when the host shuts down.
    ///
    /// # Errors
    /// When another client has claimed the name or it is gone, the next event can't be lifted, the
    /// filter makes no sense, or the store fails.
    pub async fn read(&self, owner: Owner<'_>, reading: Reading) -> Result<EventBatch, Error> {
        let until = Instant::now() + reading.wait.min(owner.lease / 2);
        let at = self.advance(owner, Position(0)).await?;
        let mut subscribe = Subscribe::log(at, reading.filter)
            .heartbeat(EVENT_WAIT)
            .seen();
        subscribe.form = reading.form;
        let mut subscription = self.subscribe(subscribe).await?;
        let bounds = Bounds {
            events: reading.limit,
            bytes: BYTES_MAX,
        };
        let mut is_caught_up = false;
        loop {
            let next = subscription.next();
            let first = match is_caught_up {
                true => match timeout_at(until, next).await {
                    Ok(first) => first,
                    Err(_) => Some(Ok(Message::Heartbeat(subscription.place()))),
                },
                false => next.await,
            };
            let batch = Batch::gather(first, &mut subscription, bounds).await;
            is_caught_up |= batch.is_caught_up;
            let is_over = batch.over.is_some() || Instant::now() >= until;
            match batch.over {
                // Events before the error are returned first.
                Some(Over::Failed(error)) if batch.events.is_empty() => return Err(error),
                _ if is_over || !batch.events.is_empty() => {
                    self.advance(owner, Position(0)).await?;
                    return Ok(EventBatch {
                        events: batch.events,
                        next: batch.up_to,
                    });
                }
                _ => {}
            }
        }
    }

    /// Stores that everything up to a position is handled, and extends the lease. A position before
    /// the stored one changes nothing. Returns the stored one.
    ///
    /// # Errors
    /// When another client has claimed the name or it is gone, the log has not reached the
    /// position, or the store fails.
    pub async fn acknowledge(
        &self,
        owner: Owner<'_>,
        position: Position,
    ) -> Result<Position, Error> {
        let position = self.shared.existing(position).await?;
        self.advance(owner, position).await
    }

    /// Releases a named subscription. Does nothing if another client has claimed it meanwhile.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release(&self, name: &str, token: u64) -> Result<(), Error> {
        self.shared
            .checkpoints
            .release(&key_of(name)?, token)
            .await?;
        self.shared.released.notify_waiters();
        Ok(())
    }

    /// Moves the checkpoint of a named subscription to any position of the log, and ends the
    /// current claim.
    ///
    /// # Errors
    /// When there is no such name, the log has not reached the position, or the store fails.
    pub async fn seek(&self, name: &str, start: Start) -> Result<Checkpoint, Error> {
        let (key, shared) = (key_of(name)?, &self.shared);
        let position = shared.position_of(start).await?;
        if !shared.checkpoints.seek(&key, position).await? {
            return Err(Error::Unknown(name.to_owned()));
        }
        shared.released.notify_waiters();
        self.name(name).await
    }

    /// Deletes a named subscription that has no owner.
    ///
    /// # Errors
    /// When there is no such name, a client owns it, or the store fails.
    pub async fn forget(&self, name: &str) -> Result<(), Error> {
        match self.shared.checkpoints.forget(&key_of(name)?).await? {
            true => Ok(()),
            false => Err(self.held(name).await?),
        }
    }

    /// Returns the checkpoint of a named subscription, and whether it has an owner.
    ///
    /// # Errors
    /// When there is no such name, or the store fails.
    pub async fn name(&self, name: &str) -> Result<Checkpoint, Error> {
        let found = self.shared.checkpoints.checkpoint(&key_of(name)?).await?;
        match found {
            Some(found) => Ok(Checkpoint {
                name: name.to_owned(),
                ..found
            }),
            None => Err(Error::Unknown(name.to_owned())),
        }
    }

    /// Lists at most 1,000 named subscriptions in byte order of their names, after the given one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn names(&self, after: Option<&str>, limit: usize) -> Result<Vec<Checkpoint>, Error> {
        let after = format!("{PREFIX}{}", after.unwrap_or_default());
        let names = self
            .shared
            .checkpoints
            .checkpoints((&after, PREFIX_END), limit);
        let named = names.await?.into_iter().map(|found| Checkpoint {
            name: found.name[PREFIX.len()..].to_owned(),
            ..found
        });
        Ok(named.collect())
    }

    /// Moves the checkpoint to a position, unless it is further already, and extends the lease.
    async fn advance(&self, owner: Owner<'_>, position: Position) -> Result<Position, Error> {
        let (key, checkpoints) = (key_of(owner.name)?, &self.shared.checkpoints);
        let advancing = checkpoints.advance(&key, owner.token, position, owner.lease);
        match advancing.await? {
            Some(position) => Ok(position),
            // Returns the error for an unknown name if there is no such name.
            None => Err(Error::Lost(self.name(owner.name).await?.name)),
        }
    }

    /// Returns the error that says how long another client's lease still lasts.
    async fn held(&self, name: &str) -> Result<Error, Error> {
        let Checkpoint { name, held_for, .. } = self.name(name).await?;
        let held_for = held_for.unwrap_or_default();
        Ok(Error::Held { name, held_for })
    }
}

impl Shared {
    async fn position_of(&self, start: Start) -> Result<Position, Error> {
        match start {
            Start::After(position) => self.existing(position).await,
            Start::Now => Ok(self.reader.log_head().await?),
        }
    }

    /// Returns the position if the log has reached it.
    async fn existing(&self, position: Position) -> Result<Position, Error> {
        let log = Which::Log(Filter::default());
        self.check_end(&log, position, Version::NONE).await?;
        Ok(position)
    }
}
