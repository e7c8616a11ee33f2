//! The types of events: those that the active modules declare, and those that the store holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Host;
use crate::deploy::Plan;
use crate::engine::Error;
use crate::model::Name;
use crate::runtime::{Module, Step};
use crate::store::TypeUse;
use crate::upcast::{Lift, Route};

/// A type of events in one category, by its canonical name.
#[derive(Debug, Clone)]
pub struct EventType {
    /// The category.
    pub category: Arc<str>,
    /// The canonical name.
    pub name: Name,
    /// The version that the active decider writes; none when it does not name the type.
    pub schema_version: Option<u32>,
    /// Older names.
    pub aliases: Vec<Name>,
    /// The decider that writes it, and reads it at `schema_version`.
    pub decider: Option<Arc<Module>>,
    /// Steps that lift it, or lead to it.
    pub steps: Vec<Lifting>,
    /// The forms in which it is stored; empty when it was never written.
    pub stored: Vec<StoredForm>,
}

/// A step of an upcaster.
#[derive(Debug, Clone)]
pub struct Lifting {
    /// The component.
    pub module: Arc<Module>,
    /// The types and versions that it leads from and to.
    pub step: Step,
}

/// Stored events of one name, schema version and content type.
#[derive(Debug, Clone)]
pub struct StoredForm {
    /// How many there are, and where.
    pub used: TypeUse,
    /// How the active decider reads them, or without one, readers that are not guests.
    pub read: ReadAs,
}

/// How a stored event changes on its way to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadAs {
    /// It does not change.
    Stored,
    /// It gets another name or a later version; the data stay.
    Renamed,
    /// Upcasters lift it.
    Lifted,
    /// It is newer than what the decider reads, and fails the load of its stream.
    TooNew,
    /// The decider does not know it, and it fails the load of its stream.
    Unknown,
}

impl ReadAs {
    /// Returns the name that clients see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Renamed => "renamed",
            Self::Lifted => "lifted",
            Self::TooNew => "too-new",
            Self::Unknown => "unknown",
        }
    }
}

impl EventType {
    /// Returns whether an active module names the type, or the host itself writes it.
    pub fn is_known(&self) -> bool {
        self.schema_version.is_some() || !self.steps.is_empty() || self.category.starts_with('$')
    }
}

impl Host {
    /// Returns every type of events that an active module names or the store holds, in order of
    /// category and name. The first call on a store takes as long as reading its log.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn types(&self) -> Result<Vec<EventType>, Error> {
        let stored = self.tenant.types.types().await?;
        Ok(composed(&self.plan(), stored))
    }
}

/// Combines the types that a plan names with those that are stored.
fn composed(plan: &Plan, stored: Vec<TypeUse>) -> Vec<EventType> {
    let mut types = Types::default();
    for (category, lift) in plan.readers() {
        if let Some(deployed) = plan.decider(category) {
            types.add_decider(category, &deployed.rules.module);
        }
        types.add_steps(category, lift, plan);
    }
    for used in stored {
        types.add_stored(used, plan);
    }
    types.0.into_values().collect()
}

#[derive(Default)]
struct Types(BTreeMap<(Arc<str>, Name), EventType>);

impl Types {
    fn add_decider(&mut self, category: &str, decider: &Arc<Module>) {
        for event in &decider.manifest().events {
            let entry = self.entry(category, &event.name);
            entry.schema_version = Some(event.schema_version);
            entry.aliases.clone_from(&event.aliases);
            entry.decider = Some(Arc::clone(decider));
        }
    }

    fn add_steps(&mut self, category: &str, lift: &Lift, plan: &Plan) {
        for module in plan.modules() {
            let steps = module.steps().iter();
            for step in steps.filter(|step| step.category.as_str() == category) {
                let results = step.to.iter().map(|(name, _)| name);
                let all = std::iter::once(&step.name).chain(results);
                let mut names: Vec<&Name> = all.map(|name| lift.names().canonical(name)).collect();
                names.sort_unstable();
                names.dedup();
                for name in names {
                    self.entry(category, name).steps.push(Lifting {
                        module: Arc::clone(module),
                        step: step.clone(),
                    });
                }
            }
        }
    }

    fn add_stored(&mut self, used: TypeUse, plan: &Plan) {
        let decider = plan.decider(&used.category);
        let reader = plan.reader(&used.category).map(|lift| &**lift);
        let lift = decider.map(|deployed| &deployed.rules.lift).or(reader);
        let name = lift.map_or(&used.name, |lift| lift.names().canonical(&used.name));
        let read = lift.map_or(ReadAs::Stored, |lift| read_as(lift, &used));
        let entry = self.entry(&used.category, &name.clone());
        entry.stored.push(StoredForm { used, read });
    }

    fn entry(&mut self, category: &str, name: &Name) -> &mut EventType {
        let key = (Arc::from(category), name.clone());
        self.0.entry(key).or_insert_with(|| EventType {
            category: category.into(),
            name: name.clone(),
            schema_version: None,
            aliases: Vec::new(),
            decider: None,
            steps: Vec::new(),
            stored: Vec::new(),
        })
    }
}

fn read_as(lift: &Lift, used: &TypeUse) -> ReadAs {
    match lift.route(&used.name, used.schema_version) {
        Route::Reader(name, version) if name == used.name && version == used.schema_version => {
            ReadAs::Stored
        }
        Route::Reader(..) => ReadAs::Renamed,
        Route::Step(_) => ReadAs::Lifted,
        Route::TooNew(_) => ReadAs::TooNew,
        Route::Unknown | Route::LeftOut => ReadAs::Unknown,
    }
}
