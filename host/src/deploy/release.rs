//! Activates components together, in one plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::release_changes::{ReleaseChange, release_changes};
use super::{Error, Plan, ProjectionChanges, Registry, Sources, moved};
use crate::commit::{Staged, Verdict};
use crate::model::{Digest, Settings, SettingsChange};
use crate::runtime::Module;
use crate::store::{
    ALIASES_MAX, Activation, Deployment, Item, Member, Outcome, PreflightSummary, RELEASE_MAX,
    Turn, TypeUse,
};
use crate::upcast::{Aliases, Conflict, aliases_of};

/// How often an activation is repeated because another host was faster.
const ACTIVATIONS_MAX: u32 = 10;

/// Components that become active together, in one plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release {
    /// The components, each under its manifest's name, at most [`RELEASE_MAX`]. The first one
    /// represents the release in the history.
    pub digests: Vec<Digest>,
    /// Names that become inactive.
    pub retired: Vec<String>,
    /// Settings of projections from then on, unless other settings are requested. A roll-back
    /// restores them, too.
    pub settings: BTreeMap<String, Settings>,
    /// Owners of projections that several components define, if the release that is rolled back
    /// changed them.
    pub owners: BTreeMap<String, String>,
}

impl Release {
    /// Returns the changes of this activation to the settings of projections.
    fn keeping(&self, modules: &[Arc<Module>], given: &ProjectionChanges) -> ProjectionChanges {
        let mut keeping = given.clone();
        keeping.owners.extend(self.owners.clone());
        for (name, settings) in &self.settings {
            if modules
                .iter()
                .any(|module| module.projection(name).is_some())
            {
                let change = SettingsChange {
                    lifecycle: Some(settings.lifecycle),
                    on_error: Some(settings.on_error),
                };
                keeping.changes.entry(name.clone()).or_insert(change);
            }
        }
        keeping
    }
}

/// Details of an activation in the history of the plan.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// Identity of the caller.
    pub by: Option<String>,
    /// Summary of the preflight before the activation.
    pub preflight: Option<PreflightSummary>,
}

/// The result that a release would have.
#[derive(Debug)]
pub struct Prospect {
    /// The release.
    pub release: Release,
    /// Components of the release.
    pub modules: Vec<Arc<Module>>,
    /// Categories whose rules would change.
    pub categories: Vec<String>,
    /// The plan that would be replaced.
    pub before: Arc<Plan>,
    /// The plan that would come next.
    pub next: Arc<Plan>,
    /// The stored forms of events.
    pub stored: Vec<TypeUse>,
    /// What the release changes for others.
    pub changes: Vec<ReleaseChange>,
}

impl From<Digest> for Release {
    fn from(digest: Digest) -> Self {
        Self {
            digests: vec![digest],
            ..Self::default()
        }
    }
}

impl Entry {
    /// Creates the details of an activation without a preflight.
    pub fn by(by: Option<String>) -> Self {
        Self {
            by,
            preflight: None,
        }
    }
}

impl Registry {
    /// Activates the components of a release under their manifests' names. From one position on,
    /// they decide and lift everything in their categories. Raises the plan by one, even if all
    /// components were already active.
    ///
    /// # Errors
    /// When a module is not in the store, contradicts another one, can't read an anchor or does not
    /// have a requested projection; when a build can't turn, the plan is not the one of the
    /// preflight, or the store does not answer. Nothing was activated.
    pub async fn activate(
        &self,
        release: &Release,
        entry: Entry,
        keeping: &ProjectionChanges,
    ) -> Result<Deployment, Error> {
        // Compiled before the lock is taken, so that others do not wait for it.
        let modules = self.members(release).await?;
        let keeping = &release.keeping(&modules, keeping);
        let _changing = self.changing.write().await;
        let keys = self.signing.keys();
        self.check_members(release, keeping).await?;
        let mut tries = 0;
        loop {
            if let Some(preflight) = entry.preflight.as_ref().map(|found| found.plan)
                && preflight != self.plan().number
            {
                let now = self.plan().number;
                return Err(Error::PreflightOutdated { preflight, now });
            }
            let judged = keeping.turning.as_ref().and_then(|turning| turning.judged);
            if judged.is_some_and(|judged| judged != self.plan().number) {
                let why = "the plan was raised; the build is judged under it first";
                return Err(Error::NotSettled(why.to_owned()));
            }
            let prepared = self.prepare(&modules, &release.retired, entry.clone(), keeping);
            let (activation, next) = prepared.await?;
            // A key may have been removed during the checks, which can take long.
            if self.signing.keys() != keys {
                self.check_members(release, keeping).await?;
            }
            if let Some(deployment) = self.stage(activation, next).await? {
                return Ok(deployment);
            }
            // Another host was faster, so the checks may be outdated.
            tries += 1;
            if tries == ACTIVATIONS_MAX {
                return Err(Error::Raced);
            }
            self.refresh().await?;
        }
    }

    /// Checks that the modules of a release are in the store, and who signed them.
    async fn check_members(
        &self,
        release: &Release,
        keeping: &ProjectionChanges,
    ) -> Result<(), Error> {
        for digest in &release.digests {
            // It may have been pruned in the meantime.
            let bytes = self.bytes(*digest).await?;
            // A turn changes the lifecycle of an active projection, but no code.
            if keeping.turning.is_none() {
                self.check_signed(*digest, &bytes).await?;
            }
        }
        Ok(())
    }

    /// Computes the result of activating a release now, without activating it.
    ///
    /// # Errors
    /// The reason why it can't be activated.
    pub async fn prospect(
        &self,
        release: &Release,
        keeping: &ProjectionChanges,
    ) -> Result<Prospect, Error> {
        self.refresh().await?;
        for digest in &release.digests {
            let bytes = self.bytes(*digest).await?;
            self.check_signed(*digest, &bytes).await?;
        }
        let modules = self.members(release).await?;
        let keeping = &release.keeping(&modules, keeping);
        let before = self.plan();
        let entry = Entry::default();
        let prepared = self.prepare(&modules, &release.retired, entry, keeping);
        let (activation, next) = prepared.await?;
        Ok(Prospect {
            release: release.clone(),
            changes: release_changes(&before, &modules).await,
            modules,
            categories: activation.categories,
            before,
            next: Arc::new(next),
            stored: self.types.types().await?,
        })
    }

    /// Returns the release that restores the state before the module that is active under a name
    /// was activated, including everything that was activated with it. `None` when nothing was
    /// active under any of these names.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn before(&self, name: &str) -> Result<Option<Release>, Error> {
        let history = self.history().await?;
        let of = |deployment: &Deployment, name: &str| {
            let mut members = deployment.members();
            members
                .find(|(member, _)| *member == name)
                .map(|(_, it)| it)
        };
        let touching = || {
            let numbered = history.iter().enumerate().rev();
            numbered.filter_map(|(at, it)| of(it, name).map(|digest| (at, digest)))
        };
        let Some((_, active)) = touching().next() else {
            return Ok(None);
        };
        // The same module may have been activated several times.
        let same = touching().take_while(|(_, digest)| *digest == active);
        let Some((begun, _)) = same.last() else {
            return Ok(None);
        };
        let mut release = Release::default();
        if let Some(before) = history[..begun].last() {
            release.settings.clone_from(&before.projections.settings);
            release.owners.clone_from(&before.projections.owners);
            let since = &history[begun].projections.owners;
            release
                .owners
                .retain(|name, owner| since.get(name) != Some(owner));
        }
        for (member, _) in history[begun].members() {
            let mut earlier = history[..begun].iter().rev();
            match earlier.find_map(|it| of(it, member)).flatten() {
                // The requested module represents the release.
                Some(digest) if member == name => release.digests.insert(0, digest),
                Some(digest) => release.digests.push(digest),
                None => release.retired.push(member.to_owned()),
            }
        }
        Ok(Some(release).filter(|release| !release.digests.is_empty()))
    }

    async fn members(&self, release: &Release) -> Result<Vec<Arc<Module>>, Error> {
        let found = release.digests.len() + release.retired.len();
        if release.digests.is_empty() || found > RELEASE_MAX {
            return Err(Conflict::new(format!(
                "a release has 1 to {RELEASE_MAX} components, this one {found}"
            ))
            .into());
        }
        let mut modules = Vec::with_capacity(release.digests.len());
        for digest in &release.digests {
            modules.push(self.module(*digest).await?);
        }
        Ok(modules)
    }

    /// Prepares the activation of modules, checked against the active ones.
    async fn prepare(
        &self,
        modules: &[Arc<Module>],
        retired: &[String],
        entry: Entry,
        keeping: &ProjectionChanges,
    ) -> Result<(Activation, Plan), Error> {
        let plan = self.plan();
        let aliases = self.aliases(&plan, modules).await?;
        let candidate = plan.with(modules, retired, &aliases, keeping)?;
        let mut trusted = Vec::new();
        for category in &candidate.categories {
            if let Some(rules) = candidate.rules(category)? {
                trusted.extend(self.compare_snapshots(category, rules).await?);
            }
        }
        let mut categories = candidate.categories.clone();
        if keeping.turning.is_none() {
            // Even an unchanged decider counts as new: its state is folded from scratch.
            let own = modules.iter().filter_map(|module| module.category());
            categories.extend(own.map(|own| own.as_str().to_owned()));
            categories.sort();
            categories.dedup();
        }
        let [first, others @ ..] = modules else {
            return Err(Conflict::new("the release has no component".to_owned()).into());
        };
        let mut activation = Activation {
            name: first.manifest().name.as_str().to_owned(),
            digest: first.digest(),
            others: others_of(others, retired),
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
        for module in modules {
            inline.insert(module.digest(), Arc::clone(module));
        }
        let next = plan.next(candidate, &activation, &inline)?;
        if keeping.hold {
            let next = Arc::new(next.clone());
            let built = self.built_from_scratch(&plan, &next).await?;
            let hold = built.into_iter().map(|name| Turn::Hold(name.into()));
            activation.turns.splice(0..0, hold);
        }
        Ok((activation, next))
    }

    /// Returns the projections for which a plan starts a new build next to the current one.
    async fn built_from_scratch(
        &self,
        before: &Arc<Plan>,
        next: &Arc<Plan>,
    ) -> Result<Vec<String>, Error> {
        let stored = self.types.types().await?;
        let mut built = Vec::new();
        for (name, now) in next.projections() {
            let Some(known) = before.projection(name) else {
                continue;
            };
            let of = |plan, definition| Sources::new(plan, definition);
            let is_other = known.definition().version != now.definition().version;
            let has_moved = || {
                let before = of(before, known.definition());
                !moved(&before, &of(next, now.definition()), &stored).is_empty()
            };
            if is_other || has_moved() {
                built.push(name.to_owned());
            }
        }
        Ok(built)
    }

    /// Returns names that mean the same, from all deciders that were ever active and from some
    /// modules.
    async fn aliases(
        &self,
        plan: &Plan,
        modules: &[Arc<Module>],
    ) -> Result<BTreeMap<String, Aliases>, Error> {
        let mut all = match plan.aliases() {
            Some(known) => known.clone(),
            None => self.aliases_of_history().await?,
        };
        for module in modules {
            remember(&mut all, module);
        }
        Ok(all)
    }

    /// Returns these names from a history that was recorded before aliases were.
    async fn aliases_of_history(&self) -> Result<BTreeMap<String, Aliases>, Error> {
        let mut all = BTreeMap::new();
        for deployment in self.history().await? {
            for digest in deployment.members().filter_map(|(_, digest)| digest) {
                match self.module(digest).await {
                    Ok(module) => remember(&mut all, &module),
                    Err(Error::Store(error)) => return Err(error.into()),
                    Err(error) => tracing::warn!(module = %digest.short(), %error,
                        "the event type aliases of a former module are unknown"),
                }
            }
        }
        Ok(all)
    }

    /// Raises the plan in the store. `None` when it has changed in the meantime.
    async fn stage(&self, activation: Activation, next: Plan) -> Result<Option<Deployment>, Error> {
        let (sender, receiver) = oneshot::channel();
        let current = Arc::clone(&self.plan);
        let done = Box::new(move |item: Item, verdict: Verdict| {
            // Published before any later item of the queue is answered, so that items rejected
            // because of the old plan are decided under this one.
            if matches!(verdict, Verdict::Outcome(Outcome::Activated(number)) if number == next.number)
            {
                current.publish(next);
            }
            _ = sender.send((item, verdict));
        });
        self.committer.stage(Staged {
            item: Item::Activate(Box::new(activation)),
            run: None,
            done,
        });
        match receiver.await {
            Ok((Item::Activate(activation), Verdict::Outcome(Outcome::Activated(plan)))) => {
                Ok(Some(activation.deployment(plan)))
            }
            Ok((_, Verdict::Outcome(Outcome::PlanMoved))) => Ok(None),
            Ok((_, Verdict::Outcome(Outcome::NotSettled(reason)))) => {
                Err(Error::NotSettled(reason))
            }
            Ok((_, Verdict::Failed(error))) => Err(error.into()),
            _ => Err(Error::Stopped),
        }
    }
}

/// Returns the names that a release changes in addition to the first one, in their order.
fn others_of(modules: &[Arc<Module>], retired: &[String]) -> Vec<Member> {
    let others = modules.iter().map(|module| Member {
        name: module.manifest().name.as_str().to_owned(),
        digest: Some(module.digest()),
    });
    let retired = retired.iter().map(|name| Member {
        name: name.clone(),
        digest: None,
    });
    let mut all: Vec<Member> = others.chain(retired).collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

/// Adds the names that a decider uses for the same types.
fn remember(all: &mut BTreeMap<String, Aliases>, module: &Module) {
    let Some(category) = module.category() else {
        return;
    };
    let mut pairs = aliases_of(&module.manifest().events).peekable();
    if pairs.peek().is_none() {
        return;
    }
    let known = all.entry(category.as_str().to_owned()).or_default();
    for pair in pairs {
        if known.len() < ALIASES_MAX {
            known.insert(pair);
        } else if !known.contains(&pair) {
            tracing::warn!(category = category.as_str(), max = ALIASES_MAX, alias = %pair.0,
                "an alias was not recorded: the category has the highest number of aliases");
        }
    }
}
