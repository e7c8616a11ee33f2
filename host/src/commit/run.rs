use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::store::RunId;

static RUNS: AtomicU64 = AtomicU64::new(1);

/// The life of one warm state, from a load to the next: what was decided on it,
/// and whether it still counts.
///
/// When an append of a run is refused, the state behind it never existed: the run
/// is dead, and all of it that is staged later is refused whatever its version.
#[derive(Debug)]
pub struct Run {
    id: RunId,
    dead: AtomicBool,
    /// Items staged and not yet answered.
    staged: AtomicU32,
    /// Someone waits for the last of them.
    watched: AtomicBool,
}

impl Run {
    /// A run with an id of its own.
    pub fn begin() -> Self {
        Self {
            id: RunId(RUNS.fetch_add(1, Ordering::Relaxed)),
            dead: AtomicBool::new(false),
            staged: AtomicU32::new(0),
            watched: AtomicBool::new(false),
        }
    }

    /// Its id.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Whether what is decided on it from now on can't be committed.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// Ends it: an append of it was refused.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    /// Counts an item that is about to be staged.
    pub fn stage(&self) {
        self.staged.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts an item that has been answered. True when it was the last one and
    /// someone waits for that.
    pub fn answered(&self) -> bool {
        self.staged.fetch_sub(1, Ordering::SeqCst) == 1
            && self.watched.swap(false, Ordering::SeqCst)
    }

    /// Whether nothing of it is staged.
    pub fn is_idle(&self) -> bool {
        self.staged.load(Ordering::SeqCst) == 0
    }

    /// Asks to be told, by [`answered`](Self::answered), when the last item has
    /// been answered. False when there is nothing to wait for.
    pub fn watch(&self) -> bool {
        self.watched.store(true, Ordering::SeqCst);
        // Set the flag, then look again: the last answer may have come in between.
        !(self.is_idle() && self.watched.swap(false, Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_watches_a_run_is_told_once_when_the_last_item_is_answered() {
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
