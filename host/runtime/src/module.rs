use std::fmt;

use wasmtime::component::InstancePre;

use super::bindings::{decider, projection, upcaster};
use super::sandbox::State;
use super::{Definition, Limits, Manifest, Runtime, Step, Usage};
use quipu_model::{Category, Digest};

/// A capability of a component, named as in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Export {
    /// Decides commands of one category.
    Decider,
    /// Lifts stored events.
    Upcaster,
    /// Folds events into documents.
    Projection,
}

impl Export {
    /// Name of the interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decider => "decider",
            Self::Upcaster => "upcaster",
            Self::Projection => "projection",
        }
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A component that passed every check, compiled and ready to create instances.
pub struct Module {
    pub(super) runtime: Runtime,
    pub(super) before: InstancePre<State>,
    pub(super) decider: Option<decider::GuestIndices>,
    pub(super) upcaster: Option<upcaster::GuestIndices>,
    pub(super) steps: Vec<Step>,
    pub(super) projection: Option<projection::GuestIndices>,
    pub(super) projections: Vec<Definition>,
    pub(super) digest: Digest,
    pub(super) size: usize,
    pub(super) manifest: Manifest,
    pub(super) exports: Vec<Export>,
    pub(super) imports: Vec<String>,
    pub(super) other_exports: Vec<String>,
    pub(super) usage: Usage,
}

impl Module {
    /// SHA-256 of the component's bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Length of the component in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The component's description of itself, checked.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Interfaces that the component exports; never empty.
    pub fn exports(&self) -> &[Export] {
        &self.exports
    }

    /// Whether the component decides commands.
    pub fn has_decider(&self) -> bool {
        self.decider.is_some()
    }

    /// Category whose commands the component decides.
    pub fn category(&self) -> Option<Category> {
        self.decider.as_ref()?;
        Category::new(&self.manifest.name).ok()
    }

    /// Steps of the upcaster; empty without one.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Projections that the component defines; may be empty.
    pub fn projections(&self) -> &[Definition] {
        &self.projections
    }

    /// Returns the projection with this name.
    pub fn projection(&self, name: &str) -> Option<&Definition> {
        self.projections.iter().find(|known| &*known.name == name)
    }

    /// Names of the imports, as written in the component.
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Names of exports that are not the contract's. The host never uses them.
    pub fn other_exports(&self) -> &[String] {
        &self.other_exports
    }

    /// The smallest world of the WIT that contains all exports of the component.
    pub fn world(&self) -> &'static str {
        match self.exports[..] {
            [Export::Decider] => "decider-guest",
            [Export::Decider, Export::Upcaster] => "evolving-decider-guest",
            [Export::Upcaster] => "upcaster-guest",
            [Export::Projection] => "projection-guest",
            _ => "domain-guest",
        }
    }

    /// The runtime that loaded the component.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// What the module has used since it was loaded.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    pub(super) fn limits(&self) -> &Limits {
        self.runtime.limits()
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.manifest.name, self.digest.short())
    }
}
