use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts the use of snapshots since the host was started.
#[derive(Debug, Default)]
pub struct Counts {
    used: AtomicU64,
    taken: AtomicU64,
    failed: AtomicU64,
    near_length: AtomicU64,
    ignored: Mutex<BTreeMap<&'static str, u64>>,
}

/// A copy of the counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Snapshots {
    /// Streams that were loaded from a snapshot.
    pub used: u64,
    /// Snapshots that were stored.
    pub taken: u64,
    /// Snapshots that could not be taken or stored.
    pub failed: u64,
    /// Streams that reached 90 % of the limit of their category.
    pub near_length: u64,
    /// Snapshots that were not used, by reason.
    pub ignored: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Counts a stream that was loaded from a snapshot.
    pub fn used(&self) {
        self.used.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a snapshot that was stored.
    pub fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a snapshot that could not be taken.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a stream that came near the limit of its category.
    pub fn near_length(&self) {
        self.near_length.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a snapshot that was not used.
    pub fn ignored(&self, reason: &'static str) {
        let mut ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        *ignored.entry(reason).or_default() += 1;
    }

    /// Returns the counts so far.
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
