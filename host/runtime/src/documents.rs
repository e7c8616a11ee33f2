//! Computes which documents events concern, and folds events into documents.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::bindings::{projection as wit, types};
use super::fault::{Broken, quoted};
use super::instance::{FoldEvent, Instance, event_param};
use super::validate::{contract, too_large};
use super::{Definition, Detail, Failure, FaultKind, Limits};
use quipu_model::{Annotations, Context, Index, RecordedEvent, annotations, check_json};

/// One document and the events to be folded into it.
#[derive(Debug, Clone)]
pub struct Work<'a> {
    /// The document's key.
    pub key: &'a str,
    /// JSON; `None` when the document does not exist yet.
    pub document: Option<&'a str>,
    /// Events that concern the document, ordered by position. If empty, the guest is not called.
    pub events: Vec<&'a RecordedEvent>,
}

/// Keys of the documents that one event concerns.
type Keys = Vec<Box<str>>;

impl Instance {
    /// Returns the keys of the documents that each event concerns. Result i belongs to event i.
    ///
    /// Events are passed with position 0. A long list is split into several calls, each with its
    /// own limits. The parts of one stored event stay together.
    ///
    /// # Errors
    /// When the guest faults, can't read an event, or returns invalid keys. One failing event fails
    /// all of them.
    pub fn keys(
        &mut self,
        projection: &Definition,
        events: &[&RecordedEvent],
    ) -> Result<Vec<Keys>, Failure> {
        let mut keys = Vec::with_capacity(events.len());
        let mut rest = events;
        while !rest.is_empty() {
            let limits = self.module().limits();
            let mut room = Room::of(limits);
            let (batch, after) = rest.split_at(room.take(projection.detail, rest));
            let given: Vec<_> = batch
                .iter()
                .map(|it| EventInput::of(it, projection))
                .collect();
            let pairs: Vec<_> = given.iter().map(EventInput::pairs).collect();
            let shown: Vec<_> = given
                .iter()
                .zip(&pairs)
                .map(|(it, pairs)| it.param(0, pairs))
                .collect();
            let name = &*projection.name;
            let (answer, fuel) =
                self.call_projection(|guest, store| guest.call_keys(store, name, &shown))?;
            let answer = answer.map_err(|error| self.failure(error, fuel))?;
            let checked = checked_keys(batch.len(), answer);
            keys.extend(checked.map_err(|broken| self.fault(broken, fuel))?);
            rest = after;
        }
        Ok(keys)
    }

    /// Folds events into documents. Result i belongs to work i, and is `None` if the document is
    /// deleted.
    ///
    /// A large amount of work is split into several calls, each with its own limits. A long list of
    /// events is split only between two stored events.
    ///
    /// # Errors
    /// When the guest faults, can't read an event, or returns an invalid document. One failing
    /// event fails all of the work.
    pub fn apply_documents(
        &mut self,
        projection: &Definition,
        work: &[Work<'_>],
    ) -> Result<Vec<Option<String>>, Failure> {
        let given = work.iter().map(|work| work.document.map(Cow::Borrowed));
        let mut documents: Vec<Option<Cow<'_, str>>> = given.collect();
        let (mut first, mut done) = (0, 0);
        loop {
            let room = Room::of(self.module().limits());
            let pieces = pieces(projection.detail, work, &documents, first, done, room);
            let Some(last) = pieces.last() else {
                break;
            };
            (first, done) = (last.work, last.events.end);
            let answer = self.apply_pieces(projection, work, &documents, &pieces)?;
            for (piece, document) in pieces.iter().zip(answer) {
                documents[piece.work] = document.map(Cow::Owned);
            }
        }
        let owned = documents.into_iter().map(|it| it.map(Cow::into_owned));
        Ok(owned.collect())
    }

    /// Makes one call with some events of some documents. Each document occurs once.
    fn apply_pieces(
        &mut self,
        projection: &Definition,
        work: &[Work<'_>],
        documents: &[Option<Cow<'_, str>>],
        pieces: &[Piece],
    ) -> Result<Vec<Option<String>>, Failure> {
        let events = pieces
            .iter()
            .flat_map(|piece| &work[piece.work].events[piece.events.clone()]);
        let given: Vec<_> = events.map(|it| EventInput::of(it, projection)).collect();
        let pairs: Vec<_> = given.iter().map(EventInput::pairs).collect();
        let shown: Vec<_> = given
            .iter()
            .zip(&pairs)
            .map(|(it, pairs)| it.param(it.event.position.0, pairs))
            .collect();
        let mut rest = &shown[..];
        let mut works = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let (events, after) = rest.split_at(piece.events.len());
            works.push(wit::Work {
                key: work[piece.work].key,
                document: documents[piece.work].as_deref(),
                events,
            });
            rest = after;
        }
        let name = &*projection.name;
        let (answer, fuel) =
            self.call_projection(|guest, store| guest.call_apply(store, name, &works))?;
        let answer = answer.map_err(|error| self.failure(error, fuel))?;
        let checked = checked_documents(projection, &works, answer);
        checked.map_err(|broken| self.fault(broken, fuel))
    }
}

/// Events of one work item that go into one call.
struct Piece {
    work: usize,
    events: Range<usize>,
}

/// Selects the work for the next call, from event `done` of work item `first` on. Empty when all is
/// done.
fn pieces(
    detail: Detail,
    work: &[Work<'_>],
    documents: &[Option<Cow<'_, str>>],
    first: usize,
    done: usize,
    mut room: Room,
) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (index, own) in work.iter().enumerate().skip(first) {
        let done = if index == first { done } else { 0 };
        if done == own.events.len() {
            continue;
        }
        room.add(documents[index].as_ref().map_or(0, |text| text.len()));
        let taken = room.take(detail, &own.events[done..]);
        if taken == 0 {
            break;
        }
        let end = done + taken;
        pieces.push(Piece {
            work: index,
            events: done..end,
        });
        if end < own.events.len() {
            break;
        }
    }
    pieces
}

/// Remaining capacity of a call.
struct Room {
    is_fresh: bool,
    events: usize,
    bytes: usize,
}

impl Room {
    fn of(limits: &Limits) -> Self {
        Self {
            is_fresh: true,
            events: limits.events_per_call_max,
            bytes: limits.call_bytes_max,
        }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Returns how many of these events go into the call. Stored events are never split, and an
    /// empty call takes at least one.
    fn take(&mut self, detail: Detail, events: &[&RecordedEvent]) -> usize {
        let mut taken = 0;
        let stored = events.chunk_by(|a, b| a.version == b.version && a.stream == b.stream);
        for parts in stored {
            let bytes = parts.iter().map(|part| bytes_of(detail, part)).sum();
            if !self.is_fresh && (parts.len() > self.events || bytes > self.bytes) {
                break;
            }
            self.is_fresh = false;
            self.events = self.events.saturating_sub(parts.len());
            self.add(bytes);
            taken += parts.len();
        }
        taken
    }
}

fn bytes_of(detail: Detail, event: &RecordedEvent) -> usize {
    let metadata = event.metadata.as_ref().filter(|_| detail.annotations);
    event.body.len() + metadata.map_or(0, |bytes| bytes.len())
}

/// An event with the details that the projection asks for.
struct EventInput<'a> {
    event: &'a RecordedEvent,
    tags: Vec<&'a str>,
    annotations: Annotations,
}

impl<'a> EventInput<'a> {
    fn of(event: &'a RecordedEvent, projection: &Definition) -> Self {
        let Detail { tags, annotations } = projection.detail;
        let tags = event.tags.iter().filter(|_| tags);
        Self {
            event,
            tags: tags.map(|tag| &**tag).collect(),
            annotations: if annotations {
                annotations_of(event)
            } else {
                Annotations::new()
            },
        }
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        let pairs = self.annotations.iter();
        pairs
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    fn param<'b>(&'b self, position: u64, pairs: &'b [(&'b str, &'b str)]) -> types::Recorded<'b> {
        let stored = self.event.stored_as.as_deref();
        types::Recorded {
            event: event_param(&FoldEvent::from(self.event)),
            id: self.event.id.as_u64_pair(),
            stream: self.event.stream.as_str(),
            position,
            part: stored.map_or(0, |stored| stored.part),
            tags: &self.tags,
            annotations: pairs,
        }
    }
}

fn annotations_of(event: &RecordedEvent) -> Annotations {
    let commit = &event.commit;
    let context = Context {
        correlation_id: commit.correlation_id.clone(),
        causation_id: commit.causation_id.clone(),
        principal: commit.principal.clone(),
        traceparent: commit.traceparent.clone(),
    };
    annotations(event.metadata.as_ref(), &context)
}

fn checked_keys(events: usize, answer: Vec<Vec<String>>) -> Result<Vec<Keys>, Broken> {
    if answer.len() != events {
        let found = answer.len();
        return Err(contract(format!("keys of {found} events for {events}")));
    }
    answer.into_iter().map(checked_keys_of_one).collect()
}

fn checked_keys_of_one(keys: Vec<String>) -> Result<Keys, Broken> {
    let (found, max) = (keys.len(), Definition::KEYS_MAX);
    if found > max {
        return Err(too_large("keys of an event", found, max));
    }
    let mut seen = HashSet::with_capacity(found);
    for key in &keys {
        let shown = || quoted(key, Definition::KEY_BYTES_MAX);
        if key.len() > Definition::KEY_BYTES_MAX {
            let max = Definition::KEY_BYTES_MAX;
            return Err(too_large("bytes of a key", key.len(), max));
        }
        if key.is_empty() || key.chars().any(char::is_control) {
            let text = format!("the key {} is empty or holds a control character", shown());
            return Err(contract(text));
        }
        if !seen.insert(&**key) {
            return Err(contract(format!("the key {} twice for an event", shown())));
        }
    }
    Ok(keys.into_iter().map(Into::into).collect())
}

fn checked_documents(
    projection: &Definition,
    works: &[wit::Work<'_>],
    answer: Vec<Option<String>>,
) -> Result<Vec<Option<String>>, Broken> {
    let (found, expected) = (answer.len(), works.len());
    if found != expected {
        return Err(contract(format!("{found} documents for {expected}")));
    }
    for (work, document) in works.iter().zip(&answer) {
        if let Some(document) = document {
            check_document(projection, work.key, document)?;
        }
    }
    Ok(answer)
}

fn check_document(projection: &Definition, key: &str, document: &str) -> Result<(), Broken> {
    let shown = || quoted(key, Definition::KEY_BYTES_MAX);
    let (found, max) = (document.len(), Definition::DOCUMENT_BYTES_MAX);
    if found > max {
        let what = format!("bytes of the document {}", shown());
        return Err(too_large(&what, found, max));
    }
    let broken = |error| contract(format!("document {}: {error}", shown()));
    check_json(document.as_bytes()).map_err(broken)?;
    let entries = Index::all_entries(&projection.indexes, document).map_err(broken)?;
    for (index, entries) in projection.indexes.iter().zip(entries) {
        let (found, max) = (entries.len(), Index::ENTRIES_MAX);
        if found > max {
            let what = format!("entries of the document {} in {}", shown(), index.name);
            return Err(too_large(&what, found, max));
        }
    }
    Ok(())
}

/// The fault of a component that exports no projection.
pub(super) fn no_projection() -> Broken {
    Broken::new(FaultKind::Contract, "the component exports no projection")
}
