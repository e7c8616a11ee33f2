//! A clock that counts how often it was read.

use std::sync::atomic::{AtomicU64, Ordering};

use quipu::model::{Clock, SystemClock, Timestamp};

use crate::PATIENCE;

/// The machine's clock, with a counter. A worker reads it once for each command it receives and
/// once for each decision that produces events, so a test can wait for those.
#[derive(Debug, Default)]
pub struct CountingClock(AtomicU64);

impl CountingClock {
    /// How often the clock was read.
    pub fn reads(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Waits until the clock has been read this often.
    pub async fn wait_for_reads(&self, times: u64) {
        until(|| self.reads() >= times).await;
    }
}

impl Clock for CountingClock {
    fn now(&self) -> Timestamp {
        self.0.fetch_add(1, Ordering::SeqCst);
        SystemClock.now()
    }
}

/// Waits until a condition holds that other threads bring about.
pub async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.expect("it never came about");
}
