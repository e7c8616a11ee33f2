//! Documents of builds, and what was set aside.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::scan::{Bounds, changes_limit, page, whole_changes};
use crate::{
    BuildBatch, BuildCounts, BuildId, DOCUMENTS_PAGE_MAX, DocumentWrite, DroppedEvent, Found,
    IndexEntry, LOST_KEYS_MAX, LostDocuments, ParkedDocument, ParkedFilter, ParkedHeads,
    SKIPPED_BY_POLICY, Scan, SetAside, StoredDocument, Subject,
};
use quipu_model::{Position, Timestamp};

/// What all builds hold, and what operators dropped from projections.
#[derive(Default)]
pub struct Documents {
    builds: HashMap<BuildId, Contents>,
    dropped: BTreeMap<Box<str>, Dropped>,
}

/// Events that operators dropped from a projection.
type Dropped = BTreeMap<(Position, Subject), DroppedEvent>;

/// What one build holds.
#[derive(Default)]
pub struct Contents {
    /// By key, tombstones too.
    pub documents: BTreeMap<Arc<str>, StoredDocument>,
    /// Change and key of each.
    pub changes: BTreeSet<(u64, Arc<str>)>,
    /// Entries and the keys that have them.
    pub entries: BTreeSet<(IndexEntry, Arc<str>)>,
    /// Events that wait.
    pub parked: BTreeMap<(Subject, Position), SetAside>,
    /// Events that were left out.
    pub skipped: BTreeMap<(Position, Subject), SetAside>,
    /// For whom parked events are to be retried, and since which request.
    pub retries: BTreeMap<Subject, u64>,
}

impl Documents {
    /// Writes documents and their entries.
    pub fn write(&mut self, writes: &[DocumentWrite]) {
        for write in writes {
            self.of(write.build).write(write);
        }
    }

    /// What a build holds.
    pub fn of(&mut self, build: BuildId) -> &mut Contents {
        self.builds.entry(build).or_default()
    }

    /// Forgets what a build holds.
    pub fn remove(&mut self, build: BuildId) {
        self.builds.remove(&build);
    }

    /// Drops parked events of some builds of a projection; how many were parked.
    pub fn drop_parked(
        &mut self,
        (name, builds): (&str, &[BuildId]),
        which: &ParkedFilter,
        reason: &str,
        at: Timestamp,
    ) -> u64 {
        let mut count = 0;
        for build in builds {
            for event in self.of(*build).drop_parked(which, reason, at) {
                count += 1;
                let dropped = DroppedEvent {
                    subject: event.subject.clone(),
                    position: event.position,
                    at,
                    reason: reason.into(),
                };
                let of = self.dropped.entry(name.into()).or_default();
                of.insert((event.position, event.subject), dropped);
            }
        }
        count
    }

    /// Records a dropped event; false when it is recorded already.
    pub fn record_drop(&mut self, name: &str, event: &DroppedEvent) -> bool {
        let of = self.dropped.entry(name.into()).or_default();
        let key = (event.position, event.subject.clone());
        of.insert(key, event.clone()).as_ref() != Some(event)
    }

    /// Projections from which events were dropped.
    pub fn dropped_from(&self) -> Vec<String> {
        let of = self.dropped.iter().filter(|(_, events)| !events.is_empty());
        of.map(|(name, _)| name.to_string()).collect()
    }

    /// Events that operators dropped from a projection, after one of them.
    pub fn dropped(
        &self,
        name: &str,
        after: Option<&(Subject, Position)>,
        limit: usize,
    ) -> Vec<DroppedEvent> {
        let after = after.map(|(subject, position)| (*position, subject.clone()));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let of = self.dropped.get(name).into_iter();
        let events = of.flat_map(|of| of.range((from.clone(), Bound::Unbounded)));
        let events = events.map(|(_, event)| event.clone());
        events.take(limit.min(DOCUMENTS_PAGE_MAX)).collect()
    }

    /// Living documents of a build of which another one has no trace.
    pub fn lost(&self, (active, next): (BuildId, BuildId), up_to: Option<u64>) -> LostDocuments {
        let mut lost = LostDocuments::default();
        let of = |build| self.builds.get(&build).map(|it: &Contents| &it.documents);
        for (key, document) in of(active).into_iter().flatten() {
            let is_seen = up_to.is_none_or(|up_to| document.change <= up_to);
            let has_trace = of(next).is_some_and(|documents| documents.contains_key(key));
            if document.document.is_none() || !is_seen || has_trace {
                continue;
            }
            lost.count += 1;
            if lost.keys.len() < LOST_KEYS_MAX {
                lost.keys.push(Arc::clone(key));
            }
        }
        lost
    }

    /// Forgets what was dropped from a projection.
    pub fn forget(&mut self, name: &str) {
        self.dropped.remove(name);
    }

    /// A document; none where there never was one.
    pub fn read(&self, build: BuildId, key: &str) -> Option<StoredDocument> {
        self.builds.get(&build)?.documents.get(key).cloned()
    }
}

impl Contents {
    fn write(&mut self, write: &DocumentWrite) {
        let document = StoredDocument {
            key: Arc::clone(&write.key),
            document: write.document.clone(),
            change: write.change,
        };
        if let Some(old) = self.documents.insert(Arc::clone(&write.key), document) {
            self.changes.remove(&(old.change, old.key));
        }
        self.changes.insert((write.change, Arc::clone(&write.key)));
        for entry in &write.removed {
            self.entries
                .remove(&(entry.clone(), Arc::clone(&write.key)));
        }
        for entry in &write.added {
            self.entries.insert((entry.clone(), Arc::clone(&write.key)));
        }
    }
}

impl Contents {
    /// Documents in the order of an index, or of their keys.
    pub fn scan(&self, scan: &Scan) -> Vec<Found> {
        let bounds = Bounds::of(scan);
        let found = |value: &[u8], key: &Arc<str>| {
            let document = self.documents.get(key)?;
            Some(Found {
                value: value.into(),
                key: Arc::clone(key),
                document: document.document.clone()?,
                change: document.change,
            })
        };
        let mut all: Vec<Found> = match scan.index {
            Some(index) => {
                let entries = self.entries.iter();
                let inside = entries.filter(|((of, value), key)| {
                    *of == index && bounds.hold(value, key.as_bytes())
                });
                inside
                    .filter_map(|((_, value), key)| found(value, key))
                    .collect()
            }
            None => {
                let keys = self.documents.keys();
                let inside = keys.filter(|key| bounds.hold(&[], key.as_bytes()));
                inside
                    .filter_map(|key| found(key.as_bytes(), key))
                    .collect()
            }
        };
        if scan.is_descending {
            all.reverse();
        }
        all.truncate(bounds.limit);
        page(all, scan)
    }

    /// Documents that changed.
    pub fn changed(&self, after: u64, limit: usize) -> Vec<StoredDocument> {
        let behind = self.changes.iter().filter(|(change, _)| *change > after);
        let documents = behind.filter_map(|(_, key)| self.documents.get(key).cloned());
        whole_changes(documents.take(changes_limit(limit)).collect(), limit)
    }

    /// Sets events aside, and takes others back.
    pub fn set_aside(&mut self, batch: &BuildBatch) {
        for parked in &batch.parked {
            let parked = SetAside {
                reason: None,
                ..parked.clone()
            };
            let key = (parked.subject.clone(), parked.position);
            self.parked.insert(key, parked);
        }
        for unparked in &batch.unparked {
            self.parked.remove(unparked);
        }
        for skipped in &batch.skipped {
            self.skip(skipped.clone());
        }
        for (subject, number) in &batch.retried {
            if self.retries.get(subject).is_some_and(|last| last <= number) {
                self.retries.remove(subject);
            }
        }
    }

    fn skip(&mut self, skipped: SetAside) {
        let key = (skipped.position, skipped.subject.clone());
        self.skipped.insert(key, skipped);
    }

    /// What is parked for a document.
    pub fn parked_for(&self, key: &str) -> Option<ParkedDocument> {
        let first = (Subject::Document(key.into()), Position(0));
        let of = self.parked.range(first.clone()..);
        let mut of = of.take_while(|((subject, _), _)| *subject == first.0);
        let (_, first) = of.next()?;
        Some(ParkedDocument {
            events: 1 + of.count() as u64,
            first_position: first.position,
            error: first.error.clone(),
        })
    }

    /// What is parked.
    pub fn parked_heads(&self) -> ParkedHeads {
        let first = |is_stream| {
            let parked = self.parked.keys();
            let of = parked.filter(|(it, _)| matches!(it, Subject::Stream(_)) == is_stream);
            of.map(|(_, position)| *position).min()
        };
        let subjects: BTreeSet<&Subject> = self.parked.keys().map(|(it, _)| it).collect();
        ParkedHeads {
            subjects: subjects.len() as u64,
            documents: first(false),
            streams: first(true),
        }
    }

    /// Asks to retry the parked events of a subject, or all; how many subjects.
    pub fn request(&mut self, of: Option<&Subject>, number: u64) -> u64 {
        let parked = self.parked.keys().map(|(subject, _)| subject);
        let meant = parked.filter(|subject| of.is_none_or(|of| of == *subject));
        let meant: BTreeSet<Subject> = meant.cloned().collect();
        let count = meant.len() as u64;
        self.retries
            .extend(meant.into_iter().map(|it| (it, number)));
        count
    }

    /// Asks to retry what waited for an event that was dropped a moment ago.
    pub fn request_behind(&mut self, which: &ParkedFilter, position: Position, number: u64) {
        let skipped = self.skipped.keys().filter(|(at, _)| *at == position);
        let mut of: Vec<Subject> = skipped.map(|(_, subject)| subject.clone()).collect();
        of.retain(|subject| which.holds(subject, position));
        for subject in of {
            let mut parked = self.parked.keys().filter(|(parked, _)| *parked == subject);
            if parked.next().is_some_and(|(_, first)| *first > position) {
                self.retries.insert(subject, number);
            }
        }
    }

    /// Leaves parked events out for good: those that were parked.
    fn drop_parked(&mut self, which: &ParkedFilter, reason: &str, at: Timestamp) -> Vec<SetAside> {
        let dropped: Vec<SetAside> = self
            .parked
            .extract_if(.., |(subject, position), _| which.holds(subject, *position))
            .map(|(_, parked)| parked)
            .collect();
        for parked in &dropped {
            self.skip(SetAside {
                at,
                reason: Some(reason.into()),
                ..parked.clone()
            });
        }
        dropped
    }

    /// How many there are of what.
    pub fn counts(&self) -> BuildCounts {
        let living = self.documents.values().filter(|it| it.document.is_some());
        let skipped = self.skipped.values();
        let by_policy = skipped.filter(|it| it.reason.as_deref() == Some(SKIPPED_BY_POLICY));
        BuildCounts {
            documents: living.count() as u64,
            parked: self.parked.len() as u64,
            skipped: self.skipped.len() as u64,
            skipped_by_policy: by_policy.count() as u64,
        }
    }
}
