use std::path::{Path, PathBuf};
use std::sync::Arc;

use quipu::model::{Category, MessageType};
use quipu::runtime::{Definition, Module, Refused, Runtime};
use quipu::upcast::{Chain, Conflict, Lift, Names};

/// The components of a test, as they would be active together in a host.
#[derive(Debug)]
pub struct Components {
    modules: Vec<Arc<Module>>,
}

/// Why components can't be tested.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file can't be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// A file is not a component that a host would accept.
    #[error("{path}: {refused}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// The reason.
        refused: Box<Refused>,
    },
    /// Two components have the same name.
    #[error("{path}: another component is called {name} as well; test one of them at a time")]
    Twice {
        /// The second file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// The upcasters of a category contradict each other.
    #[error("category {category}: {conflict}")]
    Steps {
        /// The category.
        category: String,
        /// What contradicts.
        conflict: Conflict,
    },
}

impl Components {
    /// Loads component files.
    ///
    /// # Errors
    /// When a file can't be read or a host would refuse it, or when the files don't fit together.
    pub fn load<P: AsRef<Path>>(runtime: &Runtime, files: &[P]) -> Result<Self, Error> {
        let mut modules: Vec<Arc<Module>> = Vec::new();
        for path in files {
            let path = path.as_ref().to_owned();
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(error) => return Err(Error::Read { path, error }),
            };
            let module = match runtime.load(&bytes) {
                Ok(module) => module,
                Err(refused) => {
                    let refused = Box::new(refused);
                    return Err(Error::Refused { path, refused });
                }
            };
            let name = &module.manifest().name;
            if modules.iter().any(|known| known.manifest().name == *name) {
                let name = name.clone();
                return Err(Error::Twice { path, name });
            }
            modules.push(module);
        }
        Self::of(modules)
    }

    /// Combines components that are loaded already.
    ///
    /// # Errors
    /// When their upcasters contradict each other.
    pub fn of(modules: Vec<Arc<Module>>) -> Result<Self, Error> {
        let components = Self { modules };
        for category in components.categories() {
            let decider = components.decider(&category);
            let events = decider.map(|it| &it.manifest().events[..]);
            let names = Names::of_decider(events.unwrap_or_default());
            let decider = decider.map(|module| &**module);
            let checked = components.chain(&category).check(&names, decider);
            checked.map_err(|conflict| Error::Steps { category, conflict })?;
        }
        Ok(components)
    }

    /// The modules, in the order of the files.
    pub fn modules(&self) -> &[Arc<Module>] {
        &self.modules
    }

    /// Returns the decider of a category.
    pub fn decider(&self, category: &str) -> Option<&Arc<Module>> {
        let is_its = |module: &&Arc<Module>| {
            module.category().as_ref().map(Category::as_str) == Some(category)
        };
        self.modules.iter().find(is_its)
    }

    /// The categories that have a decider or an upcaster.
    pub fn categories(&self) -> Vec<String> {
        let deciders = self.modules.iter().filter_map(|module| module.category());
        let mut all: Vec<String> = deciders.map(|it| it.as_str().to_owned()).collect();
        let steps = self.modules.iter().flat_map(|module| module.steps());
        all.extend(steps.map(|step| step.category.to_string()));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Every projection, with its module.
    pub fn projections(&self) -> impl Iterator<Item = (&Arc<Module>, &Definition)> {
        let modules = self.modules.iter();
        modules.flat_map(|module| module.projections().iter().map(move |it| (module, it)))
    }

    /// How events of a category are lifted for its decider.
    pub(crate) fn lift_for_decider(&self, category: &str) -> Lift {
        Lift::new(
            self.chain(category),
            Names::of_decider(self.events(category)),
        )
    }

    /// How events of a category are lifted for readers outside of the sandbox.
    pub(crate) fn lift_for_readers(&self, category: &str) -> Lift {
        let names = Names::of_decider(self.events(category)).taking_others();
        Lift::new(self.chain(category), names)
    }

    /// How events of a category are lifted for a projection. `None` if it does not read them.
    pub(crate) fn lift_for(&self, projection: &Definition, category: &str) -> Option<Lift> {
        let source = projection.source(category);
        let source = source.or_else(|| projection.source_of_every())?;
        let decider = Names::of_decider(self.events(category));
        let has_decider = self.decider(category).is_some();
        let names = Names::of_source(&source.events, has_decider.then_some(&decider));
        Some(Lift::new(self.chain(category), names))
    }

    /// The event types of a category's decider.
    fn events(&self, category: &str) -> &[MessageType] {
        let decider = self.decider(category);
        decider.map_or(&[], |module| &module.manifest().events)
    }

    fn chain(&self, category: &str) -> Chain {
        Chain::new(category, &self.modules)
    }
}
