//! A closed loop: a fixed number of callers, each with one request at a time.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use super::machine;

/// The result of a load.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Requests answered.
    pub requests: u64,
    /// Requests per second.
    pub rate: f64,
    /// Half of the answers came within this time, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 answers came within this time, in milliseconds.
    pub p99_ms: f64,
    /// Processor time per request, in microseconds, including the callers.
    pub cpu_us: f64,
    /// Bytes written to storage per request.
    pub written_bytes: f64,
    /// Transactions, each with one flush.
    pub batches: u64,
}

/// Runs `request` from `in_flight` callers until the time is over. Its argument starts with the
/// caller's index and increases by `in_flight`, so every call receives a different number.
pub async fn drive<F, R>(in_flight: usize, duration: Duration, request: F) -> Result<Measured>
where
    F: Fn(u64) -> R + Send + Sync + 'static,
    R: Future<Output = Result<()>> + Send,
{
    let request = Arc::new(request);
    let (cpu, written) = (machine::cpu(), machine::written_bytes());
    let begin = Instant::now();
    let callers: Vec<_> = (0..in_flight)
        .map(|caller| {
            let request = Arc::clone(&request);
            tokio::spawn(async move {
                let mut latencies_us = Vec::with_capacity(1 << 14);
                let mut number = caller as u64;
                while begin.elapsed() < duration {
                    let start = Instant::now();
                    request(number).await?;
                    latencies_us.push(u32::try_from(start.elapsed().as_micros())?);
                    number += in_flight as u64;
                }
                Ok::<_, anyhow::Error>(latencies_us)
            })
        })
        .collect();
    let mut latencies_us = Vec::new();
    for caller in callers {
        latencies_us.append(&mut caller.await??);
    }
    let seconds = begin.elapsed().as_secs_f64();
    latencies_us.sort_unstable();
    let requests = latencies_us.len();
    let each = |total: f64| total / requests.max(1) as f64;
    Ok(Measured {
        requests: requests as u64,
        rate: requests as f64 / seconds,
        p50_ms: percentile(&latencies_us, 0.5),
        p99_ms: percentile(&latencies_us, 0.99),
        cpu_us: each((machine::cpu() - cpu).as_secs_f64() * 1e6),
        written_bytes: each((machine::written_bytes() - written) as f64),
        batches: 0,
    })
}

/// The time within which a share of the answers came, in milliseconds. The latencies are sorted.
pub fn percentile(latencies_us: &[u32], share: f64) -> f64 {
    let index = (latencies_us.len() as f64 * share) as usize;
    let latency = latencies_us.get(index).or(latencies_us.last());
    latency.map_or(0.0, |us| f64::from(*us) / 1000.0)
}
