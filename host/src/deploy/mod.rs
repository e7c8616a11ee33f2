//! Modules and the plan: which component serves what, and since when.
//!
//! The plan is a number for the whole store, raised by each activation. Every
//! commit records the plan under which it was made, and the store refuses an
//! append whose part of the plan has changed.

mod error;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::oneshot;

pub use error::Error;

use crate::commit::{self, Staged, Verdict};
use crate::model::{Clock, Digest};
use crate::runtime::{Module, Runtime};
use crate::store::{Activation, Deployment, Item, ModuleStore, Outcome, StoredModule};

/// A module that serves a category.
#[derive(Debug)]
pub struct Deployed {
    /// The module.
    pub module: Arc<Module>,
    /// The plan by which it became active.
    pub plan: u64,
}

/// What is active, and since when.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The plan's number; 0 before the first activation.
    pub number: u64,
    /// Deciders by category.
    deciders: HashMap<Box<str>, Arc<Deployed>>,
    /// Active modules by name.
    active: HashMap<Box<str>, Arc<Module>>,
}

impl Plan {
    /// The decider of a category.
    pub fn decider(&self, category: &str) -> Option<&Arc<Deployed>> {
        self.deciders.get(category)
    }

    /// The digest that is active under a name.
    pub fn active(&self, name: &str) -> Option<Digest> {
        self.active.get(name).map(|module| module.digest())
    }

    /// Whether a module is active.
    pub fn serves(&self, digest: Digest) -> bool {
        self.module(digest).is_some()
    }

    /// The active module with this digest.
    fn module(&self, digest: Digest) -> Option<&Arc<Module>> {
        self.active
            .values()
            .find(|active| active.digest() == digest)
    }

    /// The plan after an activation.
    fn with(&self, number: u64, module: &Arc<Module>) -> Self {
        let name: Box<str> = module.manifest().name.as_str().into();
        let mut next = Self {
            number,
            deciders: self.deciders.clone(),
            active: self.active.clone(),
        };
        if module.has_decider() {
            let deployed = Deployed {
                module: Arc::clone(module),
                plan: number,
            };
            next.deciders.insert(name.clone(), Arc::new(deployed));
        }
        next.active.insert(name, Arc::clone(module));
        next
    }
}

/// Uploads, activates, and knows what is active.
pub struct Registry {
    runtime: Runtime,
    modules: Arc<dyn ModuleStore>,
    committer: commit::Handle,
    clock: Arc<dyn Clock>,
    plan: Arc<RwLock<Arc<Plan>>>,
    /// Held while the plan is read from the store.
    refreshing: tokio::sync::Mutex<()>,
}

/// A module that was uploaded.
#[derive(Debug, Clone)]
pub struct Uploaded {
    /// The module.
    pub module: Arc<Module>,
    /// False when the store had it already.
    pub is_new: bool,
}

impl Registry {
    /// Reads the plan of a store and loads the modules that are active in it.
    ///
    /// # Errors
    /// When the store does not answer, or an active module can't be loaded any more.
    pub async fn open(
        runtime: Runtime,
        modules: Arc<dyn ModuleStore>,
        committer: commit::Handle,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let registry = Self {
            runtime,
            modules,
            committer,
            clock,
            plan: Arc::default(),
            refreshing: tokio::sync::Mutex::default(),
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
        let mut newest: HashMap<String, Deployment> = HashMap::new();
        let mut number = known.number;
        for deployment in self.modules.deployments().await? {
            if deployment.plan > known.number {
                number = deployment.plan;
                newest.insert(deployment.name.clone(), deployment);
            }
        }
        if newest.is_empty() {
            return Ok(());
        }
        let mut plan = (*known).clone();
        for deployment in newest.into_values() {
            let module = self.module(deployment.digest).await?;
            plan = plan.with(deployment.plan, &module);
        }
        plan.number = number;
        let mut current = self.plan.write().unwrap_or_else(PoisonError::into_inner);
        // An activation by this host may have been published meanwhile.
        if current.number < number {
            *current = Arc::new(plan);
        }
        Ok(())
    }

    /// What is active now.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks a component and keeps it in the store. The same bytes are the same module.
    ///
    /// # Errors
    /// When the component is refused, or the store does not take it.
    pub async fn upload(&self, bytes: Vec<u8>) -> Result<Uploaded, Error> {
        let (module, bytes) = self.compile(bytes).await?;
        let is_new = self
            .modules
            .put(module.digest(), &bytes, self.clock.now())
            .await?;
        Ok(Uploaded { module, is_new })
    }

    /// Makes a module the active one under its manifest's name: from a position on,
    /// everything of its category is decided by it. Raises the plan, also when the
    /// module was active already.
    ///
    /// # Errors
    /// When the module is not in the store, or the store does not answer.
    pub async fn activate(&self, digest: Digest, by: Option<String>) -> Result<Deployment, Error> {
        let module = self.module(digest).await?;
        let activation = Activation {
            name: module.manifest().name.as_str().to_owned(),
            digest,
            category: module
                .category()
                .map(|category| category.as_str().to_owned()),
            at: self.clock.now(),
            by,
        };
        let (tell, told) = oneshot::channel();
        let current = Arc::clone(&self.plan);
        let done = Box::new(move |item: Item, verdict: Verdict| {
            // Published before any later item of the queue is answered, so that what
            // is refused for an old plan is decided under this one. What other hosts
            // have activated before it is read below.
            if let Verdict::Outcome(Outcome::Activated(number)) = verdict {
                let mut plan = current.write().unwrap_or_else(PoisonError::into_inner);
                if number == plan.number + 1 {
                    *plan = Arc::new(plan.with(number, &module));
                }
            }
            _ = tell.send((item, verdict));
        });
        self.committer.stage(Staged {
            item: Item::Activate(activation),
            run: None,
            done,
        });
        match told.await {
            Ok((Item::Activate(activation), Verdict::Outcome(Outcome::Activated(plan)))) => {
                if self.plan().number < plan {
                    self.refresh().await?;
                }
                Ok(Deployment {
                    plan,
                    name: activation.name,
                    digest,
                    activated_at: activation.at,
                    activated_by: activation.by,
                })
            }
            Ok((_, Verdict::Failed(error))) => Err(error.into()),
            _ => Err(Error::Stopped),
        }
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
        Ok(self.compile(bytes).await?.0)
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
        compiling.await.map_err(|_| Error::Stopped)?
    }
}
