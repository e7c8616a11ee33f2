//! Measures commands while the decider is replaced, and the time until a new component decides.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use super::Options;
use super::host::{Guests, Ids, Kind, executed, shut_down, warm_hosts};
use super::load::Measured;
use super::place::Place;
use quipu::Host;
use quipu::model::Digest;

/// Pause between two swaps.
const PAUSE: Duration = Duration::from_millis(100);
/// Commands in flight.
const IN_FLIGHT: usize = 64;

/// The results.
#[derive(Debug, Clone, Serialize)]
pub struct Swaps {
    /// Length of the component in bytes.
    pub component_bytes: usize,
    /// Time from the component's bytes to the compiled module in the store, in milliseconds.
    pub upload_ms: f64,
    /// Time from the upload to the first plan under which it decides, in milliseconds.
    pub activate_ms: f64,
    /// Commands with one decider.
    pub before: Measured,
    /// Commands with a swap every 100 ms.
    pub during: Measured,
    /// Number of swaps during these commands.
    pub swaps: u64,
    /// Commands with one swap, in the middle.
    pub once: Measured,
}

/// Measures on a new store.
pub async fn measure(options: &Options, component: &[u8]) -> Result<Swaps> {
    let place = Place::new(options)?;
    let hosts = warm_hosts(options, &place, &Guests::only(component)).await?;
    let streams = options.streams as u64;
    let duration = Duration::from_secs(options.seconds);
    let host = hosts[0].clone();
    let first = Digest::of(component);
    let begun = Instant::now();
    let other = host.upload(another(component)).await?.module.digest();
    let upload_ms = begun.elapsed().as_secs_f64() * 1e3;
    let begun = Instant::now();
    host.activate(other, None).await?;
    let activate_ms = begun.elapsed().as_secs_f64() * 1e3;
    let drive = || {
        executed(
            &hosts,
            streams,
            (Kind::ManyStreams, Ids::Callers),
            IN_FLIGHT,
            duration,
        )
    };
    // All streams are warm after this load.
    drive().await?;
    let before = drive().await?;
    let once = async {
        tokio::time::sleep(duration / 2).await;
        host.activate(first, None).await
    };
    let (once, swapped) = tokio::join!(drive(), once);
    swapped?;
    let (is_over, swaps) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let swapping = tokio::spawn(swap(
        host.clone(),
        [other, first],
        Arc::clone(&is_over),
        Arc::clone(&swaps),
    ));
    let during = drive().await;
    is_over.store(true, Ordering::Relaxed);
    swapping.await??;
    shut_down(hosts).await?;
    place.remove().await?;
    Ok(Swaps {
        component_bytes: component.len(),
        upload_ms,
        activate_ms,
        before,
        during: during?,
        swaps: swaps.load(Ordering::Relaxed),
        once: once?,
    })
}

async fn swap(
    host: Host,
    digests: [Digest; 2],
    is_over: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
) -> Result<()> {
    for digest in digests.into_iter().cycle() {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        host.activate(digest, None).await?;
        swaps.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Returns the same code as a different module, by adding a custom section at the end.
fn another(component: &[u8]) -> Vec<u8> {
    let mut another = component.to_vec();
    another.extend([0, 3, 1, b'v', 2]);
    another
}

impl fmt::Display for Swaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\na component of {} KB: {:.0} ms until it is in the store, {:.1} ms more until it decides",
            self.component_bytes / 1_000,
            self.upload_ms,
            self.activate_ms
        )?;
        writeln!(
            f,
            "swaps, {IN_FLIGHT} in flight\n{:>24} {:>11} {:>8} {:>8} {:>8}",
            "", "commands/s", "p50 ms", "p99 ms", "ratio"
        )?;
        let often = format!("{} swaps, every 100 ms", self.swaps);
        for (name, measured) in [
            ("one decider", &self.before),
            ("one swap", &self.once),
            (&*often, &self.during),
        ] {
            writeln!(
                f,
                "{name:>24} {:>11.0} {:>8.2} {:>8.2} {:>8.2}",
                measured.rate,
                measured.p50_ms,
                measured.p99_ms,
                measured.p99_ms / self.before.p99_ms
            )?;
        }
        Ok(())
    }
}
