//! What a module uses, for meters.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{FaultKind, Fuel};

/// What a module has used since it was loaded, in all of its instances.
#[derive(Debug, Default)]
pub struct Usage {
    fuel: AtomicU64,
    faults: [AtomicU64; FaultKind::ALL.len()],
    memory_bytes: AtomicUsize,
    compiled_in: Duration,
}

impl Usage {
    pub(super) fn new(compiled_in: Duration) -> Self {
        Self {
            compiled_in,
            ..Self::default()
        }
    }

    /// Fuel of all calls.
    pub fn fuel(&self) -> Fuel {
        self.fuel.load(Ordering::Relaxed)
    }

    /// Faults of one kind.
    pub fn faults(&self, kind: FaultKind) -> u64 {
        self.faults[kind as usize].load(Ordering::Relaxed)
    }

    /// Linear memory of all instances.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// The time in which the component was compiled, or read from the cache.
    pub fn compiled_in(&self) -> Duration {
        self.compiled_in
    }

    pub(super) fn used(&self, fuel: Fuel) {
        self.fuel.fetch_add(fuel, Ordering::Relaxed);
    }

    pub(super) fn faulted(&self, kind: FaultKind) {
        self.faults[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The memory of an instance has changed.
    pub(super) fn resized(&self, from: usize, to: usize) {
        if to >= from {
            self.memory_bytes.fetch_add(to - from, Ordering::Relaxed);
        } else {
            self.memory_bytes.fetch_sub(from - to, Ordering::Relaxed);
        }
    }
}
