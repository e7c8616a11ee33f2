//! A store in this process's memory: for tests and experiments.

mod acknowledged;
mod builds;
mod checkpoints;
mod documents;
mod import;
mod modules;
mod projections;
mod rejections;
mod snapshots;
mod turns;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::classify::{self, Accepted, Classified, Known, Parts};
use super::page::{Room, page_bounds};
use super::projected::Basis;
use super::seen::{self, Origin};
use super::wake::Waker;
use super::{
    Acknowledgement, Change, Deployment, Direction, EventReader, Filter, Head, Item, KnownCommit,
    KnownEvent, LOG_PAGE_MAX, LoadPage, LoadedEvent, LogPage, Outcome, Result, STREAMS_PAGE_MAX,
    Store, StoredCommit, StoredEvent, StoredPage, StreamFilter, StreamInfo, StreamPage,
    StreamsPage,
};
use quipu_model::supervise::Supervisor;
use quipu_model::{CommandId, EventId, Position, RecordedEvent, StreamId, Timestamp, Version};

/// An empty store.
pub fn open() -> Store {
    let (waker, wakes) = Waker::new();
    let shared = Shared(Arc::new((Mutex::default(), waker)));
    Store {
        reader: Arc::new(shared.clone()),
        writer: Box::new(shared.clone()),
        modules: Arc::new(shared.clone()),
        checkpoints: Arc::new(shared.clone()),
        snapshots: Arc::new(shared.clone()),
        types: Arc::new(shared.clone()),
        documents: Arc::new(shared.clone()),
        rejections: Arc::new(shared.clone()),
        acknowledgements: Arc::new(shared),
        wakes,
        secret: rand::random(),
        supervisor: Supervisor::default(),
    }
}

#[derive(Clone)]
struct Shared(Arc<(Mutex<Log>, Waker)>);

#[derive(Default)]
struct Log {
    /// In order of position.
    events: Vec<Kept>,
    /// In the order of their ids' bytes.
    streams: BTreeMap<StreamId, Places>,
    /// Index of the first event of the commit under a command's id.
    commands: HashMap<(StreamId, CommandId), usize>,
    /// Index of the event under a caller's id.
    event_ids: HashMap<(StreamId, EventId), usize>,
    modules: Vec<modules::Kept>,
    deployments: Vec<Deployment>,
    parts: Parts,
    checkpoints: checkpoints::Checkpoints,
    builds: builds::Builds,
    documents: documents::Documents,
    rejections: rejections::Kept,
    acknowledged: BTreeMap<Box<str>, Acknowledgement>,
}

/// An event, as it is kept and as readers see it.
struct Kept {
    stored: StoredEvent,
    seen: RecordedEvent,
}

/// Where a stream's events are.
#[derive(Default)]
struct Places {
    /// Indexes into the log.
    events: Vec<usize>,
    archived_at: Option<Timestamp>,
    kept: snapshots::Kept,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn head(&self, stream: &StreamId) -> Option<Head> {
        let places = self.streams.get(stream)?;
        let event = &self.events[*places.events.last()?].seen;
        Some(Head {
            version: event.version,
            recorded_at: event.recorded_at,
            archived: places.archived_at.is_some(),
            truncated_before: places.kept.truncated_before,
        })
    }

    fn last_position(&self) -> Position {
        let last = self.events.last();
        last.map_or(Position(0), |last| last.seen.position)
    }

    /// Index of the first event behind a position.
    fn behind(&self, position: Position) -> usize {
        self.events
            .partition_point(|event| event.seen.position <= position)
    }

    /// What a batch rests on.
    fn basis(&self, items: &[Item]) -> Basis {
        let heads = classify::streams(items)
            .filter_map(|stream| Some((stream.clone(), self.head(stream)?)));
        let commands = classify::ids(items).filter_map(|(stream, id)| {
            let key = (stream.clone(), id.clone());
            let known = self.known_commit(*self.commands.get(&key)?);
            Some((key, Arc::new(known)))
        });
        let events = classify::event_ids(items).filter_map(|(stream, id)| {
            let key = (stream.clone(), id);
            let known = self.known_commit(*self.event_ids.get(&key)?);
            Some((key, Arc::new(known)))
        });
        Basis {
            heads: heads.collect(),
            known: Known {
                commands: commands.collect(),
                events: events.collect(),
            },
            parts: self.parts.clone(),
            next: Position(self.last_position().0 + 1),
        }
    }

    /// Takes in what was classified.
    fn commit(&mut self, items: &[Item], classified: Classified<'_>) -> Vec<Outcome> {
        for accepted in &classified.accepted {
            self.append(accepted);
        }
        for (mark, at) in classified.marks {
            let places = self.streams.entry(mark.stream.clone()).or_default();
            match &mark.change {
                Change::Archived(archived) => places.archived_at = archived.then_some(at),
                Change::Truncated { before, anchor } => {
                    places.kept.truncate(*before, Some(anchor));
                }
                Change::Whole => places.kept.truncate(Version::NONE, None),
            }
        }
        for (item, outcome) in items.iter().zip(&classified.outcomes) {
            if let (Item::Activate(activation), Outcome::Activated(plan)) = (item, outcome) {
                self.deployments.push(activation.deployment(*plan));
            }
        }
        self.parts = classified.parts;
        classified.outcomes
    }

    fn append(&mut self, accepted: &Accepted<'_>) {
        let (stream, commit) = (&accepted.write.stream, &accepted.write.commit);
        let led_to_it = StoredCommit {
            command: commit.command.as_deref().cloned(),
            decided: commit.decided,
            plan: commit.plan,
            events: commit.events.len() as u64,
        };
        let mut led_to_it = Some(led_to_it);
        for (offset, event) in commit.events.iter().enumerate() {
            self.keep(StoredEvent {
                event: event.clone(),
                stream: stream.clone(),
                version: accepted.first_version.plus(offset),
                position: Position(accepted.first_position.0 + offset as u64),
                recorded_at: accepted.recorded_at,
                commit_offset: offset as u64,
                commit: led_to_it.take(),
            });
        }
    }

    /// Takes an event in behind the others of its stream and of the log.
    fn keep(&mut self, stored: StoredEvent) {
        let (stream, place) = (stored.stream.clone(), self.events.len());
        let origin = match &stored.commit {
            Some(commit) => {
                let command = commit.command.as_ref();
                if let Some(id) = command.map(|command| &command.id)
                    && id.is_callers()
                {
                    self.commands.insert((stream.clone(), id.clone()), place);
                }
                origin(commit)
            }
            None => match self.first_of(&stored) {
                Some(first) => Origin {
                    data: Arc::clone(&first.seen.commit),
                    ..first.stored.commit.as_ref().map(origin).unwrap_or_default()
                },
                None => Origin::default(),
            },
        };
        let event = &stored.event;
        if event.id_is_callers {
            self.event_ids.insert((stream.clone(), event.id), place);
        }
        let place_in_log = seen::Place {
            stream: &stream,
            version: stored.version,
            position: stored.position,
            recorded_at: stored.recorded_at,
        };
        let seen = seen::event(event, &place_in_log, &origin);
        let places = self.streams.entry(stream).or_default();
        places.events.push(place);
        self.events.push(Kept { stored, seen });
    }

    /// The first event of the commit of an event that comes next in its stream.
    fn first_of(&self, next: &StoredEvent) -> Option<&Kept> {
        let places = &self.streams.get(&next.stream)?.events;
        let back = usize::try_from(next.commit_offset).ok()?;
        Some(&self.events[*places.get(places.len().checked_sub(back)?)?])
    }

    /// The commit that an event belongs to.
    fn known_commit(&self, place: usize) -> KnownCommit {
        let one = &self.events[place].stored;
        let places = &self.streams[&one.stream].events;
        let first = (one.version.0 - 1 - one.commit_offset) as usize;
        let record = &self.events[places[first]];
        let commit = record.stored.commit.as_ref();
        let count = commit.map_or(1, |commit| commit.events as usize);
        let events = places[first..].iter().take(count);
        KnownCommit {
            record: commit.and_then(|commit| commit.command.clone()),
            data: (*record.seen.commit).clone(),
            events: events
                .map(|place| {
                    let event = &self.events[*place].seen;
                    KnownEvent {
                        id: event.id,
                        name: event.name.clone(),
                        version: event.version,
                        position: event.position,
                        body: event.body.clone(),
                    }
                })
                .collect(),
        }
    }
}

/// What led to the events of a commit.
fn origin(commit: &StoredCommit) -> Origin {
    Origin::of(commit.command.as_ref(), commit.decided, commit.plan)
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
        let page = log.head(stream).map(|head| {
            let places = &log.streams[stream];
            let range = page_bounds(from, direction, limit, head);
            let read = |version: u64| &log.events[places.events[version as usize - 1]].seen;
            let (events, _) = match direction {
                Direction::Forward => page(range.map(read), usize::MAX),
                Direction::Backward => page(range.rev().map(read), usize::MAX),
            };
            StreamPage::new(head, events, direction)
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
        let head = log.last_position();
        let passes = |event: &&RecordedEvent| {
            filter.admits(event)
                && !(filter.without_archived && log.streams[&event.stream].archived_at.is_some())
        };
        let limit = limit.min(LOG_PAGE_MAX);
        let seen = |range: std::ops::Range<usize>| log.events[range].iter().map(|kept| &kept.seen);
        let end = log.behind(filter.end(head));
        let (events, may_go_on) = match direction {
            Direction::Forward => {
                let behind = seen(log.behind(after).min(end)..end);
                page(behind.filter(passes), limit)
            }
            Direction::Backward => {
                let before = log.behind(Position(after.0.saturating_sub(1)));
                page(seen(0..before.min(end)).rev().filter(passes), limit)
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
        let places = log.streams.get(stream);
        let places = places.map_or(&[][..], |places| places.events.as_slice());
        let skipped = usize::try_from(after.0)
            .unwrap_or(usize::MAX)
            .min(places.len());
        let mut room = Room::default();
        let mut events = Vec::new();
        for place in places[skipped..].iter().take(limit) {
            let Kept {
                stored,
                seen: event,
            } = &log.events[*place];
            events.push(loaded(event, stored.commit.is_some()));
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
        ready(Ok(self.lock().last_position())).boxed()
    }

    fn streams<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: usize,
        filter: &'a StreamFilter,
    ) -> BoxFuture<'a, Result<StreamsPage>> {
        let log = self.lock();
        let limit = limit.min(STREAMS_PAGE_MAX);
        let listed = log.streams.iter().filter(|(stream, places)| {
            after.is_none_or(|after| stream.as_str() > after)
                && filter
                    .category
                    .as_ref()
                    .is_none_or(|category| stream.category() == &**category)
                && filter.archived.admits(places.archived_at.is_some())
        });
        let streams: Vec<StreamInfo> = listed
            .filter_map(|(stream, places)| {
                let head = log.head(stream)?;
                Some(StreamInfo {
                    stream: stream.clone(),
                    version: head.version,
                    recorded_at: head.recorded_at,
                    archived_at: places.archived_at,
                    truncated_before: head.truncated_before,
                })
            })
            .take(limit)
            .collect();
        ready(Ok(StreamsPage::new(streams, limit))).boxed()
    }

    fn read_stored(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<StoredPage>> {
        let log = self.lock();
        let mut room = Room::default();
        let mut events = Vec::new();
        for kept in log.events[log.behind(after)..]
            .iter()
            .take(limit.min(LOG_PAGE_MAX))
        {
            events.push(kept.stored.clone());
            if !room.take(kept.seen.body.len()) {
                break;
            }
        }
        let head = log.last_position();
        ready(Ok(StoredPage { events, head })).boxed()
    }
}
