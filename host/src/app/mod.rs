//! The host as a library: a store, the runtime and the engine put together.
//!
//! The server and the command line are thin over [`Host`].

mod builder;
mod error;

use std::sync::Arc;

use tokio::sync::{Mutex, oneshot};

pub use builder::Builder;
pub use error::Error;

use crate::commit;
use crate::deploy::{Plan, Registry, Uploaded};
use crate::engine::{Append, Engine, Executed, StateView};
use crate::model::{Command, Digest, Invalid, Position, RecordedEvent, StreamId, Version};
use crate::runtime::Module;
use crate::store::{self, Deployment, Direction, EventReader, Filter, LogPage, StreamPage};

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
    committer: commit::Handle,
    /// Tells how the store was closed.
    closing: Mutex<Option<oneshot::Receiver<store::Result<()>>>>,
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

    /// Up to `limit` events of a stream; the page says where to go on.
    ///
    /// # Errors
    /// When there is no such stream, when a bound is 0, or when the store fails.
    pub async fn read_stream(
        &self,
        stream: &StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Result<StreamPage, crate::engine::Error> {
        if from.0 == 0 || limit == 0 {
            return Err(Invalid("versions and limits begin at 1".to_owned()).into());
        }
        let page = self
            .tenant
            .reader
            .read_stream(stream, from, direction, limit)
            .await?;
        page.ok_or_else(|| crate::engine::Error::StreamNotFound(stream.clone()))
    }

    /// Up to `limit` events of the log that pass the filter; the page says where to go on.
    ///
    /// # Errors
    /// When the limit is 0, the filter names nothing, or the store fails.
    pub async fn read_log(
        &self,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &Filter,
    ) -> Result<LogPage, crate::engine::Error> {
        filter.check()?;
        if limit == 0 {
            return Err(Invalid("limits begin at 1".to_owned()).into());
        }
        Ok(self
            .tenant
            .reader
            .read_log(after, direction, limit, filter)
            .await?)
    }

    /// The event at a position; none when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn event(
        &self,
        position: Position,
    ) -> Result<Option<RecordedEvent>, crate::engine::Error> {
        let Some(before) = position.0.checked_sub(1) else {
            return Ok(None);
        };
        let page = self
            .tenant
            .reader
            .read_log(Position(before), Direction::Forward, 1, &Filter::default())
            .await?;
        Ok(page
            .events
            .into_iter()
            .next()
            .filter(|event| event.position == position))
    }

    /// Position of the last event; 0 for an empty log.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn log_head(&self) -> Result<Position, crate::engine::Error> {
        Ok(self.tenant.reader.log_head().await?)
    }

    /// The committed state of a stream, as its decider renders it.
    ///
    /// # Errors
    /// When there is no such stream, no decider for it, or nothing to be shown.
    pub async fn state(&self, stream: &StreamId) -> Result<StateView, crate::engine::Error> {
        self.tenant.engine.state(stream).await
    }

    /// Checks a component and keeps it in the store.
    ///
    /// # Errors
    /// When the component is refused, with the reason, or the store fails.
    pub async fn upload(&self, component: Vec<u8>) -> Result<Uploaded, crate::deploy::Error> {
        self.tenant.registry.upload(component).await
    }

    /// Makes a module the active one under its manifest's name.
    ///
    /// # Errors
    /// When the module is not in the store, or the store fails.
    pub async fn activate(
        &self,
        digest: Digest,
        by: Option<String>,
    ) -> Result<Deployment, crate::deploy::Error> {
        self.tenant.registry.activate(digest, by).await
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

    /// Refuses what is new, waits until everything in flight has been answered, and
    /// closes the store. Other clones of this host answer `overloaded` from then on.
    ///
    /// # Errors
    /// When the store can't be closed; everything answered is durable all the same.
    pub async fn shutdown(self) -> store::Result<()> {
        self.tenant.engine.drain().await;
        let closing = self.tenant.closing.lock().await.take();
        self.tenant.committer.close();
        match closing {
            Some(closing) => closing.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }
}
