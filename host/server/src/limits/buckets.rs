//! Rates by key: each key has a bucket that fills steadily and that requests empty.
//!
//! This is the generic cell rate algorithm (GCRA). The whole state of a bucket is the time at which
//! it will be full. The crate `governor` implements the same algorithm, but it can't look at a bucket
//! without emptying it, let one key have a rate of its own, charge more than a bucket holds, or bound
//! the number of keys, and all four are needed here.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most keys with a bucket of their own.
pub const KEYS_MAX: usize = 16_384;
/// Pause between two searches for buckets that are full and need no memory.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// The longest time that one charge takes to fill up.
const COST_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// How fast buckets fill. A full one holds as much as it gains in `per`.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// Units that a bucket gains in `per`; at least one.
    pub units: u64,
    pub per: Duration,
}

impl Rate {
    /// How long a bucket takes to gain this many units.
    fn time(self, units: u64) -> Duration {
        let nanos = self.per.as_nanos() * u128::from(units);
        // Rounded down, so that a full bucket gives all of its units at once.
        let nanos = nanos / u128::from(self.units.max(1));
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        Duration::from_nanos(nanos).min(COST_MAX)
    }

    /// How long a bucket that takes `missing` to be full has less than one unit.
    fn empty_for(self, missing: Duration) -> Duration {
        (missing + self.time(1)).saturating_sub(self.per)
    }
}

/// The buckets of many keys. Their number is bounded: keys beyond it share one bucket.
#[derive(Debug)]
pub struct Buckets<K> {
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    full_at: HashMap<K, Instant>,
    /// The bucket of keys that found no place.
    others_full_at: Option<Instant>,
    swept_at: Option<Instant>,
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                full_at: HashMap::new(),
                others_full_at: None,
                swept_at: None,
            }),
        }
    }
}

impl<K: Eq + Hash + Clone> Buckets<K> {
    /// Takes units out of the bucket of a key. A bucket that has one unit gives any number of them; the
    /// key waits longer afterwards.
    ///
    /// # Errors
    /// How long the bucket has less than one unit.
    pub fn take(&self, key: &K, rate: Rate, units: u64, now: Instant) -> Result<(), Duration> {
        let mut state = self.state();
        let full_at = state.bucket(key, now);
        let missing = full_at.saturating_duration_since(now);
        let wait = rate.empty_for(missing);
        if !wait.is_zero() {
            return Err(wait);
        }
        *full_at = now + missing + rate.time(units);
        Ok(())
    }

    /// Puts units back that were taken from a key.
    pub fn put_back(&self, key: &K, rate: Rate, units: u64) {
        let mut state = self.state();
        let State {
            full_at,
            others_full_at,
            ..
        } = &mut *state;
        let taken_from = full_at.get_mut(key).or(others_full_at.as_mut());
        if let Some(full_at) = taken_from {
            *full_at = full_at.checked_sub(rate.time(units)).unwrap_or(*full_at);
        }
    }

    /// Fills all buckets.
    pub fn clear(&self) {
        let mut state = self.state();
        state.full_at.clear();
        state.others_full_at = None;
    }

    /// Number of keys with a bucket of their own.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.state().full_at.len()
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> State<K> {
    fn bucket(&mut self, key: &K, now: Instant) -> &mut Instant {
        if self.full_at.len() >= KEYS_MAX && !self.full_at.contains_key(key) {
            self.sweep(now);
            if self.full_at.len() >= KEYS_MAX {
                return self.others_full_at.get_or_insert(now);
            }
        }
        self.full_at.entry(key.clone()).or_insert(now)
    }

    /// Removes full buckets: they are like those of keys that are not known.
    fn sweep(&mut self, now: Instant) {
        let is_due = |at: Instant| now.saturating_duration_since(at) >= SWEEP_EVERY;
        if self.swept_at.is_none_or(is_due) {
            self.swept_at = Some(now);
            self.full_at.retain(|_, full_at| *full_at > now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn per_second(units: u64) -> Rate {
        Rate { units, per: SECOND }
    }

    #[test]
    fn a_bucket_gives_what_it_holds_and_then_what_it_gains() {
        for units in [1, 3, 7, 1_000] {
            let (buckets, now) = (Buckets::default(), Instant::now());
            let take = |now| buckets.take(&"ann", per_second(units), 1, now);
            for _ in 0..units {
                assert_eq!(take(now), Ok(()));
            }
            assert!(buckets.take(&"ann", per_second(units), 1, now).is_err());
            let wait = take(now).unwrap_err();
            assert!(wait <= SECOND.div_f64(units as f64), "{wait:?}");
            assert!(buckets.take(&"bob", per_second(units), 1, now).is_ok());
            let later = now + wait;
            assert!(take(later - Duration::from_nanos(1)).is_err());
            assert_eq!(take(later), Ok(()));
            assert!(take(later).is_err());
        }
    }

    #[test]
    fn more_than_a_bucket_holds_is_given_once_and_waited_for_afterwards() {
        let (buckets, now) = (Buckets::default(), Instant::now());
        let take = |now| buckets.take(&1, per_second(10), 50, now);
        assert_eq!(take(now), Ok(()));
        assert_eq!(take(now), Err(Duration::from_millis(4_100)));
        assert!(take(now + 4 * SECOND).is_err());
        assert_eq!(take(now + 5 * SECOND), Ok(()));
        // What nobody can send does not overflow.
        assert_eq!(buckets.take(&2, per_second(1), u64::MAX, now), Ok(()));
        assert!(buckets.take(&2, per_second(1), u64::MAX, now).is_err());
    }

    #[test]
    fn units_that_are_put_back_can_be_taken_once_more() {
        let (buckets, now) = (Buckets::default(), Instant::now());
        let take = |units| buckets.take(&1, per_second(10), units, now);
        assert_eq!(take(50), Ok(()));
        assert!(take(1).is_err());
        buckets.put_back(&1, per_second(10), 50);
        assert_eq!(take(10), Ok(()));
        assert!(take(1).is_err());
        // A key without a bucket gets nothing.
        buckets.put_back(&2, per_second(10), 50);
        assert_eq!(buckets.len(), 1);
    }

    #[test]
    fn invented_keys_take_bounded_memory_and_nothing_from_known_ones() {
        let (buckets, now) = (Buckets::default(), Instant::now());
        let rate = per_second(2);
        assert!(buckets.take(&"known".to_owned(), rate, 1, now).is_ok());
        let mut refused = 0;
        for n in 0..10 * KEYS_MAX {
            let taken = buckets.take(&format!("invented-{n}"), rate, 1, now);
            refused += usize::from(taken.is_err());
        }
        assert_eq!(buckets.len(), KEYS_MAX);
        assert!(refused > 8 * KEYS_MAX, "{refused}");
        assert!(buckets.take(&"one more".to_owned(), rate, 1, now).is_err());
        assert!(buckets.take(&"known".to_owned(), rate, 1, now).is_ok());
        // Their buckets fill up, and are removed.
        let later = now + 2 * SECOND;
        assert!(buckets.take(&"one more".to_owned(), rate, 1, later).is_ok());
        assert_eq!(buckets.len(), 1);
    }
}
