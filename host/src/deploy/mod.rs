//! Modules and the plan: which component serves what, and since when.
//!
//! The plan is a number for the whole store, raised by each activation. Every
//! commit records the plan under which it was made, and the store refuses an
//! append whose part of the plan has changed.

mod error;
mod past;
mod plan;
mod projected;
mod read;
mod signing;
mod snapshots;
mod sources;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

pub use error::Error;
pub use past::Past;
pub use plan::{Candidate, Deployed, Plan};
pub use projected::{InlineProjection, Keeping, Projected, Turning};
pub use read::{Readable, Reading, Recorded, Unreadable};
pub use signing::Signing;
pub use sources::Sources;

use self::plan::Since;
use crate::commit::{self, Staged, Verdict};
use crate::fold::{Folder, Rules};
use crate::model::{Clock, Digest, Signature, Timestamp};
use crate::runtime::{Limits, Module, Runtime};
use crate::store::{
    Activation, Deployment, Item, ModuleStore, Outcome, PreflightSummary, ProjectionPlan,
    SIGNATURES_MAX, StoredModule,
};

/// How often an activation is checked anew because another host was first.
const ACTIVATIONS_MAX: u32 = 10;

/// Compiled modules that are kept though they are not active: a few MiB each.
const RECENT_MAX: usize = 8;

/// Uploads, activates, and knows what is active.
pub struct Registry {
    runtime: Runtime,
    signing: Signing,
    modules: Arc<dyn ModuleStore>,
    committer: commit::Handle,
    clock: Arc<dyn Clock>,
    folder: Arc<Folder>,
    plan: Arc<Current>,
    /// Held by an activation from its checks on, and shared by those whose work rests on
    /// what is active: no anchor is taken between the look at all anchors and the new plan.
    changing: tokio::sync::RwLock<()>,
    /// Held while the plan is read from the store.
    refreshing: tokio::sync::Mutex<()>,
    /// Modules that were compiled lately, the last one last: what is uploaded is activated
    /// soon, and what was active a moment ago may be so again.
    recent: Mutex<VecDeque<Arc<Module>>>,
}

/// A module that was uploaded.
#[derive(Debug, Clone)]
pub struct Uploaded {
    /// The module.
    pub module: Arc<Module>,
    /// False when the store had it already.
    pub is_new: bool,
}

/// What the history of the plan says of an activation, besides what became active.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// By whom.
    pub by: Option<String>,
    /// What the preflight before it said.
    pub preflight: Option<PreflightSummary>,
}

impl Entry {
    /// An activation without a preflight.
    pub fn by(by: Option<String>) -> Self {
        Self {
            by,
            preflight: None,
        }
    }
}

/// What would be active with a module in place of the one of its name.
#[derive(Debug)]
pub struct Prospect {
    /// The module.
    pub module: Arc<Module>,
    /// Categories that would be served otherwise.
    pub categories: Vec<String>,
    /// The plan that would come next.
    pub next: Arc<Plan>,
}

impl Registry {
    /// Reads the plan of a store and loads the modules that are active in it.
    ///
    /// # Errors
    /// When the store does not answer, or an active module can't be loaded any more.
    pub async fn open(
        (runtime, signing): (Runtime, Signing),
        modules: Arc<dyn ModuleStore>,
        committer: commit::Handle,
        clock: Arc<dyn Clock>,
        folder: Arc<Folder>,
    ) -> Result<Self, Error> {
        let registry = Self {
            runtime,
            signing,
            modules,
            committer,
            clock,
            folder,
            plan: Arc::default(),
            changing: tokio::sync::RwLock::default(),
            refreshing: tokio::sync::Mutex::default(),
            recent: Mutex::default(),
        };
        registry.refresh().await?;
        Ok(registry)
    }

    /// Reads what other hosts have activated since the plan that is known here.
    ///
    /// # Errors
    /// When the store does not answer, or an active module can't be loaded.
    pub async fn refresh(&self) -> Result<(), Error> {
        let _one_at_a_time = self.refreshing.lock().await;
        let known = self.plan();
        let history = self.modules.deployments().await?;
        let number = history.last().map_or(0, |last| last.plan);
        if number <= known.number {
            return Ok(());
        }
        let newest: BTreeMap<&str, Digest> = history
            .iter()
            .map(|deployment| (deployment.name.as_str(), deployment.digest))
            .collect();
        let mut active = BTreeMap::new();
        for (name, digest) in newest {
            active.insert(name.into(), self.module(digest).await?);
        }
        let nothing = ProjectionPlan::default();
        let projections = history.last().map_or(&nothing, |last| &last.projections);
        let inline = self.inline_modules(projections).await?;
        let projections = (projections, &inline);
        let plan = Plan::of(number, active, since(&history), projections, &known)?;
        self.plan.publish(plan);
        Ok(())
    }

    /// While this is held, this host activates nothing.
    pub async fn steady(&self) -> tokio::sync::RwLockReadGuard<'_, ()> {
        self.changing.read().await
    }

    /// What is active now.
    pub fn plan(&self) -> Arc<Plan> {
        self.plan.get()
    }

    /// Checks a component and keeps it in the store, with a signature if it comes with one.
    /// The same bytes are the same module.
    ///
    /// # Errors
    /// When the component is refused, or the store does not take it.
    pub async fn upload(
        &self,
        bytes: Vec<u8>,
        signature: Option<Signature>,
    ) -> Result<Uploaded, Error> {
        let digest = Digest::of(&bytes);
        let mut signatures = self.modules.signatures(digest).await?;
        let is_known = |new: &Signature| signatures.iter().any(|known| known.key == new.key);
        let is_one_more = signature.as_ref().is_some_and(|new| !is_known(new));
        let mut in_place_of = None;
        if is_one_more && signatures.len() >= SIGNATURES_MAX {
            let Some(other) = self.signing.others(&signatures).next() else {
                return Err(Error::TooManySignatures(digest));
            };
            // That of a key which is taken goes before one that says nothing here.
            self.signing.check(digest, &bytes, signature.as_slice())?;
            in_place_of = Some(other);
        }
        signatures.extend(signature);
        // Before anything of it is compiled.
        self.signing.check(digest, &bytes, &signatures)?;
        let (module, bytes) = self.compile(bytes).await?;
        let is_new = self.modules.put(digest, &bytes, self.clock.now()).await?;
        if let Some(other) = in_place_of {
            self.modules.unsign(digest, other).await?;
        }
        if let Some(signature) = signature {
            self.modules.sign(digest, signature).await?;
        }
        Ok(Uploaded { module, is_new })
    }

    /// What guests may use on this host.
    pub fn limits(&self) -> &Limits {
        self.runtime.limits()
    }

    /// Whose modules are taken.
    pub fn signing(&self) -> &Signing {
        &self.signing
    }

    /// The signatures of a module.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn signatures(&self, digest: Digest) -> Result<Vec<Signature>, Error> {
        Ok(self.modules.signatures(digest).await?)
    }

    /// Keys may have changed since it was uploaded, and other hosts have others.
    async fn check_signed(&self, digest: Digest, bytes: &[u8]) -> Result<(), Error> {
        if !self.signing.is_demanded() {
            return Ok(());
        }
        let signatures = self.modules.signatures(digest).await?;
        self.signing.check(digest, bytes, &signatures)
    }

    /// Makes a module the active one under its manifest's name: from a position on,
    /// everything of the categories that it decides or lifts is decided by it. Raises the
    /// plan, also when the module was active already.
    ///
    /// # Errors
    /// When the module is not in the store, contradicts another one, can't read an anchor or
    /// has no such projection, a build can't turn, the plan is not the one of the preflight, or
    /// the store does not answer.
    pub async fn activate(
        &self,
        digest: Digest,
        entry: Entry,
        keeping: &Keeping,
    ) -> Result<Deployment, Error> {
        // Compiled before others have to wait.
        let module = self.module(digest).await?;
        let _changing = self.changing.write().await;
        // It may have been pruned until here.
        let bytes = self.bytes(digest).await?;
        // A turn changes how what is active is folded, and nothing of the code.
        if keeping.turning.is_none() {
            self.check_signed(digest, &bytes).await?;
        }
        let mut tries = 0;
        loop {
            if let Some(looked_at) = entry.preflight.as_ref().map(|found| found.plan)
                && looked_at != self.plan().number
            {
                let now = self.plan().number;
                return Err(Error::LookedAt { looked_at, now });
            }
            let (activation, next) = self.prepare(&module, entry.clone(), keeping).await?;
            if let Some(deployment) = self.stage(activation, next).await? {
                return Ok(deployment);
            }
            // Another host was first: what was checked may not hold any more.
            tries += 1;
            if tries == ACTIVATIONS_MAX {
                return Err(Error::Raced);
            }
            self.refresh().await?;
        }
    }

    /// What would become of the store if a module were activated now. Nothing is.
    ///
    /// # Errors
    /// Why it can't be activated.
    pub async fn prospect(&self, digest: Digest, keeping: &Keeping) -> Result<Prospect, Error> {
        self.refresh().await?;
        let bytes = self.bytes(digest).await?;
        self.check_signed(digest, &bytes).await?;
        let module = self.module(digest).await?;
        let (activation, next) = self.prepare(&module, Entry::default(), keeping).await?;
        Ok(Prospect {
            module,
            categories: activation.categories,
            next: Arc::new(next),
        })
    }

    /// What activates a module, checked against what is active now.
    async fn prepare(
        &self,
        module: &Arc<Module>,
        entry: Entry,
        keeping: &Keeping,
    ) -> Result<(Activation, Plan), Error> {
        let plan = self.plan();
        let candidate = plan.with(module, keeping)?;
        let mut trusted = Vec::new();
        for category in &candidate.categories {
            if let Some(rules) = candidate.rules(category)? {
                trusted.extend(self.compare_snapshots(category, rules).await?);
            }
        }
        let mut categories = candidate.categories.clone();
        // Also without a change it is a new decider: its state is folded anew.
        let own = module.category().map(|own| own.as_str().to_owned());
        let is_turning = keeping.turning.is_some();
        categories.extend(own.filter(|own| !is_turning && !categories.contains(own)));
        let activation = Activation {
            name: module.manifest().name.as_str().to_owned(),
            digest: module.digest(),
            categories,
            trusted,
            projections: candidate.projections.clone(),
            turns: candidate.turns.clone(),
            plan: plan.number,
            at: self.clock.now(),
            by: entry.by,
            preflight: entry.preflight,
        };
        let mut inline = self.inline_modules(&activation.projections).await?;
        inline.insert(module.digest(), Arc::clone(module));
        let next = plan.next(candidate, &activation, &inline)?;
        Ok((activation, next))
    }

    /// Raises the plan in the store. None when it is another one by now.
    async fn stage(&self, activation: Activation, next: Plan) -> Result<Option<Deployment>, Error> {
        let (tell, told) = oneshot::channel();
        let current = Arc::clone(&self.plan);
        let done = Box::new(move |item: Item, verdict: Verdict| {
            // Published before any later item of the queue is answered, so that what is
            // refused for an old plan is decided under this one.
            if matches!(verdict, Verdict::Outcome(Outcome::Activated(number)) if number == next.number)
            {
                current.publish(next);
            }
            _ = tell.send((item, verdict));
        });
        self.committer.stage(Staged {
            item: Item::Activate(Box::new(activation)),
            run: None,
            done,
        });
        match told.await {
            Ok((Item::Activate(activation), Verdict::Outcome(Outcome::Activated(plan)))) => {
                Ok(Some(Deployment {
                    plan,
                    name: activation.name,
                    digest: activation.digest,
                    activated_at: activation.at,
                    activated_by: activation.by,
                    categories: activation.categories,
                    trusted: activation.trusted,
                    projections: activation.projections,
                    preflight: activation.preflight,
                }))
            }
            Ok((_, Verdict::Outcome(Outcome::PlanMoved))) => Ok(None),
            Ok((_, Verdict::Outcome(Outcome::NotSettled(reason)))) => {
                Err(Error::NotSettled(reason))
            }
            Ok((_, Verdict::Failed(error))) => Err(error.into()),
            _ => Err(Error::Stopped),
        }
    }

    /// The modules of inline projections.
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

    /// Told of each plan that becomes the current one.
    pub fn raised(&self) -> watch::Receiver<u64> {
        self.plan.raised.subscribe()
    }

    /// A module of the store, compiled.
    ///
    /// # Errors
    /// When it is not in the store, or can't be loaded any more.
    pub async fn module(&self, digest: Digest) -> Result<Arc<Module>, Error> {
        if let Some(module) = self.plan().module(digest) {
            return Ok(Arc::clone(module));
        }
        let bytes = self
            .modules
            .get(digest)
            .await?
            .ok_or(Error::NotFound(digest))?;
        if let Some(module) = self.recent(digest) {
            return Ok(module);
        }
        Ok(self.compile(bytes).await?.0)
    }

    /// The rules of a category with another decider in place of its own; none when the
    /// module is a decider of another category, or none.
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

    /// The bytes of a module.
    ///
    /// # Errors
    /// When it is not in the store.
    pub async fn bytes(&self, digest: Digest) -> Result<Vec<u8>, Error> {
        self.modules
            .get(digest)
            .await?
            .ok_or(Error::NotFound(digest))
    }

    /// Every module in the store, with its time of upload, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn modules(&self) -> Result<Vec<StoredModule>, Error> {
        Ok(self.modules.list().await?)
    }

    /// Removes modules that came as long ago as this, or longer, and that nothing needs; unless
    /// `for_real`, says which they are alone.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn prune(
        &self,
        older_than: Duration,
        for_real: bool,
    ) -> Result<Vec<StoredModule>, Error> {
        // One that is being activated is not taken from under it.
        let _changing = self.changing.write().await;
        let age = u64::try_from(older_than.as_micros()).unwrap_or(u64::MAX);
        let before = Timestamp(self.clock.now().0.saturating_sub(age));
        Ok(self.modules.prune(before, for_real).await?)
    }

    /// Every activation, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn history(&self) -> Result<Vec<Deployment>, Error> {
        Ok(self.modules.deployments().await?)
    }

    /// Compiling takes up to seconds, so it is done off the reactor's threads.
    async fn compile(&self, bytes: Vec<u8>) -> Result<(Arc<Module>, Vec<u8>), Error> {
        let runtime = self.runtime.clone();
        let compiling = tokio::task::spawn_blocking(move || {
            let module = runtime.load(&bytes)?;
            Ok::<_, Error>((module, bytes))
        });
        let (module, bytes) = compiling.await.map_err(|_| Error::Stopped)??;
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

/// The current plan.
#[derive(Debug, Default)]
struct Current {
    plan: RwLock<Arc<Plan>>,
    raised: watch::Sender<u64>,
}

impl Current {
    fn get(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a plan the current one, unless a later one is.
    fn publish(&self, plan: Plan) {
        let mut current = self.plan.write().unwrap_or_else(PoisonError::into_inner);
        if current.number < plan.number {
            let number = plan.number;
            *current = Arc::new(plan);
            drop(current);
            self.raised.send_replace(number);
        }
    }
}

/// By category: the plan that last changed it, and what it trusts since.
fn since(history: &[Deployment]) -> HashMap<String, Since> {
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
