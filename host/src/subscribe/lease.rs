use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Error;
use super::hub::Shared;
use crate::model::Backoff;
use crate::model::Position;
use crate::model::SharedThrottle;
use crate::store;
use crate::supervise::joined;

/// Limits log entries about a store that does not answer: every attempt may fail.
static SAID: SharedThrottle = SharedThrottle::new();

/// The lease of a named subscription. It can be renewed while work is running. It is released when
/// dropped.
pub(super) struct Lease {
    shared: Arc<Shared>,
    key: String,
    token: u64,
    /// The checkpoint of the subscription.
    position: Position,
    length: Duration,
    /// Nobody else can claim the subscription before this time. It is counted from before the store
    /// was asked.
    until: Instant,
    is_held: bool,
    /// Keeps the store open until the lease has been released.
    running: TaskTrackerToken,
}

impl Lease {
    /// Waits until the subscription is free, and claims it. Returns `None` when the host shuts
    /// down.
    pub(super) async fn claim(
        shared: &Arc<Shared>,
        key: &str,
        length: Duration,
    ) -> Result<Option<Self>, Error> {
        let mut backoff = Backoff::of_reads();
        loop {
            if shared.ending.is_cancelled() {
                return Ok(None);
            }
            // Registered before the claim, so that no release in between is missed.
            let released = shared.released.notified();
            // Runs in its own task, so that the claim is released even if the caller is cancelled.
            let asking = Self::ask(Arc::clone(shared), key.to_owned(), length);
            let result = shared.runtime.spawn(asking).await;
            let pause = match joined(result).ok_or(Error::Stopped)? {
                Ok(Some(lease)) => return Ok(Some(lease)),
                Ok(None) => rand::rng().random_range(length / 8..=length / 4),
                Err(error) if error.is_lasting() => return Err(error.into()),
                Err(error) => {
                    if let Some(left_out) = SAID.pass(&format!("{key}: {error}")) {
                        let why = "could not claim a subscription; retrying";
                        tracing::warn!(name = key, %error, left_out, "{why}");
                    }
                    backoff.next_pause()
                }
            };
            tokio::select! {
                () = released => {}
                () = sleep(pause) => {}
                () = shared.ending.cancelled() => {}
            }
        }
    }

    /// Claims the subscription if it is free.
    async fn ask(
        shared: Arc<Shared>,
        key: String,
        length: Duration,
    ) -> store::Result<Option<Self>> {
        let (requested_at, running) = (Instant::now(), shared.runners.token());
        let claim = shared.checkpoints.claim(&key, length).await?;
        Ok(claim.map(|claim| Self {
            shared,
            key,
            token: claim.token,
            position: claim.position,
            length,
            until: requested_at + length,
            is_held: true,
            running,
        }))
    }

    /// Returns the checkpoint of the subscription.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Stores the checkpoint and extends the lease. Returns false if the lease is lost.
    pub(super) async fn advance(&mut self, position: Position) -> bool {
        self.position = self.position.max(position);
        let mut backoff = Backoff::of_reads();
        while self.is_held {
            let requested_at = Instant::now();
            let advancing =
                self.shared
                    .checkpoints
                    .advance(&self.key, self.token, self.position, self.length);
            match tokio::time::timeout_at(self.until, advancing).await {
                Ok(Ok(Some(_))) => {
                    self.until = requested_at + self.length;
                    return true;
                }
                Ok(Ok(None)) | Err(_) => self.is_held = false,
                Ok(Err(error)) => {
                    if let Some(left_out) = SAID.pass(&format!("{}: {error}", self.key)) {
                        let name = &*self.key;
                        tracing::warn!(%error, name, left_out, "could not store a checkpoint");
                    }
                    let next = Instant::now() + backoff.next_pause();
                    sleep_until(next.min(self.until)).await;
                    self.is_held = Instant::now() < self.until;
                }
            }
        }
        false
    }

    /// Renews the lease until the work is done. If the lease is lost, the work is cancelled and
    /// `None` is returned.
    pub(super) async fn hold_during<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let (mut work, mut done) = (pin!(work), None);
        while done.is_none() && self.is_held {
            let due = self.until - self.length * 2 / 3;
            tokio::select! {
                biased;
                it = &mut work => return Some(it),
                () = sleep_until(due) => {}
            }
            // Never cancelled, because the store could apply a cancelled write after the next one.
            let mut renewing = pin!(self.advance(self.position));
            loop {
                tokio::select! {
                    _ = &mut renewing => break,
                    it = &mut work, if done.is_none() => done = Some(it),
                }
            }
        }
        done
    }

    /// Releases the lease, unless it is lost.
    pub(super) async fn give_back(mut self) {
        if std::mem::take(&mut self.is_held) {
            release(&self.shared, &self.key, self.token).await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_held {
            let (shared, key, token) = (Arc::clone(&self.shared), self.key.clone(), self.token);
            let running = self.running.clone();
            let releasing = async move {
                release(&shared, &key, token).await;
                drop(running);
            };
            // If it fails, the lease expires by itself.
            self.shared.runtime.spawn(releasing);
        }
    }
}

async fn release(shared: &Shared, key: &str, token: u64) {
    if let Err(error) = shared.checkpoints.release(key, token).await {
        // The lease expires by itself.
        tracing::warn!(name = key, %error, "could not release a subscription");
    }
    shared.released.notify_waiters();
}
