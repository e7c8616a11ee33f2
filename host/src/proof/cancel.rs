use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Signals the threads of a run to stop. The signal is polled, because a guest may take long.
#[derive(Debug, Default)]
pub(super) struct Stop {
    is_given_up: AtomicBool,
    deadline: Option<Instant>,
}

impl Stop {
    /// Creates a signal that is set after the given time, or only by `give_up`.
    pub(super) fn after(time: Option<Duration>) -> Self {
        Self {
            is_given_up: AtomicBool::new(false),
            deadline: time.and_then(|time| Instant::now().checked_add(time)),
        }
    }

    /// Sets the signal, because nobody waits for the result any more.
    pub(super) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    /// Whether the threads should stop.
    pub(super) fn is_over(&self) -> bool {
        let is_late = || self.deadline.is_some_and(|at| Instant::now() >= at);
        self.is_given_up.load(Ordering::Relaxed) || is_late()
    }
}
