//! Projections of a plan: who defines them, their settings, and which of them are inline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Plan;
use crate::model::{Lifecycle, Settings, SettingsChange};
use crate::runtime::{Definition, Module};
use crate::store::{BuildId, InlineBuild, ProjectionPlan, Turn};
use crate::upcast::Conflict;

/// A deployed projection.
#[derive(Debug, Clone)]
pub struct Projected {
    /// The component that defines it.
    pub module: Arc<Module>,
    /// Lifecycle and error policy.
    pub settings: Settings,
    name: Box<str>,
}

/// An inline projection.
#[derive(Debug, Clone)]
pub struct InlineProjection {
    /// The build that contains its documents.
    pub build: BuildId,
    /// The component that folds it. During a rebuild, this is the previous one.
    pub module: Arc<Module>,
    /// Version of the definition.
    pub version: u32,
}

/// The active modules by name.
pub(super) type Active = BTreeMap<Box<str>, Arc<Module>>;

/// Changes of an activation to the settings of projections.
#[derive(Debug, Clone, Default)]
pub struct ProjectionChanges {
    /// New settings for some of the module's projections.
    pub changes: BTreeMap<String, SettingsChange>,
    /// Names owned by other components that the release takes over.
    pub take_over: Vec<String>,
    /// New builds switch only on command.
    pub hold: bool,
    /// Builds that change their lifecycle, and the resulting inline build.
    pub turning: Option<LifecycleChange>,
    /// Owners of projections that several active components define, for a roll-back.
    pub owners: BTreeMap<String, String>,
}

/// A projection whose lifecycle changes while everything else stays the same.
#[derive(Debug, Clone)]
pub struct LifecycleChange {
    /// Name of the projection.
    pub projection: Box<str>,
    /// Changes of its builds.
    pub turns: Vec<Turn>,
    /// Its inline build afterwards.
    pub inline: Option<InlineBuild>,
    /// The plan under which a build that becomes inline was checked. Under a different plan,
    /// nothing is activated. `None` if nothing becomes inline.
    pub judged: Option<u64>,
}

impl Projected {
    /// Returns the definition.
    ///
    /// # Panics
    /// Never, because the value is created from a module that has the definition.
    pub fn definition(&self) -> &Definition {
        let found = self.module.projection(&self.name);
        found.expect("a projection is made of a module that defines it")
    }
}

/// Returns the projections that the active modules define, each once. If several define a
/// projection, its owner's definition is used.
///
/// # Errors
/// When two modules define projections with the same name, and neither owns it.
pub(super) fn defined(
    active: &Active,
    settings: &BTreeMap<String, Settings>,
    owners: &BTreeMap<String, String>,
) -> Result<BTreeMap<Box<str>, Projected>, Conflict> {
    let mut all: BTreeMap<Box<str>, Projected> = BTreeMap::new();
    for (component, module) in active {
        for definition in module.projections() {
            let name = definition.name.clone();
            let owner = owners.get(&*name);
            if owner.is_some_and(|owner| *owner != **component) {
                continue;
            }
            let projected = Projected {
                module: Arc::clone(module),
                settings: settings.get(&*name).copied().unwrap_or_default(),
                name: name.clone(),
            };
            if let Some(other) = all.insert(name.clone(), projected) {
                let other = &other.module;
                return Err(Conflict::new(format!(
                    "{module:?} and {other:?} both define projection {name}; a name of documents \
                     is unique in a store: rename one, or let this one take it over"
                )));
            }
        }
    }
    Ok(all)
}

/// Returns the owners of projections that several modules define: the last one that took it over,
/// for as long as it defines it.
///
/// # Errors
/// When the module does not define a projection that it should take over.
fn owners(
    plan: &Plan,
    active: &Active,
    modules: &[Arc<Module>],
    keeping: &ProjectionChanges,
) -> Result<BTreeMap<String, String>, Conflict> {
    let mut owners = plan.owners().clone();
    let defines = |module: &Arc<Module>, name: &str| module.projection(name).is_some();
    let is_defined_by = |name: &str, owner: &str| {
        let owner = active.get(owner);
        owner.is_some_and(|module| defines(module, name))
    };
    for (name, owner) in &keeping.owners {
        if is_defined_by(name, owner) {
            owners.insert(name.clone(), owner.clone());
        }
    }
    for name in &keeping.take_over {
        let Some(module) = modules.iter().find(|it| it.projection(name).is_some()) else {
            return Err(Conflict::new(format!(
                "{} no projection {name} that could be taken over; {}",
                lack(modules),
                names(modules)
            )));
        };
        owners.insert(name.clone(), module.manifest().name.clone());
    }
    owners.retain(|name, owner| {
        let all = active.values().filter(|module| defines(module, name));
        is_defined_by(name, owner) && all.count() > 1
    });
    Ok(owners)
}

/// Returns the plan of projections for these active modules, and the turns that come with it.
///
/// # Errors
/// When modules contradict each other, or a definition changed without its version.
pub(super) fn projection_plan(
    plan: &Plan,
    active: &Active,
    modules: &[Arc<Module>],
    keeping: &ProjectionChanges,
) -> Result<(ProjectionPlan, Vec<Turn>), Conflict> {
    let mut settings = BTreeMap::new();
    for definition in active.values().flat_map(|module| module.projections()) {
        let name = &*definition.name;
        let before = plan.projection(name).map(|known| known.settings);
        settings.insert(name.to_owned(), before.unwrap_or_default());
    }
    for (name, change) in &keeping.changes {
        let mut owners = modules.iter().filter(|it| it.projection(name).is_some());
        let own = owners.next().and_then(|_| settings.get_mut(name));
        let Some(own) = own else {
            return Err(Conflict::new(format!(
                "{} no projection {name}; {}",
                lack(modules),
                names(modules)
            )));
        };
        *own = own.with(*change);
    }
    let owners = owners(plan, active, modules, keeping)?;
    let all = defined(active, &settings, &owners)?;
    for (name, projected) in &all {
        if let Some(before) = plan.projection(name) {
            check_same(name, before.definition(), projected.definition())?;
        }
    }
    let (mut inline, mut turns, mut moved) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
    for (name, before) in plan.inline() {
        let now = all.get(name);
        let stays = now.filter(|now| now.settings.lifecycle == Lifecycle::Inline);
        let Some(now) = stays else {
            turns.push(Turn::Async(before.build));
            moved.extend(categories(before.module.projection(name)));
            continue;
        };
        let mut build = before.stored();
        // A different version is first built next to it. Until then the previous one continues.
        if now.definition().version == before.version && now.module.digest() != build.module {
            build.module = now.module.digest();
            moved.extend(categories(Some(now.definition())));
        }
        inline.insert(name.to_owned(), build);
    }
    if let Some(turning) = &keeping.turning {
        let name = &*turning.projection;
        let before = plan.inline_projection(name);
        moved.extend(categories(before.and_then(|it| it.module.projection(name))));
        moved.extend(categories(all.get(name).map(Projected::definition)));
        turns.extend(turning.turns.iter().cloned());
        inline.remove(name);
        let inline_now = turning.inline.iter().cloned();
        inline.extend(inline_now.map(|build| (name.to_owned(), build)));
    }
    let projections = ProjectionPlan {
        settings,
        inline,
        owners,
        categories: moved.into_iter().collect(),
        aliases: None,
    };
    Ok((projections, turns))
}

impl InlineProjection {
    fn stored(&self) -> InlineBuild {
        InlineBuild {
            build: self.build,
            version: self.version,
            module: self.module.digest(),
        }
    }
}

/// Rejects a changed definition with the same version, because documents folded by the old
/// definition would be read as those of the new one.
fn check_same(name: &str, before: &Definition, now: &Definition) -> Result<(), Conflict> {
    if before.version == now.version && !before.makes_the_same_as(now) {
        return Err(Conflict::new(format!(
            "projection {name} has other sources, details or indexes than the active one of the \
             same version {}; raise its version, so that its documents are rebuilt",
            now.version
        )));
    }
    Ok(())
}

/// Returns the categories whose appends involve a projection, as the plan names them.
fn categories(definition: Option<&Definition>) -> impl Iterator<Item = String> {
    let sources = definition.into_iter().flat_map(|it| &it.sources);
    sources.map(|source| source.category.as_deref().unwrap_or_default().to_owned())
}

/// Describes the components that lack what was requested, for an error message.
fn lack(modules: &[Arc<Module>]) -> String {
    match modules {
        [only] => format!("{only:?} has"),
        _ => "the components of the release have".to_owned(),
    }
}

fn names(modules: &[Arc<Module>]) -> String {
    let all = modules.iter().flat_map(|module| module.projections());
    let names: Vec<&str> = all.map(|it| &*it.name).collect();
    match (names.as_slice(), modules) {
        ([], [_]) => "it has none".to_owned(),
        ([], _) => "they have none".to_owned(),
        (some, [_]) => format!("it has {}", some.join(", ")),
        (some, _) => format!("they have {}", some.join(", ")),
    }
}
