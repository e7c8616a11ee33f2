use std::sync::Arc;

use super::rules::OTHER_FOLD;
use super::{Counts, Error, Open, Rules, Start};
use crate::model::{StreamId, Timestamp, Version};
use crate::runtime::{Failure, Idle};
use crate::store::{
    Anchor, EventReader, Head, LoadPage, LoadedEvent, SnapshotStore, StoredSnapshot,
};
use crate::supervise::joined;
use crate::upcast::Lifter;

/// Highest number of instances cached for the next fold.
const IDLE_MAX: usize = 4;

/// Where a fold begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At the first event, regardless of the stream's mark.
    First,
    /// At the best usable snapshot.
    Snapshot,
    /// At the best snapshot that these rules would use for any stream, otherwise at the first
    /// event.
    ///
    /// The result may be stored as a snapshot of these rules. An anchor is used regardless of the
    /// rules that folded it, so it may contain a state that these rules would not produce.
    Own,
}

/// Where a fold ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// At the end of the stream.
    End,
    /// At a version.
    Version(Version),
    /// At the last event recorded at or before a time.
    Time(Timestamp),
}

/// Folds streams independently of commands, from committed events only.
pub struct Folder {
    pub(super) reader: Arc<dyn EventReader>,
    pub(super) snapshots: Arc<dyn SnapshotStore>,
    lifter: Arc<Lifter>,
    counts: Arc<Counts>,
    pub(super) page: usize,
    idle: Idle,
}

impl Folder {
    /// Creates a folder for the streams of a store, which reads `page` events at once.
    pub fn new(
        reader: Arc<dyn EventReader>,
        snapshots: Arc<dyn SnapshotStore>,
        page: usize,
    ) -> Self {
        Self {
            reader,
            snapshots,
            lifter: Arc::default(),
            counts: Arc::default(),
            page,
            idle: Idle::new(IDLE_MAX),
        }
    }

    /// Reads events.
    pub fn reader(&self) -> &Arc<dyn EventReader> {
        &self.reader
    }

    /// Stores snapshots.
    pub fn store(&self) -> &Arc<dyn SnapshotStore> {
        &self.snapshots
    }

    /// Lifts events, for all readers of this store.
    pub fn lifter(&self) -> &Arc<Lifter> {
        &self.lifter
    }

    /// Counts of snapshots.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Returns the stored snapshots of a stream without reading events.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn snapshots(&self, stream: &StreamId) -> Result<Vec<StoredSnapshot>, Error> {
        Ok(self.snapshots.find(stream).await?)
    }

    /// Returns the snapshots of a category that were taken last.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn newest(
        &self,
        category: &str,
        limit: usize,
    ) -> Result<Vec<(StreamId, StoredSnapshot)>, Error> {
        Ok(self.snapshots.newest(category, limit).await?)
    }

    /// Returns anchors of a category.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn anchors(
        &self,
        category: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Anchor>, Error> {
        Ok(self.snapshots.anchors(Some(category), after, limit).await?)
    }

    /// Checks whether a snapshot can be opened.
    ///
    /// # Errors
    /// The reason why it can't.
    pub async fn opens(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        stream: &StreamId,
        snapshot: &StoredSnapshot,
    ) -> Result<(), String> {
        let start = rules
            .readable(stream, snapshot)
            .map_err(|why| why.to_string())?;
        let opened = self.open(rules, stream, Some(start)).await;
        let open = opened.map_err(|failure| failure.to_string())?;
        let closed = self.ask(open, |_| Ok(())).await;
        closed.map_err(|error| error.to_string())
    }

    /// Folds a stream.
    ///
    /// # Errors
    /// When the stream or version does not exist, or an event can't be read.
    pub async fn fold(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        stream: &StreamId,
        from: From,
        until: Until,
    ) -> Result<Open, Error> {
        let head = self.reader.head(stream).await?;
        let head = head.ok_or_else(|| Error::NoStream(stream.clone()))?;
        check_until(stream, head, until)?;
        let starts = match from {
            From::First => Vec::new(),
            From::Snapshot => {
                let stored = self.snapshots.find(stream).await?;
                self.starts(rules, stream, &stored, head, until)
            }
            From::Own => {
                let mut stored = self.snapshots.find(stream).await?;
                stored.retain(|snapshot| rules.trusts(snapshot.fold));
                self.starts(rules, stream, &stored, head, until)
            }
        };
        for start in starts {
            match self.open(rules, stream, Some(start)).await {
                Ok(open) => {
                    self.counts.used();
                    return self.go_on(open, until).await;
                }
                Err(failure) if failure.is_of_host() => {
                    return Err(Error::of_guest(stream, &failure));
                }
                Err(failure) => self.ignore(stream, "refused-by-the-guest", &failure),
            }
        }
        if from == From::Snapshot && until == Until::End && head.first() > Version(1) {
            return Err(no_anchor(stream, head));
        }
        let open = self.open(rules, stream, None).await;
        let open = open.map_err(|failure| Error::of_guest(stream, &failure))?;
        let open = self.go_on(open, until).await?;
        if open.version < head.truncated_before {
            return Err(truncated(stream, head));
        }
        Ok(open)
    }

    /// Folds a stream to its end, from a state that these rules have folded.
    pub(super) async fn fold_from(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        stream: &StreamId,
        start: Start,
    ) -> Result<Open, Error> {
        match self.open(rules, stream, Some(start)).await {
            Ok(open) => self.go_on(open, Until::End).await,
            Err(failure) if failure.is_of_host() => Err(Error::of_guest(stream, &failure)),
            Err(failure) => {
                self.ignore(stream, "refused-by-the-guest", &failure);
                self.fold(rules, stream, From::Snapshot, Until::End).await
            }
        }
    }

    /// Returns the snapshots from which a fold may begin, the latest version first. Other snapshots
    /// are logged and counted.
    pub fn starts(
        &self,
        rules: &Rules,
        stream: &StreamId,
        stored: &[StoredSnapshot],
        head: Head,
        until: Until,
    ) -> Vec<Start> {
        let mut starts = Vec::new();
        for snapshot in stored {
            let is_early = match until {
                Until::End => true,
                Until::Version(version) => snapshot.version <= version,
                // The time of the snapshot's last event is unknown.
                Until::Time(_) => false,
            };
            if !is_early {
                continue;
            }
            match rules.start(stream, snapshot, head.version) {
                // A snapshot before the mark would miss events that can't be read.
                Ok(start) if !start.serves(head) => {}
                Ok(start) => starts.push(start),
                Err(why) => self.ignore(stream, why.code(), &why),
            }
        }
        starts
    }

    /// Logs and counts a snapshot that was not used.
    pub fn ignore(&self, stream: &StreamId, reason: &'static str, why: &dyn std::fmt::Display) {
        // This is expected for every stream that was folded before the decider was replaced.
        if reason == OTHER_FOLD {
            tracing::debug!(%stream, reason, "a snapshot is not used: {why}");
        } else {
            tracing::warn!(%stream, reason, "a snapshot is not used: {why}");
        }
        self.counts.ignored(reason);
    }

    /// Runs a function on a guest's state, outside the async runtime, and caches the instance.
    ///
    /// # Errors
    /// The errors of the function.
    pub async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        mut open: Open,
        ask: impl FnOnce(&mut Open) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let folder = Arc::clone(self);
        off_the_reactor(move || {
            let answer = ask(&mut open)?;
            folder.keep(open);
            Ok(answer)
        })
        .await?
    }

    /// Closes a state and caches its instance for the next fold.
    pub(super) fn keep(&self, open: Open) {
        self.idle.keep(open.close());
    }

    /// Drops the cached instances, so that the next folds begin in new ones.
    pub(super) fn drop_idle(&self) {
        self.idle.clear();
    }

    /// Opens a state, outside the async runtime.
    pub(super) async fn open(
        self: &Arc<Self>,
        rules: &Arc<Rules>,
        stream: &StreamId,
        start: Option<Start>,
    ) -> Result<Open, Failure> {
        let (folder, rules, stream) = (Arc::clone(self), Arc::clone(rules), stream.clone());
        let opened = tokio::task::spawn_blocking(move || {
            let idle = folder.idle.take(&rules.module);
            Open::new(&rules, idle, &stream, start.as_ref())
        });
        match opened.await {
            Ok(opened) => opened,
            Err(error) => Err(Failure::BadSnapshot(format!("it was not opened: {error}"))),
        }
    }

    /// Folds the events that follow a state.
    pub(super) async fn go_on(
        self: &Arc<Self>,
        mut open: Open,
        until: Until,
    ) -> Result<Open, Error> {
        loop {
            let limit = match until {
                Until::Version(version) => {
                    let left = version.0.saturating_sub(open.version.0);
                    usize::try_from(left).unwrap_or(usize::MAX).min(self.page)
                }
                Until::End | Until::Time(_) => self.page,
            };
            if limit == 0 {
                return Ok(open);
            }
            let page = self.reader.load(&open.stream, open.version, limit).await?;
            let (events, is_last) = cut(page, until);
            let folder = Arc::clone(self);
            open = off_the_reactor(move || {
                open.take(&folder.lifter, events)?;
                Ok::<_, Error>(open)
            })
            .await??;
            if is_last {
                return Ok(open);
            }
        }
    }
}

/// Runs a guest on a blocking thread, because guests must not run on the threads of the async
/// runtime.
///
/// # Errors
/// When the host is shutting down.
pub async fn off_the_reactor<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let running = tokio::task::spawn_blocking(run).await;
    joined(running).ok_or(Error::Stopped)
}

/// Returns the events of a page up to the end of a fold, and whether the fold ends with them.
fn cut(page: LoadPage, until: Until) -> (Vec<LoadedEvent>, bool) {
    let mut events = page.events;
    let Until::Time(time) = until else {
        return (events, page.is_last);
    };
    let early = events.partition_point(|event| event.recorded_at <= time);
    let is_last = page.is_last || early < events.len();
    events.truncate(early);
    (events, is_last)
}

/// Rejects a version that a stream does not have, or that is truncated.
fn check_until(stream: &StreamId, head: Head, until: Until) -> Result<(), Error> {
    let Until::Version(version) = until else {
        return Ok(());
    };
    if version < head.truncated_before {
        return Err(truncated(stream, head));
    }
    if version <= head.version {
        return Ok(());
    }
    Err(Error::NoVersion {
        stream: stream.clone(),
        version,
        found: head.version,
    })
}

fn truncated(stream: &StreamId, head: Head) -> Error {
    Error::Truncated {
        stream: stream.clone(),
        before: head.truncated_before,
    }
}

/// Returns the error of a truncated stream without a usable anchor.
pub fn no_anchor(stream: &StreamId, head: Head) -> Error {
    Error::Anchor {
        stream: stream.clone(),
        before: head.truncated_before,
        text: "it is gone, damaged or of another form".to_owned(),
    }
}
