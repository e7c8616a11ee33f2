//! Measures commands when ten times as many come as the host can execute.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::Rng;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::Options;
use super::host::{Guests, Ids, Kind, executed, shut_down, stream, warm_hosts, work};
use super::load::{Measured, percentile};
use super::place::Place;
use quipu::Host;
use quipu::engine::Error;
use quipu::model::Command;

/// Commands in flight that keep the host busy.
const IN_FLIGHT: usize = 256;
/// How many times as many come.
const TIMES: f64 = 10.0;
/// Those of this time come at once.
const TICK: Duration = Duration::from_millis(1);

/// The results.
#[derive(Debug, Clone, Serialize)]
pub struct Overload {
    /// As many commands as the host executes.
    pub full: Measured,
    /// The first overload, in which the host learns how much it can do.
    pub first: Came,
    /// Overload after that.
    #[serde(flatten)]
    pub later: Came,
}

/// What came while the host was overloaded.
#[derive(Debug, Clone, Serialize)]
pub struct Came {
    /// Commands per second.
    pub coming: f64,
    /// Those of them that were executed, per second.
    pub rate: f64,
    /// Half of these were answered within this time, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 of these were answered within this time, in milliseconds.
    pub p99_ms: f64,
}

/// Measures on a new store.
pub async fn measure(options: &Options, component: &[u8]) -> Result<Overload> {
    let place = Place::new(options)?;
    let hosts = warm_hosts(options, &place, &Guests::only(component)).await?;
    let streams = options.streams as u64;
    let duration = Duration::from_secs(options.seconds);
    let full = || {
        let kind = (Kind::ManyStreams, Ids::None);
        executed(&hosts, streams, kind, IN_FLIGHT, duration)
    };
    // All streams are warm after this load.
    full().await?;
    let full = full().await?;
    let came = || came(&hosts[0], streams, full.rate * TIMES, duration);
    let (first, later) = (came().await?, came().await?);
    shut_down(hosts).await?;
    place.remove().await?;
    Ok(Overload { full, first, later })
}

/// Measures while this many commands per second come.
async fn came(host: &Host, streams: u64, per_second: f64, duration: Duration) -> Result<Came> {
    let (load, begun) = (Load::new(host, streams), Instant::now());
    let latencies_us = Arc::clone(&load).come(per_second, duration).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let executed = latencies_us.len() as f64;
    let refused = load.refused.load(Ordering::Relaxed) as f64;
    Ok(Came {
        coming: (executed + refused) / seconds,
        rate: executed / seconds,
        p50_ms: percentile(&latencies_us, 0.5),
        p99_ms: percentile(&latencies_us, 0.99),
    })
}

struct Load {
    host: Host,
    streams: u64,
    work: String,
    refused: AtomicU64,
    answered: Mutex<Vec<Result<u32, Error>>>,
}

impl Load {
    fn new(host: &Host, streams: u64) -> Arc<Self> {
        Arc::new(Self {
            host: host.clone(),
            streams,
            work: work(),
            refused: AtomicU64::new(0),
            answered: Mutex::default(),
        })
    }

    /// Lets commands come, whether earlier ones were answered or not. Returns the sorted latencies
    /// of those that were executed.
    async fn come(self: Arc<Self>, per_second: f64, duration: Duration) -> Result<Vec<u32>> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (begun, mut sent) = (Instant::now(), 0_u64);
        let mut last = Vec::new();
        while begun.elapsed() < duration {
            ticks.tick().await;
            let due = (begun.elapsed().as_secs_f64() * per_second) as u64;
            while sent < due {
                last.push(tokio::spawn(Arc::clone(&self).execute()));
                sent += 1;
            }
            last.retain(|one| !one.is_finished());
        }
        for one in last {
            one.await?;
        }
        let answered = std::mem::take(&mut *self.answered());
        let mut latencies_us = answered.into_iter().collect::<Result<Vec<u32>, Error>>()?;
        latencies_us.sort_unstable();
        Ok(latencies_us)
    }

    fn answered(&self) -> MutexGuard<'_, Vec<Result<u32, Error>>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn execute(self: Arc<Self>) {
        let begun = Instant::now();
        let number = rand::rng().random_range(0..self.streams);
        let Ok(command) = Command::new("schedule-work", self.work.clone()) else {
            return;
        };
        let executed = self.host.execute(&stream(number), command).await;
        if matches!(executed, Err(Error::Overloaded)) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let elapsed_us = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        self.answered().push(executed.map(|_| elapsed_us));
    }
}

impl fmt::Display for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\noverload: more commands come than are executed\n{:>24} {:>11} {:>11} {:>8} {:>8}",
            "", "coming/s", "executed/s", "p50 ms", "p99 ms"
        )?;
        let full = Came {
            coming: self.full.rate,
            rate: self.full.rate,
            p50_ms: self.full.p50_ms,
            p99_ms: self.full.p99_ms,
        };
        for (name, state) in [
            ("256 in flight", &full),
            ("overload, at first", &self.first),
            ("overload, later", &self.later),
        ] {
            let Came { coming, rate, .. } = state;
            let (p50_ms, p99_ms) = (state.p50_ms, state.p99_ms);
            writeln!(
                f,
                "{name:>24} {coming:>11.0} {rate:>11.0} {p50_ms:>8.2} {p99_ms:>8.2}"
            )?;
        }
        let ratio = self.later.rate / self.full.rate;
        writeln!(f, "executed, as a ratio: {ratio:.2}")
    }
}
