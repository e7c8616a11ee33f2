//! Causes and consequences as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use quipu::app::{Trace, Traced};

use crate::choices;

/// The causes and the consequences of an event, of a command, or of a conversation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TraceView {
    /// The id that was asked for.
    pub id: String,
    /// What the id is. `causation`: the id of a message outside of the store that led to a commit.
    #[schema(value_type = choices::FoundAs)]
    pub found_as: String,
    /// A tree in the order of the log: each entry is followed by its consequences.
    pub entries: Vec<TraceEntry>,
    /// Number of events and rejections of streams that the caller may not read.
    pub left_out: u64,
    /// Why the tree may not be complete: `limit`, it has as many entries as `limit` allows; `search`,
    /// the search ended at its bound. Null when it is complete.
    #[schema(value_type = Option<choices::TraceCut>)]
    pub cut: Option<String>,
    /// The lowest position that was searched.
    pub searched_from: u64,
    /// The highest position that was searched.
    pub searched_to: u64,
    /// Position of the last event in the log; 0 for an empty one.
    pub head: u64,
}

/// An event, or a rejected command, without its data.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TraceEntry {
    /// Number of causes above it in the tree.
    pub depth: u64,
    /// Position of the event that led to it; null if that is not in the tree.
    pub cause: Option<u64>,
    /// Its position; null for a rejected command.
    pub position: Option<u64>,
    /// Its id, a UUID; null for a rejected command.
    pub id: Option<String>,
    /// Its stream.
    pub stream: String,
    /// Its version; for a rejected command the version of the stream at the time of the decision.
    pub version: u64,
    /// Type of the event, or of the rejected command.
    pub r#type: String,
    /// When it was recorded, or when the rejected command was accepted for execution.
    #[schema(format = "date-time")]
    pub recorded_at: String,
    /// The code of the rejection; null for an event.
    pub rejection: Option<String>,
    /// The id of its command or append; null for an append without an id.
    pub command_id: Option<String>,
    /// Groups messages that belong to one conversation.
    pub correlation_id: Option<String>,
    /// The message that led to it.
    pub causation_id: Option<String>,
    /// Digest of the module that decided; null for a direct append.
    pub module: Option<String>,
    /// The plan under which it was decided or appended.
    pub plan: u64,
    /// Who sent the command or the append.
    pub principal: Option<String>,
    /// Whether the id that was asked for names it.
    pub is_match: bool,
}

impl TraceView {
    /// The view of a trace.
    pub fn of(id: &str, trace: &Trace) -> Self {
        Self {
            id: id.to_owned(),
            found_as: trace.found_as.as_str().to_owned(),
            entries: trace.entries.iter().map(TraceEntry::of).collect(),
            left_out: trace.left_out,
            cut: trace.cut.map(|cut| cut.as_str().to_owned()),
            searched_from: trace.searched.0.0,
            searched_to: trace.searched.1.0,
            head: trace.head.0,
        }
    }
}

impl TraceEntry {
    fn of(traced: &Traced) -> Self {
        let commit = &*traced.commit;
        let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
        Self {
            depth: traced.depth as u64,
            cause: traced.cause.map(|position| position.0),
            position: traced.position.map(|position| position.0),
            id: traced.id.map(|id| id.to_string()),
            stream: traced.stream.as_str().to_owned(),
            version: traced.version.0,
            r#type: traced.name.as_str().to_owned(),
            recorded_at: traced.at.to_string(),
            rejection: traced.rejection.clone(),
            command_id: commit.command_id.as_ref().map(|id| id.as_str().to_owned()),
            correlation_id: text(&commit.correlation_id),
            causation_id: text(&commit.causation_id),
            module: commit.module.map(|module| module.to_string()),
            plan: commit.plan,
            principal: text(&commit.principal),
            is_match: traced.is_match,
        }
    }
}
