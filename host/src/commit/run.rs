use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::store::RunId;

static RUNS: AtomicU64 = AtomicU64::new(1);

/// The life of one warm state, from one load to the next. It records whether what was decided on
/// the state is still valid.
///
/// When an append of a run is rejected, the state after it never existed. The run is then dead, and
/// all its later items are rejected, whatever their version.
#[derive(Debug)]
pub struct Run {
    id: RunId,
    dead: AtomicBool,
    /// Whether it is dead because others wrote to the stream first.
    outrun: AtomicBool,
    /// Items staged and not yet answered.
    staged: AtomicU32,
    /// Whether someone waits for the last of them.
    watched: AtomicBool,
}

impl Run {
    /// Starts a run with a new id.
    pub fn begin() -> Self {
        Self {
            id: RunId(RUNS.fetch_add(1, Ordering::Relaxed)),
            dead: AtomicBool::new(false),
            outrun: AtomicBool::new(false),
            staged: AtomicU32::new(0),
            watched: AtomicBool::new(false),
        }
    }

    /// Id of the run.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Whether the run is dead: decisions on its state can no longer be committed.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Ends the run, because one of its appends was rejected.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Ends the run, because others wrote to the stream first.
    pub fn outrun(&self) {
        self.outrun.store(true, Ordering::SeqCst);
        self.kill();
    }

    /// Whether the run is dead because others wrote to the stream first.
    pub fn is_outrun(&self) -> bool {
        self.outrun.load(Ordering::SeqCst)
    }

    /// Counts an item that is about to be staged.
    pub fn stage(&self) {
        self.staged.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts an item that has been answered. Returns true if it was the last one and someone waits
    /// for that.
    pub fn answered(&self) -> bool {
        self.staged.fetch_sub(1, Ordering::SeqCst) == 1
            && self.watched.swap(false, Ordering::SeqCst)
    }

    /// Whether no item of the run is staged.
    pub fn is_idle(&self) -> bool {
        self.staged.load(Ordering::SeqCst) == 0
    }

    /// Requests a notification, through [`answered`](Self::answered), when the last item has been
    /// answered. Returns false if there is nothing to wait for.
    pub fn watch(&self) -> bool {
        self.watched.store(true, Ordering::SeqCst);
        // The flag is set before the check, because the last answer may have come in between.
        !(self.is_idle() && self.watched.swap(false, Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_of_a_run_is_notified_once_when_the_last_item_is_answered() {
        let run = Run::begin();
        assert!(!run.watch());
        run.stage();
        run.stage();
        assert!(run.watch());
        assert!(!run.answered());
        assert!(run.answered());
        assert!(!run.watch());
    }
}
