//! Events that operators dropped from a projection: all of its builds leave them out.

use std::collections::HashMap;

use super::rules::{Event, Keyed};
use crate::model::{Position, Timestamp};
use crate::store::{DOCUMENTS_PAGE_MAX, DocumentStore, DroppedEvent, FailedEvent, Subject};

/// All events dropped from a projection, as the owner of one of its builds knows them.
#[derive(Debug, Default)]
pub(super) struct Drops {
    at: HashMap<Position, Vec<DroppedEvent>>,
    count: usize,
}

impl Drops {
    /// Reads the events dropped from a projection after a position.
    pub(super) async fn read(
        documents: &dyn DocumentStore,
        name: &str,
        after: Position,
    ) -> Result<Self, crate::store::Error> {
        let mut drops = Self::default();
        let mut after = (Subject::Document("".into()), after);
        loop {
            let page = documents.dropped(name, Some(&after), DOCUMENTS_PAGE_MAX);
            let page = page.await?;
            let Some(last) = page.last() else {
                return Ok(drops);
            };
            after = (last.subject.clone(), last.position);
            for event in page {
                drops.count += 1;
                drops.at.entry(event.position).or_default().push(event);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Whether the event at a position was dropped, either for a document or as a whole.
    pub(super) fn hold(&self, position: Position) -> bool {
        self.at.contains_key(&position)
    }

    fn find(
        &self,
        position: Position,
        is_meant: impl Fn(&Subject) -> bool,
    ) -> Option<&DroppedEvent> {
        let mut dropped = self.at.get(&position)?.iter();
        dropped.find(|event| is_meant(&event.subject))
    }

    /// Splits stored events into those to be folded and those that were dropped as a whole. The
    /// latter are returned with the operators' reasons.
    pub(super) fn without_streams(
        &self,
        events: &[Event],
        at: Timestamp,
    ) -> (Vec<Event>, Vec<FailedEvent>) {
        if self.at.is_empty() {
            return (events.to_vec(), Vec::new());
        }
        let mut dropped = Vec::new();
        let others = events.iter().filter(|event| {
            let of = |subject: &Subject| match subject {
                Subject::Stream(stream) => **stream == *event.stream.as_str(),
                Subject::Document(_) => false,
            };
            let found = self.find(event.position, of);
            dropped.extend(found.map(|found| left_out(found, at)));
            found.is_none()
        });
        (others.cloned().collect(), dropped)
    }

    /// Removes events from the documents for which they were dropped. Returns the removed ones with
    /// the operators' reasons.
    pub(super) fn take_documents(&self, keyed: &mut Keyed, at: Timestamp) -> Vec<FailedEvent> {
        if self.at.is_empty() {
            return Vec::new();
        }
        let (events, mut dropped) = (&keyed.events, Vec::<FailedEvent>::new());
        keyed.works.retain_mut(|(key, indexes)| {
            let of = |subject: &Subject| match subject {
                Subject::Document(document) => document == key,
                Subject::Stream(_) => false,
            };
            indexes.retain(|index| {
                let Some(found) = self.find(events[*index].position, of) else {
                    return true;
                };
                // The parts of one stored event count as one event.
                let is_known = dropped
                    .last()
                    .is_some_and(|last| last.position == found.position && of(&last.subject));
                if !is_known {
                    dropped.push(left_out(found, at));
                }
                false
            });
            !indexes.is_empty()
        });
        dropped
    }
}

fn left_out(event: &DroppedEvent, at: Timestamp) -> FailedEvent {
    FailedEvent {
        subject: event.subject.clone(),
        position: event.position,
        at,
        error: None,
        attempts: 0,
        reason: Some(event.reason.clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn drops(subjects: &[(Subject, u64)]) -> Drops {
        let mut drops = Drops::default();
        for (subject, position) in subjects {
            let event = DroppedEvent {
                subject: subject.clone(),
                position: Position(*position),
                at: Timestamp(1),
                reason: "no use".into(),
            };
            drops.at.entry(event.position).or_default().push(event);
        }
        drops
    }

    #[test]
    fn a_stream_and_a_document_of_one_name_are_two_subjects() {
        let key: Arc<str> = "note-1".into();
        let drops = drops(&[
            (Subject::Stream(Arc::clone(&key)), 3),
            (Subject::Document(key), 4),
        ]);
        let is_stream = |subject: &Subject| matches!(subject, Subject::Stream(_));
        assert!(drops.hold(Position(3)) && drops.hold(Position(4)) && !drops.hold(Position(5)));
        assert!(drops.find(Position(3), is_stream).is_some());
        assert!(drops.find(Position(4), is_stream).is_none());
    }
}
