//! The host as a library: a store, the runtime and the engine put together.
//!
//! The server and the command line are thin over [`Host`].

mod builder;
mod deploy;
mod error;
mod figures;
mod jobs;
mod pages;
mod projections;
mod proposals;
mod provenance;
mod readiness;
mod reads;
mod subscriptions;
mod trace;
mod types;
mod verify;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

pub use builder::Builder;
pub use deploy::{Demand, Deploy, DeployError, Prepared, Upload};
pub use error::{Error, StartError};
pub use figures::{Figures, SubscriptionLag};
pub use pages::{ReadLog, ReadStream};
pub use proposals::ApproveError;
pub use readiness::{Check, Readiness, STORE_READER, STORE_WRITER};
pub use trace::{
    FoundAs, TRACE_MAX, TRACE_SEARCH_MAX, Trace, TraceCut, TraceRequest, Traced, Tracing,
};
pub use types::{EventType, Lifting, ReadAs, StoredForm};

use crate::access::{Audit, Tenants, Tokens};
use crate::commit;
use crate::deploy::{Examined, Plan, Registry, Release, Uploaded};
use crate::engine::{Append, AppendAll, Engine, Executed};
use crate::meters::Meters;
use crate::model::{Command, Context, Digest, Position, Signature, StreamId, Version};
use crate::projection::Service;
use crate::proof::Prover;
use crate::propose::Proposals;
use crate::runtime::Module;
use crate::store::{
    self, Deployment, DigestStore, DocumentStore, EventReader, JobStore, ModuleStore,
    SnapshotStore, Source, TypeStore,
};
use crate::subscribe::{self, Committed, Hub, Named, OnCommit, Subscribe, Subscription};
use crate::supervise::{Part, Supervisor};
use crate::transfer::{self, Export, Failed, Imported};
use crate::upcast::Form;

/// A host on one store. Cheap to clone; all clones are the same host.
///
/// ```no_run
/// # async fn example() -> anyhow::Result<()> {
/// use quipu::model::Command;
///
/// let host = quipu::Host::builder().store("sqlite:bank.db").build().await?;
/// let module = host.upload(std::fs::read("account.wasm")?).await?.module;
/// host.deploy(quipu::Deploy::new(module.digest())).await?;
///
/// let account = "account-1".parse()?;
/// let open = Command::new("open", r#"{"owner":"ann"}"#)?.with_id("open-1")?;
/// let executed = host.execute(&account, open).await?;
/// assert_eq!(executed.version.0, 1);
/// host.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Host {
    tenant: Arc<Tenant>,
}

/// Everything that belongs to one store: its log, its plan, its workers. It is not shared with
/// another store of the same process.
struct Tenant {
    engine: Engine,
    registry: Arc<Registry>,
    reader: Arc<dyn EventReader>,
    hub: Hub,
    projections: Service,
    prover: Prover,
    modules: Arc<dyn ModuleStore>,
    snapshots: Arc<dyn SnapshotStore>,
    documents: Arc<dyn DocumentStore>,
    digests: Arc<dyn DigestStore>,
    types: Arc<dyn TypeStore>,
    committer: commit::Handle,
    /// Reports how the store was closed.
    closing: Mutex<Option<oneshot::Receiver<store::Result<()>>>>,
    supervisor: Supervisor,
    tokens: Tokens,
    audit: Audit,
    tenants: Tenants,
    proposals: Proposals,
    jobs: Arc<dyn JobStore>,
}

impl Host {
    /// Starts to build a host.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Executes a command on a stream. The answer comes after the commit. Dropping the future does
    /// not undo the command.
    ///
    /// # Errors
    /// A rejection by the domain, a failed expected version, a fault of the guest and so on: see
    /// [`engine::Error`](crate::engine::Error). Nothing is stored in these cases.
    pub async fn execute(
        &self,
        stream: &StreamId,
        command: Command,
    ) -> Result<Executed, crate::engine::Error> {
        self.tenant.engine.execute(stream, command).await
    }

    /// Appends events as they are, without a decider.
    ///
    /// # Errors
    /// As [`execute`](Self::execute), and `category-owned` when a decider serves the
    /// category.
    pub async fn append(
        &self,
        stream: &StreamId,
        append: Append,
    ) -> Result<Executed, crate::engine::Error> {
        self.tenant.engine.append(stream, append).await
    }

    /// Appends events to several streams as they are, all or nothing, each stream under its
    /// expected version. A stream without events is only checked. Returns one result for each
    /// stream, in order.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn append_all(
        &self,
        append: AppendAll,
    ) -> Result<Vec<Executed>, crate::engine::Error> {
        self.tenant.engine.append_all(append).await
    }

    /// Returns the highest number of events in one append.
    pub fn events_per_append_max(&self) -> usize {
        self.tenant.engine.events_max()
    }

    /// Archives a stream: appends are refused, and its events stay in the log. Returns the position
    /// of the event in `$streams` that records it; none when the stream is archived already.
    ///
    /// # Errors
    /// When there is no such stream, or the store fails.
    pub async fn archive(
        &self,
        stream: &StreamId,
        context: Context,
    ) -> Result<Option<Position>, crate::engine::Error> {
        self.tenant.engine.archive(stream, true, context).await
    }

    /// Restores an archived stream. Returns the position of the event in `$streams` that records
    /// it; none when the stream is not archived.
    ///
    /// # Errors
    /// As [`archive`](Self::archive).
    pub async fn restore(
        &self,
        stream: &StreamId,
        context: Context,
    ) -> Result<Option<Position>, crate::engine::Error> {
        self.tenant.engine.archive(stream, false, context).await
    }

    /// Subscribes to the log or to a stream: first to stored events, then to events as they are
    /// committed. Events are lifted under the plan that is current when they are sent. A type of a
    /// filter means the same as in [`read_log`](Self::read_log).
    ///
    /// ```no_run
    /// # async fn example(host: quipu::Host) -> anyhow::Result<()> {
    /// use futures::StreamExt;
    /// use quipu::model::Position;
    /// use quipu::store::Filter;
    /// use quipu::subscribe::{Message, Subscribe};
    ///
    /// let subscribe = Subscribe::log(Position(0), Filter::default());
    /// let mut subscription = host.subscribe(subscribe).await?;
    /// while let Some(message) = subscription.next().await.transpose()? {
    ///     if let Message::Event(event) = message {
    ///         println!("{} {}", event.position, event.name);
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the request is invalid, the host has too many subscriptions, or the store fails.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, subscribe::Error> {
        self.tenant.hub.subscribe(subscribe).await
    }

    /// Calls a handler after each commit from now on, also after commits of other hosts: at most
    /// once, in order, one call at a time. The handler never delays a commit. When its lag is so
    /// large that the host no longer keeps the next commit, it is notified how much it missed.
    /// Events are lifted, or as they are stored. The handler is not called for a commit whose
    /// events are all dropped.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn on_commit<H, F>(
        &self,
        form: Form,
        handler: H,
    ) -> Result<OnCommit, subscribe::Error>
    where
        H: FnMut(Committed) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.tenant.hub.on_commit(form, handler).await
    }

    /// Returns a named subscription: its checkpoint is kept in the store, and every event is
    /// handled at least once. [`Named::run`] runs it.
    ///
    /// # Errors
    /// When the name is empty, too long or contains a control character.
    pub fn subscription(&self, name: &str) -> Result<Named, subscribe::Error> {
        self.tenant.hub.named(name)
    }

    /// Returns the number of subscriptions on this host, of all kinds.
    pub fn subscriptions(&self) -> usize {
        self.tenant.hub.len()
    }

    /// Truncates a stream: hides the events before a version from stream reads and replay, while
    /// they stay in the log. Version 0 undoes it. A snapshot that is taken now replaces the hidden
    /// events. Returns the position of the event in `$streams` that records it; none when nothing
    /// changed.
    ///
    /// # Errors
    /// When there is no such stream or decider, the stream has no such version, or no
    /// snapshot can be taken.
    pub async fn truncate(
        &self,
        stream: &StreamId,
        before: Version,
        context: Context,
    ) -> Result<Option<Position>, crate::engine::Error> {
        self.tenant.engine.truncate(stream, before, context).await
    }

    /// Checks a component and stores it, with its signature if it has one.
    ///
    /// # Errors
    /// When the component is refused, with the reason, the signature does not fit, or the store
    /// fails.
    pub async fn upload(
        &self,
        upload: impl Into<Upload>,
    ) -> Result<Uploaded, crate::deploy::Error> {
        let examined = self.examine(upload).await?;
        self.store_module(examined).await
    }

    /// Checks a component as [`upload`](Self::upload) does, and stores nothing. For callers that
    /// decide on the module whether it is stored.
    ///
    /// # Errors
    /// When the component is refused, with the reason, the signature does not fit, or the store
    /// does not answer.
    pub async fn examine(
        &self,
        upload: impl Into<Upload>,
    ) -> Result<Examined, crate::deploy::Error> {
        let Upload {
            component,
            signature,
        } = upload.into();
        self.tenant.registry.examine(component, signature).await
    }

    /// Stores a component that was examined.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn store_module(&self, examined: Examined) -> Result<Uploaded, crate::deploy::Error> {
        self.tenant.registry.store(examined).await
    }

    /// Returns the signatures of a module, in the order of their keys.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn signatures(&self, digest: Digest) -> Result<Vec<Signature>, crate::deploy::Error> {
        self.tenant.registry.signatures(digest).await
    }

    /// Removes modules that were uploaded at least this long ago and that no activation and no
    /// event names. Unless `for_real`, only lists them. Oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn prune(
        &self,
        older_than: Duration,
        for_real: bool,
    ) -> Result<Vec<store::StoredModule>, crate::deploy::Error> {
        self.tenant.registry.prune(older_than, for_real).await
    }

    /// Returns the release that restores the modules that were active before the module that is
    /// active under a name, and before those that were released together with it. None when there
    /// were none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn release_before(
        &self,
        name: &str,
    ) -> Result<Option<Release>, crate::deploy::Error> {
        self.tenant.registry.before(name).await
    }

    /// Returns the active plan.
    pub fn plan(&self) -> Arc<Plan> {
        self.tenant.registry.plan()
    }

    /// Returns every activation, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn deployments(&self) -> Result<Vec<Deployment>, crate::deploy::Error> {
        self.tenant.registry.history().await
    }

    /// Returns every module, oldest first: digest, size in bytes, time of upload.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn modules(&self) -> Result<Vec<store::StoredModule>, crate::deploy::Error> {
        self.tenant.registry.modules().await
    }

    /// Returns a module of the store.
    ///
    /// # Errors
    /// When it is not in the store, or can't be loaded any more.
    pub async fn module(&self, digest: Digest) -> Result<Arc<Module>, crate::deploy::Error> {
        self.tenant.registry.module(digest).await
    }

    /// Returns the bytes of a module.
    ///
    /// # Errors
    /// When it is not in the store.
    pub async fn module_bytes(&self, digest: Digest) -> Result<Vec<u8>, crate::deploy::Error> {
        self.tenant.registry.bytes(digest).await
    }

    /// Starts an export of the log after a position; 0 exports the whole log.
    ///
    /// # Errors
    /// When the position does not exist, or the store fails.
    pub async fn export(&self, after: Position) -> Result<Export, transfer::Error> {
        let source = Source {
            reader: Arc::clone(&self.tenant.reader),
            modules: Arc::clone(&self.tenant.modules),
            snapshots: Arc::clone(&self.tenant.snapshots),
            documents: Arc::clone(&self.tenant.documents),
            digests: Arc::clone(&self.tenant.digests),
        };
        Export::begin(source, after).await
    }

    /// Imports an export. The store must be empty, or hold what an interrupted import of the same
    /// log left. `report` receives the progress. Commands and appends are refused as `overloaded`
    /// during the import. Other hosts of the same store can't write until it ends, or until this
    /// process or its connection ends.
    ///
    /// # Errors
    /// When other hosts are connected to the store, a line can't be imported, or the store fails.
    /// Imported lines stay, and the same import continues after them.
    pub async fn import<S, E>(
        &self,
        lines: S,
        report: &mut (dyn FnMut(&Imported) + Send),
    ) -> Result<Imported, Failed>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: fmt::Display,
    {
        // Commands would be decided on an incomplete log. Reads see the events that are imported so
        // far.
        let _held = self.tenant.engine.hold().await;
        // Components come before the activations that need them, so nothing is pruned during the
        // import.
        let _steady = self.tenant.registry.steady().await;
        let target = transfer::Target {
            reader: Arc::clone(&self.tenant.reader),
            modules: Arc::clone(&self.tenant.modules),
            snapshots: Arc::clone(&self.tenant.snapshots),
            documents: Arc::clone(&self.tenant.documents),
            committer: self.tenant.committer.clone(),
            signing: self.tenant.registry.signing().clone(),
        };
        let imported = transfer::import(&target, lines, report).await;
        if let Err(error) = self.tenant.registry.refresh().await {
            // The plan is also reloaded when an append meets the new plan.
            tracing::warn!(%error, "the imported plan was not read");
        }
        imported
    }

    /// Returns the measurements of this host since it was started.
    pub fn meters(&self) -> &Meters {
        self.tenant.committer.meters()
    }

    /// Returns the number of aggregates in memory, and the guest memory of their instances in bytes.
    pub fn warm(&self) -> (usize, usize) {
        self.tenant.engine.warm()
    }

    /// Returns the number of commands and appends in flight.
    pub fn in_flight(&self) -> usize {
        self.tenant.engine.in_flight()
    }

    /// Returns the number of transactions in which this host appended, each with one flush.
    pub fn batches(&self) -> u64 {
        self.tenant
            .committer
            .gauge()
            .batches
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Returns the number of commands and appends that wait for their commit.
    pub fn waiting_for_commit(&self) -> u64 {
        self.tenant.committer.gauge().waiting()
    }

    /// Returns whether the host was asked to shut down.
    pub fn is_shut_down(&self) -> bool {
        let closing = self.tenant.closing.try_lock();
        closing.map_or(true, |closing| closing.is_none())
    }

    /// Returns the tokens of callers.
    pub fn tokens(&self) -> &Tokens {
        &self.tenant.tokens
    }

    /// Returns the audit: who did what to the store.
    pub fn audit(&self) -> &Audit {
        &self.tenant.audit
    }

    /// Returns the list of tenants. Each of them has a store and a host of its own.
    pub fn tenants(&self) -> &Tenants {
        &self.tenant.tenants
    }

    /// Returns the background parts of this host and their state.
    pub fn parts(&self) -> Vec<Part> {
        self.tenant.supervisor.parts()
    }

    /// Returns what supervises the parts of this host. A program adds its own parts, which are then
    /// listed and restarted as those of the host.
    pub fn supervisor(&self) -> &Supervisor {
        &self.tenant.supervisor
    }

    /// Returns the first failed part without which the host cannot work; none while all of them
    /// work.
    pub fn failed(&self) -> Option<Part> {
        self.tenant.supervisor.failed()
    }

    /// Waits until a part fails without which the host cannot work. Then shut down the host and end
    /// the process. Everything that was answered is durable.
    pub async fn until_failed(&self) -> Part {
        self.tenant.supervisor.until_failed().await
    }

    /// Makes a part panic, for tests; false when there is no part of that name.
    #[doc(hidden)]
    pub fn trip(&self, part: &str) -> bool {
        self.tenant.supervisor.trip(part)
    }

    /// Checks whether the host can work, for at most this long.
    pub async fn readiness(&self, wait_max: Duration) -> Readiness {
        let writing = timeout(wait_max, self.tenant.committer.check());
        let reading = timeout(wait_max, self.tenant.reader.log_head());
        let (writing, reading) = tokio::join!(writing, reading);
        let reading = reading.map(|read| read.map(|_| ()));
        Readiness::of(&self.tenant.supervisor, (writing, reading), wait_max)
    }

    /// Ends all subscriptions, refuses new requests, waits until everything in flight has been
    /// answered, and closes the store. Other clones of this host answer `overloaded` from then on.
    ///
    /// # Errors
    /// When the store can't be closed; everything answered is still durable.
    pub async fn shutdown(self) -> store::Result<()> {
        self.tenant.hub.close().await;
        self.tenant.projections.close().await;
        self.tenant.engine.drain().await;
        self.keep_rejections().await;
        let closing = self.tenant.closing.lock().await.take();
        self.tenant.committer.close();
        match closing {
            Some(closing) => closing.await.unwrap_or_else(|_| Err(failed())),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut host = f.debug_struct("Host");
        host.field("plan", &self.plan().number);
        host.field("in_flight", &self.in_flight());
        host.finish_non_exhaustive()
    }
}

/// The committer panicked. Requests that it was about to answer got no answer.
fn failed() -> store::Error {
    store::Error::Unavailable("the committer failed before the store was closed".to_owned())
}
