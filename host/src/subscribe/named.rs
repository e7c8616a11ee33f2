use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::{Instant, sleep, sleep_until};

use super::batch::{Batch, Bounds, Over};
use super::hub::Shared;
use super::lease::Lease;
use super::{Error, Subscribe};
use crate::model::Backoff;
use crate::model::{Invalid, RecordedEvent, SharedThrottle};
use crate::store::Filter;
use crate::upcast::Form;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// The prefix of every key, and the first text after all keys.
pub(super) const PREFIX: &str = "subscription/";
pub(super) const PREFIX_END: &str = "subscription0";

/// Limits log entries about a store that fails: every attempt may.
static SAID: SharedThrottle = SharedThrottle::new();

/// A subscription whose checkpoint is stored under a name. It starts at the first event of the log,
/// and passes every event that matches its filter to a handler, in order and at least once.
///
/// If several tasks or hosts run the same name, one of them owns it at a time. The others wait
/// until it is released, or until its lease expires because the owner is gone.
pub struct Named {
    shared: Arc<Shared>,
    key: String,
    filter: Filter,
    bounds: Bounds,
    lease: Duration,
    retry: (Duration, Duration),
    form: Form,
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut named = f.debug_struct("Named");
        named.field("key", &self.key).field("filter", &self.filter);
        named.finish_non_exhaustive()
    }
}

/// Why an owner has stopped.
enum End {
    /// The host is shutting down.
    Stopped,
    /// Another host owns the subscription, or may already own it.
    Lost,
    Failed(Error),
}

/// Returns the key of a name. Checkpoints of other kinds have other prefixes.
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

    /// Passes only matching events to the handler. The checkpoint moves past all others too.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Passes events as they are stored, not lifted by upcasters.
    #[must_use]
    pub fn as_stored(mut self) -> Self {
        self.form = Form::Stored;
        self
    }

    /// Sets the largest number of events for one call of the handler, 100 by default. A batch is
    /// also complete at 1 MiB. The parts of a split event always arrive in one call, even if that
    /// exceeds the limits.
    #[must_use]
    pub fn batch_max(mut self, events: usize) -> Self {
        self.bounds.events = events.max(1);
        self
    }

    /// Sets the length of the lease, 15 s by default. It is renewed after every third of that time.
    /// At most one day.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.clamp(Duration::from_millis(3), Duration::from_hours(24));
        self
    }

    /// Sets the shortest and the longest pause before a failed batch is retried. 100 ms and 30 s by
    /// default.
    #[must_use]
    pub fn retry(mut self, first: Duration, max: Duration) -> Self {
        self.retry = (first, max);
        self
    }

    /// Runs until the host shuts down. The handler is called with the next events, one call at a
    /// time. When it succeeds, the checkpoint after these events is stored. When it fails, it is
    /// called with the same events after a pause, until it succeeds.
    ///
    /// Events are delivered more than once in these cases: the handler has failed, even for the
    /// events before the one on which it failed; the process died, or this future was dropped,
    /// before the checkpoint was stored; the lease expired while the handler was running. In the
    /// last case, the handler is cancelled at its next await point, because another host may have
    /// taken over. A handler that must not repeat an effect has to store the position together with
    /// the effect.
    ///
    /// An event that can't be lifted is never skipped. The events before it are passed to the
    /// handler, then lifting is retried after pauses until a deployment can lift the event. A
    /// warning is logged for each attempt.
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
    /// When the filter makes no sense, the log has not reached the stored checkpoint, or the store
    /// is damaged. If the store is not available, this waits for it.
    pub async fn run<H, E>(self, mut handler: H) -> Result<(), Error>
    where
        H: AsyncFnMut(&[Arc<RecordedEvent>]) -> Result<(), E>,
        E: fmt::Display,
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
                    if let Some(left_out) = SAID.pass(&format!("{}: {error}", self.key)) {
                        tracing::warn!(name = self.key, %error, left_out, "the store failed");
                    }
                    let mut backoff = Backoff::of_reads();
                    self.shared.unless_ended(sleep(backoff.next_pause())).await;
                }
                End::Failed(error) => return Err(error),
            }
        }
    }

    /// Passes events to the handler for as long as the lease lasts.
    async fn own<H, E>(&self, lease: &mut Lease, handler: &mut H) -> End
    where
        H: AsyncFnMut(&[Arc<RecordedEvent>]) -> Result<(), E>,
        E: fmt::Display,
    {
        let mut backoff = Backoff::new(self.retry.0, self.retry.1);
        loop {
            let before = lease.position();
            let error = match self.follow(lease, handler).await {
                End::Failed(Error::Unreadable(error)) => error,
                end => return end,
            };
            tracing::warn!(name = self.key, %error, "an event can't be lifted; retrying");
            if lease.position() > before {
                backoff.reset();
            }
            if let Err(end) = self.pause(lease, &mut backoff).await {
                return end;
            }
        }
    }

    /// Passes the events of one subscription to the handler until that subscription ends.
    async fn follow<H, E>(&self, lease: &mut Lease, handler: &mut H) -> End
    where
        H: AsyncFnMut(&[Arc<RecordedEvent>]) -> Result<(), E>,
        E: fmt::Display,
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
        E: fmt::Display,
    {
        let mut backoff = Backoff::new(self.retry.0, self.retry.1);
        loop {
            let handled = lease.hold_during(handler(events)).await.ok_or(End::Lost)?;
            let Err(error) = handled else {
                return Ok(());
            };
            let position = events.first().map_or(0, |first| first.position.0);
            tracing::warn!(name = self.key, position, %error, "a handler failed; retrying");
            self.pause(lease, &mut backoff).await?;
        }
    }

    /// Waits before the next attempt, and renews the lease meanwhile.
    async fn pause(&self, lease: &mut Lease, backoff: &mut Backoff) -> Result<(), End> {
        let until = Instant::now() + backoff.next_pause();
        let pausing = self.shared.unless_ended(sleep_until(until));
        let paused = lease.hold_during(pausing).await.ok_or(End::Lost)?;
        paused.ok_or(End::Stopped)
    }
}
