//! Listing streams.

use std::sync::Arc;

use quipu_model::{StreamId, Timestamp, Version};

/// Most streams in a page.
pub const STREAMS_PAGE_MAX: usize = 1_000;

/// Selects streams to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamFilter {
    /// Only those of this category.
    pub category: Option<Arc<str>>,
    /// Whether to list archived streams.
    pub archived: ArchivedStreams,
}

/// Whether a list includes archived streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ArchivedStreams {
    /// Archived streams are excluded.
    #[default]
    Without,
    /// Archived streams are listed among the others.
    With,
    /// Only archived streams are listed.
    Only,
}

/// A stream in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its id.
    pub stream: StreamId,
    /// Its version, 1 or more.
    pub version: Version,
    /// When its last event was recorded.
    pub recorded_at: Timestamp,
    /// When it was archived; none when it is not archived.
    pub archived_at: Option<Timestamp>,
    /// Events before this version are hidden from its reads; 0 when none are hidden.
    pub truncated_before: Version,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct StreamsPage {
    /// The streams.
    pub streams: Vec<StreamInfo>,
    /// The id after which to continue; none at the end.
    pub next: Option<String>,
}

impl StreamsPage {
    /// A page of streams that were read up to its limit.
    pub(crate) fn new(streams: Vec<StreamInfo>, limit: usize) -> Self {
        let last = streams.last().filter(|_| streams.len() == limit);
        let next = last.map(|last| last.stream.as_str().to_owned());
        Self { streams, next }
    }
}
