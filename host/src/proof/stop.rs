use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Tells the threads of a run when it is over: a guest may take its time.
#[derive(Debug, Default)]
pub(super) struct Stop {
    is_given_up: AtomicBool,
    deadline: Option<Instant>,
}

impl Stop {
    /// At the end of a time, if there is one.
    pub(super) fn after(time: Option<Duration>) -> Self {
        Self {
            is_given_up: AtomicBool::new(false),
            deadline: time.and_then(|time| Instant::now().checked_add(time)),
        }
    }

    /// Nobody waits for the end any more.
    pub(super) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    /// Whether nothing more is to be looked at.
    pub(super) fn is_over(&self) -> bool {
        let is_late = || self.deadline.is_some_and(|at| Instant::now() >= at);
        self.is_given_up.load(Ordering::Relaxed) || is_late()
    }
}
