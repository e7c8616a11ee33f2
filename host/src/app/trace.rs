//! The causes and the consequences of an event, of a command, or of a conversation.
//!
//! What led to a commit is stored with the commit and has no index, because an index would cost
//! every append. So a trace searches the log, within bounds. Causes are before their consequences,
//! so one pass in each direction finds both.

mod found;
mod tree;

use std::sync::Arc;

use super::Host;
use crate::engine::Error;
use crate::model::{CommitData, EventId, Name, Position, StreamId, Timestamp, Version};
use crate::store::{
    Direction, Filter, LOG_PAGE_MAX, LogPage, REJECTIONS_PAGE_MAX, Rejected, RejectionFilter,
    STREAM_PAGE_MAX,
};
use found::Start;
use tree::Tree;

/// Most events that one pass over the log reads.
pub const TRACE_SEARCH_MAX: usize = 50_000;
/// Most events and rejections of a trace.
pub const TRACE_MAX: usize = 1_000;
/// Most of the newest rejections that are searched.
const REJECTIONS_MAX: usize = 1_000;

/// A position after every event.
const LAST: Position = Position(i64::MAX.unsigned_abs());

/// What to trace.
#[derive(Clone, Copy)]
pub struct TraceRequest<'a> {
    /// A position, the id of an event or of a command, a correlation id, or a causation id.
    pub id: &'a str,
    /// Searches the id only in this stream.
    pub stream: Option<&'a StreamId>,
    /// Searches the id only before this position.
    pub before: Option<Position>,
    /// Most events and rejections, at most [`TRACE_MAX`].
    pub limit: usize,
    /// Most events that each pass over the log reads, at most [`TRACE_SEARCH_MAX`].
    pub search_max: usize,
    /// Whether the caller may read a stream. Events of others are left out and counted.
    pub may_read: &'a (dyn Fn(&StreamId) -> bool + Sync),
}

/// What the id of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundAs {
    /// The position of an event.
    Position,
    /// The id of an event.
    Event,
    /// The id of a command or an append.
    Command,
    /// A correlation id.
    Correlation,
    /// The id of a message outside of the store that led to a commit.
    Causation,
}

impl FoundAs {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Position => "position",
            Self::Event => "event",
            Self::Command => "command",
            Self::Correlation => "correlation",
            Self::Causation => "causation",
        }
    }
}

/// Why a trace may not be complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceCut {
    /// It has as many events as the request allows.
    Limit,
    /// A pass over the log ended at its bound.
    Search,
}

impl TraceCut {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Search => "search",
        }
    }
}

/// An event or a rejection of a trace, without its data.
#[derive(Debug, Clone)]
pub struct Traced {
    /// How many causes above it are in the trace.
    pub depth: usize,
    /// Position of the event that led to it, if that is in the trace.
    pub cause: Option<Position>,
    /// Its position; none for a rejection.
    pub position: Option<Position>,
    /// Its id; none for a rejection.
    pub id: Option<EventId>,
    /// Its stream.
    pub stream: StreamId,
    /// Its version; of a rejection the version that it was decided on.
    pub version: Version,
    /// Type of the event, or of the rejected command.
    pub name: Name,
    /// When it was recorded; of a rejection when the command was accepted.
    pub at: Timestamp,
    /// Where it comes from.
    pub commit: Arc<CommitData>,
    /// The code of a rejection; none for an event.
    pub rejection: Option<String>,
    /// Whether the id of the request names it.
    pub is_match: bool,
}

/// A tree of causes and consequences.
#[derive(Debug, Clone)]
pub struct Trace {
    /// What the id is.
    pub found_as: FoundAs,
    /// Each is followed by its consequences, in the order of the log.
    pub entries: Vec<Traced>,
    /// Events and rejections of streams that the caller may not read.
    pub left_out: u64,
    /// Why it may not be complete; none when it is.
    pub cut: Option<TraceCut>,
    /// The lowest and the highest position that were searched.
    pub searched: (Position, Position),
    /// How far the log can be read.
    pub head: Position,
}

/// The result of a request.
#[derive(Debug, Clone)]
pub enum Tracing {
    /// The trace.
    Found(Trace),
    /// Nothing has the id among the events that were searched.
    NotFound {
        /// How many events were searched.
        searched: usize,
        /// Everything from this position on was searched; 0 when all of it was.
        down_to: Position,
    },
}

impl Host {
    /// Finds the causes and the consequences of an event, of a command, or of a conversation. The
    /// events of a conversation have the same correlation id.
    ///
    /// Reads at most four times `search_max` events. The position of an event is found at once,
    /// and ids that contain their time (UUIDs of version 7) by their time; all other ids are
    /// searched from the newest event on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn trace(&self, request: TraceRequest<'_>) -> Result<Tracing, Error> {
        let request = TraceRequest {
            limit: request.limit.clamp(1, TRACE_MAX),
            search_max: request.search_max.clamp(1, TRACE_SEARCH_MAX),
            ..request
        };
        let rejections = self.newest_rejections().await?;
        let found = self.find_start(&request, &rejections).await?;
        let start = match found {
            Ok(start) => start,
            Err((searched, down_to)) => return Ok(Tracing::NotFound { searched, down_to }),
        };
        let from = start.position().unwrap_or(LAST);
        let mut tree = Tree::new(&request, start);
        let mut range = (from, Position(0));
        let mut cut = None;

        // Causes: down to the root, or to the bound.
        let (lowest, is_whole) = self.causes(&request, from, &mut tree).await?;
        range.0 = lowest;
        if !is_whole {
            cut = Some(TraceCut::Search);
        }
        // Consequences of the root up to the start, then of everything up to the end of the log.
        let root = tree.lowest().unwrap_or(from);
        let middle = self.consequences(&request, root, Some(from), &mut tree);
        range.1 = middle.await?.0;
        let (highest, is_whole) = self.consequences(&request, from, None, &mut tree).await?;
        range.1 = range.1.max(highest);
        if !is_whole {
            cut = Some(TraceCut::Search);
        }
        for rejected in &rejections {
            tree.take_rejection(rejected);
        }
        if tree.is_full() {
            cut = Some(TraceCut::Limit);
        }
        let head = self.log_head().await?;
        let (found_as, left_out) = (tree.found_as(), tree.left_out());
        Ok(Tracing::Found(Trace {
            found_as,
            entries: tree.into_entries(),
            left_out,
            cut,
            searched: (range.0.min(head), range.1.min(head)),
            head,
        }))
    }

    /// Reads backward from a position on. Returns the lowest position that was read, and whether
    /// nothing is missing.
    async fn causes(
        &self,
        request: &TraceRequest<'_>,
        from: Position,
        tree: &mut Tree<'_>,
    ) -> Result<(Position, bool), Error> {
        let mut left = request.search_max;
        let before = from.0.saturating_add(1).min(LAST.0);
        let (mut before, mut lowest) = (Position(before), from);
        loop {
            if tree.has_every_cause() || tree.is_full() {
                return Ok((lowest, true));
            }
            if left == 0 {
                return Ok((lowest, false));
            }
            let page = self.page(before, Direction::Backward, left).await?;
            left = left.saturating_sub(page.events.len().max(1));
            for event in &page.events {
                lowest = event.position;
                tree.take_cause(event);
            }
            match page.next {
                Some(next) => before = next,
                None => return Ok((Position(1), true)),
            }
        }
    }

    /// Reads forward from a position on, up to another or to the end. Returns the highest position
    /// that was read, and whether nothing is missing.
    async fn consequences(
        &self,
        request: &TraceRequest<'_>,
        from: Position,
        to: Option<Position>,
        tree: &mut Tree<'_>,
    ) -> Result<(Position, bool), Error> {
        let mut left = request.search_max;
        let (mut after, mut highest) = (Position(from.0.saturating_sub(1)), from);
        loop {
            if tree.is_full() || to.is_some_and(|to| highest >= to || after >= to) {
                return Ok((highest, true));
            }
            if left == 0 {
                return Ok((highest, false));
            }
            let page = self.page(after, Direction::Forward, left).await?;
            left = left.saturating_sub(page.events.len().max(1));
            for event in &page.events {
                highest = event.position;
                tree.take_consequence(event);
            }
            match page.next {
                Some(next) => after = next,
                None => return Ok((page.head.max(highest), true)),
            }
        }
    }

    /// A page of the log, as it is stored.
    async fn page(
        &self,
        after: Position,
        direction: Direction,
        left: usize,
    ) -> Result<LogPage, Error> {
        let limit = left.clamp(1, LOG_PAGE_MAX);
        let reader = &self.tenant.reader;
        let all = Filter::default();
        Ok(reader.read_log(after, direction, limit, &all).await?)
    }

    async fn newest_rejections(&self) -> Result<Vec<Rejected>, Error> {
        let (mut all, mut before) = (Vec::new(), None);
        while all.len() < REJECTIONS_MAX {
            let page = self
                .rejections(RejectionFilter::All, before, REJECTIONS_PAGE_MAX)
                .await?;
            let is_last = page.len() < REJECTIONS_PAGE_MAX;
            before = page.last().map(|last| last.id);
            all.extend(page);
            if is_last {
                break;
            }
        }
        Ok(all)
    }

    /// Finds what the id of a request names. Otherwise returns how many events were searched, and
    /// down to which position.
    async fn find_start(
        &self,
        request: &TraceRequest<'_>,
        rejections: &[Rejected],
    ) -> Result<Result<Start, (usize, Position)>, Error> {
        let wanted = found::Wanted::of(request.id);
        let visible = |start: Option<Start>| start.filter(|it| (request.may_read)(it.stream()));
        if let Some(position) = wanted.position()
            && let Some(event) = self.event(position).await?
            && let Some(start) = visible(Some(Start::at(&event)))
        {
            return Ok(Ok(start));
        }
        if let Some(stream) = request.stream {
            let found = self.find_in_stream(request, stream, &wanted).await?;
            return Ok(match found {
                Ok(start) => Ok(start),
                Err(missed) => wanted
                    .among(rejections, request)
                    .filter(|start| start.stream() == stream)
                    .ok_or(missed),
            });
        }
        let mut searched = 0;
        if let Some(time) = wanted.time()
            && request.before.is_none()
        {
            let mut after = self.position_at(time).await?;
            let enough = request.search_max.div_ceil(2);
            while searched < enough {
                let left = enough - searched;
                let page = self.page(after, Direction::Forward, left).await?;
                searched += page.events.len().max(1);
                if let Some(start) = wanted.in_page(&page.events, request) {
                    return Ok(Ok(start));
                }
                match page.next {
                    Some(next) => after = next,
                    None => break,
                }
            }
        }
        // Others may name a command that is in the log.
        let rejected = wanted.among(rejections, request);
        if let Some(start) = &rejected
            && start.found_as == FoundAs::Command
        {
            return Ok(rejected.ok_or((0, LAST)));
        }
        let mut before = request.before.unwrap_or(LAST);
        let mut down_to = before;
        while searched < request.search_max {
            let left = request.search_max - searched;
            let page = self.page(before, Direction::Backward, left).await?;
            searched += page.events.len().max(1);
            if let Some(start) = wanted.in_page(&page.events, request) {
                return Ok(Ok(start));
            }
            down_to = page.events.last().map_or(down_to, |last| last.position);
            match page.next {
                Some(next) => before = next,
                None => return Ok(rejected.ok_or((searched, Position(0)))),
            }
        }
        Ok(rejected.ok_or((searched, down_to)))
    }

    async fn find_in_stream(
        &self,
        request: &TraceRequest<'_>,
        stream: &StreamId,
        wanted: &found::Wanted<'_>,
    ) -> Result<Result<Start, (usize, Position)>, Error> {
        let (mut from, mut searched) = (Version(i64::MAX.unsigned_abs()), 0);
        while searched < request.search_max {
            let reader = &self.tenant.reader;
            let left = (request.search_max - searched).min(STREAM_PAGE_MAX);
            let page = reader.read_stream(stream, from, Direction::Backward, left);
            let Some(page) = page.await? else {
                break;
            };
            searched += page.events.len().max(1);
            if let Some(start) = wanted.in_page(&page.events, request) {
                return Ok(Ok(start));
            }
            match page.next {
                Some(next) => from = next,
                None => break,
            }
        }
        Ok(Err((searched, Position(0))))
    }

    /// A position before which nothing was recorded at a time or later, by halving.
    async fn position_at(&self, time: Timestamp) -> Result<Position, Error> {
        let (mut low, mut high) = (0, self.log_head().await?.0);
        while low < high {
            let middle = low + (high - low) / 2;
            let page = self.page(Position(middle), Direction::Forward, 1).await?;
            match page.events.first() {
                Some(event) if event.recorded_at < time => low = event.position.0.max(middle + 1),
                _ => high = middle,
            }
        }
        Ok(Position(low))
    }
}
