use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Error;
use super::inline::Inline;
use super::pages::Pages;
use super::rules::{Guests, Rules};
use crate::deploy::{self, Registry};
use crate::fold::off_the_reactor;
use crate::model::{Clock, Digest, Throttle};
use crate::store::{Deployment, DocumentStore, EventReader, TypeStore};
use crate::supervise::Supervisor;

/// How projections are kept going.
#[derive(Debug, Clone)]
pub struct Options {
    /// For how long a build is owned without a sign of life. It is renewed every third of
    /// that.
    pub lease: Duration,
    /// Events that are read at once, at most 1,000.
    pub page_events: usize,
    /// Events after which documents are written while a build catches up.
    pub flush_events: usize,
    /// Changed documents after which they are written.
    pub flush_documents: usize,
    /// Time after which they are written.
    pub flush_interval: Duration,
    /// Documents that the owner of a build keeps in memory, in bytes.
    pub cache_bytes: usize,
    /// How often an event that can't be folded is tried before the policy holds.
    pub attempts: u32,
    /// The bounds of the pause between attempts: at first, and at most.
    pub retry: (Duration, Duration),
    /// Events that a build may set aside to wait.
    pub parked_max: usize,
    /// Pages that are folded at once, of all projections together.
    pub folding_max: usize,
    /// Threads among which the documents of one page are shared out when a build is behind.
    pub threads: usize,
    /// Time that one batch of appends may take in each inline projection.
    pub inline_time: Duration,
    /// Failed appends in a row after which an inline projection counts as failing.
    pub failing_after: u32,
    /// How often is looked for what other hosts changed.
    pub poll: Duration,
    /// How long the comparison before a rebuild takes over may take.
    pub comparison_time: Duration,
    /// Documents that a verification folds at once, in bytes.
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
            // Half of a larger machine is left to commands; one guest that is slow holds up
            // no other.
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

/// What the tasks of a service share.
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) reader: Arc<dyn EventReader>,
    pub(super) pages: Pages,
    pub(super) documents: Arc<dyn DocumentStore>,
    pub(super) types: Arc<dyn TypeStore>,
    pub(super) registry: Arc<Registry>,
    pub(super) guests: Arc<Guests>,
    pub(super) inline: Arc<Inline>,
    /// What was logged lately of events that were set aside.
    pub(super) said: std::sync::Mutex<Throttle>,
    /// Every activation, as it was read under a plan; read again under the next one.
    pub(super) history: Mutex<(u64, Arc<[Deployment]>)>,
    pub(super) clock: Arc<dyn Clock>,
    /// Told when the log may have grown.
    pub(super) grown: watch::Receiver<u64>,
    /// Told when documents of this host's builds have been written.
    pub(super) progress: watch::Sender<u64>,
    /// Told when an operator ordered something here, or a build has changed.
    pub(super) control: watch::Sender<u64>,
    /// Pages that are folded.
    pub(super) folding: Semaphore,
    pub(super) ending: CancellationToken,
    pub(super) running: TaskTracker,
    pub(super) runtime: Handle,
    pub(super) supervisor: Supervisor,
}

impl Shared {
    /// A projection as a module folds it, under the current plan.
    pub(super) async fn rules(&self, name: &str, module: Digest) -> Result<Rules, Error> {
        let module = self.registry.module(module).await?;
        let plan = self.registry.plan();
        let rules = Rules::new(name, &module, &plan, &self.guests);
        rules.ok_or_else(|| Error::Refused {
            projection: name.to_owned(),
            why: format!("{module:?} does not define it"),
        })
    }

    /// Whether to log why an event of a projection was set aside: then how many lines were left
    /// out before.
    pub(super) fn may_say(&self, name: &str, error: &str) -> Option<u64> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.pass(&format!("{name}: {error}"))
    }

    /// Every activation up to a plan.
    pub(super) async fn history(&self, plan: u64) -> Result<Arc<[Deployment]>, Error> {
        let mut known = self.history.lock().await;
        if known.0 != plan {
            *known = (plan, self.registry.history().await?.into());
        }
        Ok(Arc::clone(&known.1))
    }

    /// The plan under which some events were committed is known here from now on. A module
    /// that can't be loaded leaves the plan that is known.
    pub(super) async fn learn_plan(&self) -> Result<(), Error> {
        match self.registry.refresh().await {
            Err(deploy::Error::Store(error)) => Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "the plan was not read; events are lifted by the old one");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Something about builds has changed: everyone looks again.
    pub(super) fn tell(&self) {
        self.control.send_modify(|times| *times += 1);
    }

    /// Documents have been written.
    pub(super) fn progressed(&self) {
        self.progress.send_modify(|times| *times += 1);
    }
}

/// Runs guests off the reactor.
pub(super) async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    off_the_reactor(run).await.map_err(|_| Error::Stopped)
}
