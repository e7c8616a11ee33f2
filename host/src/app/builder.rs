use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use super::{Host, StartError, Tenant};
use crate::access::{self, Audit, Tenants, Tokens};
use crate::deploy::{Registry, Signing};
use crate::engine::{Additions, Engine, Enrichers, Enrichment};
use crate::fold::Folder;
use crate::model::{Clock, PublicKey, SystemClock};
use crate::proof::Prover;
use crate::propose::Proposals;
use crate::runtime::Runtime;
use crate::store::{self, CheckedReader, EventReader, StoreUrl, StoredBytes};
use crate::subscribe::Hub;
use crate::{commit, engine, projection, runtime, subscribe};

/// Longest time of an option that is added to a point in time. A longer one is as good as none, and a
/// clock may not be able to add it.
const TIME_MAX: Duration = Duration::from_hours(24 * 365);

/// Builds a host. Every setting has a default.
#[derive(Default)]
pub struct Builder {
    url: Option<String>,
    store: Option<store::Store>,
    engine: engine::Options,
    commit: commit::Options,
    runtime: runtime::Options,
    subscriptions: subscribe::Options,
    projections: projection::Options,
    signing: Signing,
    clock: Option<Arc<dyn Clock>>,
    enrichers: Enrichers,
}

impl fmt::Debug for Builder {
    /// Shows no secret: the address of a store may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut builder = f.debug_struct("Builder");
        builder.field("engine", &self.engine);
        builder.field("runtime", &self.runtime);
        builder.finish_non_exhaustive()
    }
}

impl Builder {
    /// Sets the store: `sqlite:PATH` or `postgres://…` (created if missing), or `memory:`, a
    /// temporary SQLite file that is removed with the host. The default is `memory:`.
    #[must_use]
    pub fn store(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Uses a store that is already open. It takes precedence over a URL.
    #[must_use]
    pub fn opened_store(mut self, store: store::Store) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets how commands are executed. A deadline is at most a year.
    #[must_use]
    pub fn engine(mut self, options: engine::Options) -> Self {
        self.engine = engine::Options {
            deadline: options.deadline.min(TIME_MAX),
            ..options
        };
        self
    }

    /// Sets how batches are formed.
    #[must_use]
    pub fn commit(mut self, options: commit::Options) -> Self {
        self.commit = options;
        self
    }

    /// Sets the limits of subscriptions.
    #[must_use]
    pub fn subscriptions(mut self, options: subscribe::Options) -> Self {
        self.subscriptions = options;
        self
    }

    /// Sets how projections are run. The lease, the pauses and the time limits are at most a year.
    #[must_use]
    pub fn projections(mut self, mut options: projection::Options) -> Self {
        for time in [
            &mut options.lease,
            &mut options.retry.0,
            &mut options.retry.1,
            &mut options.inline_time,
            &mut options.comparison_time,
        ] {
            *time = TIME_MAX.min(*time);
        }
        self.projections = options;
        self
    }

    /// Sets the limits of what guests may use.
    #[must_use]
    pub fn limits(mut self, limits: runtime::Limits) -> Self {
        self.runtime.limits = limits;
        self
    }

    /// Sets where compiled components are cached. See
    /// [`runtime::Options::cache_dir`](crate::runtime::Options::cache_dir).
    #[must_use]
    pub fn cache_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.runtime.cache_dir = Some(dir.into());
        self
    }

    /// Compiles only functions that were not compiled before in this process, for components of one
    /// author: see [`runtime::Options::functions`](crate::runtime::Options::functions).
    #[must_use]
    pub fn functions(mut self, functions: runtime::Functions) -> Self {
        self.runtime.functions = Some(functions);
        self
    }

    /// Lets a program compile components, within limits of time and memory: see
    /// [`runtime::Options::compiler`](crate::runtime::Options::compiler).
    #[must_use]
    pub fn compiler(mut self, compiler: runtime::Compiler) -> Self {
        self.runtime.compiler = Some(compiler);
        self
    }

    /// Accepts only modules that one of these keys has signed, when they are uploaded, checked by a
    /// preflight, activated or imported. Modules that are active already stay active. Without keys,
    /// all modules are accepted.
    #[must_use]
    pub fn keys(mut self, keys: Vec<PublicKey>) -> Self {
        self.signing = Signing::by(keys);
        self
    }

    /// As [`keys`](Self::keys), with keys that can be replaced while the host runs.
    ///
    /// ```
    /// use quipu::deploy::Signing;
    /// use quipu::model::PublicKey;
    ///
    /// # fn example(old: PublicKey, new: PublicKey) {
    /// let signing = Signing::by(vec![old]);
    /// let builder = quipu::Host::builder().signing(signing.clone());
    /// // Later, also after the host was built:
    /// signing.replace(&[new]);
    /// # }
    /// ```
    #[must_use]
    pub fn signing(mut self, signing: Signing) -> Self {
        self.signing = signing;
        self
    }

    /// Sets the clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Adds members of the metadata and the principal to each command, raw append, archiving and
    /// truncating before it is checked. Values from the caller are never replaced. The limits of
    /// metadata apply to all of it together. A repeated request is recognised by its type and body,
    /// so different additions do not make it another request.
    ///
    /// May be called several times. Enrichers are called in order, and each sees the additions of
    /// those before it. They run on the caller's task, once per request, and should not wait for
    /// anything.
    ///
    /// ```
    /// use quipu::engine::Additions;
    ///
    /// let builder = quipu::Host::builder().enrich(|_| Additions {
    ///     metadata: vec![("region".to_owned(), "eu-1".to_owned())],
    ///     principal: Some("batch".into()),
    /// });
    /// ```
    #[must_use]
    pub fn enrich(
        mut self,
        enricher: impl Fn(&Enrichment<'_>) -> Additions + Send + Sync + 'static,
    ) -> Self {
        self.enrichers.add(enricher);
        self
    }

    /// Opens the store and starts the host. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the store can't be opened, or a module that is active in it can't be
    /// loaded.
    pub async fn build(self) -> Result<Host, StartError> {
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let store = match self.store {
            Some(store) => store,
            None => {
                let url: StoreUrl = self.url.as_deref().unwrap_or("memory:").parse()?;
                store::open(&url).await?
            }
        };
        let supervisor = store.supervisor;
        let reader: Arc<dyn EventReader> = match self.engine.check_reads {
            true => Arc::new(CheckedReader::new(
                Arc::clone(&store.reader),
                Arc::clone(&store.digests),
            )),
            false => Arc::clone(&store.reader),
        };
        // After the store, so that a start that fails leaves no cache folder.
        let runtime = Runtime::new(self.runtime)?;
        let inline = Arc::new(projection::Inline::new(self.projections.clone()));
        let folded = Arc::clone(&inline);
        let current: commit::Inline = Arc::new(move || folded.current());
        let (committer, closing) = commit::start(store.writer, self.commit, current, &supervisor)?;
        let modules = store.modules;
        let folder = |reader: &Arc<dyn EventReader>| {
            let (reader, snapshots) = (Arc::clone(reader), Arc::clone(&store.snapshots));
            Arc::new(Folder::new(reader, snapshots, self.engine.load_page))
        };
        // A verification names what was changed, so its reads are not checked.
        let unchecked = folder(&store.reader);
        let folder = match self.engine.check_reads {
            true => folder(&reader),
            false => Arc::clone(&unchecked),
        };
        let registry = Registry::open(
            (runtime, self.signing),
            Arc::clone(&modules),
            committer.clone(),
            Arc::clone(&clock),
            (Arc::clone(&folder), Arc::clone(&store.types)),
        )
        .await?;
        let registry = Arc::new(registry);
        let (followed, raised) = (Arc::downgrade(&registry), store.wakes.plan);
        let begin = move || follow(Weak::clone(&followed), raised.clone());
        tokio::spawn(supervisor.restarting("follower of the plan", begin));
        let engine = Engine::start(
            self.engine,
            Arc::clone(&folder),
            committer.clone(),
            Arc::clone(&registry),
            Arc::clone(&clock),
            (store.secret, Arc::clone(&store.rejections)),
            (self.enrichers, &supervisor),
        )?;
        let grown = store.wakes.log.clone();
        let hub = Hub::new(
            Arc::clone(&reader),
            store.checkpoints,
            store.wakes.log,
            self.subscriptions,
            &registry,
            &supervisor,
        );
        let projections = projection::Service::start(
            self.projections,
            (
                Arc::clone(&reader),
                Arc::clone(&store.documents),
                Arc::clone(&store.types),
            ),
            grown,
            &registry,
            &inline,
            (Arc::clone(&clock), Arc::clone(committer.meters())),
            &supervisor,
        );
        let digests = store.digests;
        let prover = Prover::new(
            Arc::clone(&registry),
            unchecked,
            Arc::clone(&store.types),
            store.rejections,
            StoredBytes {
                reader: store.reader,
                digests: Arc::clone(&digests),
                modules: Arc::clone(&modules),
                snapshots: Arc::clone(&store.snapshots),
                audit: Arc::clone(&store.audit),
                acknowledgements: store.acknowledgements,
            },
            Arc::clone(&clock),
        );
        let audit = Audit::new(store.audit, Arc::clone(&clock));
        audit.settle_left().await;
        let tenant = Tenant {
            engine,
            hub,
            projections,
            prover,
            registry,
            reader,
            modules,
            snapshots: store.snapshots,
            documents: store.documents,
            digests,
            types: store.types,
            committer,
            closing: Mutex::new(Some(closing)),
            supervisor,
            tokens: Tokens::new(store.tokens, Arc::clone(&clock)),
            audit,
            tenants: Tenants::new(store.tenants, Arc::clone(&clock)),
            proposals: Proposals::new(store.proposals, clock),
            jobs: store.jobs,
        };
        let tenant = Arc::new(tenant);
        let settled = Arc::downgrade(&tenant);
        let begin = move || settle_abandoned(Weak::clone(&settled));
        tokio::spawn(tenant.supervisor.restarting("recorder of the audit", begin));
        Ok(Host { tenant })
    }
}

/// Records what hosts that have gone left in the audit, for as long as the host exists.
async fn settle_abandoned(tenant: Weak<Tenant>) {
    loop {
        tokio::time::sleep(access::CHECK_PAUSE).await;
        let Some(tenant) = tenant.upgrade() else {
            return;
        };
        tenant.audit.settle_abandoned().await;
    }
}

/// Follows plans that other hosts raise, for as long as the host exists.
async fn follow(registry: Weak<Registry>, mut raised: watch::Receiver<u64>) {
    while raised.changed().await.is_ok() {
        let Some(registry) = registry.upgrade() else {
            return;
        };
        registry.refresh_or_warn().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn every_time_can_be_added_to_now() {
        let longest = Duration::MAX;
        let engine = engine::Options {
            deadline: longest,
            ..engine::Options::default()
        };
        let projections = projection::Options {
            lease: longest,
            retry: (longest, longest),
            inline_time: longest,
            comparison_time: longest,
            ..projection::Options::default()
        };
        let builder = Builder::default().engine(engine).projections(projections);
        let projection::Options {
            lease,
            retry,
            inline_time,
            comparison_time,
            ..
        } = builder.projections;
        let now = Instant::now();
        for time in [
            builder.engine.deadline,
            lease,
            retry.0,
            retry.1,
            inline_time,
            comparison_time,
        ] {
            assert!(now.checked_add(time).is_some(), "{time:?}");
        }
        let usual = engine::Options::default();
        let builder = Builder::default().engine(usual.clone());
        assert_eq!(builder.engine.deadline, usual.deadline);
    }
}
