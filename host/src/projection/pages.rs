//! Pages of the log, read once for all projections that are about as far.

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

/// Pages that are remembered.
const PAGES_MAX: usize = 64;
/// Events of all of them.
const EVENTS_MAX: usize = 8_000;
/// Bytes of their data and metadata.
const BYTES_MAX: usize = 16 << 20;

/// A page that is read, or was.
pub(super) type Reading = Shared<BoxFuture<'static, Result<Arc<Page>, Error>>>;

/// A part of the log, as a [`LogPage`].
#[derive(Debug)]
pub(super) struct Page {
    pub events: Vec<Event>,
    pub next: Option<Position>,
    pub head: Position,
    /// Of the events' data and metadata.
    bytes: usize,
}

/// The pages that were read last.
pub(super) struct Pages {
    reader: Arc<dyn EventReader>,
    grown: watch::Receiver<u64>,
    /// Where pages are read: a reading goes on when nobody waits for it any more.
    running: TaskTracker,
    /// At most so many events in a page.
    limit: usize,
    known: Mutex<VecDeque<Known>>,
}

struct Known {
    after: Position,
    filter: Filter,
    /// How often the log had grown before it was read.
    seen: u64,
    reading: Reading,
}

impl Pages {
    /// Nothing is remembered.
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

    /// The page behind a position, and what tells of events that have come since.
    pub(super) fn page(&self, after: Position, filter: &Filter) -> (Reading, watch::Receiver<u64>) {
        let mut grown = self.grown.clone();
        // Seen before the log is read, so that what comes meanwhile is not missed.
        let seen = *grown.borrow_and_update();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|it| !it.has_failed());
        if let Some(page) = self.part(&known, after, filter) {
            let page = Arc::new(page);
            return (async { Ok(page) }.boxed().shared(), grown);
        }
        let same = |it: &&Known| it.after == after && it.seen >= seen && it.filter == *filter;
        if let Some(same) = known.iter().rev().find(same) {
            return (same.reading.clone(), grown);
        }
        let reading = self.read(after, filter.clone());
        known.push_back(Known {
            after,
            filter: filter.clone(),
            seen,
            reading: reading.clone(),
        });
        forget(&mut known);
        (reading, grown)
    }

    /// Begins to read a page.
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

    /// What finished pages have behind a position. More may come: none of them is the last.
    fn part(&self, known: &VecDeque<Known>, after: Position, filter: &Filter) -> Option<Page> {
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

impl Known {
    fn finished(&self) -> Option<&Page> {
        self.reading.peek()?.as_deref().ok()
    }

    fn has_failed(&self) -> bool {
        matches!(self.reading.peek(), Some(Err(_)))
    }
}

impl Page {
    /// All events up to here that pass the filter are in it.
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

/// Forgets the oldest pages that are too many.
fn forget(known: &mut VecDeque<Known>) {
    let is_full = |known: &VecDeque<Known>| {
        let finished = known.iter().filter_map(Known::finished);
        let sizes = finished.map(|page| (page.events.len(), page.bytes));
        let (events, bytes) = sizes.fold((0, 0), |all, page| (all.0 + page.0, all.1 + page.1));
        known.len() > PAGES_MAX || events > EVENTS_MAX || bytes > BYTES_MAX
    };
    while known.len() > 1 && is_full(known) {
        known.pop_front();
    }
}
