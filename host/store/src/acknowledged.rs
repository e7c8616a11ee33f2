//! Findings that an operator has acknowledged.

use futures::future::BoxFuture;

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
pub trait AcknowledgementStore: Send + Sync {
    /// Records an acknowledgement, in place of an earlier one of the same finding. Durable
    /// when it answers. False, and nothing is recorded, when the store holds
    /// [`ACKNOWLEDGED_MAX`] others.
    fn acknowledge<'a>(
        &'a self,
        acknowledgement: &'a Acknowledgement,
    ) -> BoxFuture<'a, Result<bool>>;

    /// Withdraws an acknowledgement. False when there is none of this name.
    fn withdraw<'a>(&'a self, finding: &'a str) -> BoxFuture<'a, Result<bool>>;

    /// Up to `limit` acknowledgements, at most [`ACKNOWLEDGED_PAGE_MAX`], in the order of the
    /// bytes of their names, after a name.
    fn acknowledged<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Acknowledgement>>>;
}
