use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::Error;
use super::hub::Shared;
use super::interest::{Wants, Which};
use super::ring::bytes_of;
use crate::deploy::{Plan, Readable};
use crate::model::{Position, RecordedEvent, Version};
use crate::store::Direction;
use crate::upcast::Form;

/// Events that are delivered one after the other. They were read to catch up, or taken from the
/// ring to be lifted together.
pub(super) struct Page {
    events: std::vec::IntoIter<Arc<RecordedEvent>>,
    /// Everything up to here is in the page, or is not selected.
    pub(super) at: Position,
    /// The same for the versions of a stream.
    pub(super) seen: Version,
    /// Whether no more events followed when the page was read.
    pub(super) is_last: bool,
    /// The number of stored events after which the page was cut, if it was.
    pub(super) cut_to: Option<usize>,
    /// Why the event after the page can't be lifted.
    pub(super) failed: Option<Error>,
    /// The permit for a page in memory. `None` if there was none; the page then has a single event.
    held: Option<OwnedSemaphorePermit>,
}

impl Page {
    /// Reads the next page after a position, up to the current end of the ring. Every plan under
    /// which these events were committed is known here. Events after that are taken from the ring.
    pub(super) async fn read(
        shared: Arc<Shared>,
        wants: Arc<Wants>,
        (at, seen): (Position, Version),
        limit: usize,
    ) -> Result<Self, Error> {
        let _permit = shared.reads.acquire().await.map_err(|_| Error::Stopped)?;
        // Read before the page, so that the page includes everything that the ring has now.
        let end = shared.board().end();
        let plan = shared.reading.plan();
        let (forward, reader) = (Direction::Forward, &shared.reader);
        let (mut events, next_at, mut is_last) = match &wants.which {
            Which::Stream(stream) => {
                let page = reader.read_stream(stream, seen.next(), forward, limit);
                match page.await? {
                    Some(page) => (page.events, end, page.next.is_none()),
                    None => (Vec::new(), end, true),
                }
            }
            Which::Log(filter) => {
                let wide = plan.widened(filter);
                let page = reader.read_log(at, forward, limit, &wide).await?;
                let next_at = page.next.unwrap_or(page.head);
                (page.events, next_at.min(end), next_at >= end)
            }
            // Handlers of commits only read the ring.
            Which::Commits => (Vec::new(), end, true),
        };
        let known = events.partition_point(|event| event.position <= end);
        is_last |= known < events.len();
        events.truncate(known);
        let events = events.into_iter().map(Arc::new).collect();
        let page = Self {
            events: Vec::new().into_iter(),
            at: next_at.max(at),
            seen,
            is_last,
            cut_to: None,
            failed: None,
            held: None,
        };
        page.with(&shared, &wants, &plan, (at, events)).await
    }

    /// Lifts events of the ring, some of which need guests.
    pub(super) async fn lift(
        shared: Arc<Shared>,
        wants: Arc<Wants>,
        plan: Arc<Plan>,
        at: Position,
        events: Vec<Arc<RecordedEvent>>,
    ) -> Result<Self, Error> {
        let _permit = shared.reads.acquire().await.map_err(|_| Error::Stopped)?;
        let page = Self {
            events: Vec::new().into_iter(),
            at: events.last().map_or(at, |last| last.position),
            seen: Version::NONE,
            is_last: true,
            cut_to: None,
            failed: None,
            held: None,
        };
        page.with(&shared, &wants, &plan, (at, events)).await
    }

    /// Returns the next event, and whether it is the last part of its stored event.
    pub(super) fn next(&mut self) -> Option<(Arc<RecordedEvent>, bool)> {
        let event = self.events.next()?;
        let rest = self.events.as_slice();
        let is_whole = rest
            .first()
            .is_none_or(|next| next.position != event.position);
        Some((event, is_whole))
    }

    /// Adds the stored events after a position to the page, in the form that the subscription
    /// reads.
    async fn with(
        mut self,
        shared: &Shared,
        wants: &Wants,
        plan: &Arc<Plan>,
        (at, mut events): (Position, Vec<Arc<RecordedEvent>>),
    ) -> Result<Self, Error> {
        self.held = Arc::clone(&shared.pages).try_acquire_owned().ok();
        let bytes_max = match &self.held {
            Some(_) => shared.options.page_bytes_max,
            None => 0,
        };
        let seen = self.seen;
        events.retain(|event| wants.admits(event, seen, plan));
        self.cut(&mut events, bytes_max);
        let places = events.iter().map(|event| (event.position, event.version));
        let places: Vec<_> = places.collect();
        self.seen = places.last().map_or(seen, |last| last.1);
        if wants.form == Form::Lifted {
            let lifting = shared.reading.lift(plan, events).await;
            let Readable {
                events: lifted,
                failed,
            } = lifting.map_err(|_| Error::Stopped)?;
            events = lifted;
            if let Some(failed) = failed {
                let before = places.partition_point(|place| place.0 < failed.position);
                (self.at, self.seen) = before
                    .checked_sub(1)
                    .map_or((at, seen), |last| places[last]);
                self.failed = Some(failed.into());
            }
            events.retain(|event| wants.takes(event, plan));
            if self.cut(&mut events, bytes_max) {
                self.failed = None;
                let count = places.partition_point(|place| place.0 <= self.at);
                self.cut_to = Some(count);
                self.seen = count.checked_sub(1).map_or(seen, |last| places[last].1);
            }
        }
        self.events = events.into_iter();
        Ok(self)
    }

    /// Keeps whole events up to a limit in bytes, but always the first one. The others are read a
    /// second time later. Returns whether there are any.
    fn cut(&mut self, events: &mut Vec<Arc<RecordedEvent>>, bytes_max: usize) -> bool {
        let mut bytes = 0usize;
        let fitting = events.iter().take_while(|event| {
            bytes = bytes.saturating_add(bytes_of(event));
            bytes <= bytes_max
        });
        let fitting = fitting.count();
        let Some(over) = events.get(fitting) else {
            return false;
        };
        let over = over.position;
        let first = events.first().map_or(over, |first| first.position);
        let count = match over == first {
            true => events.partition_point(|event| event.position == first),
            false => events.partition_point(|event| event.position < over),
        };
        if count == events.len() {
            return false;
        }
        events.truncate(count);
        events.shrink_to_fit();
        self.at = events.last().map_or(self.at, |last| last.position);
        self.is_last = false;
        self.cut_to = Some(count);
        true
    }
}
