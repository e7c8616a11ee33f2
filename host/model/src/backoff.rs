use std::time::Duration;

use rand::Rng;

/// Pauses between attempts: each is drawn between nothing and a bound that doubles
/// every time, so that those who failed together do not come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    attempts: u32,
}

impl Backoff {
    /// Pauses from `first`, each twice the one before, up to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            max,
            attempts: 0,
        }
    }

    /// Between attempts to read the log.
    pub fn of_reads() -> Self {
        Self::new(Duration::from_millis(20), Duration::from_secs(5))
    }

    /// How long to wait now.
    pub fn next_pause(&mut self) -> Duration {
        let bound = self.first.saturating_mul(1 << self.attempts.min(30));
        self.attempts = self.attempts.saturating_add(1);
        rand::rng().random_range(Duration::ZERO..=bound.min(self.max))
    }

    /// It went well.
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
