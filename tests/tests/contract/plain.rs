//! A minimal store that follows the semantics, to compare others with.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use quipu::model::{CommandId, EventId, ExpectedVersion, NewEvent, Position, Version};
use quipu::store::{
    ArchivedStreams, Change, Check, Direction, Filter, Item, Mark, Outcome, StreamFilter, Write,
};

/// The version of a commit's first event, and the ids of all its events.
pub type Commit = (u64, Vec<EventId>);

/// An outcome without positions.
#[derive(Debug, PartialEq)]
pub enum Seen {
    Appended(Vec<(u64, usize)>),
    Known(Vec<Option<Commit>>),
    Repeated(Vec<Option<Commit>>),
    EventIdReused(String, EventId),
    PartialDuplicate(String, EventId),
    WrongVersion(String, ExpectedVersion, u64),
    Archived(String),
    Holds(Option<u64>),
    RunDead,
    Again,
    Marked(bool),
    NoStream(String),
}

/// The part of an event that readers see.
type Read = (EventId, u64, Position);

struct Event {
    stream: String,
    version: u64,
    /// The version of its commit's first event.
    first: u64,
    event: NewEvent,
    position: Position,
}

/// Everything that was ever committed.
#[derive(Default)]
pub struct Model {
    log: Vec<Event>,
    archived: BTreeSet<String>,
    /// The marks of truncated streams, and the versions of their anchors.
    truncated: BTreeMap<String, (u64, u64)>,
    /// Version of the first event of the commit under a command's id.
    commands: HashMap<(String, CommandId), u64>,
    /// Ids recorded by the current batch.
    taken_commands: HashSet<(String, CommandId)>,
    taken_events: HashSet<(String, EventId)>,
}

impl Model {
    /// The outcomes of a batch.
    pub fn commit(&mut self, items: &[Item]) -> Vec<Seen> {
        self.taken_commands.clear();
        self.taken_events.clear();
        items.iter().map(|item| self.item(item)).collect()
    }

    /// Records the positions that the events of a batch got.
    pub fn take_positions(&mut self, items: &[Item], outcomes: &[Outcome]) {
        assert_eq!(items.len(), outcomes.len());
        let positions: Vec<Position> = outcomes
            .iter()
            .flat_map(|outcome| match outcome {
                Outcome::Appended(all) => all.iter().flat_map(|it| it.positions.clone()).collect(),
                Outcome::Marked(position) => position.iter().copied().collect(),
                _ => Vec::new(),
            })
            .collect();
        let old = self.log.len() - positions.len();
        let mut last = old
            .checked_sub(1)
            .map_or(Position(0), |old| self.log[old].position);
        for (event, position) in self.log[old..].iter_mut().zip(positions) {
            assert!(position > last, "{position} after {last}");
            (event.position, last) = (position, position);
        }
    }

    /// A stream's version.
    pub fn version(&self, stream: &str) -> u64 {
        self.of(stream).count() as u64
    }

    /// The position of the last event.
    pub fn head(&self) -> Position {
        self.log.last().map_or(Position(0), |event| event.position)
    }

    /// The events of some commit of a stream that have ids from a caller, as the caller would
    /// repeat them.
    pub fn some_commit(&self, stream: &str, which: usize) -> Option<Vec<NewEvent>> {
        let given: Vec<_> = self
            .of(stream)
            .filter(|it| it.event.id_is_callers)
            .collect();
        let one = given.get(which % given.len().max(1))?;
        let whole = self.of(stream).filter(|it| it.first == one.first);
        Some(whole.map(|it| it.event.clone()).collect())
    }

    /// The truncation mark of a stream; 0 if it is not truncated.
    pub fn truncated_before(&self, stream: &str) -> u64 {
        self.truncated.get(stream).map_or(0, |(before, _)| *before)
    }

    /// The truncated streams, with their marks and the versions of their anchors.
    pub fn anchors(&self) -> Vec<(String, u64, u64)> {
        let anchors = self.truncated.iter();
        anchors
            .map(|(stream, (before, at))| (stream.clone(), *before, *at))
            .collect()
    }

    /// A stream, starting at a version.
    pub fn stream(&self, stream: &str, from: u64, direction: Direction) -> Vec<Read> {
        let before = self.truncated_before(stream);
        let shown = self.of(stream).filter(|it| it.version >= before);
        let events = shown.filter(|it| match direction {
            Direction::Forward => it.version >= from,
            Direction::Backward => it.version <= from,
        });
        read(events, direction)
    }

    /// The events that pass a filter.
    pub fn log(&self, filter: &Filter, direction: Direction) -> Vec<Read> {
        let is_among = |all: &Option<Vec<_>>, one: &str| {
            let all: &Option<Vec<std::sync::Arc<str>>> = all;
            all.as_ref()
                .is_none_or(|all| all.iter().any(|it| &**it == one))
        };
        let is_named = |all: &Option<Vec<std::sync::Arc<str>>>, one: &str| {
            all.iter().flatten().any(|it| &**it == one)
        };
        let passes = |it: &&Event| {
            let tags = filter.tags.as_ref();
            let types = filter.types.as_ref();
            is_among(&filter.categories, category(&it.stream))
                && types.is_none_or(|types| types.contains(&it.event.name))
                && filter
                    .prefix
                    .as_ref()
                    .is_none_or(|prefix| it.stream.starts_with(&**prefix))
                && tags.is_none_or(|tags| it.event.tags.iter().any(|tag| tags.contains(tag)))
                && !(filter.without_archived && self.archived.contains(&it.stream))
                && filter.to.is_none_or(|to| it.position <= to)
                && !is_named(&filter.not_categories, category(&it.stream))
                && !filter
                    .not_types
                    .iter()
                    .flatten()
                    .any(|name| *name == it.event.name)
                && !it
                    .event
                    .tags
                    .iter()
                    .any(|tag| is_named(&filter.not_tags, tag))
                && !filter
                    .not_prefixes
                    .iter()
                    .flatten()
                    .any(|prefix| it.stream.starts_with(&**prefix))
        };
        read(self.log.iter().filter(passes), direction)
    }

    /// A list of streams and their versions.
    pub fn streams(&self, filter: &StreamFilter) -> Vec<(String, u64)> {
        let mut streams = BTreeMap::new();
        for event in &self.log {
            *streams.entry(event.stream.clone()).or_insert(0) += 1;
        }
        streams.retain(|stream, _| {
            let is_archived = self.archived.contains(stream);
            let is_listed = match filter.archived {
                ArchivedStreams::Without => !is_archived,
                ArchivedStreams::With => true,
                ArchivedStreams::Only => is_archived,
            };
            let of = filter.category.as_deref();
            is_listed && of.is_none_or(|of| category(stream) == of)
        });
        streams.into_iter().collect()
    }

    fn of<'a>(&'a self, stream: &'a str) -> impl DoubleEndedIterator<Item = &'a Event> {
        self.log.iter().filter(move |event| event.stream == stream)
    }

    fn item(&mut self, item: &Item) -> Seen {
        match item {
            Item::Append { writes, .. } => {
                if let Some(known) = self.repetition(writes) {
                    return known;
                }
                if let Some(refusal) = writes.iter().find_map(|write| self.refusal(write)) {
                    return refusal;
                }
                Seen::Appended(writes.iter().map(|write| self.append(write)).collect())
            }
            Item::Check(check) => self.check(check),
            Item::Mark(mark) => self.mark(mark),
            Item::Activate(_) => panic!("the model has no plan"),
        }
    }

    fn check(&self, check: &Check) -> Seen {
        let stream = check.stream.to_string();
        if let Some(id) = &check.command_id {
            let key = (stream.clone(), id.clone());
            if self.taken_commands.contains(&key) {
                return Seen::Again;
            }
            if self.commands.contains_key(&key) {
                return Seen::Known(vec![self.commit_of(&stream, self.commands[&key])]);
            }
        }
        let found = self.version(&stream);
        match check.version {
            Some(Version(expected)) if expected != found => {
                Seen::WrongVersion(stream, ExpectedVersion::Exact(Version(expected)), found)
            }
            Some(_) if self.archived.contains(&stream) != check.archived => Seen::RunDead,
            Some(_) => Seen::Holds(Some(found)),
            None => Seen::Holds(None),
        }
    }

    fn mark(&mut self, mark: &Mark) -> Seen {
        let stream = mark.stream.to_string();
        if self.version(&stream) == 0 {
            return Seen::NoStream(stream);
        }
        let is_new = match &mark.change {
            Change::Archived(true) => self.archived.insert(stream),
            Change::Archived(false) => self.archived.remove(&stream),
            Change::Truncated { before, anchor } => {
                self.truncated.insert(stream, (before.0, anchor.version.0));
                true
            }
            Change::Whole => self.truncated.remove(&stream).is_some(),
        };
        if is_new {
            self.append(&mark.write);
        }
        Seen::Marked(is_new)
    }

    /// Section 3: known ids take precedence over everything else.
    fn repetition(&self, writes: &[Write]) -> Option<Seen> {
        let is_taken = |write: &Write| {
            let stream = write.stream.to_string();
            command(write).is_some_and(|id| self.taken_commands.contains(&(stream.clone(), id)))
                || given(write).any(|it| self.taken_events.contains(&(stream.clone(), it.id)))
        };
        if writes.iter().any(is_taken) {
            return Some(Seen::Again);
        }
        let by_command = |write: &Write| {
            let key = (write.stream.to_string(), command(write)?);
            self.commit_of(write.stream.as_str(), *self.commands.get(&key)?)
        };
        let known: Vec<_> = writes.iter().map(by_command).collect();
        if known.iter().any(Option::is_some) {
            return Some(Seen::Known(known));
        }
        let mut first_known = None;
        for write in writes {
            for event in given(write) {
                let Some(recorded) = self.under(write.stream.as_str(), event.id) else {
                    continue;
                };
                let (stream, id) = (write.stream.to_string(), event.id);
                let recorded = &recorded.event;
                if recorded.name != event.name || recorded.body != event.body {
                    return Some(Seen::EventIdReused(stream, id));
                }
                first_known.get_or_insert((stream, id));
            }
        }
        let (stream, id) = first_known?;
        let whole = writes.iter().map(|write| self.whole(write));
        let whole: Option<Vec<Option<Commit>>> = whole.collect();
        Some(whole.map_or(Seen::PartialDuplicate(stream, id), Seen::Repeated))
    }

    /// The commit that a write repeats completely and in order. The inner value is none for a write
    /// without events.
    fn whole(&self, write: &Write) -> Option<Option<Commit>> {
        let events = &write.commit.events;
        if events.is_empty() {
            return Some(None);
        }
        let stream = write.stream.as_str();
        let recorded = self.under(stream, events[0].id)?;
        let commit = self.commit_of(stream, recorded.first)?;
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        let is_whole = commit.1 == ids && events.iter().all(|event| event.id_is_callers);
        is_whole.then_some(Some(commit))
    }

    fn refusal(&self, write: &Write) -> Option<Seen> {
        let stream = write.stream.to_string();
        if self.archived.contains(&stream) {
            return Some(Seen::Archived(stream));
        }
        let found = self.version(&stream);
        let is_expected = match write.expected {
            ExpectedVersion::Any => true,
            ExpectedVersion::NoStream => found == 0,
            ExpectedVersion::StreamExists => found > 0,
            ExpectedVersion::Exact(Version(version)) => found == version,
        };
        (!is_expected).then_some(Seen::WrongVersion(stream, write.expected, found))
    }

    fn append(&mut self, write: &Write) -> (u64, usize) {
        let stream = write.stream.to_string();
        let first = self.version(&stream) + 1;
        let events = &write.commit.events;
        for (event, version) in events.iter().zip(first..) {
            if event.id_is_callers {
                self.taken_events.insert((stream.clone(), event.id));
            }
            self.log.push(Event {
                stream: stream.clone(),
                version,
                first,
                event: event.clone(),
                position: Position(0),
            });
        }
        if let (Some(id), false) = (command(write), events.is_empty()) {
            self.taken_commands.insert((stream.clone(), id.clone()));
            self.commands.insert((stream, id), first);
        }
        (first, events.len())
    }

    /// The event with an id from a caller.
    fn under(&self, stream: &str, id: EventId) -> Option<&Event> {
        self.log
            .iter()
            .find(|it| it.stream == stream && it.event.id_is_callers && it.event.id == id)
    }

    fn commit_of(&self, stream: &str, first: u64) -> Option<Commit> {
        let events = self.of(stream).filter(|event| event.first == first);
        let ids: Vec<_> = events.map(|event| event.event.id).collect();
        (!ids.is_empty()).then_some((first, ids))
    }
}

fn command(write: &Write) -> Option<CommandId> {
    write
        .commit
        .command
        .as_ref()
        .map(|record| record.id.clone())
}

fn given(write: &Write) -> impl Iterator<Item = &NewEvent> {
    write
        .commit
        .events
        .iter()
        .filter(|event| event.id_is_callers)
}

fn category(stream: &str) -> &str {
    stream.split('-').next().unwrap_or_default()
}

fn read<'a>(events: impl DoubleEndedIterator<Item = &'a Event>, direction: Direction) -> Vec<Read> {
    let seen = events.map(|it| (it.event.id, it.version, it.position));
    match direction {
        Direction::Forward => seen.collect(),
        Direction::Backward => seen.rev().collect(),
    }
}
