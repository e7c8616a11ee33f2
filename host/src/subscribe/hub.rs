use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::board::Board;
use super::commits::{Committed, OnCommit};
use super::named::Named;
use super::request::{Source, Subscribe};
use super::subscription::Subscription;
use super::wants::{SeatId, Wants, Which};
use super::{Error, Options, feed};
use crate::deploy::{Reading, Registry};
use crate::model::{Invalid, Position, Version};
use crate::store::{CheckpointStore, EventReader};
use crate::supervise::Supervisor;
use crate::upcast::Form;

/// Feeds all subscriptions of a host from one reading of the log, which begins with
/// the first subscription. Ends when it is dropped.
pub struct Hub {
    pub(super) shared: Arc<Shared>,
}

/// What subscriptions hold on to.
pub(super) struct Shared {
    pub(super) reader: Arc<dyn EventReader>,
    pub(super) checkpoints: Arc<dyn CheckpointStore>,
    pub(super) options: Options,
    /// How events are lifted.
    pub(super) reading: Reading,
    /// Asked for plans that are not known here yet. Not kept alive: a subscription may
    /// outlive its host.
    pub(super) registry: Weak<Registry>,
    board: Mutex<Board>,
    /// Told when someone has subscribed.
    pub(super) joined: Notify,
    /// Told when a named subscription has been given back.
    pub(super) released: Notify,
    /// Pages that are read for catching up, or lifted.
    pub(super) reads: Semaphore,
    /// Pages of full size that may be held.
    pub(super) pages: Arc<Semaphore>,
    pub(super) ending: CancellationToken,
    /// Named subscriptions that are being run.
    pub(super) runners: TaskTracker,
    pub(super) runtime: Handle,
    /// Taken by the reading of the log when it begins.
    grown: Mutex<Option<watch::Receiver<u64>>>,
    supervisor: Supervisor,
}

impl Hub {
    /// A hub on a store, which is told when the log may have grown. Must be called within
    /// a tokio runtime, on which it reads.
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

    /// Subscribes. The store is asked only where the end of the log, or of the
    /// stream, is asked for.
    ///
    /// # Errors
    /// When the request makes no sense, the host has too many subscriptions or ends,
    /// or the store fails.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, Error> {
        Shared::subscribe(&self.shared, subscribe).await
    }

    /// Calls a handler after each commit that comes from now on: see [`Committed`].
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

    /// A named subscription, whose place is kept in the store.
    ///
    /// # Errors
    /// When the name is none.
    pub fn named(&self, name: &str) -> Result<Named, Error> {
        Named::new(&self.shared, name)
    }

    /// Subscriptions that are there, of all kinds.
    pub fn len(&self) -> usize {
        self.shared.board().len()
    }

    /// Whether nobody has subscribed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends all subscriptions. Handlers of named ones that are at work may finish, for
    /// a bounded time.
    pub async fn close(&self) {
        self.end();
        self.shared.runners.close();
        let wait = self.shared.options.shutdown_wait;
        if tokio::time::timeout(wait, self.shared.runners.wait())
            .await
            .is_err()
        {
            tracing::warn!("the handler of a named subscription was still at work at the end");
        }
    }

    fn end(&self) {
        self.shared.ending.cancel();
        self.shared.tell(Board::close);
    }
}

/// Pages of full size for which there is memory.
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

    /// Does something at the board, then wakes those whom it concerns. Outside of the
    /// lock, which a task that is woken, or dropped, may want.
    pub(super) fn tell(&self, what: impl FnOnce(&mut Board) -> Vec<Waker>) {
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

    /// Refuses a place after the end: nobody has been there, and what comes next would be
    /// passed over without a word.
    pub(super) async fn check_end(
        &self,
        which: &Which,
        at: Position,
        seen: Version,
    ) -> Result<(), Error> {
        let (place, asked, end) = match which {
            Which::Stream(stream) if seen > Version::NONE => {
                let head = self.reader.head(stream).await?;
                let end = head.map_or(Version::NONE, |head| head.version);
                (format!("version {seen} of stream {stream}"), seen.0, end.0)
            }
            Which::Log(_) if at > self.board().end() => {
                let end = self.reader.log_head().await?;
                (format!("position {at} of the log"), at.0, end.0)
            }
            _ => return Ok(()),
        };
        if asked <= end {
            return Ok(());
        }
        Err(Invalid(format!(
            "{place} does not exist, the last one is {end}: was the store restored from an older \
             copy? Begin at {end} or before"
        ))
        .into())
    }

    /// What comes of something, unless the host ends first.
    pub(super) async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.ending.run_until_cancelled(work).await
    }

    /// A seat at the board; the first one begins the reading of the log.
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

/// A seat at the board, given up when it is dropped.
pub(super) struct Seat {
    pub(super) id: SeatId,
    pub(super) shared: Arc<Shared>,
}

impl Seat {
    /// Waits until the ring follows the log: the number of events that have passed.
    pub(super) async fn passed(&self) -> Result<u64, Error> {
        poll_fn(|context| self.shared.board().passed(self.id, context.waker())).await
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.board().leave(self.id);
    }
}
