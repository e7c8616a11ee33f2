use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Error;
use super::inline::Inline;
use super::page_cache::Pages;
use super::rules::{Guests, Rules};
use crate::deploy::{self, Registry};
use crate::fold::off_the_reactor;
use crate::meters::Meters;
use crate::model::{Clock, Digest, Throttle};
use crate::store::{Deployment, DocumentStore, EventReader, TypeStore};
use crate::supervise::Supervisor;

/// Options for running projections.
#[derive(Debug, Clone)]
pub struct Options {
    /// Length of the lease of a build. It is renewed after every third of that time.
    pub lease: Duration,
    /// Number of events in one read, at most 1,000.
    pub page_events: usize,
    /// Number of events after which documents are written while a build catches up.
    pub flush_events: usize,
    /// Number of changed documents after which they are written.
    pub flush_documents: usize,
    /// Time after which documents are written.
    pub flush_interval: Duration,
    /// Size of the documents that the owner of a build keeps in memory, in bytes.
    pub cache_bytes: usize,
    /// How often an event that can't be folded is tried before the policy applies.
    pub attempts: u32,
    /// Shortest and longest pause between attempts.
    pub retry: (Duration, Duration),
    /// Limit for the number of events that a build may park.
    pub parked_max: usize,
    /// Limit for the number of pages that are folded at the same time, of all projections together.
    pub folding_max: usize,
    /// Number of threads that fold the documents of one page while a build catches up.
    pub threads: usize,
    /// Time limit for one batch of appends in each inline projection.
    pub inline_time: Duration,
    /// Number of failed appends in a row after which an inline projection counts as failing.
    pub failing_after: u32,
    /// Interval of checks for changes made by other hosts.
    pub poll: Duration,
    /// Time limit for the comparison before a rebuild takes over.
    pub comparison_time: Duration,
    /// Size of the documents that a verification folds at the same time, in bytes.
    pub verify_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            lease: Duration::from_secs(15),
            page_events: 1_000,
            flush_events: 10_000,
            flush_documents: 4_000,
            flush_interval: Duration::from_millis(500),
            cache_bytes: 32 << 20,
            attempts: 5,
            retry: (Duration::from_millis(100), Duration::from_secs(30)),
            parked_max: 100_000,
            // On a larger machine, half of the cores are left to commands. There are at least two
            // permits, so that one slow guest does not block all others.
            folding_max: cores.div_ceil(2).max(2),
            threads: cores.min(4),
            inline_time: Duration::from_millis(50),
            failing_after: 5,
            poll: Duration::from_secs(1),
            comparison_time: Duration::from_secs(10),
            verify_bytes: 64 << 20,
        }
    }
}

/// The state that all tasks of a service share.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) reader: Arc<dyn EventReader>,
    pub(super) pages: Pages,
    pub(super) documents: Arc<dyn DocumentStore>,
    pub(super) types: Arc<dyn TypeStore>,
    pub(super) registry: Arc<Registry>,
    pub(super) guests: Arc<Guests>,
    pub(super) inline: Arc<Inline>,
    /// Limits how often parked or skipped events and failed builds are logged.
    pub(super) log_throttle: std::sync::Mutex<Throttle>,
    /// All activations, with the plan under which they were read. They are read a second time under
    /// the next plan.
    pub(super) history: Mutex<(u64, Arc<[Deployment]>)>,
    pub(super) clock: Arc<dyn Clock>,
    /// Where the spans of folds go.
    pub(super) meters: Arc<Meters>,
    /// Notified when the log may have grown.
    pub(super) grown: watch::Receiver<u64>,
    /// Notified when documents of this host's builds have been written.
    pub(super) progress: watch::Sender<u64>,
    /// Notified when a command was executed on this host, or a build has changed.
    pub(super) control: watch::Sender<u64>,
    /// Limits the number of pages that are folded at the same time.
    pub(super) folding: Semaphore,
    /// Limits how many readers of changes have a page of documents in memory.
    pub(super) changed_pages: Arc<Semaphore>,
    pub(super) ending: CancellationToken,
    pub(super) running: TaskTracker,
    pub(super) runtime: Handle,
    pub(super) supervisor: Supervisor,
}

impl Shared {
    /// Returns the rules of a projection as a module defines it, under the current plan.
    pub(super) async fn rules(&self, name: &str, module: Digest) -> Result<Rules, Error> {
        let module = self.registry.module(module).await?;
        let plan = self.registry.plan();
        let rules = Rules::new(name, &module, &plan, &self.guests);
        rules.ok_or_else(|| Error::Refused {
            projection: name.to_owned(),
            why: format!("{module:?} does not define it"),
        })
    }

    /// Whether to log why an event of a projection was parked or skipped, or why a build failed. If
    /// so, returns how many lines were suppressed before.
    pub(super) fn may_say(&self, name: &str, error: &str) -> Option<u64> {
        let mut throttle = self
            .log_throttle
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        throttle.pass(&format!("{name}: {error}"))
    }

    /// Returns all activations up to a plan.
    pub(super) async fn history(&self, plan: u64) -> Result<Arc<[Deployment]>, Error> {
        let mut known = self.history.lock().await;
        if known.0 != plan {
            *known = (plan, self.registry.history().await?.into());
        }
        Ok(Arc::clone(&known.1))
    }

    /// Learns the newest plan from the store, which may come from another host. If one of its
    /// modules can't be loaded, the known plan stays current.
    pub(super) async fn learn_plan(&self) -> Result<(), Error> {
        match self.registry.refresh().await {
            Err(deploy::Error::Store(error)) => Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "could not read the plan; the previous one is used");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Notifies all tasks that something about builds has changed.
    pub(super) fn notify(&self) {
        self.control.send_modify(|times| *times += 1);
    }

    /// Notifies readers that documents have been written.
    pub(super) fn progressed(&self) {
        self.progress.send_modify(|times| *times += 1);
    }
}

/// Runs a guest on a thread where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    off_the_reactor(run).await.map_err(|_| Error::Stopped)
}
