//! The active modules, and the rules for each category that result from them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use super::command_schemas::CommandSchemas;
use super::projected::{self, Active, InlineProjection, Projected, ProjectionChanges};
use crate::fold::Rules;
use crate::model::{Digest, MessageType, Name};
use crate::runtime::Module;
use crate::store::{Activation, ProjectionPlan, Turn};
use crate::upcast::{Aliases, Chain, Conflict, Lift, Names};

/// The decider of a category.
#[derive(Debug)]
pub struct Deployed {
    /// The decider, and how events are lifted for it.
    pub rules: Arc<Rules>,
    /// The plan that last changed it.
    pub plan: u64,
    schemas: OnceLock<CommandSchemas>,
}

impl Deployed {
    /// Returns the schemas of its commands. They are compiled when they are first asked for.
    pub fn command_schemas(&self) -> &CommandSchemas {
        self.schemas
            .get_or_init(|| CommandSchemas::new(self.rules.module.manifest()))
    }

    /// Returns the schemas of its commands if they have been asked for.
    pub fn compiled_schemas(&self) -> Option<&CommandSchemas> {
        self.schemas.get()
    }
}

/// The active modules, and since when they are active.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// The plan's number; 0 before the first activation.
    pub number: u64,
    /// Active modules by name.
    active: BTreeMap<Box<str>, Arc<Module>>,
    /// Deciders by category.
    deciders: HashMap<Box<str>, Arc<Deployed>>,
    /// How events are lifted for readers that are not guests, by category.
    readers: BTreeMap<Box<str>, Arc<Lift>>,
    /// Data from the history, by category.
    since: HashMap<String, Since>,
    /// Projections by name.
    projections: BTreeMap<Box<str>, Projected>,
    /// Inline projections by name.
    inline: BTreeMap<Box<str>, InlineProjection>,
    /// Owners of projections that several components define.
    owners: BTreeMap<String, String>,
    /// By category, names that deciders used for the same types. `None`: not recorded.
    aliases: Option<BTreeMap<String, Aliases>>,
}

/// Data about a category from the history.
#[derive(Debug, Clone, Default)]
pub struct Since {
    /// The plan that last changed it.
    pub plan: u64,
    /// Other folds whose snapshots may be opened since then.
    pub trusted: Vec<Digest>,
}

impl Plan {
    /// Returns the decider of a category.
    pub fn decider(&self, category: &str) -> Option<&Arc<Deployed>> {
        self.deciders.get(category)
    }

    /// Returns how the events of a category are lifted for readers that are not guests. `None`:
    /// they are read as stored.
    pub fn reader(&self, category: &str) -> Option<&Arc<Lift>> {
        self.readers.get(category)
    }

    /// Returns every category with an active decider or upcaster.
    pub fn readers(&self) -> impl Iterator<Item = (&str, &Arc<Lift>)> {
        self.readers
            .iter()
            .map(|(category, lift)| (&**category, lift))
    }

    /// Returns every projection, by name.
    pub fn projections(&self) -> impl Iterator<Item = (&str, &Projected)> {
        self.projections
            .iter()
            .map(|(name, projected)| (&**name, projected))
    }

    /// Returns a deployed projection.
    pub fn projection(&self, name: &str) -> Option<&Projected> {
        self.projections.get(name)
    }

    /// Returns the owners of projections that several components define, by the projection's name.
    pub fn owners(&self) -> &BTreeMap<String, String> {
        &self.owners
    }

    /// Returns, by category, the names of event types that mean the same, from every decider that
    /// was ever active. `None`: some were active before this was recorded.
    pub fn aliases(&self) -> Option<&BTreeMap<String, Aliases>> {
        self.aliases.as_ref()
    }

    /// Returns every inline projection, by name.
    pub fn inline(&self) -> impl Iterator<Item = (&str, &InlineProjection)> {
        self.inline.iter().map(|(name, inline)| (&**name, inline))
    }

    /// Returns an inline projection.
    pub fn inline_projection(&self, name: &str) -> Option<&InlineProjection> {
        self.inline.get(name)
    }

    /// Returns the digest of the module that is active under a name.
    pub fn active(&self, name: &str) -> Option<Digest> {
        self.active.get(name).map(|module| module.digest())
    }

    /// Returns every active module.
    pub fn modules(&self) -> impl Iterator<Item = &Arc<Module>> {
        self.active.values()
    }

    /// Whether a module is active.
    pub fn serves(&self, digest: Digest) -> bool {
        self.module(digest).is_some()
    }

    /// Returns the active module with this digest.
    pub fn module(&self, digest: Digest) -> Option<&Arc<Module>> {
        let inline = self.inline.values().map(|inline| &inline.module);
        let mut all = self.modules().chain(inline);
        all.find(|active| active.digest() == digest)
    }

    /// Returns a candidate in which modules replace those with their names, and some names are
    /// retired. `aliases` are those of every decider, including the new ones.
    ///
    /// # Errors
    /// When modules contradict each other.
    pub fn with(
        &self,
        modules: &[Arc<Module>],
        retired: &[String],
        aliases: &BTreeMap<String, Aliases>,
        keeping: &ProjectionChanges,
    ) -> Result<Candidate, Conflict> {
        let mut active = self.active.clone();
        for name in retired {
            active.remove(name.as_str());
        }
        let mut names = BTreeSet::new();
        for module in modules {
            let name: Box<str> = module.manifest().name.as_str().into();
            if !names.insert(name.clone()) || retired.iter().any(|retired| **retired == *name) {
                return Err(Conflict::new(format!(
                    "two components of the release have the name {name}; a name has one"
                )));
            }
            let before = active.insert(name, Arc::clone(module));
            if before.is_some_and(|before| before.has_decider() && !module.has_decider()) {
                return Err(Conflict::new(format!(
                    "{module:?} has no decider, and would take the place of one; give it another \
                     name"
                )));
            }
        }
        let categories = self.changed(&active)?;
        let (mut projections, turns) = projected::projection_plan(self, &active, modules, keeping)?;
        projections.aliases = Some(written(aliases));
        Ok(Candidate {
            active,
            categories,
            projections,
            turns,
        })
    }

    /// Returns the rules with a different decider, even if it could not be activated now. Steps
    /// that lead beyond the types that it declares are left out.
    pub fn rules_with(&self, module: &Arc<Module>) -> Rules {
        let name = module.manifest().name.as_str();
        let others = self.active.iter().filter(|(other, _)| ***other != *name);
        let modules = others.map(|(_, other)| other).chain([module]);
        let chain = Chain::new(name, modules);
        let names = named(Some(module), self.aliases.as_ref(), name, &chain);
        Rules::new(Arc::clone(module), chain, names, Vec::new())
    }

    /// Builds the plan for these active modules. Unchanged parts are taken from the plan before, so
    /// that warm states remain valid.
    ///
    /// # Errors
    /// When modules contradict each other.
    pub fn of(
        number: u64,
        active: Active,
        since: HashMap<String, Since>,
        (projections, inline_modules): (&ProjectionPlan, &HashMap<Digest, Arc<Module>>),
        before: &Self,
    ) -> Result<Self, Conflict> {
        let mut plan = Self {
            projections: projected::defined(&active, &projections.settings, &projections.owners)?,
            owners: projections.owners.clone(),
            aliases: projections.aliases.as_ref().map(read),
            inline: inline(projections, inline_modules),
            number,
            since,
            ..Self::default()
        };
        for category in categories(&active) {
            let (chain, decider) = compose(&active, &category)?;
            let names = named(decider.as_ref(), plan.aliases.as_ref(), &category, &chain);
            let named = names.clone().taking_others();
            let same = before
                .reader(&category)
                .filter(|known| known.chain().is_same(&chain) && *known.names() == named);
            let lift = same.map(Arc::clone);
            let lift = lift.unwrap_or_else(|| Arc::new(Lift::new(chain.clone(), named)));
            let since = plan.since.get(&*category).cloned().unwrap_or_default();
            if let Some(module) = decider {
                let rules = Rules::new(module, chain, names, since.trusted);
                let same = before
                    .decider(&category)
                    .filter(|known| known.plan == since.plan && known.rules.fold == rules.fold);
                let deployed = same.map(Arc::clone).unwrap_or_else(|| {
                    Arc::new(Deployed {
                        rules: Arc::new(rules),
                        plan: since.plan,
                        schemas: OnceLock::new(),
                    })
                });
                plan.deciders.insert(category.clone(), deployed);
            }
            plan.readers.insert(category, lift);
        }
        plan.active = active;
        Ok(plan)
    }

    /// Returns the next plan, after a candidate has been activated.
    ///
    /// # Errors
    /// When its modules contradict each other.
    pub fn next(
        &self,
        candidate: Candidate,
        activation: &Activation,
        inline_modules: &HashMap<Digest, Arc<Module>>,
    ) -> Result<Self, Conflict> {
        let mut since = self.since.clone();
        for category in &activation.categories {
            let changed = Since {
                plan: self.number + 1,
                trusted: activation.trusted.clone(),
            };
            since.insert(category.clone(), changed);
        }
        let projections = (&activation.projections, inline_modules);
        Self::of(self.number + 1, candidate.active, since, projections, self)
    }

    /// Returns the categories whose rules change with these modules.
    fn changed(&self, active: &BTreeMap<Box<str>, Arc<Module>>) -> Result<Vec<String>, Conflict> {
        let mut changed = Vec::new();
        let all: BTreeSet<_> = categories(active)
            .into_iter()
            .chain(self.readers.keys().cloned())
            .collect();
        for category in all {
            let (chain, decider) = compose(active, &category)?;
            let before = self
                .decider(&category)
                .map(|known| known.rules.module.digest());
            let same_steps = self
                .reader(&category)
                .map_or(chain.links().is_empty(), |lift| {
                    lift.chain().is_same(&chain)
                });
            if before != decider.map(|module| module.digest()) || !same_steps {
                changed.push(category.into());
            }
        }
        Ok(changed)
    }
}

/// A plan that could come next.
#[derive(Debug)]
pub struct Candidate {
    active: BTreeMap<Box<str>, Arc<Module>>,
    /// Categories that it would change.
    pub categories: Vec<String>,
    /// The new plan of projections.
    pub projections: ProjectionPlan,
    /// Builds that would change their lifecycle.
    pub turns: Vec<Turn>,
}

impl Candidate {
    /// Returns the rules of a category; `None` without a decider.
    ///
    /// # Errors
    /// When modules contradict each other.
    pub fn rules(&self, category: &str) -> Result<Option<Rules>, Conflict> {
        let (chain, decider) = compose(&self.active, category)?;
        let aliases = self.projections.aliases.as_ref().map(read);
        let names = named(decider.as_ref(), aliases.as_ref(), category, &chain);
        Ok(decider.map(|module| Rules::new(module, chain, names, Vec::new())))
    }
}

static NONE: Aliases = Aliases::new();

/// Returns the names that the decider of a category declares, with the names that earlier deciders
/// declared.
pub(super) fn named(
    decider: Option<&Arc<Module>>,
    aliases: Option<&BTreeMap<String, Aliases>>,
    category: &str,
    chain: &Chain,
) -> Names {
    let events = decider.map(|module| module.manifest().events.as_slice());
    let remembered = aliases.and_then(|all| all.get(category));
    let names = Names::of_decider(events.unwrap_or_default());
    names.remembering(remembered.unwrap_or(&NONE), chain)
}

/// Converts aliases to the form in the history of the plan.
fn written(aliases: &BTreeMap<String, Aliases>) -> BTreeMap<String, BTreeSet<(String, String)>> {
    let text = |name: &Name| name.as_str().to_owned();
    let all = aliases.iter().map(|(category, pairs)| {
        let pairs = pairs.iter().map(|(alias, name)| (text(alias), text(name)));
        (category.clone(), pairs.collect())
    });
    all.collect()
}

/// Converts aliases from the form in the history of the plan.
pub(super) fn read(
    aliases: &BTreeMap<String, BTreeSet<(String, String)>>,
) -> BTreeMap<String, Aliases> {
    let all = aliases.iter().map(|(category, pairs)| {
        let pairs = pairs.iter();
        let pairs = pairs.map(|(alias, name)| (Name::stored(alias), Name::stored(name)));
        (category.clone(), pairs.collect())
    });
    all.collect()
}

/// Returns the inline projections whose modules are loaded.
fn inline(
    projections: &ProjectionPlan,
    modules: &HashMap<Digest, Arc<Module>>,
) -> BTreeMap<Box<str>, InlineProjection> {
    let inline = projections.inline.iter().filter_map(|(name, inline)| {
        let folded = InlineProjection {
            build: inline.build,
            module: Arc::clone(modules.get(&inline.module)?),
            version: inline.version,
        };
        Some((name.as_str().into(), folded))
    });
    inline.collect()
}

/// Returns every category for which these modules have a decider or steps.
pub(super) fn categories(active: &BTreeMap<Box<str>, Arc<Module>>) -> BTreeSet<Box<str>> {
    let modules = active.values();
    modules
        .flat_map(|module| {
            let decided = module.category();
            let lifted = module.steps().iter().map(|step| step.category.clone());
            decided.into_iter().chain(lifted)
        })
        .map(|category| category.as_str().into())
        .collect()
}

/// Returns the steps of a category and its decider, after checking that they fit together.
pub(super) fn compose(
    active: &BTreeMap<Box<str>, Arc<Module>>,
    category: &str,
) -> Result<(Chain, Option<Arc<Module>>), Conflict> {
    let mut modules = active.values();
    let decider = modules.find(|module| module.has_decider() && module.manifest().name == category);
    let chain = Chain::new(category, active.values());
    let events: &[MessageType] = decider.map_or(&[], |module| &module.manifest().events);
    chain.check(&Names::of_decider(events), decider.map(|module| &**module))?;
    Ok((chain, decider.cloned()))
}
