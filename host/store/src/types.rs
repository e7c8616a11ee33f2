//! The types of events that a store holds, with their counts.

use std::sync::Arc;

use async_trait::async_trait;

use super::Result;
use quipu_model::{ContentType, Name, Position, Timestamp};

/// Events of one type, schema version and content type, as they are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeUse {
    /// The category of their streams.
    pub category: Arc<str>,
    /// Their type.
    pub name: Name,
    /// Their schema version.
    pub schema_version: u32,
    /// Their content type.
    pub content_type: ContentType,
    /// How many there are; 1 or more.
    pub events: u64,
    /// The first of them.
    pub oldest: (Position, Timestamp),
    /// The last of them.
    pub newest: (Position, Timestamp),
}

/// Counts events by type, independently of appends.
#[async_trait]
pub trait TypeStore: Send + Sync {
    /// Counts the events that were appended since the last count, and returns the totals up to the
    /// end of the log, in order of category, type, schema version and content type. The first count
    /// of a long log takes as long as reading it. It is stored in steps, so that an interrupted
    /// count does not restart from scratch.
    async fn types(&self) -> Result<Vec<TypeUse>>;
}
