//! Listing streams.

use std::sync::Arc;

use quipu_model::{StreamId, Timestamp, Version};

/// Most streams in a page.
pub const STREAMS_PAGE_MAX: usize = 1_000;

/// Which streams to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamFilter {
    /// Only those of this category.
    pub category: Option<Arc<str>>,
    /// What becomes of archived ones.
    pub archived: ArchivedStreams,
}

/// What becomes of archived streams in a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ArchivedStreams {
    /// They are left out.
    #[default]
    Without,
    /// They are listed among the others.
    With,
    /// Nothing else is listed.
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
    /// Since when it is archived.
    pub archived_at: Option<Timestamp>,
    /// Events before this version have left its reads; 0: none have.
    pub truncated_before: Version,
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct StreamsPage {
    /// The streams.
    pub streams: Vec<StreamInfo>,
    /// The id to go on behind; none at the end.
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
