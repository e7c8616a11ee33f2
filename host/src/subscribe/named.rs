use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, sleep, sleep_until};

use super::batch::{Batch, Bounds, Over};
use super::hub::Shared;
use super::lease::Lease;
use super::{Error, Subscribe};
use crate::model::Backoff;
use crate::model::{Invalid, RecordedEvent};
use crate::store::Filter;
use crate::upcast::Form;

/// Longest name in bytes.
const NAME_BYTES_MAX: usize = 200;
/// The prefix of every key, and the first text after all keys.
pub(super) const PREFIX: &str = "subscription/";
pub(super) const PREFIX_END: &str = "subscription0";

/// A subscription whose place is kept in the store under a name. It begins at the first
/// event of the log, and hands every event that passes its filter to a handler, in
/// order, at least once.
///
/// Of all who run a name, on all hosts, one owns it at a time; the others stand by until
/// it is given back, or its lease has run out because its owner is gone.
pub struct Named {
    shared: Arc<Shared>,
    key: String,
    filter: Filter,
    bounds: Bounds,
    lease: Duration,
    retry: (Duration, Duration),
    form: Form,
}

/// Why an owner has stopped.
enum End {
    /// The host ends.
    Stopped,
    /// Another owns the name now, or may by now.
    Lost,
    Failed(Error),
}

/// The key of a name. Checkpoints of other kinds have other prefixes.
pub(super) fn key_of(name: &str) -> Result<String, Invalid> {
    let has_form = (1..=NAME_BYTES_MAX).contains(&name.len());
    if !has_form || name.chars().any(char::is_control) {
        return Err(Invalid(format!(
            "subscription {name:?}: a name has 1 to {NAME_BYTES_MAX} bytes, none of them a control \
             character"
        )));
    }
    Ok(format!("{PREFIX}{name}"))
}

impl Named {
    pub(super) fn new(shared: &Arc<Shared>, name: &str) -> Result<Self, Error> {
        Ok(Self {
            shared: Arc::clone(shared),
            key: key_of(name)?,
            filter: Filter::default(),
            bounds: Bounds {
                events: 100,
                bytes: 1 << 20,
            },
            lease: Duration::from_secs(15),
            retry: (Duration::from_millis(100), Duration::from_secs(30)),
            form: Form::Lifted,
        })
    }

    /// Only events that pass. The place moves over all others too.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Events as they are stored, not lifted by upcasters.
    #[must_use]
    pub fn as_stored(mut self) -> Self {
        self.form = Form::Stored;
        self
    }

    /// Events for one call of the handler at most, 100 by default; from 1 MiB on a call
    /// gets no more. Only the parts of a split event are never told apart: they come in
    /// one call.
    #[must_use]
    pub fn batch_max(mut self, events: usize) -> Self {
        self.bounds.events = events.max(1);
        self
    }

    /// For how long the name is held without a sign of life, 15 s by default. It is
    /// renewed every third of that. At most a day.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.clamp(Duration::from_millis(3), Duration::from_hours(24));
        self
    }

    /// The bounds of the pause before a failed batch is handed over again: at first, and
    /// at most. 100 ms and 30 s by default.
    #[must_use]
    pub fn retry(mut self, first: Duration, max: Duration) -> Self {
        self.retry = (first, max);
        self
    }

    /// Runs until the host ends. The handler is called with the next events, one call
    /// after the other; when it succeeds the place is stored behind them, when it fails it
    /// gets the same events again after a pause, for as long as it takes.
    ///
    /// Events come again when the handler has failed, also those before the one on which
    /// it did; when the process has died, or this future was dropped, before the place was
    /// stored; and when the lease ran out while the handler was at work: then the handler
    /// is cut off where it waits, since another may have taken over. A handler that must
    /// not do a thing twice keeps the position that it has come to with what it does.
    ///
    /// An event that can't be lifted is never passed over: those before it are handed
    /// over, then it is tried again after a pause, until something is deployed that lifts
    /// it. The log says so.
    ///
    /// ```no_run
    /// # async fn example(host: quipu::Host) -> anyhow::Result<()> {
    /// use std::sync::Arc;
    /// use quipu::model::RecordedEvent;
    ///
    /// let mailer = host.subscription("mailer")?;
    /// tokio::spawn(mailer.run(async move |events: &[Arc<RecordedEvent>]| {
    ///     for event in events {
    ///         println!("a letter about {}", event.stream);
    ///     }
    ///     Ok::<_, std::io::Error>(())
    /// }));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the filter makes no sense, the log has not reached the stored place, or the store is
    /// damaged. A store that is not available is waited for.
    pub async fn run<H, E>(self, mut handler: H) -> Result<(), Error>
    where
        H: AsyncFnMut(&[Arc<RecordedEvent>]) -> Result<(), E>,
        E: std::fmt::Display,
    {
        self.filter.check()?;
        let _running = self.shared.runners.token();
        loop {
            let claimed = Lease::claim(&self.shared, &self.key, self.lease).await?;
            let Some(mut lease) = claimed else {
                return Ok(());
            };
            let end = self.own(&mut lease, &mut handler).await;
            lease.give_back().await;
            match end {
                End::Stopped => return Ok(()),
                End::Lost => tracing::warn!(name = self.key, "the lease was lost"),
                End::Failed(Error::Store(error)) if !error.is_lasting() => {
                    tracing::warn!(name = self.key, %error, "the store failed");
                    let mut backoff = Backoff::of_reads();
                    self.shared.unless_ended(sleep(backoff.next_pause())).await;
                }
                End::Failed(error) => return Err(error),
            }
        }
    }

    /// Hands events over for as long as the name is held.
    async fn own<H, E>(&self, lease: &mut Lease, handler: &mut H) -> End
    where
        H: AsyncFnMut(&[Arc<RecordedEvent>]) -> Result<(), E>,
        E: std::fmt::Display,
    {
        let mut backoff = Backoff::new(self.retry.0, self.retry.1);
        loop {
            let before = lease.position();
            let error = match self.follow(lease, handler).await {
                End::Failed(Error::Unreadable(error)) => error,
                end => return end,
            };
            tracing::warn!(name = self.key, %error, "an event can't be lifted; it is tried again");
            if lease.position() > before {
                backoff.reset();
            }
            if let Err(end) = self.pause(lease, &mut backoff).await {
                return end;
            }
        }
    }

    /// Hands over what a subscription tells, until that ends.
    async fn follow<H, E>(&self, lease: &mut Lease, handler: &mut H) -> End
    where
        H: AsyncFnMut(&[Arc<RecordedEvent>]) -> Result<(), E>,
        E: std::fmt::Display,
    {
        let mut subscribe =
            Subscribe::log(lease.position(), self.filter.clone()).heartbeat(self.lease / 3);
        subscribe = subscribe.seen();
        subscribe.form = self.form;
        let mut subscription = match Shared::subscribe(&self.shared, subscribe).await {
            Ok(subscription) => subscription,
            Err(Error::Stopped) => return End::Stopped,
            Err(error) => return End::Failed(error),
        };
        loop {
            let first = subscription.next().await;
            let batch = Batch::gather(first, &mut subscription, self.bounds).await;
            if matches!(batch.over, Some(Over::Stopped)) {
                return End::Stopped;
            }
            if !batch.events.is_empty()
                && let Err(end) = self.hand_over(lease, &batch.events, handler).await
            {
                return end;
            }
            if !lease.advance(batch.up_to).await {
                return End::Lost;
            }
            if let Some(Over::Failed(error)) = batch.over {
                return End::Failed(error);
            }
        }
    }

    /// Calls the handler until it succeeds.
    async fn hand_over<H, E>(
        &self,
        lease: &mut Lease,
        events: &[Arc<RecordedEvent>],
        handler: &mut H,
    ) -> Result<(), End>
    where
        H: AsyncFnMut(&[Arc<RecordedEvent>]) -> Result<(), E>,
        E: std::fmt::Display,
    {
        let mut backoff = Backoff::new(self.retry.0, self.retry.1);
        loop {
            let handled = lease.hold_during(handler(events)).await.ok_or(End::Lost)?;
            let Err(error) = handled else {
                return Ok(());
            };
            let position = events.first().map_or(0, |first| first.position.0);
            tracing::warn!(name = self.key, position, %error, "a handler failed; it is called again");
            self.pause(lease, &mut backoff).await?;
        }
    }

    /// Waits for another attempt, with the name held.
    async fn pause(&self, lease: &mut Lease, backoff: &mut Backoff) -> Result<(), End> {
        let until = Instant::now() + backoff.next_pause();
        let pausing = self.shared.unless_ended(sleep_until(until));
        let paused = lease.hold_during(pausing).await.ok_or(End::Lost)?;
        paused.ok_or(End::Stopped)
    }
}
