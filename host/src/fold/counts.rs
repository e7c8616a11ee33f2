use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What became of snapshots since the host was started.
#[derive(Debug, Default)]
pub struct Counts {
    used: AtomicU64,
    taken: AtomicU64,
    failed: AtomicU64,
    near_length: AtomicU64,
    ignored: Mutex<BTreeMap<&'static str, u64>>,
}

/// The counts at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Snapshots {
    /// Streams that were loaded from a snapshot.
    pub used: u64,
    /// Snapshots that were stored.
    pub taken: u64,
    /// Snapshots that could not be taken or stored.
    pub failed: u64,
    /// Streams that came within a tenth of the bound of their category.
    pub near_length: u64,
    /// Snapshots that were not used, by reason.
    pub ignored: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// A stream was loaded from a snapshot.
    pub fn used(&self) {
        self.used.fetch_add(1, Ordering::Relaxed);
    }

    /// A snapshot was stored.
    pub fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// A snapshot could not be taken.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A stream came near the bound of its category.
    pub fn near_length(&self) {
        self.near_length.fetch_add(1, Ordering::Relaxed);
    }

    /// A snapshot was not used.
    pub fn ignored(&self, reason: &'static str) {
        let mut ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        *ignored.entry(reason).or_default() += 1;
    }

    /// What has been counted so far.
    pub fn read(&self) -> Snapshots {
        let ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        Snapshots {
            used: self.used.load(Ordering::Relaxed),
            taken: self.taken.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            near_length: self.near_length.load(Ordering::Relaxed),
            ignored: ignored.clone(),
        }
    }
}
