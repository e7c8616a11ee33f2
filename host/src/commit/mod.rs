//! The one way into the log: everything that is to be written, or may only be
//! answered when it is known to hold, is staged here and committed in groups.
//!
//! The commit in flight is the batching window. A small batch waits for decisions
//! that are under way, at most 1 ms, and never for commands that may come. The committer is never cancelled: it ends when the
//! last handle is dropped and everything staged has been answered.

mod committer;
mod run;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc, oneshot};

pub use committer::{Inline, Options, no_inline, start};
pub use run::Run;

use crate::store::{self, Import, Item, Outcome};

/// What became of a staged item.
#[derive(Debug)]
pub enum Verdict {
    /// The store answered.
    Outcome(Outcome),
    /// The store failed; nothing of the item is stored.
    Failed(store::Error),
}

/// Told once what became of an item, which it gets back. Runs on the committer's
/// thread, so it must be short and must not wait.
pub type Done = Box<dyn FnOnce(Item, Verdict) + Send>;

/// An item on its way into the log.
pub struct Staged {
    /// What is asked.
    pub item: Item,
    /// The run that it belongs to, if it was decided on warm state.
    pub run: Option<Arc<Run>>,
    /// Whom to tell.
    pub done: Done,
}

/// What the committer is told.
enum Message {
    /// Commit this.
    Staged(Staged),
    /// Take in a part of an export, and tell.
    Import(Import, oneshot::Sender<store::Result<()>>),
    /// Look whether the next batch could be stored, and tell.
    Check(oneshot::Sender<store::Result<()>>),
    /// End, behind everything that came before.
    Close,
}

/// Stages items. Cheap to clone.
///
/// The queue has no bound of its own: whoever stages bounds what it has in flight.
#[derive(Clone)]
pub struct Handle {
    queue: mpsc::UnboundedSender<Message>,
    gauge: Arc<Gauge>,
}

/// What the committer measures and is told.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Decisions that are about to be staged.
    deciding: AtomicUsize,
    /// Told when the last of them is staged.
    decided: Notify,
    /// Batches committed so far.
    pub batches: AtomicU64,
    /// Items answered so far.
    pub items: AtomicU64,
}

impl Handle {
    /// Stages an item. Items are taken in the order in which they are staged.
    pub fn stage(&self, staged: Staged) {
        if let Err(unsent) = self.queue.send(Message::Staged(staged)) {
            let Message::Staged(Staged { item, done, .. }) = unsent.0 else {
                return;
            };
            done(item, Verdict::Failed(shut_down()));
        }
    }

    /// Takes in a part of an export, behind everything that has been staged. Dropping
    /// the future does not take the part back.
    ///
    /// # Errors
    /// When the part does not fit the store, or the store fails: nothing of it is stored.
    pub async fn import(&self, part: Import) -> store::Result<()> {
        let (tell, told) = oneshot::channel();
        // What is not sent drops the teller, so that the receiver fails.
        _ = self.queue.send(Message::Import(part, tell));
        told.await.unwrap_or_else(|_| Err(shut_down()))
    }

    /// Checks whether the next batch could be stored, after everything that has been staged.
    ///
    /// # Errors
    /// When it could not, or the committer has ended.
    pub async fn check(&self) -> store::Result<()> {
        let (tell, told) = oneshot::channel();
        // As with an import.
        _ = self.queue.send(Message::Check(tell));
        told.await.unwrap_or_else(|_| Err(shut_down()))
    }

    /// Ends the committer behind everything that has been staged. What is staged
    /// later fails.
    pub fn close(&self) {
        // It may have ended already.
        _ = self.queue.send(Message::Close);
    }

    /// Says that a decision is under way, so that a small batch may wait for it.
    pub fn deciding(&self) -> Deciding {
        self.gauge.deciding.fetch_add(1, Ordering::SeqCst);
        Deciding(Arc::clone(&self.gauge))
    }

    /// What has been committed so far.
    pub fn gauge(&self) -> &Gauge {
        &self.gauge
    }
}

fn shut_down() -> store::Error {
    store::Error::Unavailable("the host has been shut down".to_owned())
}

/// A decision that is under way, until it is dropped.
#[derive(Debug)]
pub struct Deciding(Arc<Gauge>);

impl Drop for Deciding {
    fn drop(&mut self) {
        if self.0.deciding.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.decided.notify_one();
        }
    }
}
