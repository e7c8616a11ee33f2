//! Where the load of a stream begins after others wrote to it first.
//!
//! After a conflict, the state of a stream contains events that were never stored, so it is loaded
//! once more. For a stream that this has happened to, the state after the load is kept, in the form
//! of a snapshot that is never stored. The next load reads only the events after it. Otherwise a
//! host that reads a long stream from its first event could lose every race against a host that has
//! the stream in memory.
//!
//! Direct appends that a decider folds keep states in the same way.

use std::sync::Arc;

use hashlink::LruCache;

use super::executor::Executor;
use super::slot::{Slot, Warm};
use crate::fold::{Rules, Start};
use crate::model::{StreamId, Version};
use crate::runtime::Failure;

/// Highest number of states that one worker keeps, and that are kept for direct appends.
const RESUMES_MAX: usize = 256;
/// The largest state that is kept, in bytes.
const BYTES_MAX: usize = 64 << 10;

/// A state of committed events, from which a stream can be loaded.
#[derive(Clone)]
pub struct Resume {
    /// The rules that folded it.
    pub rules: Arc<Rules>,
    pub start: Start,
    /// Version of the stored snapshot before it; 0 without one.
    pub snapshot_version: Version,
}

/// States that are kept.
pub struct Resumes(LruCache<StreamId, Resume>);

impl Default for Resumes {
    fn default() -> Self {
        Self(LruCache::new(RESUMES_MAX))
    }
}

impl Resumes {
    /// Returns the state of a stream that these rules have folded.
    pub fn of(&mut self, stream: &StreamId, rules: &Arc<Rules>) -> Option<Resume> {
        let resume = self.0.get(stream)?;
        Arc::ptr_eq(&resume.rules, rules).then(|| resume.clone())
    }

    /// Keeps a state, unless it is too large.
    pub fn keep(&mut self, stream: &StreamId, resume: Resume) -> bool {
        let is_small = resume.start.snapshot.body.bytes().len() <= BYTES_MAX;
        if is_small {
            self.0.insert(stream.clone(), resume);
        }
        is_small
    }

    /// Forgets the state of a stream.
    pub fn forget(&mut self, stream: &StreamId) {
        self.0.remove(stream);
    }

    /// Forgets every state.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Executor {
    /// Keeps the state of a stream that others write to, too, if its load took more than a page.
    pub(super) fn keep_for_next_load(
        &mut self,
        stream: &StreamId,
        warm: &Warm,
        is_contested: &mut bool,
    ) {
        let read = warm.version.0.saturating_sub(warm.begun_at.0);
        if !*is_contested || read < self.shared.options.load_page as u64 {
            return;
        }
        match warm.replicas.snapshot(&mut self.pool) {
            Some(Ok(Some(snapshot))) => {
                let resume = Resume {
                    rules: Arc::clone(&warm.deployed.rules),
                    start: Start {
                        version: warm.version,
                        snapshot,
                        is_anchor_only: false,
                    },
                    snapshot_version: warm.snapshot_version,
                };
                // One that is too large will be too large again.
                *is_contested = self.resumes.keep(stream, resume);
            }
            // The guest gives no snapshot: this is not tried again.
            Some(Ok(None)) | None => *is_contested = false,
            Some(Err(failure)) => {
                *is_contested = false;
                if let Failure::Fault(fault) = &failure {
                    self.brakes.failed(fault, stream);
                }
            }
        }
    }

    /// Loads a stream from its first event, because the guest refused the state that was kept.
    pub(super) fn skip_resume(&mut self, stream: &StreamId, slot: &mut Slot, failure: &Failure) {
        tracing::warn!(%stream, %failure, "the guest does not open its own snapshot");
        self.resumes.forget(stream);
        slot.is_contested = false;
        // The fault may have ended the states of other streams.
        if matches!(failure, Failure::Fault(_)) {
            self.isolate(stream, slot);
        }
        self.retire(slot);
    }
}
