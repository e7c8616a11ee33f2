use std::sync::Arc;

use super::Error;
use super::hub::Shared;
use super::ring::bytes_of;
use super::wants::Wants;
use crate::model::{Position, RecordedEvent, Version};
use crate::store::Direction;

/// A page that is read to catch up.
pub(super) struct Page {
    pub(super) events: std::vec::IntoIter<RecordedEvent>,
    /// Everything up to here is in the page, or does not pass.
    pub(super) at: Position,
    /// Nothing more stood behind it.
    pub(super) is_last: bool,
    /// It was cut after so many events.
    pub(super) cut_to: Option<usize>,
}

impl Page {
    /// The next page behind a place.
    pub(super) async fn read(
        shared: Arc<Shared>,
        wants: Arc<Wants>,
        (at, seen): (Position, Version),
        limit: usize,
    ) -> Result<Self, Error> {
        let _permit = shared.reads.acquire().await.map_err(|_| Error::Stopped)?;
        // Before the read: what the ring has by now, the page has too.
        let end = shared.board().end();
        let (forward, reader) = (Direction::Forward, &shared.reader);
        let (events, next_at, is_last) = match &*wants {
            Wants::Stream(stream) => {
                let page = reader.read_stream(stream, seen.next(), forward, limit);
                match page.await? {
                    Some(page) => (page.events, end, page.next.is_none()),
                    None => (Vec::new(), end, true),
                }
            }
            Wants::Log(filter) => {
                let page = reader.read_log(at, forward, limit, filter).await?;
                let next_at = page.next.unwrap_or(page.head);
                (page.events, next_at, page.next.is_none())
            }
            // They read nothing but the ring.
            Wants::Commits => (Vec::new(), end, true),
        };
        let page = Self {
            events: Vec::new().into_iter(),
            at: next_at.max(at),
            is_last,
            cut_to: None,
        };
        Ok(page.with(events, shared.options.page_bytes_max))
    }

    /// Keeps the events up to a bound in bytes, but the first one in any case. What is
    /// left out is read again.
    fn with(mut self, mut events: Vec<RecordedEvent>, bytes_max: usize) -> Self {
        let mut bytes = 0usize;
        let fitting = events.iter().take_while(|event| {
            bytes = bytes.saturating_add(bytes_of(event));
            bytes <= bytes_max
        });
        let kept = fitting.count().max(1);
        if kept < events.len() {
            events.truncate(kept);
            events.shrink_to_fit();
            self.at = events.last().map_or(self.at, |last| last.position);
            self.is_last = false;
            self.cut_to = Some(kept);
        }
        self.events = events.into_iter();
        self
    }
}
