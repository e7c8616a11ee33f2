use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// A thread that advances the engine's epoch, which measures deadlines, while guests run. It ends
/// when this value is dropped.
pub(super) struct Ticker {
    calls: Arc<Calls>,
    thread: Option<JoinHandle<()>>,
}

/// The calls of guests that run now. Without any, the thread sleeps, so that an idle host uses no
/// processor.
#[derive(Default)]
pub(super) struct Calls {
    running: AtomicUsize,
    is_asleep: AtomicBool,
    is_over: AtomicBool,
    /// Known before the thread sleeps.
    thread: OnceLock<Thread>,
}

/// A call, until it is dropped.
pub(super) struct Running<'a>(&'a Calls);

/// Length of an epoch: the accuracy of deadlines.
const TICK: Duration = Duration::from_millis(2);
/// The thread sleeps after this number of epochs without a call. On a busy host nobody has to wake
/// it.
const IDLE_TICKS: u32 = 500;

impl Ticker {
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let calls = Arc::<Calls>::default();
        let (measured, engine) = (Arc::clone(&calls), engine.clone());
        // Nothing in it can panic: it counts, sleeps, and increments a number of the engine.
        let thread = std::thread::Builder::new()
            .name("quipu-epoch".to_owned())
            .spawn(move || measured.measure(IDLE_TICKS, || engine.increment_epoch()))?;
        Ok(Self {
            calls,
            thread: Some(thread),
        })
    }

    pub(super) fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.calls.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            _ = thread.join();
        }
    }
}

impl Calls {
    /// Measures the time of a call.
    pub(super) fn begin(&self) -> Running<'_> {
        // Either the thread sees this call before it sleeps, or the call sees that it sleeps: both
        // first write, then read.
        let before = self.running.fetch_add(1, Ordering::SeqCst);
        if before == 0 && self.is_asleep.load(Ordering::SeqCst) {
            self.wake();
        }
        Running(self)
    }

    #[cold]
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn measure(&self, idle_ticks: u32, tick: impl Fn()) {
        _ = self.thread.set(std::thread::current());
        let mut idle = 0;
        while !self.is_over.load(Ordering::SeqCst) {
            if idle == idle_ticks {
                self.sleep();
                idle = 0;
            }
            std::thread::park_timeout(TICK);
            tick();
            idle = match self.running.load(Ordering::Relaxed) {
                0 => idle + 1,
                _ => 0,
            };
        }
    }

    /// Returns when a call begins, or the ticker ends. It may return earlier.
    fn sleep(&self) {
        self.is_asleep.store(true, Ordering::SeqCst);
        let is_needed =
            self.running.load(Ordering::SeqCst) > 0 || self.is_over.load(Ordering::SeqCst);
        if !is_needed {
            std::thread::park();
        }
        self.is_asleep.store(false, Ordering::SeqCst);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns the number of epochs until a deadline, rounded up, plus one because the current epoch
/// has already begun.
pub(super) fn ticks(deadline: Duration) -> u64 {
    let whole = deadline.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(whole)
        .unwrap_or(u64::MAX / 2)
        .saturating_add(1)
        .min(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Longer than a tick takes on any machine.
    const LONG: Duration = Duration::from_secs(60);
    const IDLE_TICKS: u32 = 3;

    #[test]
    fn every_call_is_measured_and_without_calls_the_thread_sleeps() {
        let calls = Arc::<Calls>::default();
        let (ticked, ticks) = mpsc::channel();
        let measured = Arc::clone(&calls);
        let measuring = move || measured.measure(IDLE_TICKS, || _ = ticked.send(()));
        let thread = std::thread::spawn(measuring);
        for round in 0..200 {
            // Calls begin before it sleeps, while it falls asleep, and when it sleeps.
            while round % 2 == 0 && !calls.is_asleep.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            while ticks.try_recv().is_ok() {}
            let running = calls.begin();
            // More than it does without a call.
            for _ in 0..IDLE_TICKS + 2 {
                ticks.recv_timeout(LONG).unwrap();
            }
            drop(running);
            std::thread::sleep(TICK / 10 * (round % 40));
        }
        calls.is_over.store(true, Ordering::SeqCst);
        thread.thread().unpark();
        thread.join().unwrap();
    }
}
