//! Limits the time of streams and modules whose calls use up their fuel or time, so that they do
//! not block a worker for everyone else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::model::{Digest, StreamId};
use crate::runtime::{Failure, Fault};

/// A fault whose call took less processor time has no consequences.
const COSTLY: Duration = Duration::from_millis(20);
/// After a costly fault, a module is paused for this many times the duration of the call.
const REST: u32 = 8;
/// Each further costly fault doubles the pause, at most this many times.
const DOUBLINGS_MAX: u32 = 6;
/// Longest pause.
const REST_MAX: Duration = Duration::from_secs(60);
/// Number of streams with faults from which a module is paused for every stream.
const STREAMS_MIN: usize = 3;
/// Time after which a fault is forgotten if there was no other.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The modules of one worker that are paused, or were paused recently.
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
    /// Whether there are no pauses at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the fault because of which a module is not called for a stream now. `None` when it
    /// may be called.
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

    /// Records that a call for a stream faulted.
    pub fn failed(&mut self, fault: &Fault, stream: &StreamId) {
        let took = fault.took;
        if fault.kind.is_of_host() || took < COSTLY {
            return;
        }
        let now = Instant::now();
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
            "a module is paused, because its calls take too long");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::FaultKind;

    const MODULE: Digest = Digest([7; 32]);

    fn trap(took: Duration) -> Fault {
        Fault {
            kind: FaultKind::Trap,
            component: "guest".to_owned(),
            digest: MODULE,
            text: "it trapped".to_owned(),
            fuel: None,
            took,
        }
    }

    #[test]
    fn a_module_is_paused_for_the_time_of_its_call_and_not_for_that_of_the_machine() {
        let (mut brakes, stream) = (Brakes::default(), StreamId::new("note-1").unwrap());
        let begun = Instant::now();
        brakes.failed(&trap(COSTLY / 2), &stream);
        assert!(brakes.is_empty());
        brakes.failed(&trap(COSTLY), &stream);
        assert!(brakes.rests(MODULE, &stream, begun).is_some());
        let later = Instant::now() + COSTLY * REST;
        assert!(brakes.rests(MODULE, &stream, later).is_none());
    }
}
