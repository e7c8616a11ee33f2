//! Supervises the tasks and threads of a host. None of them ends unnoticed: a part that panics is
//! restarted. Where a restart would not be safe, the part is reported as failed, and the host with
//! it.

mod part;

use std::any::Any;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Notify, watch};
use tokio::task::JoinError;

pub use part::{Part, PartState};

use crate::Backoff;

/// The first and the longest pause before a part is restarted.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The parts of one host. Cheap to clone.
#[derive(Clone, Default)]
pub struct Supervisor(Arc<Inner>);

#[derive(Default)]
struct Inner {
    parts: Mutex<BTreeMap<u64, PartEntry>>,
    numbers: AtomicU64,
    failed: watch::Sender<Option<Part>>,
}

struct PartEntry {
    part: Part,
    trip: Arc<Trip>,
}

/// Makes a part panic at its next step, for tests.
#[derive(Default)]
struct Trip {
    is_set: AtomicBool,
    notify: Notify,
}

impl Trip {
    fn check(&self) {
        if self.is_set.load(Ordering::Relaxed) && self.is_set.swap(false, Ordering::Relaxed) {
            panic!("tripped by a test");
        }
    }

    async fn wait(&self) -> Infallible {
        loop {
            self.notify.notified().await;
            self.check();
        }
    }
}

impl Supervisor {
    /// Returns all parts, sorted by name. Parts that ended normally are not included.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts: Vec<_> = self.lock().values().map(|it| it.part.clone()).collect();
        parts.sort_by(|one, other| one.name.cmp(&other.name));
        parts
    }

    /// Returns the first part that failed permanently. `None` while all parts can work.
    pub fn failed(&self) -> Option<Part> {
        self.0.failed.borrow().clone()
    }

    /// Waits until a part has failed permanently.
    pub async fn until_failed(&self) -> Part {
        let mut failed = self.0.failed.subscribe();
        loop {
            if let Some(part) = failed.borrow_and_update().clone() {
                return part;
            }
            if failed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Runs a task and restarts it after a pause whenever it panics. Ends when the task returns.
    pub fn restarting<N, B, F>(
        &self,
        name: N,
        mut begin: B,
    ) -> impl Future<Output = ()> + Send + use<N, B, F>
    where
        N: Into<String>,
        B: FnMut() -> F + Send,
        F: Future<Output = ()> + Send,
    {
        let seat = self.seat(name.into());
        async move {
            let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
            loop {
                let running = async {
                    tokio::select! {
                        () = begin() => {}
                        never = seat.trip.wait() => match never {},
                    }
                };
                match AssertUnwindSafe(running).catch_unwind().await {
                    Ok(()) => return,
                    Err(panic) => seat.restarted(&*panic),
                }
                tokio::time::sleep(backoff.next_pause()).await;
                seat.set(PartState::Running);
            }
        }
    }

    /// Runs a task that the host cannot work without: if it panics, the host fails. Returns `None`
    /// when it panicked.
    pub fn essential<N, W>(
        &self,
        name: N,
        work: W,
    ) -> impl Future<Output = Option<W::Output>> + use<N, W>
    where
        N: Into<String>,
        W: Future,
    {
        let seat = self.seat(name.into());
        async move {
            let running = async {
                tokio::select! {
                    done = work => done,
                    never = seat.trip.wait() => match never {},
                }
            };
            match AssertUnwindSafe(running).catch_unwind().await {
                Ok(done) => Some(done),
                Err(panic) => {
                    seat.failed(&*panic);
                    None
                }
            }
        }
    }

    /// Registers a part that reports each of its steps.
    pub fn seat(&self, name: String) -> Seat {
        let trip = Arc::new(Trip::default());
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let known = PartEntry {
            part: Part::running(name.clone()),
            trip: Arc::clone(&trip),
        };
        self.lock().insert(number, known);
        Seat {
            supervisor: self.clone(),
            number,
            name,
            trip,
        }
    }

    /// Makes a part panic at its next step, for tests. Returns false when no part has that name.
    #[doc(hidden)]
    pub fn trip(&self, name: &str) -> bool {
        let parts = self.lock();
        let mut named = parts.values().filter(|it| it.part.name == name);
        named.next().is_some_and(|it| {
            it.trip.is_set.store(true, Ordering::Relaxed);
            it.trip.notify.notify_one();
            true
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, PartEntry>> {
        let parts = &self.0.parts;
        parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Registration of one part of a host. Dropping it removes the part, unless the part has failed.
pub struct Seat {
    supervisor: Supervisor,
    number: u64,
    name: String,
    trip: Arc<Trip>,
}

impl Seat {
    /// Runs one step of a part that can continue after a panic. Returns `None` when it panicked.
    pub fn step<T>(&self, step: impl FnOnce() -> T) -> Option<T> {
        let stepping = || {
            self.trip.check();
            step()
        };
        match catch_unwind(AssertUnwindSafe(stepping)) {
            Ok(done) => Some(done),
            Err(panic) => {
                self.restarted(&*panic);
                self.set(PartState::Running);
                None
            }
        }
    }

    /// Runs asynchronous work in the same way.
    ///
    /// # Errors
    /// The message of the panic.
    pub async fn attempt<T>(&self, work: impl Future<Output = T>) -> Result<T, String> {
        let working = async {
            self.trip.check();
            work.await
        };
        let done = AssertUnwindSafe(working).catch_unwind().await;
        done.map_err(|panic| {
            self.restarted(&*panic);
            self.set(PartState::Running);
            cause(&*panic)
        })
    }

    fn set(&self, state: PartState) {
        if let Some(known) = self.supervisor.lock().get_mut(&self.number) {
            known.part.state = state;
        }
    }

    fn restarted(&self, panic: &(dyn Any + Send)) {
        let cause = cause(panic);
        tracing::error!(part = %self.name, %cause, "a part of the host panicked and is restarted");
        if let Some(known) = self.supervisor.lock().get_mut(&self.number) {
            known.part.state = PartState::Restarting;
            known.part.restarts += 1;
            known.part.cause = Some(cause);
        }
    }

    fn failed(&self, panic: &(dyn Any + Send)) {
        let cause = cause(panic);
        tracing::error!(part = %self.name, %cause, "a part of the host failed; it must shut down");
        let failed = self.supervisor.lock().get_mut(&self.number).map(|known| {
            known.part.state = PartState::Failed;
            known.part.cause = Some(cause);
            known.part.clone()
        });
        self.supervisor.0.failed.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = failed;
            }
            is_first
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut parts = self.supervisor.lock();
        let known = parts.get(&self.number);
        if known.is_some_and(|known| known.part.state != PartState::Failed) {
            parts.remove(&self.number);
        }
    }
}

/// Returns the result of a task to the task that waits for it. `None` when it was cancelled because
/// the host is shutting down.
///
/// # Panics
/// When the task panicked, because the waiting task is a part of the host, too.
pub fn joined<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended {
        Ok(done) => Some(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => None,
        },
    }
}

/// Returns the message of a panic.
fn cause(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a text").to_owned()
}
