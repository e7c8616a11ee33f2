//! Pages of the log, read once for all projections with about the same checkpoint.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, Shared};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::Error;
use super::rules::Event;
use crate::model::{Position, RecordedEvent};
use crate::store::{Direction, EventReader, Filter, LOG_PAGE_MAX, LogPage};
use crate::supervise::joined;

/// Limit for the number of pages in memory.
const PAGES_MAX: usize = 64;
/// Limit for the number of events in all pages.
const EVENTS_MAX: usize = 8_000;
/// Limit for the bytes of their data and metadata.
const BYTES_MAX: usize = 16 << 20;

/// A page that is being read or has been read.
pub(super) type Reading = Shared<BoxFuture<'static, Result<Arc<Page>, Error>>>;

/// A part of the log, as a [`LogPage`].
#[derive(Debug)]
pub(super) struct Page {
    pub events: Vec<Event>,
    pub next: Option<Position>,
    pub head: Position,
    /// Bytes of the events' data and metadata.
    bytes: usize,
}

/// The pages that were read last.
pub(super) struct Pages {
    reader: Arc<dyn EventReader>,
    grown: watch::Receiver<u64>,
    /// Runs the reads. A read continues even if nobody waits for it any more.
    running: TaskTracker,
    /// Largest number of events in a page.
    limit: usize,
    known: Mutex<VecDeque<CachedPage>>,
}

struct CachedPage {
    after: Position,
    filter: Filter,
    /// The log's growth counter before the page was read.
    seen: u64,
    reading: Reading,
}

impl Pages {
    /// Creates the value without any pages.
    pub(super) fn new(
        reader: Arc<dyn EventReader>,
        grown: watch::Receiver<u64>,
        running: TaskTracker,
        limit: usize,
    ) -> Self {
        Self {
            reader,
            grown,
            running,
            limit: limit.clamp(1, LOG_PAGE_MAX),
            known: Mutex::default(),
        }
    }

    /// Returns the page after a position, and a receiver that is notified when the log may have
    /// grown since.
    pub(super) fn page(&self, after: Position, filter: &Filter) -> (Reading, watch::Receiver<u64>) {
        let mut grown = self.grown.clone();
        // Marked as seen before the log is read, so that events appended meanwhile are not missed.
        let seen = *grown.borrow_and_update();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|it| !it.has_failed());
        if let Some(page) = self.part(&known, after, filter) {
            let page = Arc::new(page);
            return (async { Ok(page) }.boxed().shared(), grown);
        }
        let same = |it: &&CachedPage| it.after == after && it.seen >= seen && it.filter == *filter;
        if let Some(same) = known.iter().rev().find(same) {
            return (same.reading.clone(), grown);
        }
        let reading = self.read(after, filter.clone());
        known.push_back(CachedPage {
            after,
            filter: filter.clone(),
            seen,
            reading: reading.clone(),
        });
        forget(&mut known);
        (reading, grown)
    }

    /// Starts reading a page.
    fn read(&self, after: Position, filter: Filter) -> Reading {
        let (reader, limit) = (Arc::clone(&self.reader), self.limit);
        let task = self.running.spawn(async move {
            let reading = reader.read_log(after, Direction::Forward, limit, &filter);
            reading.await
        });
        let reading = async {
            let page = joined(task.await).ok_or(Error::Stopped)??;
            Ok(Arc::new(Page::from(page)))
        };
        reading.boxed().shared()
    }

    /// Assembles a page after a position from pages that have been read. More events may follow, so
    /// the result never counts as the last page.
    fn part(&self, known: &VecDeque<CachedPage>, after: Position, filter: &Filter) -> Option<Page> {
        let (mut events, mut at) = (Vec::new(), after);
        while events.len() < self.limit {
            let pages = known.iter().filter(|it| it.filter == *filter);
            let mut reaching = pages.filter_map(|it| Some((it.after, it.finished()?)));
            let next = reaching.find(|(from, page)| *from <= at && at < page.end());
            let Some((_, page)) = next else { break };
            let first = page.events.partition_point(|event| event.position <= at);
            let rest = page.events.iter().skip(first);
            let room = self.limit - events.len();
            let is_cut = rest.len() > room;
            events.extend(rest.take(room).cloned());
            let last = events.last().filter(|_| is_cut);
            at = last.map_or(page.end(), |last: &Event| last.position);
        }
        (at > after).then_some(Page {
            events,
            next: Some(at),
            head: at,
            bytes: 0,
        })
    }
}

impl CachedPage {
    fn finished(&self) -> Option<&Page> {
        self.reading.peek()?.as_deref().ok()
    }

    fn has_failed(&self) -> bool {
        matches!(self.reading.peek(), Some(Err(_)))
    }
}

impl Page {
    /// The page contains all events up to here that pass the filter.
    fn end(&self) -> Position {
        self.next.unwrap_or(self.head)
    }
}

impl From<LogPage> for Page {
    fn from(page: LogPage) -> Self {
        let metadata = |event: &RecordedEvent| event.metadata.as_ref().map_or(0, Bytes::len);
        let sizes = page.events.iter();
        let sizes = sizes.map(|event| event.body.bytes().len() + metadata(event));
        Self {
            bytes: sizes.sum(),
            events: page.events.into_iter().map(Arc::new).collect(),
            next: page.next,
            head: page.head,
        }
    }
}

/// Removes the oldest pages until the limits are met.
fn forget(known: &mut VecDeque<CachedPage>) {
    let is_full = |known: &VecDeque<CachedPage>| {
        let finished = known.iter().filter_map(CachedPage::finished);
        let sizes = finished.map(|page| (page.events.len(), page.bytes));
        let (events, bytes) = sizes.fold((0, 0), |all, page| (all.0 + page.0, all.1 + page.1));
        known.len() > PAGES_MAX || events > EVENTS_MAX || bytes > BYTES_MAX
    };
    while known.len() > 1 && is_full(known) {
        known.pop_front();
    }
}
