//! Types of events: what the active modules declare, and what the store holds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::app::{EventType, Lifting, StoredForm};
use quipu::model::{Name, Position, Timestamp};
use quipu::runtime::Module;

/// Types of events.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TypeList {
    /// The types in order of category and name.
    pub types: Vec<EventTypeView>,
}

/// A type of events in one category.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EventTypeView {
    /// The category.
    pub category: String,
    /// Its canonical name.
    pub r#type: String,
    /// The version that the active decider writes; null when it does not name the type.
    pub schema_version: Option<u32>,
    /// Older names.
    pub aliases: Vec<String>,
    /// Whether an active module names it, or the host itself writes it.
    pub known: bool,
    /// Active modules that write it.
    pub written_by: Vec<ModuleName>,
    /// Active modules that read it, each with the version that it reads.
    pub read_by: Vec<TypeReader>,
    /// Steps of active upcasters that lift it, or lead to it.
    pub steps: Vec<StepView>,
    /// The stored forms; empty when it was never written.
    pub stored: Vec<StoredFormView>,
}

/// A module in short form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModuleName {
    /// Name of its manifest.
    pub name: String,
    /// Version of its manifest.
    pub version: String,
    /// SHA-256 of its bytes.
    pub digest: String,
}

/// A module that reads a type.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TypeReader {
    /// The module.
    #[serde(flatten)]
    pub module: ModuleName,
    /// The version that it reads.
    pub schema_version: u32,
}

/// A step of an upcaster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// The module of the upcaster.
    pub module: ModuleName,
    /// The type that it lifts.
    pub from: TypeVersion,
    /// The types that it returns; empty: the event is dropped.
    pub to: Vec<TypeVersion>,
}

/// A type at a schema version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TypeVersion {
    /// The type.
    pub r#type: String,
    /// The schema version.
    pub schema_version: u32,
}

/// Stored events of one name, schema version and content type.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StoredFormView {
    /// The name.
    pub r#type: String,
    /// The schema version.
    pub schema_version: u32,
    /// Media type of the data.
    pub content_type: String,
    /// Number of events.
    pub events: u64,
    /// The first of them.
    pub oldest: EventPlace,
    /// The last of them.
    pub newest: EventPlace,
    /// How the active decider, or any reader of the log if there is none, receives them: `stored`:
    /// unchanged; `renamed`: under another name or version; `lifted` by upcasters; `too-new` for
    /// the decider or `unknown` to it: loading their streams fails.
    pub read: String,
}

/// Position and time of an event.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EventPlace {
    /// Its position.
    pub position: u64,
    /// When it was recorded.
    #[schema(format = "date-time")]
    pub recorded_at: String,
}

impl EventTypeView {
    /// The view of a type of events.
    pub fn of(known: &EventType) -> Self {
        let decider = known.decider.as_deref();
        let reads = decider.zip(known.schema_version);
        Self {
            category: known.category.to_string(),
            r#type: known.name.to_string(),
            schema_version: known.schema_version,
            aliases: known.aliases.iter().map(ToString::to_string).collect(),
            known: known.is_known(),
            written_by: decider.into_iter().map(ModuleName::of).collect(),
            read_by: reads.into_iter().map(TypeReader::of).collect(),
            steps: known.steps.iter().map(StepView::of).collect(),
            stored: known.stored.iter().map(StoredFormView::of).collect(),
        }
    }
}

impl ModuleName {
    fn of(module: &Module) -> Self {
        Self {
            name: module.manifest().name.clone(),
            version: module.manifest().version.clone(),
            digest: module.digest().to_string(),
        }
    }
}

impl TypeReader {
    fn of((module, schema_version): (&Module, u32)) -> Self {
        Self {
            module: ModuleName::of(module),
            schema_version,
        }
    }
}

impl StepView {
    fn of(Lifting { module, step }: &Lifting) -> Self {
        let to = step.to.iter();
        Self {
            module: ModuleName::of(module),
            from: TypeVersion::of(&step.name, step.from_version),
            to: to.map(|(name, it)| TypeVersion::of(name, *it)).collect(),
        }
    }
}

impl TypeVersion {
    fn of(name: &Name, schema_version: u32) -> Self {
        Self {
            r#type: name.to_string(),
            schema_version,
        }
    }
}

impl StoredFormView {
    fn of(StoredForm { used, read }: &StoredForm) -> Self {
        Self {
            r#type: used.name.to_string(),
            schema_version: used.schema_version,
            content_type: used.content_type.to_string(),
            events: used.events,
            oldest: EventPlace::of(used.oldest),
            newest: EventPlace::of(used.newest),
            read: read.as_str().to_owned(),
        }
    }
}

impl EventPlace {
    fn of((position, recorded_at): (Position, Timestamp)) -> Self {
        Self {
            position: position.0,
            recorded_at: recorded_at.to_string(),
        }
    }
}
