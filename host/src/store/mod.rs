//! The event store: what a back-end promises, and the back-ends.
//!
//! [`EventReader`] reads streams and the log, [`EventWriter`] is the one writer of
//! a host, [`ModuleStore`] keeps components and the history of the plan. The rules
//! of an append that back-ends share stand in [`classify`](mod@classify); each
//! back-end brings its own statements.

pub(crate) mod classify;
mod error;
mod item;
mod memory;
mod page;
mod record;
mod sqlite;
mod url;

use futures::future::BoxFuture;

pub use error::Error;
pub use item::{
    Activation, Appended, Check, Commit, Decided, Item, KnownCommit, KnownEvent, Outcome, RunId,
    Write,
};
pub use page::{
    Direction, Filter, Head, LOG_PAGE_MAX, LoadPage, LoadedEvent, LogPage, PAGE_BYTES_MAX,
    STREAM_PAGE_MAX, StreamPage,
};
pub use url::{StoreUrl, open};

use crate::model::{Digest, Position, StreamId, Timestamp, Version};

/// What a read or a write ends in.
pub type Result<T> = std::result::Result<T, Error>;

/// Reads committed events. Shared by all who read; never blocks the writer.
pub trait EventReader: Send + Sync {
    /// Where a stream stands; none when there is no such stream.
    fn head<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<Head>>>;

    /// Up to `limit` events of a stream, at most [`STREAM_PAGE_MAX`]: forward those
    /// from version `from` on, backward those from `from` down. None when there is
    /// no such stream. A page ends early at [`PAGE_BYTES_MAX`].
    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<StreamPage>>>;

    /// Up to `limit` events of the log, at most [`LOG_PAGE_MAX`]: forward those
    /// after position `after`, backward those before it. A page may hold fewer
    /// events than the limit, or none, before the end: go on from its `next`.
    fn read_log<'a>(
        &'a self,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &'a Filter,
    ) -> BoxFuture<'a, Result<LogPage>>;

    /// What a fold needs of the events after a version: at most `limit` of them.
    fn load<'a>(
        &'a self,
        stream: &'a StreamId,
        after: Version,
        limit: usize,
    ) -> BoxFuture<'a, Result<LoadPage>>;

    /// Position of the last event; 0 for an empty log.
    fn log_head(&self) -> BoxFuture<'_, Result<Position>>;
}

/// The one way into the log. A host has one writer for a store.
pub trait EventWriter: Send {
    /// Commits what the items ask for, all in one transaction: items are taken in
    /// order, each passes or is refused by itself, and the answer is durable.
    /// Outcome i belongs to item i.
    ///
    /// # Errors
    /// When the transaction failed as a whole: then nothing of it is stored.
    fn commit<'a>(&'a mut self, items: &'a [Item]) -> BoxFuture<'a, Result<Vec<Outcome>>>;

    /// Flushes what can be flushed and releases the store.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<()>>;
}

/// Components and the history of the plan.
pub trait ModuleStore: Send + Sync {
    /// Keeps a component's bytes. False when they were there already.
    fn put<'a>(
        &'a self,
        digest: Digest,
        bytes: &'a [u8],
        at: Timestamp,
    ) -> BoxFuture<'a, Result<bool>>;

    /// The bytes of a component.
    fn get(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Vec<u8>>>>;

    /// Every component: digest, size in bytes, when it was uploaded.
    fn list(&self) -> BoxFuture<'_, Result<Vec<StoredModule>>>;

    /// Every activation, oldest first.
    fn deployments(&self) -> BoxFuture<'_, Result<Vec<Deployment>>>;
}

/// A component in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredModule {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Length in bytes.
    pub bytes: u64,
    /// When it came.
    pub uploaded_at: Timestamp,
}

/// One activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The plan that it led to.
    pub plan: u64,
    /// Name of the module's manifest.
    pub name: String,
    /// The module that became active.
    pub digest: Digest,
    /// When.
    pub activated_at: Timestamp,
    /// By whom, as far as the host knows.
    pub activated_by: Option<String>,
}

/// A store that has been opened.
pub struct Store {
    /// Reads.
    pub reader: std::sync::Arc<dyn EventReader>,
    /// Writes.
    pub writer: Box<dyn EventWriter>,
    /// Components and plan.
    pub modules: std::sync::Arc<dyn ModuleStore>,
    /// A secret of the store, from which seeds are derived.
    pub secret: [u8; 32],
}
