//! Commands that the domain said no to.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{Direction, Result};
use crate::model::{CommandRecord, Digest, StreamId, Version};

/// Most rejections of one page: each may have 64 KiB.
pub const REJECTIONS_PAGE_MAX: usize = 100;

/// A command that was rejected. It is no part of the log, and may be forgotten.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Rises with time; the store gives it.
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
    /// The guest's words.
    pub message: String,
}

impl Rejected {
    /// A guest's words as they are kept: databases take no NUL.
    pub fn kept(words: &str) -> String {
        words.replace('\0', "\u{fffd}")
    }
}

/// The last rejections of each category.
pub trait RejectionStore: Send + Sync {
    /// Keeps rejections, and forgets the oldest ones of their categories beyond so many.
    fn keep<'a>(&'a self, rejected: &'a [Rejected], max: u64) -> BoxFuture<'a, Result<()>>;

    /// Up to `limit` rejections, at most [`REJECTIONS_PAGE_MAX`]: forward those behind a
    /// number, oldest first; backward those before it, newest first.
    fn read<'a>(
        &'a self,
        category: Option<&'a str>,
        from: u64,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Rejected>>>;
}
