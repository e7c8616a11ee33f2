//! The audit: who did what, in a chain of digests.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::model::{Clock, Timestamp};
use crate::store::{self, AUDIT_PAGE_MAX, AuditEntry, AuditRecord, AuditStore};

/// The result of an operation whose host has gone: nobody knows whether it was done.
const UNKNOWN: &str = "unknown";
/// The name of whoever changes a store without a request: with `--store`, or by the start of a host. No
/// caller has it, because names of tokens have no colon, and no issuer is named `local`.
pub const LOCAL_OPERATOR: &str = "local:operator";
/// An operation that began this long ago is not the work of a host that still lives.
const ABANDONED: Duration = Duration::from_secs(60 * 60);
/// Pause between two checks for operations of hosts that have gone.
pub(crate) const CHECK_PAUSE: Duration = Duration::from_secs(10 * 60);

/// The audit of a store.
#[derive(Clone)]
pub struct Audit {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
}

/// The result of checking the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// How many records are in order, from the first one on.
    pub records: u64,
    /// The digest of the last of them. A copy kept elsewhere shows later whether records were
    /// removed at the end.
    pub digest: [u8; 32],
    /// The first record that is not in order.
    pub broken: Option<Broken>,
}

/// A record that is not in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its number.
    pub number: u64,
    /// What is wrong.
    pub why: &'static str,
}

impl Audit {
    /// The audit of a store.
    pub fn new(store: Arc<dyn AuditStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Stores that an operation begins, with the time of now. It is durable when the call returns, so
    /// that nothing is changed without a record even if the host dies. Returns what names it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begin(&self, entry: AuditEntry) -> store::Result<u64> {
        self.store.begin(&self.now(entry)).await
    }

    /// Appends an entry, with the time of now, and ends the operation that was begun. It is durable
    /// when the call returns.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn record(&self, entry: AuditEntry, begun: Option<u64>) -> store::Result<()> {
        self.store.append(&self.now(entry), begun, chain).await
    }

    /// Ends an operation that was begun and that nobody records.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn withdraw(&self, begun: u64) -> store::Result<()> {
        self.store.withdraw(begun).await
    }

    fn now(&self, entry: AuditEntry) -> AuditEntry {
        let at = self.clock.now();
        AuditEntry { at, ..entry }
    }

    /// Records what the host before left, if no other host can have the store open. Nothing may have
    /// begun yet.
    pub(crate) async fn settle_left(&self) {
        match self.store.is_shared() {
            true => self.settle_abandoned().await,
            false => self.settle_or_warn(Timestamp(u64::MAX)).await,
        }
    }

    /// Records what began an hour ago: its host has gone.
    pub(crate) async fn settle_abandoned(&self) {
        let Timestamp(now) = self.clock.now();
        let ago = u64::try_from(ABANDONED.as_micros()).unwrap_or(u64::MAX);
        let before = Timestamp(now.saturating_sub(ago));
        self.settle_or_warn(before).await;
    }

    async fn settle_or_warn(&self, before: Timestamp) {
        if let Err(error) = self.settle(before).await {
            tracing::warn!(%error, "operations of a host that has gone could not be recorded");
        }
    }

    /// Records operations that began before a time. Their result is `unknown`, and their time that at
    /// which they began.
    async fn settle(&self, before: Timestamp) -> store::Result<()> {
        loop {
            let page = self.store.begun(before).await?;
            if page.is_empty() {
                return Ok(());
            }
            for begun in page {
                let entry = AuditEntry {
                    result: UNKNOWN.into(),
                    ..begun.entry
                };
                self.store.settle(&entry, begun.id, chain).await?;
            }
        }
    }

    /// Returns up to `limit` records, at most 1,000, after a number.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn records(&self, after: u64, limit: usize) -> store::Result<Vec<AuditRecord>> {
        self.store.records(after, limit).await
    }

    /// Returns the number of the last record; 0 without any.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn last(&self) -> store::Result<u64> {
        self.store.last().await
    }

    /// Recomputes every digest and compares it with the stored one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn verify(&self) -> store::Result<Checked> {
        check_chain(&*self.store).await
    }
}

/// Recomputes the digests of an audit, up to the first record that does not have its digest.
///
/// # Errors
/// When the store fails.
pub async fn check_chain(audit: &dyn AuditStore) -> store::Result<Checked> {
    let mut checked = Checked {
        records: 0,
        digest: [0; 32],
        broken: None,
    };
    loop {
        let page = audit.records(checked.records, AUDIT_PAGE_MAX).await?;
        if page.is_empty() {
            return Ok(checked);
        }
        for record in &page {
            let number = checked.records + 1;
            let why = if record.number != number {
                "it is missing"
            } else if chain(&checked.digest, number, &record.entry) != record.digest {
                "it, or the digest of the record before it, was changed"
            } else {
                checked.records = number;
                checked.digest = record.digest;
                continue;
            };
            checked.broken = Some(Broken { number, why });
            return Ok(checked);
        }
    }
}

/// The digest of a record: SHA-256 over the digest before it and each of its parts with its length,
/// so that no part can pass into another.
pub fn chain(before: &[u8; 32], number: u64, entry: &AuditEntry) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update(number.to_be_bytes());
    hasher.update(entry.at.0.to_be_bytes());
    let parts = [
        entry.principal.as_deref(),
        entry.origin.as_deref(),
        Some(&*entry.operation),
        Some(&*entry.object),
        Some(&*entry.result),
        entry.reason.as_deref(),
    ];
    for part in parts {
        match part {
            None => hasher.update([0]),
            Some(text) => {
                hasher.update([1]);
                hasher.update((text.len() as u64).to_be_bytes());
                hasher.update(text);
            }
        }
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn every_part_changes_the_digest() {
        let entry = AuditEntry {
            at: Timestamp(1),
            principal: Some("ann".into()),
            origin: Some("127.0.0.1".into()),
            operation: "activate".into(),
            object: "/v1/deployments".into(),
            result: "done".into(),
            reason: None,
        };
        let with = |change: fn(&mut AuditEntry)| {
            let mut changed = entry.clone();
            change(&mut changed);
            chain(&[0; 32], 1, &changed)
        };
        let mut digests = vec![
            with(|_| {}),
            with(|it| it.at = Timestamp(2)),
            with(|it| it.principal = None),
            with(|it| it.principal = Some("".into())),
            with(|it| it.origin = None),
            with(|it| {
                it.operation = "activate/".into();
                it.object = "v1/deployments".into();
            }),
            with(|it| it.result = "conflict".into()),
            with(|it| it.reason = Some("because".into())),
            chain(&[1; 32], 1, &entry),
            chain(&[0; 32], 2, &entry),
        ];
        let all = digests.len();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), all);
    }
}
