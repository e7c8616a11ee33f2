//! Modules: components stored by the host.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::model::{MessageType, Name};
use quipu::runtime::{Module, Step};

use crate::{DefinitionView, TypeVersion};

/// The contents of a component.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ModuleView {
    /// SHA-256 of its bytes.
    pub digest: String,
    /// The smallest world of the contract that has the component's exports.
    pub world: String,
    /// Name in its manifest: it is deployed under this name.
    pub name: String,
    /// Version in its manifest.
    pub version: String,
    /// Length in bytes.
    pub bytes: u64,
    /// `decider`, `upcaster`, `projection`.
    pub exports: Vec<String>,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// Commands that it decides.
    pub commands: Vec<TypeView>,
    /// Events that it writes.
    pub events: Vec<TypeView>,
    /// Projections that it defines.
    #[serde(default)]
    pub projections: Vec<DefinitionView>,
    /// Schema version of its decider's state in snapshots; 0 if there is no decider.
    #[serde(default)]
    pub state_schema_version: u32,
    /// Older schema versions of the state that it migrates.
    #[serde(default)]
    pub migrations: Vec<MigrationView>,
    /// Steps of its upcaster.
    #[serde(default)]
    pub steps: Vec<UpcastView>,
    /// Public keys of those who signed it, in base64.
    #[serde(default)]
    pub signed_by: Vec<String>,
}

/// A migration of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MigrationView {
    /// The schema version that it migrates from.
    pub from: u32,
    /// The schema version that it migrates to.
    pub to: u32,
}

/// A step of an upcaster, as its component declares it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpcastView {
    /// Category whose events it lifts.
    pub category: String,
    /// The event type that it lifts.
    pub from: TypeVersion,
    /// The event types that it returns; empty: the event is dropped.
    pub to: Vec<TypeVersion>,
}

/// A type of commands or events.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TypeView {
    /// Its name.
    pub name: String,
    /// Its current schema version.
    pub schema_version: u32,
    /// Its older names.
    pub aliases: Vec<String>,
    /// Media type of its data.
    pub content_type: String,
}

/// Modules of the store.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ModuleList {
    /// Oldest first.
    pub modules: Vec<ModuleEntry>,
}

/// A module of the store.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ModuleEntry {
    /// SHA-256 of its bytes.
    pub digest: String,
    /// Length in bytes.
    pub bytes: u64,
    /// When it was uploaded.
    #[schema(format = "date-time")]
    pub uploaded_at: String,
    /// The name under which it was last activated; null when it never was.
    pub name: Option<String>,
    /// Whether it is active.
    pub active: bool,
}

/// Modules that were never activated.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PrunedView {
    /// Whether they were removed.
    pub removed: bool,
    /// Oldest first.
    pub modules: Vec<PrunedModule>,
}

/// A module that was never activated.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PrunedModule {
    /// SHA-256 of its bytes.
    pub digest: String,
    /// Length in bytes.
    pub bytes: u64,
    /// When it was uploaded.
    #[schema(format = "date-time")]
    pub uploaded_at: String,
}

impl ModuleView {
    /// The view of a module.
    pub fn of(module: &Module) -> Self {
        let manifest = module.manifest();
        Self {
            digest: module.digest().to_string(),
            world: module.world().to_owned(),
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            bytes: module.size() as u64,
            exports: module.exports().iter().map(ToString::to_string).collect(),
            imports: module.imports().to_vec(),
            commands: manifest.commands.iter().map(TypeView::of).collect(),
            events: manifest.events.iter().map(TypeView::of).collect(),
            projections: module
                .projections()
                .iter()
                .map(DefinitionView::of)
                .collect(),
            state_schema_version: manifest.state_schema_version,
            migrations: manifest.migrations.iter().map(MigrationView::of).collect(),
            steps: module.steps().iter().map(UpcastView::of).collect(),
            signed_by: Vec::new(),
        }
    }
}

impl MigrationView {
    fn of((from, to): &(u32, u32)) -> Self {
        Self {
            from: *from,
            to: *to,
        }
    }
}

impl UpcastView {
    fn of(step: &Step) -> Self {
        let version = |name: &Name, schema_version: u32| TypeVersion {
            r#type: name.to_string(),
            schema_version,
        };
        let to = step.to.iter();
        Self {
            category: step.category.as_str().to_owned(),
            from: version(&step.name, step.from_version),
            to: to.map(|(name, to)| version(name, *to)).collect(),
        }
    }
}

impl TypeView {
    fn of(known: &MessageType) -> Self {
        Self {
            name: known.name.to_string(),
            schema_version: known.schema_version,
            aliases: known.aliases.iter().map(ToString::to_string).collect(),
            content_type: known.content_type.to_string(),
        }
    }
}
