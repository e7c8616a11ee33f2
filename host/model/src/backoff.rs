use std::time::Duration;

use rand::Rng;

/// Computes the pauses between attempts.
///
/// Each pause is random, between zero and a bound that doubles with every attempt, so that callers
/// that failed together do not retry together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    /// Starts with a bound of `first`, which doubles with every pause, up to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            attempts: 0,
        }
    }

    /// Returns the backoff between attempts to read the log.
    pub fn of_reads() -> Self {
        Self::new(Duration::from_millis(20), Duration::from_secs(5))
    }

    /// Returns the next pause and doubles the bound.
    pub fn next_pause(&mut self) -> Duration {
        let bound = self.first.saturating_mul(1 << self.attempts.min(30));
        self.attempts = self.attempts.saturating_add(1);
        rand::rng().random_range(Duration::ZERO..=bound.min(self.max))
    }

    /// Starts over with the first bound, after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_never_longer_than_its_bound() {
        let (first, max) = (Duration::from_millis(10), Duration::from_millis(65));
        let mut backoff = Backoff::new(first, max);
        for bound_ms in [10, 20, 40, 65, 65] {
            assert!(backoff.next_pause() <= Duration::from_millis(bound_ms));
        }
        for _ in 0..100 {
            assert!(backoff.next_pause() <= max);
        }
        backoff.reset();
        assert!(backoff.next_pause() <= first);
    }
}
