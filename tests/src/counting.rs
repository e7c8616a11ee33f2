//! An inline projection without a guest: it counts events per stream, counts all of them in one
//! document, and folds their positions in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::BoxFuture;
use quipu::model::{Position, RecordedEvent};
use quipu::store::{
    BuildId, Direction, DocumentStore, DocumentWrite, EventReader, Filter, Folded, InlineFold,
    Pending, Result, Settle, StoredDocument, Touched, Unprojected,
};
use serde::{Deserialize, Serialize};

use crate::documents;

/// Key of the document of all events.
pub const ALL: &str = "all";

/// The content of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The number of events.
    pub events: u64,
    /// A fold of the events' positions and versions, in order.
    pub chain: u64,
}

/// The projection. An event whose body contains `"unkeyed"` fails before documents are read; one
/// whose body contains `"unfolded"` fails after that.
#[derive(Clone)]
pub struct Counting {
    build: BuildId,
    wants: fn(&str) -> bool,
    /// Of several failures, only one is reported.
    is_slow: bool,
    unfolded: &'static str,
    seen: Arc<Mutex<Seen>>,
}

/// The calls that the projection received.
#[derive(Debug, Default)]
pub struct Seen {
    /// Batches that were started.
    pub rounds: usize,
    /// The events of the last fold, with their assigned positions.
    pub folded: Vec<RecordedEvent>,
}

impl Counting {
    /// Counts the events of some categories in a build.
    pub fn new(build: BuildId, wants: fn(&str) -> bool) -> Self {
        let seen = Arc::default();
        let is_slow = false;
        Self {
            build,
            wants,
            is_slow,
            unfolded: "unfolded",
            seen,
        }
    }

    /// Fails on events whose body contains this. If it is `failing`, it keeps failing.
    #[must_use]
    pub fn failing_at(self, unfolded: &'static str) -> Self {
        Self { unfolded, ..self }
    }

    /// Reports only one failure per call.
    #[must_use]
    pub fn slow(self) -> Self {
        let is_slow = true;
        Self { is_slow, ..self }
    }

    /// The calls that it received since the last time.
    pub fn seen(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// The keys of an event's documents.
fn keys(event: &RecordedEvent) -> [&str; 2] {
    [event.stream.as_str(), ALL]
}

impl Count {
    /// The content of a document.
    pub fn of(document: &StoredDocument) -> Self {
        let text = document.document.as_deref();
        text.map(|text| serde_json::from_str(text).unwrap())
            .unwrap_or_default()
    }

    /// Applies an event.
    pub fn take(&mut self, event: &RecordedEvent) {
        let mixed = self
            .chain
            .wrapping_mul(31)
            .wrapping_add(event.position.0 * 7);
        self.chain = mixed.wrapping_add(event.version.0) % 1_000_000_007;
        self.events += 1;
    }
}

/// The counts that result from events, by key, each with the position of its last event.
pub fn counts(
    mut counts: BTreeMap<Arc<str>, (Count, u64)>,
    events: &[RecordedEvent],
) -> BTreeMap<Arc<str>, (Count, u64)> {
    for event in events {
        for key in keys(event) {
            let (count, change) = counts.entry(key.into()).or_default();
            count.take(event);
            *change = event.position.0;
        }
    }
    counts
}

/// Counts as documents of a build.
pub fn writes(build: BuildId, counts: BTreeMap<Arc<str>, (Count, u64)>) -> Vec<DocumentWrite> {
    let write = |(key, (count, change))| DocumentWrite {
        build,
        key,
        document: Some(serde_json::to_string(&count).unwrap().into()),
        change,
        removed: Vec::new(),
        added: Vec::new(),
    };
    counts.into_iter().map(write).collect()
}

impl InlineFold for Counting {
    fn wants(&self, category: &str) -> bool {
        (self.wants)(category)
    }

    fn touch(&self, events: Vec<Pending>) -> BoxFuture<'_, Result<Box<dyn Touched>>> {
        self.seen.lock().unwrap().rounds += 1;
        assert!(events.iter().all(|it| it.event.position == Position(0)));
        let mut documents: Vec<_> = events
            .iter()
            .flat_map(|it| keys(&it.event).map(|key| (self.build, Arc::from(key))))
            .collect();
        documents.sort();
        documents.dedup();
        let touched = Touching {
            failed: failed(&events, "unkeyed"),
            counting: self.clone(),
            events,
            documents,
        };
        async move { Ok(Box::new(touched) as Box<dyn Touched>) }.boxed()
    }
}

struct Touching {
    counting: Counting,
    failed: Vec<(usize, Unprojected)>,
    events: Vec<Pending>,
    documents: Vec<(BuildId, Arc<str>)>,
}

fn failed(events: &[Pending], how: &str) -> Vec<(usize, Unprojected)> {
    let failed = events.iter().filter(|pending| {
        let body = pending.event.body.as_json().unwrap_or_default();
        body.contains(how)
    });
    let unprojected = |pending: &Pending| {
        let unprojected = Unprojected {
            projection: "counting".into(),
            is_failing: how == "failing",
            fault: Some("trap"),
            text: how.to_owned(),
        };
        (pending.item, unprojected)
    };
    failed.map(unprojected).collect()
}

impl Touched for Touching {
    fn failed(&self) -> &[(usize, Unprojected)] {
        &self.failed
    }

    fn documents(&self) -> &[(BuildId, Arc<str>)] {
        &self.documents
    }

    fn fold(
        self: Box<Self>,
        positions: Vec<Position>,
        documents: Vec<Option<StoredDocument>>,
    ) -> BoxFuture<'static, Result<Folded>> {
        async move {
            assert_eq!(positions.len(), self.events.len());
            assert_eq!(documents.len(), self.documents.len());
            let mut failed = failed(&self.events, self.counting.unfolded);
            if self.counting.is_slow {
                failed.truncate(1);
            }
            if !failed.is_empty() {
                let writes = Vec::new();
                return Ok(Folded { failed, writes });
            }
            let read = self.documents.iter().zip(&documents);
            let read = read.map(|((_, key), document)| {
                let count = document.as_ref().map(Count::of).unwrap_or_default();
                let change = document.as_ref().map_or(0, |document| document.change);
                (Arc::clone(key), (count, change))
            });
            let events = self.events.iter().zip(positions);
            let events: Vec<_> = events
                .map(|(pending, position)| RecordedEvent {
                    position,
                    ..pending.event.clone()
                })
                .collect();
            let counts = counts(read.collect(), &events);
            self.counting.seen.lock().unwrap().folded = events;
            Ok(Folded {
                failed,
                writes: writes(self.counting.build, counts),
            })
        }
        .boxed()
    }
}

/// Every event of a store's log.
pub async fn all(reader: &dyn EventReader) -> Vec<RecordedEvent> {
    crate::log::read(reader, Direction::Forward, 1_000, &Filter::default()).await
}

/// The documents of a build, as they are in a store.
pub async fn stored(store: &dyn DocumentStore, build: BuildId) -> BTreeMap<Arc<str>, (Count, u64)> {
    let mut stored = BTreeMap::new();
    let mut after = 0;
    loop {
        let changed = documents::changed(store, build, after, 500).await;
        let Some(last) = changed.last() else {
            return stored;
        };
        after = last.change;
        for document in &changed {
            let counted = (Count::of(document), document.change);
            stored.insert(Arc::clone(&document.key), counted);
        }
    }
}

/// Counts the events that a build has not processed.
pub struct Settling {
    /// The store.
    pub reader: Arc<dyn EventReader>,
    /// Its documents.
    pub documents: Arc<dyn DocumentStore>,
    /// The build.
    pub build: BuildId,
    /// The maximum number of events.
    pub events_max: usize,
}

impl Settle for Settling {
    fn settle(
        &self,
        from: Position,
        to: Position,
        offset: u64,
    ) -> BoxFuture<'_, Result<Option<Vec<DocumentWrite>>>> {
        async move {
            let mut events = all(&*self.reader).await;
            events.retain(|event| from < event.position && event.position <= to);
            if events.len() > self.events_max {
                return Ok(None);
            }
            let touched: Vec<Arc<str>> = events
                .iter()
                .flat_map(|event| keys(event).map(Arc::from))
                .collect();
            let read = self.documents.documents(self.build, &touched).await?;
            let read = read.iter().flatten().map(|document| {
                let counted = (Count::of(document), document.change);
                (Arc::clone(&document.key), counted)
            });
            let counts = counts(read.collect(), &events);
            let mut writes = writes(self.build, counts);
            writes.iter_mut().for_each(|write| write.change += offset);
            Ok(Some(writes))
        }
        .boxed()
    }
}
