//! Named subscriptions whose handler is elsewhere: it claims the name, reads, acknowledges.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::batch::{Batch, Bounds, Over};
use super::hub::Shared;
use super::named::{BEHIND, PREFIX, key_of};
use super::wants::Which;
use super::{Error, Hub, Message, Subscribe};
use crate::model::{Position, RecordedEvent, Version};
use crate::store::{Checkpoint, Claim, Filter};
use crate::upcast::Form;

/// Names that a store keeps for clients: one more is refused.
pub const NAMES_MAX: usize = 1_000;
/// Bytes of events in one answer, from which on no more come.
const BYTES_MAX: usize = 1 << 20;
/// A reading that has not caught up and found nothing for so long tells how far it is.
const LOOK: Duration = Duration::from_secs(1);

/// Where a name that is new begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Behind this position; 0 for all events.
    After(Position),
    /// With what is committed from now on.
    Now,
}

/// A name that somebody has claimed.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The name.
    pub name: &'a str,
    /// What the claim gave.
    pub token: u64,
    /// For how long the name is held after each call.
    pub lease: Duration,
}

/// What an owner wants to read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Events that pass. The place moves over all others, too.
    pub filter: Filter,
    /// Lifted, or as they are stored.
    pub form: Form,
    /// Events at most; more only by the parts of a split one.
    pub limit: usize,
    /// How long to wait when there is nothing; at most half of the lease.
    pub wait: Duration,
}

/// Events for the owner of a name.
#[derive(Debug, Clone)]
pub struct Told {
    /// In the order of the log.
    pub events: Vec<Arc<RecordedEvent>>,
    /// What to acknowledge once all of them are handled. It may move on without an event.
    pub next: Position,
}

impl Hub {
    /// Claims a name for a time. One that is new begins at `start`, else at the first event.
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
        let (key, shared) = (key_of(name)?, &self.shared);
        if shared.checkpoints.checkpoint(&key).await?.is_none() {
            let known = self.names(None, NAMES_MAX).await?.len();
            if known >= NAMES_MAX {
                return Err(Error::TooManyNames(NAMES_MAX));
            }
            let at = match start {
                None => Position(0),
                Some(Start::After(position)) => shared.existing(position).await?,
                Some(Start::Now) => shared.reader.log_head().await?,
            };
            shared.checkpoints.create(&key, at).await?;
        }
        let Some(claim) = shared.checkpoints.claim(&key, lease).await? else {
            let held = shared.checkpoints.checkpoint(&key).await?;
            return Err(Error::Held {
                name: name.to_owned(),
                held_for: held.and_then(|it| it.held_for).unwrap_or_default(),
            });
        };
        if let Err(error) = shared.existing(claim.position).await {
            shared.checkpoints.release(&key, claim.token).await?;
            shared.released.notify_waiters();
            return Err(error);
        }
        Ok(claim)
    }

    /// Reads what comes behind the place of a name, and holds the name from then on. Events come
    /// again until they are acknowledged. Nothing comes when there is nothing for the time that
    /// the owner waits, or when the host ends.
    ///
    /// # Errors
    /// When the name is another's by now or gone, the next event can't be lifted, the filter
    /// makes no sense, or the store fails.
    pub async fn read(&self, owner: Owner<'_>, reading: Reading) -> Result<Told, Error> {
        let until = Instant::now() + reading.wait.min(owner.lease / 2);
        let at = self.renew(owner).await?;
        let mut subscribe = Subscribe::log(at, reading.filter).heartbeat(LOOK).seen();
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
                // What comes before it is told first.
                Some(Over::Failed(error)) if batch.events.is_empty() => return Err(error),
                _ if is_over || !batch.events.is_empty() => {
                    self.renew(owner).await?;
                    return Ok(Told {
                        events: batch.events,
                        next: batch.up_to,
                    });
                }
                _ => {}
            }
        }
    }

    /// Stores that everything up to a position is handled, and holds the name from now on. A
    /// position before the stored one changes nothing. Returns the stored one.
    ///
    /// # Errors
    /// When the name is another's by now or gone, the log has not reached the position, or the
    /// store fails.
    pub async fn acknowledge(
        &self,
        owner: Owner<'_>,
        position: Position,
    ) -> Result<Position, Error> {
        let (key, position) = (key_of(owner.name)?, self.shared.existing(position).await?);
        let checkpoints = &self.shared.checkpoints;
        match checkpoints
            .advance(&key, owner.token, position, owner.lease)
            .await?
        {
            true => self.renew(owner).await,
            false => Err(self.lost(owner.name, &key).await?),
        }
    }

    /// Gives a name back. Nothing is done when it is another's by now.
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

    /// Moves the place of a name anywhere in the log, and takes the name from its owner.
    ///
    /// # Errors
    /// When there is no such name, the log has not reached the position, or the store fails.
    pub async fn seek(&self, name: &str, start: Start) -> Result<Checkpoint, Error> {
        let (key, shared) = (key_of(name)?, &self.shared);
        let at = match start {
            Start::After(position) => shared.existing(position).await?,
            Start::Now => shared.reader.log_head().await?,
        };
        if !shared.checkpoints.seek(&key, at).await? {
            return Err(Error::Unknown(name.to_owned()));
        }
        shared.released.notify_waiters();
        self.name(name).await
    }

    /// Removes a name that nobody holds.
    ///
    /// # Errors
    /// When there is no such name, it is held, or the store fails.
    pub async fn forget(&self, name: &str) -> Result<(), Error> {
        let key = key_of(name)?;
        if self.shared.checkpoints.forget(&key).await? {
            return Ok(());
        }
        let held = self.name(name).await?;
        Err(Error::Held {
            name: name.to_owned(),
            held_for: held.held_for.unwrap_or_default(),
        })
    }

    /// How far a name has come, and whether it is held.
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

    /// Names in the order of their bytes, at most 1,000, after one of them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn names(&self, after: Option<&str>, limit: usize) -> Result<Vec<Checkpoint>, Error> {
        let after = format!("{PREFIX}{}", after.unwrap_or_default());
        let names = self.shared.checkpoints.checkpoints((&after, BEHIND), limit);
        let named = names.await?.into_iter().map(|found| Checkpoint {
            name: found.name[PREFIX.len()..].to_owned(),
            ..found
        });
        Ok(named.collect())
    }

    async fn renew(&self, owner: Owner<'_>) -> Result<Position, Error> {
        let key = key_of(owner.name)?;
        let renewing = self
            .shared
            .checkpoints
            .renew(&key, owner.token, owner.lease);
        match renewing.await? {
            Some(position) => Ok(position),
            None => Err(self.lost(owner.name, &key).await?),
        }
    }

    /// Why a token counts no more.
    async fn lost(&self, name: &str, key: &str) -> Result<Error, Error> {
        let found = self.shared.checkpoints.checkpoint(key).await?;
        Ok(match found {
            Some(_) => Error::Lost(name.to_owned()),
            None => Error::Unknown(name.to_owned()),
        })
    }
}

impl Shared {
    /// A position that the log has reached.
    async fn existing(&self, position: Position) -> Result<Position, Error> {
        let log = Which::Log(Filter::default());
        self.check_end(&log, position, Version::NONE).await?;
        Ok(position)
    }
}
