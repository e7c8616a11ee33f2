//! Keeps streams and modules whose calls use up their fuel or time from taking a worker from
//! everyone else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::{Digest, StreamId};
use crate::runtime::{Failure, Fault};

/// A fault that took less costs nobody anything.
const COSTLY: Duration = Duration::from_millis(20);
/// After a costly fault a module rests so many times as long as it took.
const REST: u32 = 8;
/// With each further one twice as long, so often at most.
const DOUBLINGS_MAX: u32 = 6;
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(60);
/// Streams at which a module faulted from which it rests at every stream.
const STREAMS_MIN: usize = 3;
/// A fault is forgotten after so long without another.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The modules of one worker that rest, or have rested lately.
#[derive(Default)]
pub struct Brakes(HashMap<Digest, Brake>);

struct Brake {
    /// The first streams at which it faulted.
    streams: Vec<StreamId>,
    strikes: u32,
    struck_at: Instant,
    rests_until: Instant,
    fault: Fault,
}

impl Brakes {
    /// Whether nothing has to be looked at.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Why a module is not called for a stream now; none when it may be.
    pub fn rests(&mut self, module: Digest, stream: &StreamId, now: Instant) -> Option<Failure> {
        let brake = self.0.get(&module)?;
        if brake.streams.len() < STREAMS_MIN && !brake.streams.contains(stream) {
            return None;
        }
        let Some(rest) = brake.rests_until.checked_duration_since(now) else {
            if now.duration_since(brake.struck_at) > FORGOTTEN {
                self.0.remove(&module);
            }
            return None;
        };
        if rest.is_zero() {
            return None;
        }
        let mut fault = brake.fault.clone();
        fault.text = format!(
            "{}; not called again for another {} ms, since its calls take too long",
            fault.text,
            rest.as_millis().max(1)
        );
        fault.fuel = None;
        Some(fault.into())
    }

    /// A call for a stream came to nothing after some time.
    pub fn failed(&mut self, failure: &Failure, stream: &StreamId, begun: Instant) {
        let Failure::Fault(fault) = failure else {
            return;
        };
        let now = Instant::now();
        let took = now.duration_since(begun);
        if took < COSTLY {
            return;
        }
        let brake = self.0.entry(fault.digest).or_insert_with(|| Brake {
            streams: Vec::new(),
            strikes: 0,
            struck_at: now,
            rests_until: now,
            fault: fault.clone(),
        });
        if now.duration_since(brake.struck_at) > FORGOTTEN {
            brake.strikes = 0;
            brake.streams.clear();
        }
        if brake.streams.len() < STREAMS_MIN && !brake.streams.contains(stream) {
            brake.streams.push(stream.clone());
        }
        let times = REST << brake.strikes.min(DOUBLINGS_MAX);
        let rest = took.saturating_mul(times).min(REST_MAX);
        brake.strikes += 1;
        (brake.struck_at, brake.rests_until) = (now, now + rest);
        brake.fault = fault.clone();
        tracing::warn!(%stream, %fault, ?took, ?rest, everywhere = brake.streams.len() >= STREAMS_MIN,
            "a module is not called for a while");
    }
}
