//! Projections as a component defines them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::model::Index;
use quipu::runtime::{Definition, Source};

use crate::choices;

/// A projection as its component defines it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct DefinitionView {
    /// Name of its documents.
    pub name: String,
    /// Version of the definition.
    pub version: u32,
    /// The events that it receives.
    pub sources: Vec<SourceView>,
    /// Whether it sees the events' tags.
    pub tags: bool,
    /// Whether it sees the events' metadata.
    pub annotations: bool,
    /// Values by which its documents can be found.
    pub indexes: Vec<IndexView>,
}

/// Events of one category.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SourceView {
    /// Null: every category.
    pub category: Option<String>,
    /// Types of events; empty: every type.
    pub events: Vec<SourceEventView>,
}

/// A type of event that a projection names.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SourceEventView {
    /// The type.
    #[serde(rename = "type")]
    pub name: String,
    /// Version to which events are lifted; 0: the version that the category's decider reads.
    pub schema_version: u32,
}

/// A value by which documents can be found.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IndexView {
    /// Its name.
    pub name: String,
    /// JSON pointer into the document.
    pub pointer: String,
    /// `text`, `integer`, `number` or `boolean`.
    #[schema(value_type = choices::IndexKind)]
    pub kind: String,
}

impl DefinitionView {
    /// The view of a definition.
    pub fn of(definition: &Definition) -> Self {
        Self {
            name: definition.name.to_string(),
            version: definition.version,
            sources: definition.sources.iter().map(SourceView::of).collect(),
            tags: definition.detail.tags,
            annotations: definition.detail.annotations,
            indexes: definition.indexes.iter().map(IndexView::of).collect(),
        }
    }
}

impl SourceView {
    fn of(source: &Source) -> Self {
        let events = source.events.iter();
        Self {
            category: source.category.as_deref().map(ToOwned::to_owned),
            events: events
                .map(|(name, schema_version)| SourceEventView {
                    name: name.to_string(),
                    schema_version: *schema_version,
                })
                .collect(),
        }
    }
}

impl IndexView {
    fn of(index: &Index) -> Self {
        Self {
            name: index.name.to_string(),
            pointer: index.pointer.to_string(),
            kind: index.kind.to_string(),
        }
    }
}
