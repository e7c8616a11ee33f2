//! A store in this process's memory: for tests and experiments.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::classify::{self, Accepted, Heads, Known, Parts, classify};
use super::page::{Room, composed_metadata, page_bounds};
use super::{
    Deployment, Direction, EventReader, EventWriter, Filter, Head, Item, KnownCommit, KnownEvent,
    LoadPage, LoadedEvent, LogPage, ModuleStore, Outcome, Result, Store, StoredModule, StreamPage,
};
use crate::model::{
    CommandId, CommandRecord, CommitData, Digest, Position, RecordedEvent, StreamId, Timestamp,
    Version,
};

/// An empty store.
pub fn open() -> Store {
    let shared = Shared::default();
    Store {
        reader: Arc::new(shared.clone()),
        writer: Box::new(shared.clone()),
        modules: Arc::new(shared),
        secret: rand::random(),
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    /// Event i stands at position i + 1.
    events: Vec<RecordedEvent>,
    /// Indexes into `events`.
    streams: HashMap<StreamId, Vec<usize>>,
    /// The record, its commit's first event and their number.
    records: HashMap<(StreamId, CommandId), (Arc<CommandRecord>, usize, usize)>,
    modules: Vec<(StoredModule, Vec<u8>)>,
    deployments: Vec<Deployment>,
    parts: Parts,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn head(&self, stream: &StreamId) -> Option<Head> {
        let last = *self.streams.get(stream)?.last()?;
        let event = &self.events[last];
        Some(Head {
            version: event.version,
            recorded_at: event.recorded_at,
            archived: false,
        })
    }

    fn commit(&mut self, items: &[Item]) -> Vec<Outcome> {
        let heads: Heads = classify::streams(items)
            .filter_map(|stream| Some((stream.clone(), self.head(stream)?)))
            .collect();
        let known: Known = classify::ids(items)
            .filter_map(|(stream, id)| {
                let key = (stream.clone(), id.clone());
                let (record, first, count) = self.records.get(&key)?;
                let events = &self.events[*first..first + count];
                Some((key, Arc::new(known_commit(record, events))))
            })
            .collect();
        let next = Position(self.events.len() as u64 + 1);
        let classified = classify(items, heads, &known, self.parts.clone(), next);
        for accepted in &classified.accepted {
            self.append(accepted);
        }
        for (item, outcome) in items.iter().zip(&classified.outcomes) {
            if let (Item::Activate(activation), Outcome::Activated(plan)) = (item, outcome) {
                self.deployments.push(Deployment {
                    plan: *plan,
                    name: activation.name.clone(),
                    digest: activation.digest,
                    activated_at: activation.at,
                    activated_by: activation.by.clone(),
                });
            }
        }
        self.parts = classified.parts;
        classified.outcomes
    }

    fn append(&mut self, accepted: &Accepted<'_>) {
        let (stream, commit) = (&accepted.write.stream, &accepted.write.commit);
        let decided = commit.decided;
        let data = Arc::new(CommitData::of(
            commit.command.as_deref(),
            commit.plan,
            decided.map(|decided| decided.module),
            decided.map(|decided| decided.fuel),
        ));
        if let Some(id) = classify::callers_id(accepted.write)
            && let Some(record) = &commit.command
        {
            let place = (Arc::clone(record), self.events.len(), commit.events.len());
            self.records.insert((stream.clone(), id.clone()), place);
        }
        let command_metadata = commit
            .decided
            .and(commit.command.as_ref())
            .and_then(|record| record.metadata.as_ref());
        for (offset, event) in commit.events.iter().enumerate() {
            self.streams
                .entry(stream.clone())
                .or_default()
                .push(self.events.len());
            self.events.push(RecordedEvent {
                id: event.id,
                stream: stream.clone(),
                version: accepted.first_version.plus(offset),
                position: Position(accepted.first_position.0 + offset as u64),
                name: event.name.clone(),
                schema_version: event.schema_version,
                body: event.body.clone(),
                metadata: composed_metadata(command_metadata, event.metadata.as_ref()),
                tags: event.tags.clone(),
                recorded_at: accepted.recorded_at,
                commit: Arc::clone(&data),
            });
        }
    }
}

fn known_commit(record: &CommandRecord, events: &[RecordedEvent]) -> KnownCommit {
    KnownCommit {
        record: record.clone(),
        data: events
            .first()
            .map(|event| (*event.commit).clone())
            .unwrap_or_default(),
        events: events
            .iter()
            .map(|event| KnownEvent {
                id: event.id,
                name: event.name.clone(),
                version: event.version,
                position: event.position,
                body: event.body.clone(),
            })
            .collect(),
    }
}

/// Events up to the bounds of a page, and whether there may be more behind them.
fn page<'a>(
    events: impl Iterator<Item = &'a RecordedEvent>,
    limit: usize,
) -> (Vec<RecordedEvent>, bool) {
    let (mut taken, mut room) = (Vec::new(), Room::default());
    for event in events.take(limit) {
        taken.push(event.clone());
        let metadata = event.metadata.as_ref().map_or(0, bytes::Bytes::len);
        if !room.take(event.body.len() + metadata) {
            return (taken, true);
        }
    }
    let is_full = taken.len() == limit;
    (taken, is_full)
}

fn loaded(event: &RecordedEvent, begins_a_commit: bool) -> LoadedEvent {
    let id = event.commit.command_id.clone();
    LoadedEvent {
        name: event.name.clone(),
        schema_version: event.schema_version,
        version: event.version,
        recorded_at: event.recorded_at,
        body: event.body.clone(),
        command_id: id.filter(|id| begins_a_commit && id.is_callers()),
    }
}

impl EventWriter for Shared {
    fn commit<'a>(&'a mut self, items: &'a [Item]) -> BoxFuture<'a, Result<Vec<Outcome>>> {
        ready(Ok(self.lock().commit(items))).boxed()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<()>> {
        ready(Ok(())).boxed()
    }
}

impl EventReader for Shared {
    fn head<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<Head>>> {
        ready(Ok(self.lock().head(stream))).boxed()
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<Option<StreamPage>>> {
        let log = self.lock();
        let page = log.streams.get(stream).map(|places| {
            let version = Version(places.len() as u64);
            let range = page_bounds(from, direction, limit, version);
            let read = |version: u64| &log.events[places[version as usize - 1]];
            let (events, _) = match direction {
                Direction::Forward => page(range.map(read), usize::MAX),
                Direction::Backward => page(range.rev().map(read), usize::MAX),
            };
            StreamPage::new(version, events, direction)
        });
        ready(Ok(page)).boxed()
    }

    fn read_log<'a>(
        &'a self,
        after: Position,
        direction: Direction,
        limit: usize,
        filter: &'a Filter,
    ) -> BoxFuture<'a, Result<LogPage>> {
        let log = self.lock();
        let head = Position(log.events.len() as u64);
        let passes = |event: &&RecordedEvent| {
            filter.admits(
                event.stream.as_str(),
                event.stream.category(),
                event.name.as_str(),
            )
        };
        let limit = limit.min(super::LOG_PAGE_MAX);
        let place = |position: u64| {
            usize::try_from(position)
                .unwrap_or(usize::MAX)
                .min(log.events.len())
        };
        let (events, may_go_on) = match direction {
            Direction::Forward => page(log.events[place(after.0)..].iter().filter(passes), limit),
            Direction::Backward => {
                let before = &log.events[..place(after.0.saturating_sub(1))];
                page(before.iter().rev().filter(passes), limit)
            }
        };
        let next = events
            .last()
            .map(|last| last.position)
            .filter(|_| may_go_on);
        ready(Ok(LogPage { events, next, head })).boxed()
    }

    fn load<'a>(
        &'a self,
        stream: &'a StreamId,
        after: Version,
        limit: usize,
    ) -> BoxFuture<'a, Result<LoadPage>> {
        let log = self.lock();
        let places = log.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let skipped = usize::try_from(after.0)
            .unwrap_or(usize::MAX)
            .min(places.len());
        let mut room = Room::default();
        let mut events = Vec::new();
        for place in places[skipped..].iter().take(limit) {
            let event = &log.events[*place];
            let before = event
                .version
                .0
                .checked_sub(2)
                .map(|index| places[index as usize]);
            let begins =
                before.is_none_or(|before| !Arc::ptr_eq(&event.commit, &log.events[before].commit));
            events.push(loaded(event, begins));
            if !room.take(event.body.len()) {
                break;
            }
        }
        let is_last = skipped + events.len() == places.len();
        let head = log.head(stream);
        ready(Ok(LoadPage {
            head,
            events,
            is_last,
        }))
        .boxed()
    }

    fn log_head(&self) -> BoxFuture<'_, Result<Position>> {
        ready(Ok(Position(self.lock().events.len() as u64))).boxed()
    }
}

impl ModuleStore for Shared {
    fn put<'a>(
        &'a self,
        digest: Digest,
        bytes: &'a [u8],
        at: Timestamp,
    ) -> BoxFuture<'a, Result<bool>> {
        let mut log = self.lock();
        let is_new = log
            .modules
            .iter()
            .all(|(module, _)| module.digest != digest);
        if is_new {
            let module = StoredModule {
                digest,
                bytes: bytes.len() as u64,
                uploaded_at: at,
            };
            log.modules.push((module, bytes.to_vec()));
        }
        ready(Ok(is_new)).boxed()
    }

    fn get(&self, digest: Digest) -> BoxFuture<'_, Result<Option<Vec<u8>>>> {
        let log = self.lock();
        let found = log
            .modules
            .iter()
            .find(|(module, _)| module.digest == digest);
        ready(Ok(found.map(|(_, bytes)| bytes.clone()))).boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<StoredModule>>> {
        let modules = self
            .lock()
            .modules
            .iter()
            .map(|(module, _)| module.clone())
            .collect();
        ready(Ok(modules)).boxed()
    }

    fn deployments(&self) -> BoxFuture<'_, Result<Vec<Deployment>>> {
        ready(Ok(self.lock().deployments.clone())).boxed()
    }
}
