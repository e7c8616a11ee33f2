//! Limits repeated log messages to one per minute.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Period in which a cause is logged once.
const WINDOW: Duration = Duration::from_secs(60);
/// Highest number of causes logged in that period.
const CAUSES_MAX: usize = 10;

/// Lets the first log line of a cause pass and counts the others.
///
/// After a minute the cause passes a second time. At most 10 causes pass within a
/// minute, so texts that always differ can't flood the log.
#[derive(Debug)]
pub struct Throttle {
    since: Instant,
    causes: HashSet<String>,
    left_out: u64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            causes: HashSet::new(),
            left_out: 0,
        }
    }
}

impl Throttle {
    /// Returns the number of lines left out so far if this line is to be logged, otherwise `None`.
    pub fn pass(&mut self, cause: &str) -> Option<u64> {
        self.pass_at(cause, Instant::now())
    }

    fn pass_at(&mut self, cause: &str, now: Instant) -> Option<u64> {
        if now.duration_since(self.since) >= WINDOW {
            self.since = now;
            self.causes.clear();
        }
        if self.causes.len() >= CAUSES_MAX || self.causes.contains(cause) {
            self.left_out += 1;
            return None;
        }
        self.causes.insert(cause.to_owned());
        Some(std::mem::take(&mut self.left_out))
    }
}

/// A throttle of one place in the code, for a `static`. All hosts of a process share it, so a cause
/// names what differs between them.
#[derive(Debug)]
pub struct SharedThrottle(LazyLock<Mutex<Throttle>>);

impl SharedThrottle {
    /// A throttle that has passed nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(LazyLock::new(Mutex::default))
    }

    /// As [`Throttle::pass`].
    pub fn pass(&self, cause: &str) -> Option<u64> {
        let mut throttle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        throttle.pass(cause)
    }
}

impl Default for SharedThrottle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_passes_once_a_minute_and_reports_what_was_left_out() {
        let mut throttle = Throttle::default();
        let begun = throttle.since;
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(throttle.pass_at("a", at(0)), Some(0));
        for _ in 0..3 {
            assert_eq!(throttle.pass_at("a", at(59)), None);
        }
        assert_eq!(throttle.pass_at("b", at(59)), Some(3));
        assert_eq!(throttle.pass_at("a", at(60)), Some(0));
    }

    #[test]
    fn causes_that_are_always_others_are_bounded() {
        let mut throttle = Throttle::default();
        let now = throttle.since;
        let passed = (0..1_000).filter(|n| throttle.pass_at(&n.to_string(), now).is_some());
        assert_eq!(passed.count(), CAUSES_MAX);
        let later = throttle.pass_at("0", now + WINDOW);
        assert_eq!(later, Some(1_000 - CAUSES_MAX as u64));
    }
}
