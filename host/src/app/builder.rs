use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::{Error, Host, Tenant};
use crate::deploy::Registry;
use crate::engine::Engine;
use crate::model::{Clock, SystemClock};
use crate::runtime::Runtime;
use crate::store::{self, StoreUrl};
use crate::{commit, engine, runtime};

/// Puts a host together. Every setting has a default.
#[derive(Default)]
pub struct Builder {
    url: Option<String>,
    store: Option<store::Store>,
    engine: engine::Options,
    commit: commit::Options,
    runtime: runtime::Options,
    clock: Option<Arc<dyn Clock>>,
}

impl Builder {
    /// Where the events are: `sqlite:PATH` (made if missing) or `memory:`, which is
    /// the default and lost with the process.
    #[must_use]
    pub fn store(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// A store that has been opened already; goes before a URL.
    #[must_use]
    pub fn opened_store(mut self, store: store::Store) -> Self {
        self.store = Some(store);
        self
    }

    /// How commands are executed.
    #[must_use]
    pub fn engine(mut self, options: engine::Options) -> Self {
        self.engine = options;
        self
    }

    /// How batches are formed.
    #[must_use]
    pub fn commit(mut self, options: commit::Options) -> Self {
        self.commit = options;
        self
    }

    /// What guests may use.
    #[must_use]
    pub fn limits(mut self, limits: runtime::Limits) -> Self {
        self.runtime.limits = limits;
        self
    }

    /// Where compiled components are kept. See
    /// [`runtime::Options::cache_dir`](crate::runtime::Options::cache_dir).
    #[must_use]
    pub fn cache_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.runtime.cache_dir = Some(dir.into());
        self
    }

    /// Where the time comes from.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Opens the store and starts the host. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the store can't be opened, or a module that is active in it can't be
    /// loaded.
    pub async fn build(self) -> Result<Host, Error> {
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let store = match self.store {
            Some(store) => store,
            None => {
                let url: StoreUrl = self.url.as_deref().unwrap_or("memory:").parse()?;
                store::open(&url).await?
            }
        };
        // Behind the store, so that a start that fails leaves no cache folder.
        let runtime = Runtime::new(self.runtime)?;
        let (committer, closing) = commit::start(store.writer, self.commit)?;
        let modules = store.modules;
        let registry =
            Registry::open(runtime, modules, committer.clone(), Arc::clone(&clock)).await?;
        let registry = Arc::new(registry);
        let engine = Engine::start(
            self.engine,
            Arc::clone(&store.reader),
            committer.clone(),
            Arc::clone(&registry),
            clock,
            store.secret,
        )?;
        let tenant = Tenant {
            engine,
            registry,
            reader: store.reader,
            committer,
            closing: Mutex::new(Some(closing)),
        };
        Ok(Host {
            tenant: Arc::new(tenant),
        })
    }
}
