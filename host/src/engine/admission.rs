//! Admits commands and appends: at most a number of them, and not more than are answered in time.
//!
//! A full host answers `overloaded` at once, so that those it has admitted are answered soon. How
//! many it can answer in a time is known only while it is busy. So the second bound is the rate of
//! the last answers times the longest wait (Little's law), and counts from [`BUSY_MIN`] requests in
//! flight. A burst on an idle host has no such bound.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::Error;

/// Requests in flight that never wait too long: with fewer, commits are not full.
const BUSY_MIN: usize = 256;
/// How long answers are counted before the rate changes.
const WINDOW: Duration = Duration::from_millis(100);
/// How long they are counted at first, and after a pause: longer than a flush, during which nothing
/// is answered.
const FIRST_WINDOW: Duration = Duration::from_millis(300);
/// If nothing came for that long while much was in flight, the host was not busy, and what it answered
/// meanwhile does not count.
const PAUSE: Duration = Duration::from_millis(250);
/// After that long the rate is not known any more.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// The part that a window has in the rate: large commits are answered all at once.
const WEIGHT: f64 = 0.2;

/// Admits requests.
pub struct Admission {
    permits: Arc<Semaphore>,
    in_flight_max: usize,
    wait_max: Duration,
    answered: Arc<AtomicU64>,
    busy: Mutex<Option<Busy>>,
}

/// A host that has much in flight.
#[derive(Debug, Clone, Copy)]
struct Busy {
    /// When a request came last.
    last: Instant,
    /// The begin of the window, and the number of answers then.
    window: (Instant, u64),
    is_first: bool,
    /// Answers per second; none until the first window is over.
    rate: Option<f64>,
}

/// A request in flight.
pub struct Admitted {
    _permit: OwnedSemaphorePermit,
    answered: Arc<AtomicU64>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub fn new(in_flight_max: usize, wait_max: Duration) -> Self {
        let in_flight_max = in_flight_max.min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(in_flight_max)),
            in_flight_max,
            wait_max,
            answered: Arc::default(),
            busy: Mutex::default(),
        }
    }

    /// Admits a request, until the result is dropped.
    ///
    /// # Errors
    /// When too much is in flight.
    pub fn admit(&self) -> Result<Admitted, Error> {
        self.admit_at(Instant::now)
    }

    fn admit_at(&self, now: impl FnOnce() -> Instant) -> Result<Admitted, Error> {
        let in_flight = self.in_flight();
        if in_flight >= BUSY_MIN && in_flight >= self.answered_in_time(now()) {
            return Err(Error::Overloaded);
        }
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        Ok(Admitted {
            _permit: permit.map_err(|_| Error::Overloaded)?,
            answered: Arc::clone(&self.answered),
        })
    }

    /// How many requests the host answers within the longest wait, at its present rate.
    fn answered_in_time(&self, now: Instant) -> usize {
        let answered = self.answered.load(Ordering::Relaxed);
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let next = match *busy {
            Some(last) => last.at(now, answered),
            None => Busy::new(now, answered),
        };
        *busy = Some(next);
        match next.rate {
            None => self.in_flight_max,
            Some(rate) => ((rate * self.wait_max.as_secs_f64()) as usize).max(BUSY_MIN),
        }
    }

    /// Returns the number of requests in flight.
    pub fn in_flight(&self) -> usize {
        let free = self.permits.available_permits();
        self.in_flight_max.saturating_sub(free)
    }

    /// Waits until everything in flight has been answered, and admits nothing until the result is
    /// dropped.
    pub async fn hold(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        let all = u32::try_from(self.in_flight_max).unwrap_or(u32::MAX);
        Arc::clone(&self.permits).acquire_many_owned(all).await
    }

    /// Waits until everything in flight has been answered. Nothing is admitted from then on.
    pub async fn close(&self) {
        if let Ok(all) = self.hold().await {
            all.forget();
        }
        self.permits.close();
    }
}

impl Busy {
    fn new(now: Instant, answered: u64) -> Self {
        Self {
            last: now,
            window: (now, answered),
            is_first: true,
            rate: None,
        }
    }

    /// A request comes.
    fn at(self, now: Instant, answered: u64) -> Self {
        let pause = now.saturating_duration_since(self.last);
        if pause > PAUSE {
            let rate = self.rate.filter(|_| pause < FORGOTTEN);
            let begun = Self::new(now, answered);
            return Self { rate, ..begun };
        }
        let (begun, before) = self.window;
        let elapsed = now.saturating_duration_since(begun);
        let number = answered.saturating_sub(before);
        let length = match self.is_first {
            true => FIRST_WINDOW,
            false => WINDOW,
        };
        if elapsed < length {
            return Self { last: now, ..self };
        }
        let rate = number as f64 / elapsed.as_secs_f64();
        Self {
            last: now,
            window: (now, answered),
            is_first: false,
            rate: Some(self.rate.map_or(rate, |last| last + WEIGHT * (rate - last))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A host that answers requests in the order in which they come.
    struct Simulated {
        admission: Admission,
        now: Instant,
        /// Requests in flight, with the time at which they came.
        in_flight: VecDeque<(Instant, Admitted)>,
        refused: u64,
        longest: Duration,
    }

    impl Simulated {
        fn new() -> Self {
            Self {
                admission: Admission::new(16_384, Duration::from_millis(500)),
                now: Instant::now(),
                in_flight: VecDeque::new(),
                refused: 0,
                longest: Duration::ZERO,
            }
        }

        /// In each of some milliseconds requests come, and others are answered.
        fn pass(&mut self, milliseconds: u32, coming: usize, answered: usize) {
            for _ in 0..milliseconds {
                for _ in 0..coming {
                    match self.admission.admit_at(|| self.now) {
                        Ok(admitted) => self.in_flight.push_back((self.now, admitted)),
                        Err(_) => self.refused += 1,
                    }
                }
                self.now += Duration::from_millis(1);
                for (came, _) in self.in_flight.drain(..answered.min(self.in_flight.len())) {
                    self.longest = self.longest.max(self.now.duration_since(came));
                }
            }
        }
    }

    #[test]
    fn requests_of_which_more_come_than_are_answered_wait_for_a_bounded_time() {
        let mut host = Simulated::new();
        host.pass(3_000, 80, 8);
        host.longest = Duration::ZERO;
        host.pass(10_000, 80, 8);
        let longest = host.longest.as_millis();
        assert!((450..=550).contains(&longest), "{longest} ms");
        assert!(host.refused > 500_000, "{}", host.refused);
        // As many are answered as before.
        assert!(host.in_flight.len() > 3_000, "{}", host.in_flight.len());
    }

    #[test]
    fn requests_that_are_answered_in_time_are_all_admitted() {
        let mut host = Simulated::new();
        host.pass(5_000, 8, 8);
        // Bursts on a host that is idle otherwise.
        for _ in 0..20 {
            host.pass(1, 10_000, 8);
            host.pass(12_000, 0, 8);
        }
        assert_eq!(host.refused, 0);
        // Much is in flight all the time, but nothing waits for 500 ms.
        let mut host = Simulated::new();
        host.pass(1, 2_000, 8);
        host.pass(10_000, 8, 8);
        assert_eq!(host.refused, 0);
    }

    #[test]
    fn a_flush_refuses_nothing_and_a_standstill_all_but_a_few_until_it_ends() {
        let mut host = Simulated::new();
        host.pass(1, 1_000, 8);
        for _ in 0..20 {
            host.pass(1_000, 8, 8);
            host.pass(200, 1, 0);
            host.pass(300, 8, 9);
        }
        assert_eq!(host.refused, 0);
        host.pass(1, 1_000, 8);
        host.pass(5_000, 8, 0);
        let in_flight = host.in_flight.len();
        assert!((256..6_000).contains(&in_flight), "{in_flight}");
        host.pass(2_000, 8, 12);
        host.refused = 0;
        host.pass(5_000, 8, 8);
        assert_eq!(host.refused, 0);
    }

    #[test]
    fn a_slow_host_has_a_few_in_flight_and_the_number_has_a_limit() {
        let mut host = Simulated::new();
        host.pass(5_000, 5, 0);
        // As many as came before the standstill was certain.
        let in_flight = host.in_flight.len();
        assert!(in_flight <= 256 + 310 * 5, "{in_flight}");
        host.pass(5_000, 2, 1);
        assert!(host.in_flight.len() <= 501, "{}", host.in_flight.len());
        let mut host = Simulated::new();
        host.pass(1, 20_000, 0);
        assert_eq!((host.in_flight.len(), host.refused), (16_384, 3_616));
    }

    #[tokio::test]
    async fn nothing_is_admitted_while_the_host_is_held_or_when_it_has_closed() {
        let admission = Admission::new(2, Duration::from_secs(1));
        let held = admission.hold().await.unwrap();
        assert!(admission.admit().is_err());
        drop(held);
        let admitted = admission.admit().unwrap();
        assert_eq!(admission.in_flight(), 1);
        drop(admitted);
        admission.close().await;
        assert!(admission.admit().is_err());
    }
}
