//! Events that are parked for a document or a stream.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::Error;
use super::rules::{Event, Keyed};
use crate::model::Position;
use crate::store::{BuildId, DOCUMENTS_PAGE_MAX, DocumentStore, Subject};

/// All parked events of a build, as its owner knows them.
#[derive(Debug, Default)]
pub(super) struct Parked {
    subjects: BTreeMap<Subject, BTreeSet<Position>>,
    count: usize,
}

impl Parked {
    /// Reads the parked events of a build.
    pub(super) async fn read(documents: &dyn DocumentStore, build: BuildId) -> Result<Self, Error> {
        let mut parked = Self::default();
        let mut after: Option<(Subject, Position)> = None;
        loop {
            let page = documents.parked(build, after.as_ref(), DOCUMENTS_PAGE_MAX);
            let page = page.await?;
            for waiting in &page {
                parked.add(&waiting.subject, waiting.position);
            }
            match page.into_iter().next_back() {
                Some(last) => after = Some((last.subject, last.position)),
                None => return Ok(parked),
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn add(&mut self, subject: &Subject, position: Position) {
        let positions = self.subjects.entry(subject.clone()).or_default();
        self.count += usize::from(positions.insert(position));
    }

    pub(super) fn remove(&mut self, subject: &Subject, position: Position) {
        let Some(positions) = self.subjects.get_mut(subject) else {
            return;
        };
        self.count -= usize::from(positions.remove(&position));
        if positions.is_empty() {
            self.subjects.remove(subject);
        }
    }

    /// Returns the subjects for which events are parked, streams first.
    pub(super) fn subjects(&self) -> Vec<Subject> {
        self.subjects.keys().rev().cloned().collect()
    }

    /// Returns the first event that is parked for a subject.
    pub(super) fn first(&self, subject: &Subject) -> Option<Position> {
        self.subjects.get(subject)?.first().copied()
    }

    pub(super) fn holds_document(&self, key: &Arc<str>) -> bool {
        let subject = Subject::Document(Arc::clone(key));
        !self.subjects.is_empty() && self.subjects.contains_key(&subject)
    }

    fn holds_stream(&self, stream: &str) -> bool {
        let subject = Subject::Stream(stream.into());
        !self.subjects.is_empty() && self.subjects.contains_key(&subject)
    }

    /// Splits events into those to be folded and those whose stream has parked events. The latter
    /// have to be parked too.
    pub(super) fn without_streams(
        &self,
        events: &[Event],
    ) -> (Vec<Event>, Vec<(Subject, Position)>) {
        if self.subjects.is_empty() {
            return (events.to_vec(), Vec::new());
        }
        let (followers, others): (Vec<Event>, Vec<Event>) = events
            .iter()
            .cloned()
            .partition(|event| self.holds_stream(event.stream.as_str()));
        let waiting = followers.iter().map(|event| {
            let subject = Subject::Stream(event.stream.as_str().into());
            (subject, event.position)
        });
        (others, waiting.collect())
    }

    /// Removes documents for which events are parked. Returns the events that have to be parked for
    /// them too.
    pub(super) fn take_documents(&self, keyed: &mut Keyed) -> Vec<(Subject, Position)> {
        if self.subjects.is_empty() {
            return Vec::new();
        }
        let mut waiting = HashSet::new();
        keyed.works.retain(|(key, events)| {
            let is_parked = self.holds_document(key);
            if is_parked {
                let positions = events.iter().map(|index| keyed.events[*index].position);
                let subject = Subject::Document(Arc::clone(key));
                waiting.extend(positions.map(|position| (subject.clone(), position)));
            }
            !is_parked
        });
        waiting.into_iter().collect()
    }
}
