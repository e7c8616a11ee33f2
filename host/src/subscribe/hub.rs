use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::commits::{Committed, OnCommit};
use super::interest::{SeatId, Wants, Which};
use super::named::Named;
use super::request::{Source, Subscribe};
use super::subscription::Subscription;
use super::waiters::Board;
use super::{Error, Options, feed};
use crate::deploy::{Reading, Registry};
use crate::model::{Invalid, Position, Version};
use crate::store::{CheckpointStore, EventReader};
use crate::supervise::Supervisor;
use crate::upcast::Form;

/// Feeds all subscriptions of a host from a single reader of the log, which starts with the first
/// subscription. Dropping the hub ends all subscriptions.
pub struct Hub {
    pub(super) shared: Arc<Shared>,
}

/// The state that all subscriptions share.
pub(super) struct Shared {
    pub(super) reader: Arc<dyn EventReader>,
    pub(super) checkpoints: Arc<dyn CheckpointStore>,
    pub(super) options: Options,
    /// Lifts events.
    pub(super) reading: Reading,
    /// Looks up plans that are not known here yet. A weak reference, because a subscription may
    /// outlive its host.
    pub(super) registry: Weak<Registry>,
    board: Mutex<Board>,
    /// Notified when a subscription was added.
    pub(super) joined: Notify,
    /// Notified when a named subscription was released.
    pub(super) released: Notify,
    /// Limits how many pages are read for catching up, or lifted, at the same time.
    pub(super) reads: Semaphore,
    /// Limits how many pages of full size are in memory.
    pub(super) pages: Arc<Semaphore>,
    pub(super) ending: CancellationToken,
    /// Tracks the named subscriptions that are running.
    pub(super) runners: TaskTracker,
    pub(super) runtime: Handle,
    /// Taken by the reader of the log when it starts.
    grown: Mutex<Option<watch::Receiver<u64>>>,
    supervisor: Supervisor,
}

impl Hub {
    /// Creates a hub for a store. `grown` notifies it when the log may have grown. Must be called
    /// within a tokio runtime, on which the hub reads.
    pub fn new(
        reader: Arc<dyn EventReader>,
        checkpoints: Arc<dyn CheckpointStore>,
        grown: watch::Receiver<u64>,
        options: Options,
        registry: &Arc<Registry>,
        supervisor: &Supervisor,
    ) -> Self {
        let reading = registry.reading();
        let shared = Shared {
            reader,
            checkpoints,
            board: Mutex::new(Board::new(&options, reading.clone())),
            reading,
            registry: Arc::downgrade(registry),
            joined: Notify::new(),
            released: Notify::new(),
            reads: Semaphore::new(options.reads_max.clamp(1, Semaphore::MAX_PERMITS)),
            pages: Arc::new(Semaphore::new(pages_max(&options))),
            ending: CancellationToken::new(),
            runners: TaskTracker::new(),
            runtime: Handle::current(),
            grown: Mutex::new(Some(grown)),
            supervisor: supervisor.clone(),
            options,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Starts a subscription. The store is only queried if the request refers to the end of the log
    /// or of the stream.
    ///
    /// # Errors
    /// When the request makes no sense, the host has too many subscriptions or is shutting down, or
    /// the store fails.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, Error> {
        Shared::subscribe(&self.shared, subscribe).await
    }

    /// Calls a handler after each commit from now on: see [`Committed`].
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn on_commit<H, F>(&self, form: Form, handler: H) -> Result<OnCommit, Error>
    where
        H: FnMut(Committed) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        OnCommit::begin(&self.shared, form, handler).await
    }

    /// Returns a named subscription, whose checkpoint is stored in the store.
    ///
    /// # Errors
    /// When the name is not valid.
    pub fn named(&self, name: &str) -> Result<Named, Error> {
        Named::new(&self.shared, name)
    }

    /// Returns the number of subscriptions of all kinds.
    pub fn len(&self) -> usize {
        self.shared.board().len()
    }

    /// Whether there are no subscriptions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends all subscriptions. Handlers of named ones that are running may finish within a time
    /// limit.
    pub async fn close(&self) {
        self.end();
        self.shared.runners.close();
        let wait = self.shared.options.shutdown_wait;
        if tokio::time::timeout(wait, self.shared.runners.wait())
            .await
            .is_err()
        {
            tracing::warn!("a handler of a named subscription was still running at shutdown");
        }
    }

    fn end(&self) {
        self.shared.ending.cancel();
        self.shared.update(Board::close);
    }
}

/// Returns how many pages of full size fit into memory.
fn pages_max(options: &Options) -> usize {
    let pages = options.catch_up_bytes_max / options.page_bytes_max.max(1);
    pages.min(Semaphore::MAX_PERMITS)
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    pub(super) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates the board, then wakes the tasks that the update concerns. Tasks are never woken
    /// while the lock is held, because waking or dropping one may need it.
    pub(super) fn update(&self, what: impl FnOnce(&mut Board) -> Vec<Waker>) {
        let woken = what(&mut self.board());
        woken.into_iter().for_each(Waker::wake);
    }

    pub(super) async fn subscribe(
        this: &Arc<Self>,
        subscribe: Subscribe,
    ) -> Result<Subscription, Error> {
        subscribe.check()?;
        let heartbeat = subscribe.heartbeat.unwrap_or(this.options.heartbeat);
        let (which, mut at, mut seen) = match subscribe.source {
            Source::Log { after, filter } => (Which::Log(filter), after, Version::NONE),
            Source::Stream { stream, from } => {
                let seen = Version(from.0 - 1);
                (Which::Stream(stream), Position(0), seen)
            }
        };
        let form = subscribe.form;
        let wants = Arc::new(Wants { which, form });
        let seat = this.join(Arc::clone(&wants))?;
        if subscribe.is_seen && !subscribe.from_now {
            this.check_end(&wants.which, at, seen).await?;
        }
        if subscribe.from_now {
            match &wants.which {
                Which::Stream(stream) => {
                    let head = this.reader.head(stream).await?;
                    seen = head.map_or(Version::NONE, |head| head.version);
                }
                _ => at = this.reader.log_head().await?,
            }
        }
        Ok(Subscription::new(seat, wants, at, seen, heartbeat))
    }

    /// Rejects a checkpoint after the end. No reader has been there, and events up to it would be
    /// skipped silently.
    pub(super) async fn check_end(
        &self,
        which: &Which,
        at: Position,
        seen: Version,
    ) -> Result<(), Error> {
        let (place, number, end) = match which {
            Which::Stream(stream) if seen > Version::NONE => {
                let head = self.reader.head(stream).await?;
                let end = head.map_or(Version::NONE, |head| head.version);
                (format!("version {seen} of stream {stream}"), seen.0, end.0)
            }
            Which::Log(_) if at > self.board().end() => {
                let end = self.reader.last_taken().await?;
                (format!("position {at} of the log"), at.0, end.0)
            }
            _ => return Ok(()),
        };
        if number <= end {
            return Ok(());
        }
        Err(Invalid::after_the_end(place, end).into())
    }

    /// Returns the result of the work, or `None` if the host shuts down first.
    pub(super) async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.ending.run_until_cancelled(work).await
    }

    /// Adds a subscription to the board. The first one starts the reader of the log.
    pub(super) fn join(self: &Arc<Self>, wants: Arc<Wants>) -> Result<Seat, Error> {
        let id = self.board().join(wants)?;
        let seat = Seat {
            id,
            shared: Arc::clone(self),
        };
        let mut grown = self.grown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(grown) = grown.take() {
            let shared = Arc::clone(self);
            let begin = move || feed::run(Arc::clone(&shared), grown.clone());
            let feeding = self.supervisor.restarting("feed of subscriptions", begin);
            self.runtime.spawn(feeding);
        }
        self.joined.notify_one();
        Ok(seat)
    }
}

/// A subscription on the board, which is removed when this is dropped.
pub(super) struct Seat {
    pub(super) id: SeatId,
    pub(super) shared: Arc<Shared>,
}

impl Seat {
    /// Waits until the ring follows the log. Returns the number of events that have passed.
    pub(super) async fn passed(&self) -> Result<u64, Error> {
        poll_fn(|context| self.shared.board().passed(self.id, context.waker())).await
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.board().leave(self.id);
    }
}
