//! The newest shadow and the newest verification of this host, for the console. They are in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quipu::model::{Clock, SystemClock, Timestamp};
use quipu_api::RunLine;

/// A kind of run whose newest one can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Shadow,
    Verification,
}

/// The newest run of each kind.
#[derive(Default)]
pub struct NewestRuns {
    shadow: Slot,
    verification: Slot,
    /// How many runs have begun.
    begun: AtomicU64,
}

type Slot = Mutex<Option<NewestRun>>;

/// A run with its newest line.
#[derive(Clone)]
pub struct NewestRun {
    number: u64,
    pub began_at: Timestamp,
    /// Who began it; none for a caller without a name.
    pub by: Option<Box<str>>,
    /// Its newest line.
    pub line: RunLine,
    /// None while it runs.
    pub ended_at: Option<Timestamp>,
}

impl NewestRuns {
    /// The newest run of a kind; none since the host was started.
    pub fn of(&self, kind: Kind) -> Option<NewestRun> {
        self.slot(kind).clone()
    }

    /// Watches a run that begins. It is the newest one from its first line on.
    pub fn watch(self: &Arc<Self>, kind: Kind, by: Option<Box<str>>) -> Watch {
        Watch {
            runs: Arc::clone(self),
            kind,
            number: self.begun.fetch_add(1, Ordering::Relaxed),
            began_at: SystemClock.now(),
            by,
        }
    }

    fn slot(&self, kind: Kind) -> MutexGuard<'_, Option<NewestRun>> {
        let slot = match kind {
            Kind::Shadow => &self.shadow,
            Kind::Verification => &self.verification,
        };
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run that is watched until this is dropped.
pub struct Watch {
    runs: Arc<NewestRuns>,
    kind: Kind,
    number: u64,
    began_at: Timestamp,
    by: Option<Box<str>>,
}

impl Watch {
    /// Sets the newest line.
    pub fn set(&self, line: &RunLine) {
        let mut slot = self.runs.slot(self.kind);
        match &mut *slot {
            Some(run) if run.number == self.number => run.line = line.clone(),
            // A run that fails at once, for example because another one is running, is not shown.
            _ if matches!(line, RunLine::Problem(_)) => {}
            other => {
                *other = Some(NewestRun {
                    number: self.number,
                    began_at: self.began_at,
                    by: self.by.clone(),
                    line: line.clone(),
                    ended_at: None,
                });
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut slot = self.runs.slot(self.kind);
        if let Some(run) = slot.as_mut().filter(|run| run.number == self.number) {
            run.ended_at = Some(SystemClock.now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_api::{Code, Problem, ProgressView};

    fn progress(position: u64) -> RunLine {
        RunLine::Progress(ProgressView { position, head: 9 })
    }

    fn position(runs: &NewestRuns) -> Option<(u64, bool)> {
        let run = runs.of(Kind::Verification)?;
        let RunLine::Progress(progress) = run.line else {
            return None;
        };
        Some((progress.position, run.ended_at.is_some()))
    }

    #[test]
    fn a_run_is_the_newest_from_its_first_line_on() {
        let runs = Arc::new(NewestRuns::default());
        let first = runs.watch(Kind::Verification, None);
        assert!(position(&runs).is_none());
        first.set(&progress(1));
        assert_eq!(position(&runs), Some((1, false)));
        // Another one that is refused changes nothing.
        let refused = runs.watch(Kind::Verification, Some("ann".into()));
        let problem = Problem::new(Code::Overloaded, "another one is running");
        refused.set(&RunLine::Problem(Box::new(problem)));
        drop(refused);
        first.set(&progress(2));
        assert_eq!(position(&runs), Some((2, false)));
        drop(first);
        assert_eq!(position(&runs), Some((2, true)));
        assert!(runs.of(Kind::Shadow).is_none());
    }
}
