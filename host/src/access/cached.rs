//! Lists of the store that are read every few seconds, because other hosts change them.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::store;

/// After this time, what is known is read a second time before it is used. Other requests go on with it
/// meanwhile.
const FRESH: Duration = Duration::from_secs(2);
/// After this time nobody goes on with it: a change by another host is seen within 5 s.
const STALE_MAX: Duration = Duration::from_secs(4);

/// What was read last.
pub struct Cached<T> {
    state: RwLock<State<T>>,
    reading: Mutex<()>,
    now: fn() -> Instant,
}

struct State<T> {
    known: Option<(Instant, Arc<T>)>,
    /// The same, also when it may not be used any more.
    last: Option<Arc<T>>,
    /// How often this host has changed the list. What was read before a change is not kept after it.
    changes: u64,
    /// When the last failed read ended. Those who waited for it fail, too.
    failed: Option<(Instant, store::Error)>,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self::with_clock(Instant::now)
    }
}

impl<T> Cached<T> {
    fn with_clock(now: fn() -> Instant) -> Self {
        Self {
            state: RwLock::new(State {
                known: None,
                last: None,
                changes: 0,
                failed: None,
            }),
            reading: Mutex::default(),
            now,
        }
    }

    /// What is known, at most 4 s old. `read` receives what was read last, however old it is.
    /// Requests that wait for the read of another one share its result, also a failure: a store that
    /// does not answer lets none of them wait for longer than one read.
    ///
    /// # Errors
    /// When the store fails, and nothing that may be used is known.
    pub async fn get<R>(&self, read: impl FnOnce(Option<Arc<T>>) -> R) -> store::Result<Arc<T>>
    where
        R: Future<Output = store::Result<T>>,
    {
        if let Some(known) = self.younger_than(FRESH) {
            return Ok(known);
        }
        let usable = self.younger_than(STALE_MAX);
        let _reading = match (self.reading.try_lock(), &usable) {
            (Ok(reading), _) => reading,
            (Err(_), Some(usable)) => return Ok(Arc::clone(usable)),
            (Err(_), None) => {
                let began = (self.now)();
                let reading = self.reading.lock().await;
                if let Some(known) = self.younger_than(FRESH) {
                    return Ok(known);
                }
                match &self.state().failed {
                    Some((at, error)) if *at >= began => return Err(error.clone()),
                    _ => reading,
                }
            }
        };
        let read_at = (self.now)();
        let (changes, last) = {
            let state = self.state();
            (state.changes, state.last.clone())
        };
        match (read(last).await, usable) {
            (Ok(read), _) => {
                let read = Arc::new(read);
                let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                state.last = Some(Arc::clone(&read));
                if state.changes == changes {
                    state.known = Some((read_at, Arc::clone(&read)));
                }
                Ok(read)
            }
            (Err(_), Some(usable)) => Ok(usable),
            (Err(error), None) => {
                let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                state.failed = Some(((self.now)(), error.clone()));
                Err(error)
            }
        }
    }

    /// This host has changed the list: it is read before it is used.
    pub fn forget(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.known = None;
        state.changes += 1;
    }

    fn younger_than(&self, max: Duration) -> Option<Arc<T>> {
        let state = self.state();
        let (read_at, known) = state.known.as_ref()?;
        let age = (self.now)().saturating_duration_since(*read_at);
        (age < max).then(|| Arc::clone(known))
    }

    fn state(&self) -> RwLockReadGuard<'_, State<T>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use futures::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;
    use crate::store::Error;

    thread_local! {
        static BEGAN: Instant = Instant::now();
        static PASSED_MS: Cell<u64> = const { Cell::new(0) };
    }

    /// A list whose clock is `PASSED_MS`, and that nobody has read.
    fn unread() -> Cached<u32> {
        PASSED_MS.set(0);
        Cached::with_clock(|| {
            let passed = Duration::from_millis(PASSED_MS.get());
            BEGAN.with(|began| *began + passed)
        })
    }

    fn unavailable() -> store::Result<u32> {
        Err(Error::Unavailable("a test".to_owned()))
    }

    async fn get(cached: &Cached<u32>, read: store::Result<u32>) -> store::Result<u32> {
        cached.get(async |_| read).await.map(|known| *known)
    }

    #[tokio::test]
    async fn a_change_by_another_host_is_seen_within_5_s() {
        let mut latest_ms = 0;
        for changed_ms in (0..5_000).step_by(100) {
            let cached = unread();
            for ms in (0..15_000).step_by(100) {
                PASSED_MS.set(ms);
                let stored = u32::from(ms >= changed_ms);
                // The store answers now and then.
                let read = match ms % 5_100 {
                    0 => Ok(stored),
                    _ => unavailable(),
                };
                if let Ok(found) = get(&cached, read).await
                    && found != stored
                {
                    latest_ms = latest_ms.max(ms - changed_ms);
                }
            }
        }
        assert!((2_000..5_000).contains(&latest_ms), "{latest_ms} ms");
    }

    #[tokio::test]
    async fn what_is_known_is_read_after_2_s_and_not_used_after_4_s() {
        let cached = unread();
        for (ms, read, found) in [
            (0, Ok(1), Some(1)),
            (1_999, Ok(2), Some(1)),
            (2_000, Ok(2), Some(2)),
            // The store does not answer any more.
            (4_000, unavailable(), Some(2)),
            (5_999, unavailable(), Some(2)),
            (6_000, unavailable(), None),
            (6_000, Ok(3), Some(3)),
        ] {
            PASSED_MS.set(ms);
            assert_eq!(get(&cached, read).await.ok(), found, "after {ms} ms");
        }
    }

    #[tokio::test]
    async fn what_was_read_is_as_old_as_the_beginning_of_its_read() {
        let cached = unread();
        let read = cached.get(async |_| {
            PASSED_MS.set(3_000);
            Ok(1)
        });
        assert_eq!(*read.await.unwrap(), 1);
        PASSED_MS.set(3_999);
        assert_eq!(get(&cached, unavailable()).await.unwrap(), 1);
        PASSED_MS.set(4_000);
        assert!(get(&cached, unavailable()).await.is_err());
    }

    #[tokio::test]
    async fn a_read_that_takes_long_lets_nobody_use_what_is_too_old() {
        let cached = unread();
        assert_eq!(get(&cached, Ok(1)).await.unwrap(), 1);
        PASSED_MS.set(2_000);
        let (answer, answered) = oneshot::channel();
        let mut slow = pin!(cached.get(async |_| answered.await.unwrap()));
        assert!(slow.as_mut().now_or_never().is_none());
        PASSED_MS.set(3_999);
        assert_eq!(get(&cached, Ok(7)).await.unwrap(), 1);
        PASSED_MS.set(4_000);
        let mut waiting = pin!(get(&cached, Ok(2)));
        assert!(waiting.as_mut().now_or_never().is_none());
        // What it has read may be from before the change, 2 s ago.
        answer.send(Ok(1)).unwrap();
        assert_eq!(*slow.await.unwrap(), 1);
        assert_eq!(waiting.await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_read_gets_what_was_read_last_however_old_it_is() {
        let cached = unread();
        assert_eq!(get(&cached, Ok(1)).await.unwrap(), 1);
        PASSED_MS.set(60_000);
        let read = cached.get(async |last| Ok(*last.unwrap() + 1));
        assert_eq!(*read.await.unwrap(), 2);
        cached.forget();
        let read = cached.get(async |last| Ok(*last.unwrap() + 1));
        assert_eq!(*read.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let cached = Cached::default();
        let failed = Err(Error::Damaged("a test".to_owned()));
        assert!(get(&cached, failed).await.is_err());
        assert_eq!(get(&cached, Ok(1)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn those_who_wait_for_a_read_share_its_failure() {
        let cached = Cached::default();
        let (answer, answered) = oneshot::channel();
        let first = cached.get(async |_| answered.await.unwrap());
        let second = cached.get(async |_| Ok(2));
        let answer = async {
            answer
                .send(Err(Error::Damaged("a test".to_owned())))
                .unwrap()
        };
        let (first, second, ()) = tokio::join!(first, second, answer);
        assert!(first.is_err());
        assert!(second.is_err());
        assert_eq!(get(&cached, Ok(3)).await.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_is_not_kept() {
        let cached = Cached::default();
        let read = cached.get(async |_| {
            cached.forget();
            Ok(1)
        });
        assert_eq!(*read.await.unwrap(), 1);
        assert_eq!(get(&cached, Ok(2)).await.unwrap(), 2);
        cached.forget();
        assert_eq!(get(&cached, Ok(3)).await.unwrap(), 3);
    }
}
