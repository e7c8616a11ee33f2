//! Writes documents together with the checkpoint, while the owner of a build continues to fold.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::Trouble;
use super::cache::Cache;
use super::owner::{End, Owner};
use super::prefetch::Ahead;
use super::shared::Options;
use crate::model::{Backoff, Position, SharedThrottle};
use crate::store::{BatchOutcome, BuildBatch, BuildId, DocumentStore, FailedEvent};
use crate::supervise::joined;

/// What was read or folded, and is not stored yet.
pub(super) struct Buffer {
    pub(super) cache: Cache,
    /// What the next batch writes in addition to the documents.
    pub(super) failed: BuildBatch,
    /// The page that is read while other events are folded.
    pub(super) ahead: Option<Ahead>,
    /// The batch that is written while more events are folded.
    writing: Option<Writing>,
    /// Number of events folded since the last flush.
    pub(super) events: usize,
    /// When that was.
    pub(super) since: Instant,
}

impl Buffer {
    /// Nothing is folded yet.
    pub(super) fn new(cache: Cache) -> Self {
        Self {
            cache,
            failed: BuildBatch::default(),
            ahead: None,
            writing: None,
            events: 0,
            since: Instant::now(),
        }
    }

    /// Whether so much was folded that it is written, although more follows.
    pub(super) fn is_full(&self, options: &Options) -> bool {
        self.events >= options.flush_events
            || self.cache.changed() >= options.flush_documents
            || self.cache.bytes() >= options.cache_bytes
            || self.failed.parked.len() >= options.flush_documents
            || self.failed.skipped.len() >= options.flush_documents
            || self.since.elapsed() >= options.flush_interval
    }
}

/// A batch that is being written. There is at most one at a time.
struct Writing {
    /// The batch includes everything up to here.
    at: Position,
    written: AbortOnDropHandle<Result<FlushAnswer, End>>,
}

/// The store's answer to a batch.
struct FlushAnswer {
    requested_at: Instant,
    retries: u64,
    is_paused: bool,
}

impl Owner {
    /// Writes what was folded and waits until it is stored. Also records why the build is held up,
    /// if it is.
    pub(super) async fn flush(&mut self, trouble: Option<&Trouble>) -> Result<(), End> {
        self.begin_flush(trouble).await?;
        self.settle().await?;
        self.buffer.cache.trim(self.shared.options.cache_bytes);
        Ok(())
    }

    /// Starts writing what was folded, after the batch that is being written. If a write fails, the
    /// owner gives up the build, and everything folded since is lost and folded a second time.
    pub(super) async fn begin_flush(&mut self, trouble: Option<&Trouble>) -> Result<(), End> {
        self.settle().await?;
        // Not while events are folded, because they may need a document that this evicts.
        self.buffer.cache.trim(self.shared.options.cache_bytes);
        let (writes, changes) = self.buffer.cache.writes(&self.rules.definition().indexes);
        let mut failed = std::mem::take(&mut self.buffer.failed);
        // An event that was tried twice between two flushes is recorded once.
        last_of_each(&mut failed.parked);
        last_of_each(&mut failed.skipped);
        let batch = BuildBatch {
            position: self.progress.folded,
            changes,
            writes,
            trouble: trouble.map(Trouble::written),
            waits: self.takeover.waits.clone(),
            plan: self.verdict.plan,
            stale: self.verdict.stale.clone(),
            ..failed
        };
        let has_news = self.progress.folded > self.progress.stored
            || !batch.writes.is_empty()
            || !batch.parked.is_empty()
            || !batch.unparked.is_empty()
            || !batch.skipped.is_empty()
            || !batch.retried.is_empty()
            || batch.trouble.is_some()
            || self.build.trouble.is_some()
            || batch.waits != self.build.waits
            || self.verdict.is_new;
        if !has_news {
            return Ok(());
        }
        self.build.trouble.clone_from(&batch.trouble);
        self.build.waits.clone_from(&batch.waits);
        self.verdict.is_new = false;
        (self.buffer.events, self.buffer.since) = (0, Instant::now());
        self.write(batch);
        Ok(())
    }

    /// Writes the plan under which the build was checked, and the result. The recorded error stays.
    pub(super) async fn keep_judgement(&mut self) -> Result<(), End> {
        let trouble = Trouble::read(self.build.trouble.as_deref());
        self.flush(trouble.as_ref()).await
    }

    pub(super) fn write(&mut self, batch: BuildBatch) {
        let documents = Arc::clone(&self.shared.documents);
        let (id, token, lease) = (self.build.id, self.token, self.shared.options.lease);
        let (at, name) = (batch.position, Arc::clone(&self.name));
        let written = self
            .shared
            .running
            .spawn(async move { written(&*documents, (id, token), &batch, lease, &name).await });
        self.buffer.writing = Some(Writing {
            at,
            written: AbortOnDropHandle::new(written),
        });
    }

    /// Waits until the batch that is being written is stored.
    pub(super) async fn settle(&mut self) -> Result<(), End> {
        let Some(writing) = self.buffer.writing.take() else {
            return Ok(());
        };
        let written = joined(writing.written.await).ok_or(End::Gone)??;
        self.renew_at = written.requested_at + self.shared.options.lease / 3;
        if self.progress.stored < writing.at {
            self.progress.stored = writing.at;
        }
        self.shared.progressed();
        if written.is_paused {
            return Err(End::Waiting);
        }
        self.wants_retry(written.retries);
        Ok(())
    }
}

/// Keeps only the last entry for each subject and position.
fn last_of_each(events: &mut Vec<FailedEvent>) {
    let mut known = HashSet::new();
    events.reverse();
    events.retain(|event| known.insert((event.subject.clone(), event.position)));
    events.reverse();
}

/// Limits log entries about documents that could not be written: every attempt may fail.
static SAID: SharedThrottle = SharedThrottle::new();

/// Writes a batch, and retries until it succeeds or the error is permanent.
async fn written(
    documents: &dyn DocumentStore,
    (build, token): (BuildId, u64),
    batch: &BuildBatch,
    lease: Duration,
    name: &str,
) -> Result<FlushAnswer, End> {
    let mut backoff = Backoff::of_reads();
    loop {
        let requested_at = Instant::now();
        match documents.keep(build, token, batch, lease).await {
            Ok(BatchOutcome::Done { retries, is_paused }) => {
                return Ok(FlushAnswer {
                    requested_at,
                    retries,
                    is_paused,
                });
            }
            Ok(BatchOutcome::Lost) => return Err(End::Lost),
            Err(error) if error.is_lasting() => return Err(End::Failed(error.into())),
            Err(error) => {
                if let Some(left_out) = SAID.pass(&format!("{name}: {error}")) {
                    let why = "could not write documents; retrying";
                    tracing::warn!(projection = name, %error, left_out, "{why}");
                }
                sleep(backoff.next_pause()).await;
            }
        }
    }
}
