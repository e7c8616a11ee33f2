use std::fmt;
use std::sync::Arc;

use sha2::Digest as _;

use super::Names;
use crate::model::{Digest, Name};
use crate::runtime::{Module, Step};

/// Highest number of steps of one category, across all components.
const STEPS_MAX: usize = 500;
/// Highest number of results of these steps, because the paths to every reader are searched among
/// them.
const RESULTS_MAX: usize = 1_000;

/// The steps of one category, ordered by type and version.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    links: Vec<Link>,
}

/// A step and the component that contains it.
#[derive(Debug, Clone)]
pub struct Link {
    /// The component.
    pub module: Arc<Module>,
    /// Index of the step in the component.
    pub index: usize,
}

/// Two components whose steps contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Conflict(String);

impl Conflict {
    /// Creates a conflict. The text must name both sides.
    pub fn new(text: String) -> Self {
        Self(text)
    }
}

impl Chain {
    /// Collects the steps of a category from some components.
    pub fn new<'a>(category: &str, modules: impl IntoIterator<Item = &'a Arc<Module>>) -> Self {
        let mut links: Vec<Link> = modules
            .into_iter()
            .flat_map(|module| {
                let steps = module.steps().iter().enumerate();
                let own = steps.filter(|(_, step)| step.category.as_str() == category);
                own.map(|(index, _)| Link {
                    module: Arc::clone(module),
                    index,
                })
            })
            .collect();
        links.sort_by(|one, other| {
            let key = |link: &Link| (link.step().name.clone(), link.step().from_version);
            key(one).cmp(&key(other))
        });
        Self { links }
    }

    /// Rejects steps that contradict each other, or contradict the events that a decider writes.
    ///
    /// # Errors
    /// The first contradiction, with both sides.
    pub fn check(&self, names: &Names, decider: Option<&Module>) -> Result<(), Conflict> {
        self.check_size()?;
        for (number, link) in self.links.iter().enumerate() {
            let step = link.step();
            let name = names.canonical(&step.name);
            if let (Some(current), Some(decider)) = (names.version(name.as_str()), decider)
                && step.from_version >= current
            {
                return Err(Conflict(format!(
                    "{link} lifts what {decider:?} writes: its {name} has version {current}"
                )));
            }
            let same = self.links[number + 1..].iter().find(|other| {
                let other = other.step();
                names.canonical(&other.name) == name && other.from_version == step.from_version
            });
            if let Some(other) = same {
                return Err(Conflict(format!("{link} and {other} are the same step")));
            }
        }
        let mut known = vec![PathState::No; self.links.len()];
        (0..self.links.len()).try_for_each(|place| self.walk(names, place, &mut known))
    }

    fn check_size(&self) -> Result<(), Conflict> {
        let results: usize = self.links.iter().map(|link| link.step().to.len()).sum();
        let (steps, Some(last)) = (self.links.len(), self.links.last()) else {
            return Ok(());
        };
        if steps <= STEPS_MAX && results <= RESULTS_MAX {
            return Ok(());
        }
        let category = &last.step().category;
        Err(Conflict(format!(
            "category {category} would have {steps} steps with {results} results, those of \
             {last} among them: at most {STEPS_MAX} steps with {RESULTS_MAX} results go together"
        )))
    }

    /// Rejects steps that form a cycle.
    fn walk(&self, names: &Names, place: usize, known: &mut [PathState]) -> Result<(), Conflict> {
        match known[place] {
            PathState::Ends => return Ok(()),
            PathState::UnderWay => {
                let link = &self.links[place];
                return Err(Conflict(format!("{link} leads back to itself")));
            }
            PathState::No => known[place] = PathState::UnderWay,
        }
        for (name, version) in &self.links[place].step().to {
            if let Some(next) = self.next(names, names.canonical(name), *version) {
                self.walk(names, next, known)?;
            }
        }
        known[place] = PathState::Ends;
        Ok(())
    }

    /// Returns the index of the step for an event of a type at this version. If there is none, the
    /// event is unchanged, so this is the step for the next version that has one.
    pub fn next(&self, names: &Names, canonical: &Name, version: u32) -> Option<usize> {
        let links = self.links.iter().enumerate();
        let later = links.filter(|(_, link)| {
            let step = link.step();
            step.from_version >= version && names.canonical(&step.name) == canonical
        });
        let first = later.min_by_key(|(_, link)| link.step().from_version);
        first.map(|(place, _)| place)
    }

    /// Returns the step at an index.
    pub fn link(&self, place: usize) -> &Link {
        &self.links[place]
    }

    /// Returns every step.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Returns a digest that identifies states folded with these steps by this decider.
    pub fn fold(&self, decider: &Module) -> Digest {
        let mut hasher = sha2::Sha256::new();
        hasher.update(decider.digest().0);
        for link in &self.links {
            hasher.update(link.module.digest().0);
            hasher.update((link.index as u64).to_le_bytes());
        }
        Digest(hasher.finalize().into())
    }

    /// Whether both chains have the same steps.
    pub fn is_same(&self, other: &Self) -> bool {
        let key = |link: &Link| (link.module.digest(), link.index);
        self.links.iter().map(key).eq(other.links.iter().map(key))
    }
}

/// What is known about the path that begins with a step.
#[derive(Clone, Copy)]
enum PathState {
    No,
    UnderWay,
    Ends,
}

impl Link {
    /// The step.
    pub fn step(&self) -> &Step {
        &self.module.steps()[self.index]
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the step from {} of {:?}", self.step(), self.module)
    }
}
