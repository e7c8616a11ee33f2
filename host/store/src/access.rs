//! Tokens of callers, and the audit.

use async_trait::async_trait;

use super::Result;
use quipu_model::Timestamp;

/// Most tokens of a store that are not revoked. As many revoked ones are kept.
pub const TOKENS_MAX: usize = 10_000;

/// Most audit records of one page.
pub const AUDIT_PAGE_MAX: usize = 1_000;

/// A caller's token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// Its public part, which finds it.
    pub id: Box<str>,
    /// Whom it was made for. The host knows the caller by this name.
    pub name: Box<str>,
    /// SHA-256 of the secret.
    pub hash: [u8; 32],
    /// What it allows, as JSON.
    pub grant: Box<str>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it, as far as the host knows.
    pub created_by: Option<Box<str>>,
    /// From when on it is refused; none for never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to about a minute.
    pub used_at: Option<Timestamp>,
}

/// Tokens, by id.
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// Stores a new token. It is durable when the call returns. Returns false and stores nothing
    /// when there is a token of this id or with this name that is not revoked, or
    /// [`TOKENS_MAX`] others that are not revoked.
    async fn add(&self, token: &StoredToken) -> Result<bool>;

    /// Revokes a token, for good. It is durable when the call returns. Returns false when there is
    /// none of this id, or it is revoked already.
    async fn revoke(&self, id: &str, at: Timestamp) -> Result<bool>;

    /// Records that a token was used.
    async fn used(&self, id: &str, at: Timestamp) -> Result<()>;

    /// Returns all tokens, in the order in which they were made.
    async fn tokens(&self) -> Result<Vec<StoredToken>>;
}

/// What somebody did, or tried to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it was answered.
    pub at: Timestamp,
    /// Who did it; none for a caller without a name.
    pub principal: Option<Box<str>>,
    /// Where from: an address.
    pub origin: Option<Box<str>>,
    /// The operation, by its id in the description of the interface.
    pub operation: Box<str>,
    /// What it was done to: the path of the request.
    pub object: Box<str>,
    /// `done`, or the code of the problem.
    pub result: Box<str>,
    /// Why, in the caller's words.
    pub reason: Option<Box<str>>,
}

/// An entry of the audit with its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number: 1 for the first, without gaps.
    pub number: u64,
    /// What was done.
    pub entry: AuditEntry,
    /// The digest over this record and the digest of the one before it.
    pub digest: [u8; 32],
}

/// An operation that has begun, and whose record is still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunEntry {
    /// Names it until it is recorded. Never used a second time.
    pub id: u64,
    /// What is known of it; `at` is when it began.
    pub entry: AuditEntry,
}

/// Computes the digest of a record from the digest before it, its number and what was done.
pub type Chain = fn(&[u8; 32], u64, &AuditEntry) -> [u8; 32];

/// The audit: records that are only ever added.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Appends an entry, and ends the operation that it records, if one was begun. It is durable when
    /// the call returns. The record's digest is computed from the digest of the record before it, which
    /// is 32 zero bytes for the first one, and its number.
    async fn append(&self, entry: &AuditEntry, begun: Option<u64>, digest: Chain) -> Result<()>;

    /// Stores that an operation begins. It is durable when the call returns. Returns what names it.
    async fn begin(&self, entry: &AuditEntry) -> Result<u64>;

    /// Returns up to [`AUDIT_PAGE_MAX`] operations that began before a time and are not recorded, in
    /// the order in which they began.
    async fn begun(&self, before: Timestamp) -> Result<Vec<BegunEntry>>;

    /// Appends an entry for an operation whose host has gone. Returns false and appends nothing when
    /// the operation is recorded meanwhile.
    async fn settle(&self, entry: &AuditEntry, begun: u64, digest: Chain) -> Result<bool>;

    /// Ends an operation that nobody records.
    async fn withdraw(&self, begun: u64) -> Result<()>;

    /// Whether other hosts may have the store open.
    fn is_shared(&self) -> bool;

    /// Returns up to `limit` records, at most [`AUDIT_PAGE_MAX`], after a number.
    async fn records(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>>;

    /// Returns the number of the last record; 0 without any.
    async fn last(&self) -> Result<u64>;
}
