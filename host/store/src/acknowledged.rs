//! Findings that an operator has acknowledged.

use async_trait::async_trait;

use super::Result;
use quipu_model::Timestamp;

/// Most findings that a store holds as acknowledged.
pub const ACKNOWLEDGED_MAX: usize = 10_000;

/// Most acknowledgements of one page.
pub const ACKNOWLEDGED_PAGE_MAX: usize = 1_000;

/// A finding that an operator has acknowledged: it no longer fails a verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The finding's name.
    pub finding: Box<str>,
    /// Why it is acknowledged.
    pub reason: Box<str>,
    /// When it was acknowledged.
    pub at: Timestamp,
    /// Who acknowledged it, as far as the host knows.
    pub by: Option<Box<str>>,
}

/// Acknowledged findings, by name.
#[async_trait]
pub trait AcknowledgementStore: Send + Sync {
    /// Records an acknowledgement, in place of an earlier one of the same finding. It is durable
    /// when the call returns. Returns false and records nothing when the store holds
    /// [`ACKNOWLEDGED_MAX`] others.
    async fn acknowledge(&self, acknowledgement: &Acknowledgement) -> Result<bool>;

    /// Withdraws an acknowledgement. Returns false when there is none of this name.
    async fn withdraw(&self, finding: &str) -> Result<bool>;

    /// Returns up to `limit` acknowledgements, at most [`ACKNOWLEDGED_PAGE_MAX`], in the order of
    /// the bytes of their names, after a name.
    async fn acknowledged(&self, after: Option<&str>, limit: usize)
    -> Result<Vec<Acknowledgement>>;
}
