//! The host as a library: a store, the runtime and the engine put together.
//!
//! The server and the command line are thin over [`Host`].

mod builder;
mod deploy;
mod error;
mod projections;
mod provenance;
mod readiness;
mod reads;
mod subscriptions;
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
pub use deploy::{Demand, Deploy, DeployError, Prepared};
pub use error::{Error, StartError};
pub use readiness::{Check, Readiness, STORE_READER, STORE_WRITER};
pub use types::{EventType, Lifting, ReadAs, StoredForm};

use crate::commit;
use crate::deploy::{Plan, Registry, Release, Uploaded};
use crate::engine::{Append, AppendAll, Engine, Executed};
use crate::model::{Command, Context, Digest, Position, Signature, StreamId, Version};
use crate::projection::Service;
use crate::proof::Prover;
use crate::runtime::Module;
use crate::store::{
    self, Deployment, DocumentStore, EventReader, ModuleStore, SnapshotStore, Source, TypeStore,
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
/// host.activate(module.digest(), None).await?;
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

/// What belongs to one store: its log, its plan, its workers. Nothing of it is
/// shared with another store of the same process.
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
    types: Arc<dyn TypeStore>,
    committer: commit::Handle,
    /// Tells how the store was closed.
    closing: Mutex<Option<oneshot::Receiver<store::Result<()>>>>,
    supervisor: Supervisor,
}

impl Host {
    /// Begins to put a host together.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Executes a command on a stream. The answer comes after the commit; dropping
    /// the future does not take the command back.
    ///
    /// # Errors
    /// A rejection by the domain, a failed expected version, a fault of the guest and
    /// so on: see [`engine::Error`](crate::engine::Error). Nothing is stored then.
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

    /// Appends events to several streams as they are: all of it or nothing, each stream
    /// under its expected version; one without events is only checked. Answers for each
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

    /// Archives a stream: appends are refused, its events stay in the log. The position
    /// of the event in `$streams` that tells of it; none when it is archived already.
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

    /// Restores an archived stream. The position of the event in `$streams` that tells
    /// of it; none when it is not archived.
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

    /// Subscribes to the log or to a stream: what is there first, then what is committed,
    /// lifted under the plan that is current when it is told. A type of a filter stands
    /// for what [`read_log`](Self::read_log) takes it for.
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
    /// When the request makes no sense, the host has too many subscriptions, or the
    /// store fails.
    pub async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription, subscribe::Error> {
        self.tenant.hub.subscribe(subscribe).await
    }

    /// Calls a handler after each commit from now on, also those of other hosts: once at
    /// most, in order, one call after the other. It holds up no commit: when it lags so
    /// far behind that the host no longer keeps what comes next, it is told how much it
    /// missed. Events are lifted; a commit of which all are dropped is not told of.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn on_commit<H, F>(&self, handler: H) -> Result<OnCommit, subscribe::Error>
    where
        H: FnMut(Committed) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.on_commit_as(Form::Lifted, handler).await
    }

    /// The same, with the events lifted or as they are stored.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn on_commit_as<H, F>(
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

    /// A named subscription: its place is kept in the store, and every event is handled
    /// at least once. [`Named::run`] runs it.
    ///
    /// # Errors
    /// When the name is empty, too long or holds a control character.
    pub fn subscription(&self, name: &str) -> Result<Named, subscribe::Error> {
        self.tenant.hub.named(name)
    }

    /// Subscriptions on this host, of all kinds.
    pub fn subscriptions(&self) -> usize {
        self.tenant.hub.len()
    }

    /// Lets the events before a version leave a stream's reads and loading, while they stay
    /// in the log; version 0 undoes it. A snapshot that is taken now stands for them. The
    /// position of the event in `$streams` that tells of it; none when nothing had to be
    /// done.
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

    /// Checks a component and keeps it in the store.
    ///
    /// # Errors
    /// When the component is refused, with the reason, or the store fails.
    pub async fn upload(&self, component: Vec<u8>) -> Result<Uploaded, crate::deploy::Error> {
        self.tenant.registry.upload(component, None).await
    }

    /// The same, with a signature of its bytes, which is kept.
    ///
    /// # Errors
    /// As [`upload`](Self::upload), and when the signature does not fit.
    pub async fn upload_signed(
        &self,
        component: Vec<u8>,
        signature: Signature,
    ) -> Result<Uploaded, crate::deploy::Error> {
        let registry = &self.tenant.registry;
        registry.upload(component, Some(signature)).await
    }

    /// The signatures of a module, in the order of their keys.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn signatures(&self, digest: Digest) -> Result<Vec<Signature>, crate::deploy::Error> {
        self.tenant.registry.signatures(digest).await
    }

    /// Removes modules that came as long ago as this, or longer, of which no activation tells and no
    /// event; unless `for_real`, says which they are alone. Oldest first.
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

    /// What restores what was active before the module that is active under a name, and before
    /// all that was released together with it. None when nothing was.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn release_before(
        &self,
        name: &str,
    ) -> Result<Option<Release>, crate::deploy::Error> {
        self.tenant.registry.before(name).await
    }

    /// What is active now.
    pub fn plan(&self) -> Arc<Plan> {
        self.tenant.registry.plan()
    }

    /// Every activation, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn deployments(&self) -> Result<Vec<Deployment>, crate::deploy::Error> {
        self.tenant.registry.history().await
    }

    /// Every module: digest, bytes, time of upload, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn modules(&self) -> Result<Vec<store::StoredModule>, crate::deploy::Error> {
        self.tenant.registry.modules().await
    }

    /// A module of the store.
    ///
    /// # Errors
    /// When it is not in the store, or can't be loaded any more.
    pub async fn module(&self, digest: Digest) -> Result<Arc<Module>, crate::deploy::Error> {
        self.tenant.registry.module(digest).await
    }

    /// The bytes of a module.
    ///
    /// # Errors
    /// When it is not in the store.
    pub async fn module_bytes(&self, digest: Digest) -> Result<Vec<u8>, crate::deploy::Error> {
        self.tenant.registry.bytes(digest).await
    }

    /// Begins to export the log behind a position; 0 takes the whole log.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn export(&self, after: Position) -> store::Result<Export> {
        let source = Source {
            reader: Arc::clone(&self.tenant.reader),
            modules: Arc::clone(&self.tenant.modules),
            snapshots: Arc::clone(&self.tenant.snapshots),
            documents: Arc::clone(&self.tenant.documents),
        };
        Export::begin(source, after).await
    }

    /// Takes in an export; the store has to be empty, or to hold what an interrupted
    /// import of the same log left. `told` hears how it goes on. Commands
    /// and appends are refused as `overloaded` meanwhile; those of other hosts on the same
    /// store make it fail.
    ///
    /// # Errors
    /// When a line can't be taken in, or the store fails. What was taken in stays, and
    /// the same import goes on behind it.
    pub async fn import<S, E>(
        &self,
        lines: S,
        told: &mut (dyn FnMut(&Imported) + Send),
    ) -> Result<Imported, Failed>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: fmt::Display,
    {
        // Commands would be decided on half a log. Reads see what is there so far.
        let _held = self.tenant.engine.hold().await;
        // Components come before the activations that need them: nothing is pruned meanwhile.
        let _steady = self.tenant.registry.steady().await;
        let target = transfer::Target {
            reader: Arc::clone(&self.tenant.reader),
            modules: Arc::clone(&self.tenant.modules),
            snapshots: Arc::clone(&self.tenant.snapshots),
            documents: Arc::clone(&self.tenant.documents),
            committer: self.tenant.committer.clone(),
            signing: self.tenant.registry.signing().clone(),
        };
        let imported = transfer::import(&target, lines, told).await;
        if let Err(error) = self.tenant.registry.refresh().await {
            // It is read again when an append meets the new plan.
            tracing::warn!(%error, "the imported plan was not read");
        }
        imported
    }

    /// Commands and appends in flight.
    pub fn in_flight(&self) -> usize {
        self.tenant.engine.in_flight()
    }

    /// Transactions that this host has made to append, each with one flush.
    pub fn batches(&self) -> u64 {
        self.tenant
            .committer
            .gauge()
            .batches
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// What of this host runs by itself, and how it is.
    pub fn parts(&self) -> Vec<Part> {
        self.tenant.supervisor.parts()
    }

    /// The first part that failed without which the host can not work; none while all can.
    pub fn failed(&self) -> Option<Part> {
        self.tenant.supervisor.failed()
    }

    /// Waits until a part fails without which the host can not work: then it should be shut
    /// down, and the process end. Everything that was answered is durable.
    pub async fn until_failed(&self) -> Part {
        self.tenant.supervisor.until_failed().await
    }

    /// Makes a part panic, for tests; false when there is none of that name.
    #[doc(hidden)]
    pub fn trip(&self, part: &str) -> bool {
        self.tenant.supervisor.trip(part)
    }

    /// Looks whether the host can work, for so long at most.
    pub async fn readiness(&self, wait_max: Duration) -> Readiness {
        let writing = timeout(wait_max, self.tenant.committer.check());
        let reading = timeout(wait_max, self.tenant.reader.log_head());
        let (writing, reading) = tokio::join!(writing, reading);
        let reading = reading.map(|read| read.map(|_| ()));
        Readiness::of(&self.tenant.supervisor, (writing, reading), wait_max)
    }

    /// Ends all subscriptions, refuses what is new, waits until everything in flight has
    /// been answered, and closes the store. Other clones of this host answer `overloaded` from then on.
    ///
    /// # Errors
    /// When the store can't be closed; everything answered is durable all the same.
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

/// The committer panicked. What it was about to answer was not answered.
fn failed() -> store::Error {
    store::Error::Unavailable("the committer failed before the store was closed".to_owned())
}
