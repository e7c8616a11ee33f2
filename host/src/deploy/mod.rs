//! Manages modules and the plan: which components are active, and since when.
//!
//! The plan is a number for the whole store. Each activation raises it. Every commit records the
//! current plan, and the store rejects an append if the plan of its category has changed since.

mod changes;
mod command_schemas;
mod error;
mod lifting;
mod plan;
mod plan_history;
mod projected;
mod release;
mod release_changes;
mod schema_changes;
mod signing;
mod snapshots;
mod sources;
mod ways;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use changes::{Affected, Change, REJECTIONS, changes, rejections};
pub use command_schemas::{CommandSchema, CommandSchemas};
pub use error::Error;
pub use lifting::{Readable, Reading, Recorded, Unreadable};
pub use plan::{Candidate, Deployed, Plan};
pub use plan_history::Past;
pub use projected::{InlineProjection, LifecycleChange, Projected, ProjectionChanges};
pub use release::{Entry, Prospect, Release};
pub use release_changes::ReleaseChange;
pub use signing::Signing;
pub use sources::Sources;
pub use ways::{ChangedForm, moved};

use self::plan::Since;
use crate::commit;
use crate::fold::{Folder, Rules};
use crate::model::{Clock, Digest, PublicKey, Signature, Timestamp};
use crate::runtime::{Limits, Module, Runtime};
use crate::store::{
    self, Deployment, ModuleStore, ProjectionPlan, SIGNATURES_MAX, StoredModule, TypeStore,
};
use crate::supervise::joined;

/// Highest number of compiled modules that are cached although they are not active. Each takes a
/// few MiB.
const RECENT_MAX: usize = 8;
/// Number of plans before the current one that are cached, because readers compare the plans under
/// which they read.
const PLANS_MAX: usize = 16;
/// For this time nobody tries to load a plan again that could not be loaded.
const NOT_LOADED_PAUSE: Duration = Duration::from_millis(250);

/// Uploads and activates modules, and knows the active ones.
pub struct Registry {
    runtime: Runtime,
    signing: Signing,
    modules: Arc<dyn ModuleStore>,
    committer: commit::Handle,
    clock: Arc<dyn Clock>,
    folder: Arc<Folder>,
    types: Arc<dyn TypeStore>,
    plan: Arc<Current>,
    /// Write-locked during an activation, from its checks on. Read-locked by operations that depend
    /// on the active modules, so that no anchor is taken between the check of all anchors and the
    /// new plan.
    changing: tokio::sync::RwLock<()>,
    /// Locked while the plan is read from the store.
    refreshing: tokio::sync::Mutex<Option<NotLoaded>>,
    /// Modules that were compiled recently, the latest one last. An uploaded module is usually
    /// activated soon, and a replaced one may be activated a second time.
    recent: Mutex<VecDeque<Arc<Module>>>,
}

/// A plan that this host could not load.
struct NotLoaded {
    number: u64,
    at: Instant,
    why: String,
}

/// A module that was uploaded.
#[derive(Debug, Clone)]
pub struct Uploaded {
    /// The module.
    pub module: Arc<Module>,
    /// False if the module was already in the store.
    pub is_new: bool,
}

/// A component that was checked and is not stored yet.
#[derive(Debug)]
pub struct Examined {
    /// The module that it would be.
    pub module: Arc<Module>,
    bytes: Vec<u8>,
    signature: Option<Signature>,
    /// The key whose signature the new one replaces.
    in_place_of: Option<PublicKey>,
}

impl Registry {
    /// Reads the plan of a store and loads its active modules.
    ///
    /// # Errors
    /// When the store does not answer, or an active module can no longer be loaded.
    pub async fn open(
        (runtime, signing): (Runtime, Signing),
        modules: Arc<dyn ModuleStore>,
        committer: commit::Handle,
        clock: Arc<dyn Clock>,
        (folder, types): (Arc<Folder>, Arc<dyn TypeStore>),
    ) -> Result<Self, Error> {
        let registry = Self {
            runtime,
            signing,
            modules,
            committer,
            clock,
            folder,
            types,
            plan: Arc::default(),
            changing: tokio::sync::RwLock::default(),
            refreshing: tokio::sync::Mutex::default(),
            recent: Mutex::default(),
        };
        registry.refresh().await?;
        Ok(registry)
    }

    /// Reads the plan if other hosts have activated something.
    ///
    /// # Errors
    /// When the store does not answer, an active module can't be loaded, or the store has lost the
    /// plan of this host, as a server can when it fails over.
    pub async fn refresh(&self) -> Result<(), Error> {
        // One at a time. What can't be loaded is not compiled by each of those who wait.
        let mut failed = self.refreshing.lock().await;
        let known = self.plan();
        let history = self.modules.deployments().await?;
        let number = history.last().map_or(0, |last| last.plan);
        if number == known.number {
            return Ok(());
        }
        if number < known.number {
            let why = format!(
                "the store has plan {number}, and this host has plan {}, which was lost; restart \
                 this host",
                known.number
            );
            return Err(Error::NotLoaded(why));
        }
        if let Some(failed) = &*failed
            && failed.number == number
            && failed.at.elapsed() < NOT_LOADED_PAUSE
        {
            return Err(Error::NotLoaded(failed.why.clone()));
        }
        let composed = self.composed(&history, number, &known).await;
        *failed = match &composed {
            Ok(_) | Err(Error::Store(_)) => None,
            Err(error) => Some(NotLoaded {
                number,
                at: Instant::now(),
                why: error.to_string(),
            }),
        };
        self.plan.publish(composed?);
        Ok(())
    }

    /// Reads the plan like [`refresh`](Self::refresh), but only logs an error. For callers that can
    /// continue with the old plan, because the store rejects it.
    pub async fn refresh_or_warn(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "the plan could not be read; the store rejects the old one");
        }
    }

    /// Prevents activations by this host until the result is dropped.
    pub async fn steady(&self) -> tokio::sync::RwLockReadGuard<'_, ()> {
        self.changing.read().await
    }

    /// Returns the current plan.
    pub fn plan(&self) -> Arc<Plan> {
        self.plan.get()
    }

    /// Checks a component and its signature if there is one. Stores nothing.
    ///
    /// # Errors
    /// When the component is rejected, or the store does not answer.
    pub async fn examine(
        &self,
        bytes: Vec<u8>,
        signature: Option<Signature>,
    ) -> Result<Examined, Error> {
        let digest = Digest::of(&bytes);
        let mut signatures = self.modules.signatures(digest).await?;
        let is_known = |new: &Signature| signatures.iter().any(|known| known.key == new.key);
        let is_one_more = signature.as_ref().is_some_and(|new| !is_known(new));
        let mut in_place_of = None;
        if is_one_more && signatures.len() >= SIGNATURES_MAX {
            let Some(other) = self.signing.other(&signatures) else {
                return Err(Error::TooManySignatures(digest));
            };
            // A signature by an accepted key replaces one by a key that is not accepted here.
            self.signing.check(digest, &bytes, signature.as_slice())?;
            in_place_of = Some(other);
        }
        signatures.extend(signature);
        // Before any of it is compiled.
        self.signing.check(digest, &bytes, &signatures)?;
        let (module, bytes) = self.compile(bytes).await?;
        Ok(Examined {
            module,
            bytes,
            signature,
            in_place_of,
        })
    }

    /// Stores a component that was checked, with its signature if there is one. The same bytes are
    /// the same module.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn store(&self, examined: Examined) -> Result<Uploaded, Error> {
        let Examined {
            module,
            bytes,
            signature,
            in_place_of,
        } = examined;
        let digest = module.digest();
        let is_new = self.modules.put(digest, &bytes, self.clock.now()).await?;
        if let Some(other) = in_place_of {
            self.modules.unsign(digest, other).await?;
        }
        if let Some(signature) = signature {
            self.modules.sign(digest, signature).await?;
        }
        Ok(Uploaded { module, is_new })
    }

    /// Limits of guests on this host.
    pub fn limits(&self) -> &Limits {
        self.runtime.limits()
    }

    /// Keys whose modules are accepted.
    pub fn signing(&self) -> &Signing {
        &self.signing
    }

    /// Returns the signatures of a module.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn signatures(&self, digest: Digest) -> Result<Vec<Signature>, Error> {
        Ok(self.modules.signatures(digest).await?)
    }

    /// Checks the signatures of a stored module. The keys may have changed since it was uploaded,
    /// and other hosts may have other keys.
    async fn check_signed(&self, digest: Digest, bytes: &[u8]) -> Result<(), Error> {
        if !self.signing.is_demanded() {
            return Ok(());
        }
        let signatures = self.modules.signatures(digest).await?;
        self.signing.check(digest, bytes, &signatures)
    }

    /// Returns the modules of inline projections.
    async fn inline_modules(
        &self,
        projections: &ProjectionPlan,
    ) -> Result<HashMap<Digest, Arc<Module>>, Error> {
        let mut modules = HashMap::new();
        for inline in projections.inline.values() {
            modules.insert(inline.module, self.module(inline.module).await?);
        }
        Ok(modules)
    }

    /// Notifies of each plan that becomes the current one.
    pub fn raised(&self) -> watch::Receiver<u64> {
        self.plan.raised.subscribe()
    }

    /// Returns a module of the store, compiled.
    ///
    /// # Errors
    /// When it is not in the store, or can no longer be loaded.
    pub async fn module(&self, digest: Digest) -> Result<Arc<Module>, Error> {
        if let Some(module) = self.plan().module(digest) {
            return Ok(Arc::clone(module));
        }
        let bytes = self.bytes(digest).await?;
        if let Some(module) = self.recent(digest) {
            return Ok(module);
        }
        Ok(self.compile(bytes).await?.0)
    }

    /// Returns the rules of a category with a different decider. `None` when the module is not a
    /// decider of the category.
    ///
    /// # Errors
    /// When it is not in the store.
    pub async fn rules_with(&self, digest: Digest, category: &str) -> Result<Option<Rules>, Error> {
        let module = self.module(digest).await?;
        let decides = module
            .category()
            .is_some_and(|own| own.as_str() == category);
        Ok(decides.then(|| self.plan().rules_with(&module)))
    }

    /// Returns the bytes of a module.
    ///
    /// # Errors
    /// When it is not in the store, or its bytes were changed there.
    pub async fn bytes(&self, digest: Digest) -> Result<Vec<u8>, Error> {
        let bytes = self.modules.get(digest).await?;
        let bytes = bytes.ok_or(Error::NotFound(digest))?;
        match Digest::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => Err(Error::Store(store::Error::Damaged(format!(
                "module {digest}: its stored bytes have digest {found}: they were changed; \
                 restore them from a backup"
            )))),
        }
    }

    /// Returns the store of the modules.
    pub fn module_store(&self) -> &Arc<dyn ModuleStore> {
        &self.modules
    }

    /// Returns every module in the store with its time of upload, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn modules(&self) -> Result<Vec<StoredModule>, Error> {
        Ok(self.modules.list().await?)
    }

    /// Removes modules that were uploaded at least this long ago and that nothing needs. Unless
    /// `for_real`, only returns them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn prune(
        &self,
        older_than: Duration,
        for_real: bool,
    ) -> Result<Vec<StoredModule>, Error> {
        // So that a module which is being activated is not removed.
        let _changing = self.changing.write().await;
        let age = u64::try_from(older_than.as_micros()).unwrap_or(u64::MAX);
        let before = Timestamp(self.clock.now().0.saturating_sub(age));
        Ok(self.modules.prune(before, for_real).await?)
    }

    /// Returns every activation, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn history(&self) -> Result<Vec<Deployment>, Error> {
        Ok(self.modules.deployments().await?)
    }

    /// Compiles a component on a blocking thread, because compiling may take seconds.
    async fn compile(&self, bytes: Vec<u8>) -> Result<(Arc<Module>, Vec<u8>), Error> {
        let runtime = self.runtime.clone();
        let compiling = tokio::task::spawn_blocking(move || {
            let module = runtime.load(&bytes)?;
            Ok::<_, Error>((module, bytes))
        });
        let (module, bytes) = joined(compiling.await).ok_or(Error::Stopped)??;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|known| known.digest() != module.digest());
        if recent.len() >= RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(Arc::clone(&module));
        Ok((module, bytes))
    }

    fn recent(&self, digest: Digest) -> Option<Arc<Module>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = recent.iter();
        known.find(|known| known.digest() == digest).map(Arc::clone)
    }
}

/// The current plan and the last ones before it.
#[derive(Debug, Default)]
struct Current {
    plan: RwLock<Arc<Plan>>,
    before: Mutex<VecDeque<Arc<Plan>>>,
    raised: watch::Sender<u64>,
}

impl Current {
    fn get(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns a plan that was the current one a short time ago.
    fn recent(&self, number: u64) -> Option<Arc<Plan>> {
        let current = self.get();
        if current.number == number {
            return Some(current);
        }
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let mut plans = before.iter();
        plans.find(|plan| plan.number == number).map(Arc::clone)
    }

    fn keep(&self, plan: Arc<Plan>) {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        if before.len() >= PLANS_MAX {
            before.pop_front();
        }
        before.push_back(plan);
    }

    /// Makes a plan the current one, unless a later one already is.
    fn publish(&self, plan: Plan) {
        let mut current = self.plan.write().unwrap_or_else(PoisonError::into_inner);
        if current.number < plan.number {
            let number = plan.number;
            let before = std::mem::replace(&mut *current, Arc::new(plan));
            drop(current);
            self.keep(before);
            self.raised.send_replace(number);
        }
    }
}

/// Returns, by category, the plan that last changed it and the folds trusted since.
fn since<'a>(history: impl Iterator<Item = &'a Deployment>) -> HashMap<String, Since> {
    let mut since = HashMap::new();
    for deployment in history {
        for category in &deployment.categories {
            let changed = Since {
                plan: deployment.plan,
                trusted: deployment.trusted.clone(),
            };
            since.insert(category.clone(), changed);
        }
    }
    since
}
