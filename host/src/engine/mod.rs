//! Executes commands, from a request to a durable answer.
//!
//! A worker owns the warm state of its streams and decides. The committer makes the decision
//! durable, and only then is the caller answered. State that is ahead of the log exists only in a
//! worker. It is dropped when the commit that it depends on fails.

mod admission;
mod append;
mod archive;
mod brakes;
mod command;
mod enrich;
mod error;
mod evict;
mod executor;
mod load;
mod pool;
mod preview;
mod raw;
mod recent_ids;
mod rejections;
mod replicas;
mod request;
mod resume;
mod retry;
mod slot;
mod snapshot_policy;
mod snapshots;
mod state;
mod stream_data;
mod trials;
mod truncate;
mod validation;
mod worker;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};

pub use append::{Append, AppendAll, STREAMS_MAX, StreamAppend};
pub use enrich::{Additions, Enrichers, Enrichment};
pub use error::Error;
pub use preview::Preview;
pub use rejections::Rejections;
pub use request::Executed;
pub use snapshots::{Policies, Policy};
pub use state::{At, Checked, StateView};
pub use validation::{SchemaMismatches, Validation};

use self::admission::{Admission, Admitted};
use self::resume::Resumes;
use self::snapshots::Snapshotter;
use self::trials::Trials;
use self::worker::{Inbox, Message, Worker};
use crate::commit;
use crate::deploy::Registry;
use crate::fold::Folder;
use crate::model::{AppendLimits, Clock, CommandId, Invalid, StreamId, check_metadata};
use crate::store::{EventReader, RejectionStore};
use crate::supervise::{Seat, Supervisor};

/// Options for the execution of commands.
#[derive(Debug, Clone)]
pub struct Options {
    /// Number of threads that decide.
    pub workers: usize,
    /// Highest number of commands in flight on this host. Further ones are rejected as
    /// `overloaded`.
    pub in_flight_max: usize,
    /// How long a further command would wait, judged by how many are in flight and how many are
    /// answered per second. Above that it is rejected as `overloaded`. Counts from 256 commands
    /// in flight.
    pub wait_max: Duration,
    /// How long a command is re-decided after conflicts.
    pub deadline: Duration,
    /// Highest number of warm aggregates of one worker.
    pub warm_aggregates_max: usize,
    /// Guest memory that one worker may use for warm aggregates, in bytes.
    pub warm_bytes_max: usize,
    /// Events read at once when a stream is loaded.
    pub load_page: usize,
    /// Longest stream that accepts commands, in events since its newest snapshot; by category.
    pub stream_events_max: HashMap<String, u64>,
    /// Whether commands are validated by the schemas that their decider declares; by category.
    pub validate: HashMap<String, Validation>,
    /// When snapshots are taken.
    pub snapshots: Policies,
    /// Whether to decide everything a second time in an instance that shares nothing with the
    /// first, and to reject differences as a fault. Doubles the work of the guests.
    pub check_purity: bool,
    /// Whether to compare stored events with the digests of their commits whenever they are read:
    /// for a command, a projection, a subscription or a caller. An event that was changed is then an
    /// error that names its stream and version. A read takes two to three times as long.
    pub check_reads: bool,
    /// Number of last rejections stored per category; 0 stores none.
    pub rejections_max: usize,
    /// Limits of one command and of the events that result from it.
    pub limits: AppendLimits,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            workers: cores.min(8),
            in_flight_max: 16_384,
            wait_max: Duration::from_millis(250),
            deadline: Duration::from_secs(5),
            warm_aggregates_max: 20_000,
            warm_bytes_max: 512 << 20,
            load_page: 200,
            stream_events_max: HashMap::new(),
            validate: HashMap::new(),
            snapshots: Policies::default(),
            check_purity: false,
            check_reads: false,
            rejections_max: 10_000,
            limits: AppendLimits::default(),
        }
    }
}

/// Data shared by all workers.
struct Shared {
    options: Options,
    reader: Arc<dyn EventReader>,
    committer: commit::Handle,
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    runtime: tokio::runtime::Handle,
    folder: Arc<Folder>,
    snapshotter: Snapshotter,
    rejections: Rejections,
    /// Supervises reads for the workers.
    loading: Seat,
}

/// A command or an append in flight, held by all who work on it.
type Permit = Arc<Admitted>;

/// Executes commands. There is one engine per store. Cheap to share.
pub struct Engine {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    hasher: RandomState,
    admission: Admission,
    trials: Trials,
    /// States on which appended events are folded.
    resumes: Mutex<Resumes>,
    secret: [u8; 32],
    enrichers: Enrichers,
}

impl Engine {
    /// Starts the workers. They end when the engine is dropped.
    ///
    /// Must be called within a tokio runtime, which loads the streams.
    ///
    /// # Errors
    /// When the operating system can't create a thread.
    pub fn start(
        options: Options,
        folder: Arc<Folder>,
        committer: commit::Handle,
        registry: Arc<Registry>,
        clock: Arc<dyn Clock>,
        (secret, rejections): ([u8; 32], Arc<dyn RejectionStore>),
        (enrichers, supervisor): (Enrichers, &Supervisor),
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        let admission = Admission::new(options.in_flight_max, options.wait_max);
        let snapshotter = Snapshotter::start(
            (&runtime, supervisor),
            Arc::clone(&folder),
            Arc::clone(&registry),
            Arc::clone(&clock),
        );
        let rejections =
            Rejections::start((&runtime, supervisor), rejections, options.rejections_max);
        let shared = Arc::new(Shared {
            options,
            reader: Arc::clone(folder.reader()),
            committer,
            registry,
            clock,
            runtime,
            folder,
            snapshotter,
            rejections,
            loading: supervisor.seat("loading of streams".to_owned()),
        });
        let workers = (0..shared.options.workers.max(1))
            .map(|number| Worker::start(number, &shared, supervisor))
            .collect::<std::io::Result<Vec<Worker>>>()?;
        let inboxes: Vec<Inbox> = workers.iter().map(Worker::inbox).collect();
        let raised = shared.registry.raised();
        validation::prepare(&shared);
        let validating = Arc::downgrade(&shared);
        let begin =
            move || notify_of_plans(raised.clone(), inboxes.clone(), Weak::clone(&validating));
        let notifier = supervisor.restarting("notifier of workers", begin);
        shared.runtime.spawn(notifier);
        let trials = Trials::new(shared.options.workers.max(1));
        Ok(Self {
            shared,
            workers,
            trials,
            resumes: Mutex::default(),
            hasher: RandomState::new(),
            admission,
            secret,
            enrichers,
        })
    }

    /// Returns the last rejections.
    pub fn rejections(&self) -> &Rejections {
        &self.shared.rejections
    }

    /// Takes a permit for a command or an append in flight. It is returned when the staged items
    /// have been answered, even if the caller has gone.
    fn permit(&self) -> Result<Permit, Error> {
        self.admission.admit().map(Arc::new)
    }

    /// Returns the number of commands in flight.
    pub fn in_flight(&self) -> usize {
        self.admission.in_flight()
    }

    /// Returns the number of aggregates in memory, and the guest memory of their instances.
    pub fn warm(&self) -> (usize, usize) {
        let warm = self.workers.iter().map(Worker::warm);
        warm.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }

    /// Waits until everything in flight has been answered, and rejects new requests as `overloaded`
    /// until the result is dropped.
    ///
    /// # Errors
    /// When the host is shutting down.
    pub async fn hold(&self) -> Result<OwnedSemaphorePermit, Error> {
        self.admission.hold().await.map_err(|_| Error::Stopped)
    }

    /// Rejects new commands and waits until those in flight have been answered.
    pub async fn drain(&self) {
        self.admission.close().await;
    }

    fn worker(&self, stream: &StreamId) -> &Worker {
        let hash = self.hasher.hash_one(stream.as_str());
        &self.workers[(hash % self.workers.len() as u64) as usize]
    }

    /// Computes the seed of a decision: BLAKE3, keyed with the store's secret, of the stream and
    /// the command's id.
    fn seed(&self, stream: &StreamId, id: &CommandId) -> [u64; 4] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(stream.as_str().as_bytes());
        hasher.update(&[0]);
        hasher.update(id.as_str().as_bytes());
        let hash = hasher.finalize();
        let mut seed = [0; 4];
        for (word, bytes) in seed.iter_mut().zip(hash.as_bytes().as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        seed
    }
}

/// Checks whether a caller may use the stream and the metadata.
fn check(stream: &StreamId, metadata: Option<&[u8]>) -> Result<(), Invalid> {
    if stream.is_reserved() {
        return Err(Invalid(format!(
            "stream {stream}: streams in $ belong to the host"
        )));
    }
    metadata.map_or(Ok(()), check_metadata)
}

/// Notifies the workers of each plan that becomes the current one.
async fn notify_of_plans(
    mut raised: watch::Receiver<u64>,
    inboxes: Vec<Inbox>,
    shared: Weak<Shared>,
) {
    while raised.changed().await.is_ok() {
        if let Some(shared) = shared.upgrade() {
            validation::prepare(&shared);
        }
        for inbox in &inboxes {
            inbox.send(Message::PlanRaised);
        }
    }
}
