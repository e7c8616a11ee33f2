use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000 * MICRO;
const SECOND: u64 = 1_000 * MILLI;
const BUCKETS: usize = 16;
/// Upper bounds of times, in nanoseconds.
const TIMES: [u64; BUCKETS] = [
    50 * MICRO,
    100 * MICRO,
    250 * MICRO,
    500 * MICRO,
    MILLI,
    5 * MILLI / 2,
    5 * MILLI,
    10 * MILLI,
    25 * MILLI,
    50 * MILLI,
    100 * MILLI,
    250 * MILLI,
    500 * MILLI,
    SECOND,
    5 * SECOND,
    10 * SECOND,
];
/// Upper bounds of numbers.
const NUMBERS: [u64; BUCKETS] = [
    0, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 100_000, 1_000_000,
];
const NANOS_PER_SECOND: f64 = 1e9;

/// The distribution of a measurement, in buckets with fixed bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64; BUCKETS],
    /// One more than there are bounds: the last one is for what is above all of them.
    buckets: [AtomicU64; BUCKETS + 1],
    sum: AtomicU64,
    units: f64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Upper bounds, in seconds for times, with the number of measurements up to each.
    pub buckets: Vec<(f64, u64)>,
    /// The number of all measurements.
    pub count: u64,
    /// Their sum, in seconds for times.
    pub sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [u64; BUCKETS], units: f64) -> Self {
        Self {
            bounds,
            buckets: Default::default(),
            sum: AtomicU64::default(),
            units,
        }
    }

    /// A histogram of times, from 50 µs to 10 s.
    pub fn of_times() -> Self {
        Self::new(&TIMES, NANOS_PER_SECOND)
    }

    /// A histogram of numbers, from 0 to a million.
    pub fn of_numbers() -> Self {
        Self::new(&NUMBERS, 1.0)
    }

    /// Counts a number.
    pub fn observe(&self, number: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < number);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(number, Ordering::Relaxed);
    }

    /// Counts a time.
    pub fn observe_time(&self, time: Duration) {
        self.observe(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Returns the distribution so far. Measurements that are being counted may be missing in one
    /// of the numbers.
    pub fn read(&self) -> Reading {
        let mut count = 0;
        let mut counted = |bucket: &AtomicU64| {
            count += bucket.load(Ordering::Relaxed);
            count
        };
        let bounds = self.bounds.iter().zip(&self.buckets);
        let buckets = bounds
            .map(|(bound, bucket)| (*bound as f64 / self.units, counted(bucket)))
            .collect();
        let count = counted(&self.buckets[BUCKETS]);
        Reading {
            buckets,
            count,
            sum: self.sum.load(Ordering::Relaxed) as f64 / self.units,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::of_numbers();
        for number in [0, 1, 2, 3, 5, 6, 2_000_000] {
            histogram.observe(number);
        }
        let read = histogram.read();
        let first: Vec<_> = read.buckets.iter().take(5).copied().collect();
        assert_eq!(first, [(0.0, 1), (1.0, 2), (2.0, 3), (5.0, 5), (10.0, 6)]);
        assert_eq!((read.count, read.sum), (7, 2_000_017.0));
        assert_eq!(read.buckets.last(), Some(&(1e6, 6)));
    }

    #[test]
    fn times_are_in_seconds() {
        let histogram = Histogram::of_times();
        histogram.observe_time(Duration::from_micros(50));
        histogram.observe_time(Duration::MAX);
        let read = histogram.read();
        assert_eq!(read.buckets[0], (0.00005, 1));
        assert_eq!((read.buckets[15].1, read.count), (1, 2));
    }
}
