//! Measurements of a host since it was started.
//!
//! Each is a plain atomic number: counting costs an addition, and no lock. [`Meters`] has all of
//! the command path. What belongs to a module is in `Usage` of the runtime, what is read from
//! the store in `Figures` of the host.

mod categories;
mod histogram;
mod spans;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::store;

pub use categories::{CATEGORIES_MAX, Categories, OTHER};
pub use histogram::{Histogram, Reading};
pub(crate) use spans::Recording;
pub use spans::{CommandSpans, FoldSpan, PhaseSpan, SpanIds, SpanSink, Spans};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the number.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Returns the number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Numbers of rare things by name. Takes a lock, so it is not for the command path.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    /// Counts one thing.
    pub fn count(&self, name: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(name).or_default() += 1;
    }

    /// Returns the numbers.
    pub fn read(&self) -> BTreeMap<&'static str, u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Defines an enumeration with a stable name for each value.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$of:meta])* $value:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$of])* $value,)*
        }

        impl $type {
            /// All values, in order.
            pub const ALL: &[Self] = &[$(Self::$value,)*];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)*
                }
            }
        }
    };
}

named! {
    /// How a command ended.
    Outcome {
        /// It was decided and is durable.
        Accepted = "accepted",
        /// Its id was known: the caller got the recorded outcome.
        Replayed = "replayed",
        /// The domain rejected it.
        Rejected = "rejected",
        /// The stream was not at the expected version, or others came first until the deadline.
        Conflict = "conflict",
        /// The host or the guest could not take it as it was.
        Refused = "refused",
        /// The guest faulted.
        Fault = "fault",
        /// The host had too much to do, or was shutting down.
        Overloaded = "overloaded",
        /// The store failed.
        Failed = "failed",
    }
}

impl Outcome {
    /// Whether a decider serves the category of the command for certain.
    fn is_of_decider(self) -> bool {
        matches!(
            self,
            Self::Accepted | Self::Replayed | Self::Rejected | Self::Conflict | Self::Fault
        )
    }
}

named! {
    /// A part of the time that a command takes.
    Phase {
        /// It waits for its worker and for the load of its stream.
        Queue = "queue",
        /// A stream is loaded, once for all commands that wait for it.
        Load = "load",
        /// The guest decides, and folds its events.
        Decide = "decide",
        /// It waits for its commit.
        Commit = "commit",
    }
}

/// The measurements of commands, appends and deployments.
#[derive(Debug)]
pub struct Meters {
    /// Commands by their category and outcome.
    pub commands: Categories<[Counter; Outcome::ALL.len()]>,
    /// Times from a command to its answer.
    pub command_times: Histogram,
    phases: [Histogram; Phase::ALL.len()],
    /// Commands that were decided another time because others wrote to their stream.
    pub retries: Counter,
    /// Events that were appended, by category.
    pub events: Categories<Counter>,
    /// Items of each commit.
    pub batch_items: Histogram,
    /// Times of commits.
    pub commit_times: Histogram,
    /// Commits that failed.
    pub commit_failures: Counter,
    /// The same by the kind of their error.
    store_errors: [Counter; store::Error::KINDS.len()],
    /// Events that were folded to load a stream.
    pub load_events: Histogram,
    /// Streams that were loaded from a snapshot.
    pub loads_from_snapshot: Counter,
    /// Streams that were loaded from their first event.
    pub loads_from_events: Counter,
    /// Activations by result: `done`, `failed`, `blocked`.
    pub activations: Tally,
    /// Preflights by result: `passed`, `objected`.
    pub preflights: Tally,
    /// Objections of preflights, by kind.
    pub objections: Tally,
    /// Where the spans of commands and folds go.
    pub spans: Spans,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            commands: Categories::default(),
            command_times: Histogram::of_times(),
            phases: std::array::from_fn(|_| Histogram::of_times()),
            retries: Counter::default(),
            events: Categories::default(),
            batch_items: Histogram::of_numbers(),
            commit_times: Histogram::of_times(),
            commit_failures: Counter::default(),
            store_errors: std::array::from_fn(|_| Counter::default()),
            load_events: Histogram::of_numbers(),
            loads_from_snapshot: Counter::default(),
            loads_from_events: Counter::default(),
            activations: Tally::default(),
            preflights: Tally::default(),
            objections: Tally::default(),
            spans: Spans::default(),
        }
    }
}

impl Meters {
    /// Counts a command. Only categories that a decider serves get a series: callers can't invent
    /// others.
    pub fn command(&self, category: &str, outcome: Outcome, took: Duration) {
        let counted = match outcome.is_of_decider() {
            true => self.commands.of(category),
            false => self.commands.known(category),
        };
        counted[outcome as usize].add(1);
        self.command_times.observe_time(took);
    }

    /// Counts a part of a command's time.
    pub fn phase(&self, phase: Phase, took: Duration) {
        self.phases[phase as usize].observe_time(took);
    }

    /// The times of a phase.
    pub fn phase_times(&self, phase: Phase) -> &Histogram {
        &self.phases[phase as usize]
    }

    /// Counts a commit that failed as a whole.
    pub fn commit_failed(&self, error: &store::Error) {
        self.commit_failures.add(1);
        let mut kinds = store::Error::KINDS.iter();
        if let Some(index) = kinds.position(|kind| *kind == error.kind()) {
            self.store_errors[index].add(1);
        }
    }

    /// Commits that failed, by the kind of their error.
    pub fn store_errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.store_errors.iter().map(Counter::get);
        store::Error::KINDS.into_iter().zip(counts)
    }

    /// Counts a stream that was loaded.
    pub fn loaded(&self, from_snapshot: bool, events: u64, took: Duration) {
        match from_snapshot {
            true => self.loads_from_snapshot.add(1),
            false => self.loads_from_events.add(1),
        }
        self.load_events.observe(events);
        self.phase(Phase::Load, took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_cannot_invent_categories() {
        let meters = Meters::default();
        for number in 0..1_000 {
            let category = format!("invented{number}");
            meters.command(&category, Outcome::Refused, Duration::ZERO);
        }
        meters.command("real", Outcome::Accepted, Duration::ZERO);
        meters.command("real", Outcome::Refused, Duration::ZERO);
        let mut found = Vec::new();
        meters.commands.each(|category, counts| {
            let refused = counts[Outcome::Refused as usize].get();
            found.push((category.to_owned(), refused));
        });
        let expected = [("real".to_owned(), 1), (OTHER.to_owned(), 1_000)];
        assert_eq!(found, expected);
    }
}
