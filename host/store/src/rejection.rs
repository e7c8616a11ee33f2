//! Commands that the domain rejected.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Direction, Error, Result};
use quipu_model::{Body, CommandRecord, ContentType, Digest, StreamId, Version};

/// Most rejections of one page: each may have 64 KiB, and its details.
pub const REJECTIONS_PAGE_MAX: usize = 100;

/// Most bytes of the details of a stored rejection. Larger details are left out, because a part of
/// a document is of no use to a program. The rejection is stored without them.
pub const DETAILS_BYTES_MAX: usize = 16 << 10;

/// A command that was rejected. It is not part of the log, and may be removed.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// The number, which rises with time. The store assigns it.
    pub id: u64,
    /// The stream.
    pub stream: StreamId,
    /// The version of the stream on whose state it was decided.
    pub version: Version,
    /// The plan under which it was decided.
    pub plan: u64,
    /// The module that decided.
    pub module: Digest,
    /// The command.
    pub command: Arc<CommandRecord>,
    /// The guest's code.
    pub code: String,
    /// The guest's message.
    pub message: String,
    /// Details from the guest, for programs; none when they have more than [`DETAILS_BYTES_MAX`].
    pub details: Option<Body>,
}

impl Rejected {
    /// Details as they are stored.
    pub fn details_to_store(details: Option<&Body>) -> Option<Body> {
        let fitting = details.filter(|details| details.len() <= DETAILS_BYTES_MAX);
        fitting.cloned()
    }

    /// Returns the bytes and the media type of the details, as databases store them: no media type
    /// for JSON.
    pub(super) fn stored_details(&self) -> (Option<&[u8]>, Option<&str>) {
        let Some(details) = &self.details else {
            return (None, None);
        };
        let media_type = match details.content_type() {
            ContentType::Json => None,
            ContentType::Other(name) => Some(&**name),
        };
        (Some(details.bytes()), media_type)
    }

    /// Decodes details from a database.
    pub(super) fn details_of(
        bytes: Option<&[u8]>,
        media_type: Option<&str>,
    ) -> Result<Option<Body>> {
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let content_type = media_type.map_or(Ok(ContentType::Json), ContentType::new);
        let content_type = content_type
            .map_err(|error| Error::Damaged(format!("details of a rejection: {error}")))?;
        Ok(Some(Body::stored(
            content_type,
            Bytes::copy_from_slice(bytes),
        )))
    }

    /// A guest's message as it is stored, because databases accept no NUL.
    pub fn text_to_store(words: &str) -> String {
        words.replace('\0', "\u{fffd}")
    }
}

/// Which rejections to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectionFilter<'a> {
    /// All.
    All,
    /// Those of the streams of a category.
    Category(&'a str),
    /// Those of a stream. No index finds them: all rejections of its category are searched, of which
    /// a bounded number is stored.
    Stream(&'a StreamId),
}

/// The last rejections of each category.
#[async_trait]
pub trait RejectionStore: Send + Sync {
    /// Stores rejections, and removes the oldest ones of their categories, so that at most this
    /// many remain in each.
    async fn keep(&self, rejected: &[Rejected], max: u64) -> Result<()>;

    /// Returns up to `limit` rejections, at most [`REJECTIONS_PAGE_MAX`]: forward those after a
    /// number, oldest first; backward those before it, newest first.
    async fn read(
        &self,
        filter: RejectionFilter<'_>,
        from: u64,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Rejected>>;
}
