//! Stores the last rejections, separate from commands.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::store::{self, Rejected, RejectionStore};
use crate::supervise::Supervisor;

/// Delay between the first waiting rejection and the transaction that stores it together with later
/// ones.
const PAUSE: Duration = Duration::from_millis(500);
/// Largest command that is stored, in bytes of its body and metadata.
const COMMAND_BYTES_MAX: usize = 64 << 10;
/// Highest total size of waiting rejections, in bytes.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// Stores rejections. Waiting rejections are lost when the process ends, because they are not part
/// of the log.
#[derive(Clone)]
pub struct Rejections(Arc<Keeper>);

struct Keeper {
    store: Arc<dyn RejectionStore>,
    /// Highest number per category; 0: none are stored.
    max: usize,
    waiting: Mutex<Waiting>,
    /// Notified when the first rejection waits, and when this value is dropped.
    begun: Arc<Notify>,
    /// Locked during writes, so that rejections stay in order.
    writing: tokio::sync::Mutex<()>,
    is_failing: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    by_category: HashMap<Box<str>, VecDeque<Rejected>>,
    bytes: usize,
}

impl Rejections {
    /// Starts the task that writes rejections. It ends when the last clone is dropped.
    pub fn start(
        (runtime, supervisor): (&tokio::runtime::Handle, &Supervisor),
        store: Arc<dyn RejectionStore>,
        max: usize,
    ) -> Self {
        let begun = Arc::new(Notify::new());
        let keeper = Arc::new(Keeper {
            store,
            max,
            waiting: Mutex::default(),
            begun: Arc::clone(&begun),
            writing: tokio::sync::Mutex::default(),
            is_failing: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&keeper);
        let begin = move || write_on(Weak::clone(&weak), Arc::clone(&begun));
        runtime.spawn(supervisor.restarting("rejections", begin));
        Self(keeper)
    }

    /// Queues a rejection without waiting. If too many wait, it replaces the oldest of its
    /// category.
    pub(super) fn keep(&self, rejected: Rejected) {
        let keeper = &self.0;
        if keeper.max == 0 || command_size(&rejected) > COMMAND_BYTES_MAX {
            return;
        }
        let size = size(&rejected);
        let mut waiting = keeper.lock();
        let was_empty = waiting.by_category.is_empty();
        let category = rejected.stream.category();
        if !waiting.by_category.contains_key(category) {
            waiting.by_category.insert(category.into(), VecDeque::new());
        }
        let Waiting { by_category, bytes } = &mut *waiting;
        let Some(alike) = by_category.get_mut(category) else {
            return;
        };
        let is_full = |alike: &VecDeque<_>, bytes: usize| {
            alike.len() >= keeper.max || bytes + size > WAITING_BYTES_MAX
        };
        while is_full(alike, *bytes)
            && let Some(oldest) = alike.pop_front()
        {
            *bytes -= self::size(&oldest);
        }
        if !is_full(alike, *bytes) {
            alike.push_back(rejected);
            *bytes += size;
        }
        drop(waiting);
        if was_empty {
            keeper.begun.notify_one();
        }
    }

    /// Writes the waiting rejections.
    ///
    /// # Errors
    /// When the store fails. The rejections are then lost.
    pub async fn flush(&self) -> store::Result<()> {
        self.0.write().await
    }

    /// The store for rejections.
    pub fn store(&self) -> &Arc<dyn RejectionStore> {
        &self.0.store
    }
}

impl Keeper {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self) -> store::Result<()> {
        let _in_order = self.writing.lock().await;
        let waiting = std::mem::take(&mut *self.lock());
        for rejected in waiting.by_category.into_values() {
            let rejected: Vec<Rejected> = rejected.into();
            self.store.keep(&rejected, self.max as u64).await?;
        }
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.begun.notify_one();
    }
}

async fn write_on(keeper: Weak<Keeper>, begun: Arc<Notify>) {
    loop {
        begun.notified().await;
        // The keeper is not held during the sleep, so that it can be dropped.
        tokio::time::sleep(PAUSE).await;
        let Some(keeper) = keeper.upgrade() else {
            return;
        };
        let written = keeper.write().await;
        let was_failing = keeper.is_failing.swap(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written
            && !was_failing
        {
            tracing::warn!(%error, "rejections were not stored; commands are not affected");
        }
    }
}

/// Size of a waiting rejection in bytes. It includes the details, which have a separate limit.
fn size(rejected: &Rejected) -> usize {
    let details = rejected.details.as_ref();
    command_size(rejected) + details.map_or(0, |details| details.len())
}

fn command_size(rejected: &Rejected) -> usize {
    let metadata = rejected.command.metadata.as_ref();
    rejected.command.body.len() + metadata.map_or(0, |bytes| bytes.len()) + rejected.message.len()
}
