//! Figures of the store, read in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use quipu::Host;
use quipu::app::{Figures, Readiness};

/// Figures that are younger are not read again.
const FRESH: Duration = Duration::from_secs(5);
/// How long a request waits for figures.
const WAIT: Duration = Duration::from_millis(700);
/// How long the checks of readiness may take.
const READY_WAIT: Duration = Duration::from_millis(600);
/// How long the store may take for all figures.
const READ_MAX: Duration = Duration::from_secs(30);

/// What is known of the store.
#[derive(Clone)]
pub struct Sample {
    /// The last figures; none before the first.
    pub figures: Option<Arc<Figures>>,
    /// When they were read, or else when the host was started.
    pub since: Instant,
    /// Whether the host can work; none before the first check.
    pub readiness: Option<Arc<Readiness>>,
    requested_at: Option<Instant>,
    /// Reads that have ended.
    ended: u64,
}

/// Reads figures of the store, at most one time in 5 s.
#[derive(Clone)]
pub struct Sampler(Arc<Inner>);

struct Inner {
    sample: watch::Sender<Sample>,
    is_reading: AtomicBool,
}

impl Default for Sampler {
    fn default() -> Self {
        Self(Arc::new(Inner {
            sample: watch::Sender::new(Sample {
                figures: None,
                since: Instant::now(),
                readiness: None,
                requested_at: None,
                ended: 0,
            }),
            is_reading: AtomicBool::new(false),
        }))
    }
}

impl Sampler {
    /// Returns what is known of the store, after a short wait for what is being read.
    pub async fn sample(&self, host: &Host) -> Sample {
        let mut changes = self.0.sample.subscribe();
        let known = self.0.sample.borrow().clone();
        let is_fresh = known.requested_at.is_some_and(|at| at.elapsed() < FRESH);
        if is_fresh && !self.0.is_reading.load(Ordering::SeqCst) {
            return known;
        }
        if !is_fresh && !self.0.is_reading.swap(true, Ordering::SeqCst) {
            // Its drop ends the read, also after a panic. The next scrape starts another one.
            let reading = Reading(Arc::clone(&self.0));
            tokio::spawn(reading.read(host.clone()));
        }
        let ended = changes.wait_for(|now| now.ended > known.ended);
        _ = timeout(WAIT, ended).await;
        self.0.sample.borrow().clone()
    }
}

/// One read, which has ended when this is dropped.
struct Reading(Arc<Inner>);

impl Reading {
    async fn read(self, host: Host) {
        let sample = &self.0.sample;
        sample.send_modify(|now| now.requested_at = Some(Instant::now()));
        let checking = async {
            let readiness = Arc::new(host.readiness(READY_WAIT).await);
            sample.send_modify(|now| now.readiness = Some(readiness));
        };
        let reading = async {
            match timeout(READ_MAX, host.figures()).await {
                Ok(Ok(figures)) => sample.send_modify(|now| {
                    (now.figures, now.since) = (Some(Arc::new(figures)), Instant::now());
                }),
                Ok(Err(error)) => tracing::debug!(%error, "figures of the store were not read"),
                Err(_) => tracing::debug!("the store did not answer; its figures are old"),
            }
        };
        tokio::join!(checking, reading);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.is_reading.store(false, Ordering::SeqCst);
        self.0.sample.send_modify(|now| now.ended += 1);
    }
}
