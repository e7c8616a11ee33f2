use std::collections::VecDeque;
use std::sync::Arc;
use std::vec;

use bytes::Bytes;

use super::digests::{CommitDigests, Earlier};
use super::line::Totals;
use super::write;
use crate::model::{Digest, EventId, Invalid, Position, RecordedEvent, StreamId, Version};
use crate::store::{
    ArchivedStreams, DOCUMENTS_PAGE_MAX, Deployment, DigestStore, Direction, DocumentStore, Error,
    EventReader, Filter, LOG_PAGE_MAX, ModuleStore, Result, STREAMS_PAGE_MAX, SnapshotStore,
    Source, StoredModule, StreamFilter, Subject,
};

/// Number of anchors in one read. It is small because each has a state.
const ANCHORS_PER_CHUNK: usize = 16;

/// An export of the log as lines.
///
/// It ends at the event that was the last one when it started, no matter how the log grows. Marks
/// of streams that are set or removed meanwhile may or may not be included.
pub struct Export {
    reader: Arc<dyn EventReader>,
    modules: Arc<dyn ModuleStore>,
    snapshots: Arc<dyn SnapshotStore>,
    documents: Arc<dyn DocumentStore>,
    digests: Arc<dyn DigestStore>,
    /// None when commits are not compared with their digests.
    checked: Option<CommitDigests>,
    after: Option<(Position, EventId)>,
    head: Position,
    totals: Totals,
    next: Next,
}

/// What the next chunk has.
enum Next {
    Begin,
    Modules(vec::IntoIter<StoredModule>, Vec<Deployment>),
    /// Dropped events of these projections. Those of the first projection start after the given
    /// event.
    Dropped(VecDeque<String>, Option<(Subject, Position)>),
    Events(Position),
    /// Archived streams, after this stream id.
    Streams(Option<String>),
    /// Anchors, after this stream id.
    Anchors(Option<String>),
    Nothing,
}

impl Export {
    /// Starts an export after a position. 0 exports the whole log.
    ///
    /// # Errors
    /// When the position does not exist, or the store does not answer.
    pub async fn begin(source: Source, after: Position) -> std::result::Result<Self, super::Error> {
        let Source {
            reader,
            modules,
            snapshots,
            documents,
            digests,
        } = source;
        let end = reader.log_head().await?;
        if after > end {
            let taken = reader.last_taken().await?;
            if after > taken {
                let place = format!("position {after} of the log");
                return Err(Invalid::after_the_end(place, taken.0).into());
            }
        }
        let last = last_event(&*reader, end).await?;
        let head = last.map_or(Position(0), |last| last.position);
        let after = last_event(&*reader, after.min(head)).await?;
        let after = after.map(|event| (event.position, event.id));
        Ok(Self {
            reader,
            modules,
            snapshots,
            documents,
            digests,
            checked: Some(CommitDigests::default()),
            after,
            head,
            totals: Totals {
                head: head.0,
                ..Totals::default()
            },
            next: Next::Begin,
        })
    }

    /// Exports commits as they are stored, also those that do not have their digest. An import
    /// refuses these.
    #[must_use]
    pub fn unchecked(mut self) -> Self {
        self.checked = None;
        self
    }

    /// Returns the position of the last event that the export will have.
    pub fn head(&self) -> Position {
        self.head
    }

    /// Returns the next whole lines, or `None` at the end.
    ///
    /// # Errors
    /// When the store does not answer, or a commit does not have its digest. What was returned
    /// before that lacks the last line.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut out = Vec::new();
        while out.is_empty() {
            self.next = match std::mem::replace(&mut self.next, Next::Nothing) {
                Next::Begin => self.write_begin(&mut out).await?,
                Next::Modules(left, plans) => self.write_module(left, plans, &mut out).await?,
                Next::Dropped(of, after) => self.write_dropped(of, after, &mut out).await?,
                Next::Events(after) => self.write_events(after, &mut out).await?,
                Next::Streams(after) => self.write_streams(after, &mut out).await?,
                Next::Anchors(after) => self.write_anchors(after, &mut out).await?,
                Next::Nothing => return Ok(None),
            };
        }
        Ok(Some(out.into()))
    }

    async fn write_begin(&mut self, out: &mut Vec<u8>) -> Result<Next> {
        write::begin(self.after, self.head, out)?;
        // Read after the head, so that the activations under which all events up to it were
        // committed are included. The module of an activation is stored before the activation.
        let plans = self.modules.deployments().await?;
        let mut modules = self.modules.list().await?;
        // A module that was never activated is not part of the history, and may be pruned.
        modules.retain(|module| plans.iter().any(|plan| plan.activates(module.digest)));
        Ok(Next::Modules(modules.into_iter(), plans))
    }

    /// Writes one component, or all activations after the last component.
    async fn write_module(
        &mut self,
        mut left: vec::IntoIter<StoredModule>,
        plans: Vec<Deployment>,
        out: &mut Vec<u8>,
    ) -> Result<Next> {
        if let Some(module) = left.next() {
            let digest = module.digest;
            let bytes = self.modules.get(digest).await?;
            let bytes = bytes.ok_or_else(|| missing(digest))?;
            if self.checked.is_some() && Digest::of(&bytes) != digest {
                return Err(changed(&format!(
                    "the bytes of module {digest} were changed"
                )));
            }
            let signatures = self.modules.signatures(digest).await?;
            write::module(&module, &bytes, &signatures, out)?;
            self.totals.modules += 1;
            return Ok(Next::Modules(left, plans));
        }
        for plan in &plans {
            write::plan(plan, out)?;
            self.totals.plans += 1;
        }
        let of = self.documents.dropped_from().await?;
        Ok(Next::Dropped(of.into(), None))
    }

    /// Writes a page of events that operators dropped from projections.
    async fn write_dropped(
        &mut self,
        mut of: VecDeque<String>,
        after: Option<(Subject, Position)>,
        out: &mut Vec<u8>,
    ) -> Result<Next> {
        let Some(name) = of.front() else {
            let after = self.after.map_or(Position(0), |(position, _)| position);
            return Ok(Next::Events(after));
        };
        let page = self
            .documents
            .dropped(name, after.as_ref(), DOCUMENTS_PAGE_MAX);
        let page = page.await?;
        for event in page.iter().filter(|event| event.position <= self.head) {
            write::dropped(name, event, out)?;
            self.totals.dropped += 1;
        }
        let last = page.last().filter(|_| page.len() == DOCUMENTS_PAGE_MAX);
        let last = last.map(|last| (last.subject.clone(), last.position));
        if last.is_none() {
            of.pop_front();
        }
        Ok(Next::Dropped(of, last))
    }

    async fn write_events(&mut self, after: Position, out: &mut Vec<u8>) -> Result<Next> {
        if after >= self.head {
            if let Some(why) = self.checked.as_ref().and_then(CommitDigests::lacking) {
                return Err(changed(&why));
            }
            return Ok(Next::Streams(None));
        }
        let page = self.reader.read_stored(after, LOG_PAGE_MAX).await?;
        let mut at = None;
        for event in &page.events {
            if event.position > self.head {
                break;
            }
            if let Some(checked) = &mut self.checked
                && let Some(why) = checked.take(Earlier::Store(&*self.digests), event).await?
            {
                return Err(changed(&why));
            }
            write::event(event, out)?;
            self.totals.commits += u64::from(event.commit.is_some());
            self.totals.events += 1;
            at = Some(event.position);
        }
        // The event at the head existed when the export started.
        let at = at.ok_or_else(|| Error::Damaged(format!("position {} is missing", self.head)))?;
        Ok(Next::Events(at))
    }

    /// Writes a page of archived streams.
    async fn write_streams(&mut self, after: Option<String>, out: &mut Vec<u8>) -> Result<Next> {
        let filter = StreamFilter {
            archived: ArchivedStreams::Only,
            ..StreamFilter::default()
        };
        let page = self
            .reader
            .streams(after.as_deref(), STREAMS_PAGE_MAX, &filter)
            .await?;
        let has_grown = self.reader.log_head().await? > self.head;
        for info in &page.streams {
            let Some(since) = info.archived_at else {
                continue;
            };
            // The first visible event of a stream that was archived before the export started
            // existed before that too, even if the stream was truncated meanwhile.
            if has_grown && !self.holds(&info.stream, Version(1)).await? {
                continue;
            }
            write::archived(&info.stream, since, out)?;
            self.totals.streams += 1;
        }
        Ok(match page.next {
            Some(next) => Next::Streams(Some(next)),
            None => Next::Anchors(None),
        })
    }

    /// Writes a page of anchors, and the last line after the last page.
    async fn write_anchors(&mut self, after: Option<String>, out: &mut Vec<u8>) -> Result<Next> {
        let page = self
            .snapshots
            .anchors(None, after.as_deref(), ANCHORS_PER_CHUNK)
            .await?;
        let has_grown = self.reader.log_head().await? > self.head;
        for anchor in &page {
            let (stream, at) = (&anchor.stream, anchor.snapshot.version);
            if has_grown && !self.holds(stream, at).await? {
                continue;
            }
            let state = anchor.snapshot.body();
            let Some(state) = state.filter(|_| anchor.snapshot.is_intact(stream)) else {
                tracing::warn!(%stream, "a damaged anchor is left out of the export");
                continue;
            };
            write::anchor(anchor, &state, out)?;
            self.totals.anchors += 1;
        }
        match page.last().filter(|_| page.len() == ANCHORS_PER_CHUNK) {
            Some(last) => Ok(Next::Anchors(Some(last.stream.as_str().to_owned()))),
            None => {
                write::end(&self.totals, out)?;
                Ok(Next::Nothing)
            }
        }
    }

    /// Whether the first event that a stream shows from a version on existed when the export
    /// started.
    async fn holds(&self, stream: &StreamId, from: Version) -> Result<bool> {
        let page = self
            .reader
            .read_stream(stream, from, Direction::Forward, 1)
            .await?;
        let first = page.and_then(|page| page.events.into_iter().next());
        Ok(first.is_some_and(|first| first.position <= self.head))
    }
}

/// Returns the last event up to a position. There need not be an event at that position.
pub(super) async fn last_event(
    reader: &dyn EventReader,
    until: Position,
) -> Result<Option<RecordedEvent>> {
    let end = Position(until.0.saturating_add(1));
    let page = reader
        .read_log(end, Direction::Backward, 1, &Filter::default())
        .await?;
    Ok(page.events.into_iter().next())
}

fn changed(why: &str) -> Error {
    Error::Damaged(format!(
        "{why}; `quipu verify --digests` finds everything that was changed"
    ))
}

fn missing(module: Digest) -> Error {
    Error::Damaged(format!("module {module} has no bytes"))
}
