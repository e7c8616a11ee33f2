//! The only way to write to the log. Every write, and every answer that depends on the state of the
//! log, is staged here and committed in groups.
//!
//! While one batch is committed, the next one collects. A small batch waits at most 1 ms for
//! decisions in progress, and never for commands that may come. The committer is never cancelled:
//! it ends when the last handle is dropped and everything staged has been answered.

mod committer;
mod exclusion;
mod run;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot};

pub use committer::{Inline, Options, no_inline, start};
pub use exclusion::Exclusion;
pub use run::Run;

use crate::meters::Meters;
use crate::store::{self, Import, Item, Outcome};

/// The result of a staged item.
#[derive(Debug)]
pub enum Verdict {
    /// The store answered.
    Outcome(Outcome),
    /// The store failed. Nothing of the item is stored.
    Failed(store::Error),
}

/// Called once with the result of an item, which it gets back. Runs on the committer's thread, so
/// it must be short and must not wait.
pub type Callback = Box<dyn FnOnce(Item, Verdict) + Send>;

/// An item on its way into the log.
pub struct Staged {
    /// The item.
    pub item: Item,
    /// The run of the item, if it was decided on warm state.
    pub run: Option<Arc<Run>>,
    /// Receives the result.
    pub done: Callback,
}

/// A message to the committer.
enum Message {
    /// Commits an item.
    Staged(Staged),
    /// Imports a part of an export and reports the result.
    Import(Import, oneshot::Sender<store::Result<()>>),
    /// Checks whether the next batch could be stored and reports the result.
    Check(oneshot::Sender<store::Result<()>>),
    /// Ends the committer after all earlier messages.
    Close,
}

/// Stages items. Cheap to clone.
///
/// The queue is not limited: callers limit what they have in flight.
#[derive(Clone)]
pub struct Handle {
    queue: mpsc::UnboundedSender<Message>,
    gauge: Arc<Gauge>,
    meters: Arc<Meters>,
    hosts_wait_max: Duration,
}

/// Measurements and signals of the committer.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Decisions that are about to be staged.
    deciding: AtomicUsize,
    /// Notified when the last of them is staged.
    decided: Notify,
    /// Items staged so far.
    staged: AtomicU64,
    /// Batches committed so far.
    pub batches: AtomicU64,
    /// Items answered so far.
    pub items: AtomicU64,
}

impl Handle {
    /// Stages an item. Items are processed in the order in which they are staged.
    pub fn stage(&self, staged: Staged) {
        self.gauge.staged.fetch_add(1, Ordering::Relaxed);
        if let Err(unsent) = self.queue.send(Message::Staged(staged)) {
            self.gauge.staged.fetch_sub(1, Ordering::Relaxed);
            let Message::Staged(Staged { item, done, .. }) = unsent.0 else {
                return;
            };
            done(item, Verdict::Failed(shut_down()));
        }
    }

    /// Imports a part of an export, after everything that has been staged. Dropping the future does
    /// not cancel the import.
    ///
    /// # Errors
    /// When the part does not fit the store, or the store fails. Nothing of it is stored.
    pub async fn import(&self, part: Import) -> store::Result<()> {
        let (sender, receiver) = oneshot::channel();
        // If sending fails, the sender of the result is dropped, so the receiver fails.
        _ = self.queue.send(Message::Import(part, sender));
        receiver.await.unwrap_or_else(|_| Err(shut_down()))
    }

    /// Checks whether the next batch could be stored, after everything that has been staged.
    ///
    /// # Errors
    /// When it could not be stored, or the committer has ended.
    pub async fn check(&self) -> store::Result<()> {
        let (sender, receiver) = oneshot::channel();
        // As with an import.
        _ = self.queue.send(Message::Check(sender));
        receiver.await.unwrap_or_else(|_| Err(shut_down()))
    }

    /// Ends the committer after everything that has been staged. Items that are staged later fail.
    pub fn close(&self) {
        // The committer may have ended already.
        _ = self.queue.send(Message::Close);
    }

    /// Announces a decision in progress, so that a small batch can wait for it.
    pub fn deciding(&self) -> Deciding {
        self.gauge.deciding.fetch_add(1, Ordering::SeqCst);
        Deciding(Arc::clone(&self.gauge))
    }

    /// The measurements of the host. Everything that commits shares them.
    pub fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// Returns the measurements so far.
    pub fn gauge(&self) -> &Gauge {
        &self.gauge
    }
}

impl Gauge {
    /// Returns the number of items that wait for their commit, with those that are being committed.
    pub fn waiting(&self) -> u64 {
        let answered = self.items.load(Ordering::Relaxed);
        let staged = self.staged.load(Ordering::Relaxed);
        staged.saturating_sub(answered)
    }
}

fn shut_down() -> store::Error {
    store::Error::Unavailable("the host has been shut down".to_owned())
}

/// A decision in progress, until this value is dropped.
#[derive(Debug)]
pub struct Deciding(Arc<Gauge>);

impl Drop for Deciding {
    fn drop(&mut self) {
        if self.0.deciding.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.decided.notify_one();
        }
    }
}
