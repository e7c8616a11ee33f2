//! What is done to a store without a request, as the audit records it.

use quipu::access::{Audit, LOCAL_OPERATOR};
use quipu::model::Timestamp;
use quipu::store::{self, AuditEntry};

/// Longest object in a record, in bytes.
const OBJECT_BYTES_MAX: usize = 512;

/// Something that is done to a store without a request. If the process dies in between, the record
/// has the result `unknown`.
pub struct LocalDeed {
    audit: Audit,
    entry: AuditEntry,
    begun: u64,
}

impl LocalDeed {
    /// Records that it begins.
    ///
    /// # Errors
    /// When the store fails. Then it must not be done.
    pub async fn begin(
        audit: Audit,
        operation: &str,
        object: &str,
        reason: Option<&str>,
    ) -> store::Result<Self> {
        let object = &object[..object.floor_char_boundary(OBJECT_BYTES_MAX)];
        let entry = AuditEntry {
            at: Timestamp::default(),
            principal: Some(LOCAL_OPERATOR.into()),
            origin: None,
            operation: operation.into(),
            object: object.into(),
            result: "done".into(),
            reason: reason.map(Into::into),
        };
        let begun = audit.begin(entry.clone()).await?;
        Ok(Self {
            audit,
            entry,
            begun,
        })
    }

    /// Records that it was done.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn done(self) -> store::Result<()> {
        self.audit.record(self.entry, Some(self.begun)).await
    }

    /// Records that it was done in part, with the code of the error that ended it. If the store can't
    /// take the record, the next host records `unknown`.
    pub async fn done_in_part(mut self, code: &str) {
        self.entry.result = code.into();
        if let Err(error) = self.done().await {
            tracing::warn!(%error, "the audit will have an operation that failed as unknown");
        }
    }

    /// Nothing was changed, so there is no record.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn withdraw(self) -> store::Result<()> {
        self.audit.withdraw(self.begun).await
    }

    /// It failed. If it may have been done nevertheless, the next host records it as `unknown`.
    pub async fn failed(self, may_be_done: bool) {
        if may_be_done {
            return;
        }
        if let Err(error) = self.withdraw().await {
            tracing::warn!(%error, "an operation failed, and the audit will name its result unknown");
        }
    }
}
