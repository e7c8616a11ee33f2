//! Which events belong to a trace, and their order.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::found::{Start, commit_of};
use super::{FoundAs, TraceRequest, Traced};
use crate::model::{CommandId, CommitData, Position, RecordedEvent, StreamId};
use crate::store::Rejected;

/// The id of a message: those that are UUIDs are equal however they are written.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Uuid(Uuid),
    Text(Box<str>),
}

impl Key {
    fn of(text: &str) -> Self {
        match Uuid::try_parse(text) {
            Ok(uuid) => Self::Uuid(uuid),
            Err(_) => Self::Text(text.into()),
        }
    }
}

/// What was found so far.
pub struct Tree<'a> {
    request: &'a TraceRequest<'a>,
    start: Start,
    /// Events by position, and rejections.
    entries: Vec<Traced>,
    /// Positions of events that belong to it, also of those that are left out.
    seen: HashSet<Position>,
    lowest: Option<Position>,
    /// Ids of messages that belong to it.
    ids: HashSet<Key>,
    /// Causes that were not found yet.
    wanted: HashSet<Key>,
    /// Whether the command with the correlation id was found.
    has_root: bool,
    /// Set when the message with the id of the request is found.
    named: Option<FoundAs>,
    left_out: u64,
}

impl<'a> Tree<'a> {
    pub fn new(request: &'a TraceRequest<'a>, start: Start) -> Self {
        let mut wanted = HashSet::new();
        if start.position().is_none() {
            // A rejection is not met on the way.
            wanted.extend(start.commit.causation_id.as_deref().map(Key::of));
        }
        let mut ids = HashSet::new();
        if start.found_as == FoundAs::Causation {
            ids.insert(Key::of(request.id));
        }
        Self {
            has_root: is_root(&start.commit),
            request,
            start,
            entries: Vec::new(),
            seen: HashSet::new(),
            lowest: None,
            ids,
            wanted,
            named: None,
            left_out: 0,
        }
    }

    /// What the id is. Others name a message before the message itself is found.
    pub fn found_as(&self) -> FoundAs {
        match self.start.found_as {
            FoundAs::Position => FoundAs::Position,
            other => self.named.unwrap_or(other),
        }
    }

    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The first event of the trace.
    pub fn lowest(&self) -> Option<Position> {
        self.lowest
    }

    /// Whether there is no room for another entry.
    pub fn is_full(&self) -> bool {
        self.entries.len() + self.left_out as usize >= self.request.limit
    }

    /// Whether no event before those that were read can belong to it.
    pub fn has_every_cause(&self) -> bool {
        let is_started = self.start.position().is_none() || !self.seen.is_empty();
        let has_root = self.correlation().is_none() || self.has_root;
        // Others may have the same cause, which is not in the store.
        let is_open = self.start.found_as == FoundAs::Causation && self.named.is_none();
        is_started && self.wanted.is_empty() && has_root && !is_open
    }

    fn correlation(&self) -> Option<&str> {
        self.start.commit.correlation_id.as_deref()
    }

    /// Adds an event if the start, or a cause of what was found, is one of it.
    pub fn take_cause(&mut self, event: &RecordedEvent) {
        let (id, command) = (Key::Uuid(event.id), command_of(&event.commit));
        let is_cause = !self.wanted.is_empty()
            && (self.wanted.contains(&id)
                || command.as_ref().is_some_and(|it| self.wanted.contains(it)));
        if is_cause || self.is_own(&event.stream, &event.commit, Some(event.position)) {
            self.wanted.remove(&id);
            if let Some(command) = command {
                self.wanted.remove(&command);
            }
            let cause = event.commit.causation_id.as_deref().map(Key::of);
            self.wanted.extend(cause);
            self.add(event);
        }
    }

    /// Adds an event if something that was found led to it.
    pub fn take_consequence(&mut self, event: &RecordedEvent) {
        let cause = event.commit.causation_id.as_deref().map(Key::of);
        let is_caused = cause.is_some_and(|it| self.ids.contains(&it));
        if is_caused || self.is_own(&event.stream, &event.commit, Some(event.position)) {
            self.add(event);
        }
    }

    /// Adds a rejection that belongs to it.
    pub fn take_rejection(&mut self, rejected: &Rejected) {
        let commit = commit_of(rejected);
        let cause = commit.causation_id.as_deref().map(Key::of);
        let is_caused = cause.is_some_and(|it| self.ids.contains(&it));
        if self.is_full() || !(is_caused || self.is_own(&rejected.stream, &commit, None)) {
            return;
        }
        if !(self.request.may_read)(&rejected.stream) {
            self.left_out += 1;
            return;
        }
        self.entries.push(Traced {
            depth: 0,
            cause: None,
            position: None,
            id: None,
            stream: rejected.stream.clone(),
            version: rejected.version,
            name: rejected.command.name.clone(),
            at: rejected.command.accepted_at,
            is_match: false,
            commit,
            rejection: Some(rejected.code.clone()),
        });
    }

    /// Whether something is the start, of its commit, or of its conversation.
    fn is_own(&self, stream: &StreamId, commit: &CommitData, at: Option<Position>) -> bool {
        if at.is_some() && at == self.start.position() {
            return true;
        }
        let start = &self.start;
        let is_same_stream = start.stream() == stream;
        let is_any_stream = matches!(start.found_as, FoundAs::Command | FoundAs::Correlation);
        let own = commit.command_id.as_ref();
        if own.is_some() && own == start.commit.command_id.as_ref() {
            // Command ids are unique only within their stream.
            return is_same_stream || is_any_stream;
        }
        if start.found_as == FoundAs::Causation {
            return commit.causation_id.as_deref() == Some(self.request.id);
        }
        let correlation = self.correlation();
        correlation.is_some() && commit.correlation_id.as_deref() == correlation
    }

    fn add(&mut self, event: &RecordedEvent) {
        if self.is_full() || !self.seen.insert(event.position) {
            return;
        }
        self.lowest = Some(self.lowest.unwrap_or(event.position).min(event.position));
        self.ids.insert(Key::Uuid(event.id));
        self.ids.extend(command_of(&event.commit));
        self.has_root |= self.is_root_of(&event.commit);
        if !(self.request.may_read)(&event.stream) {
            self.left_out += 1;
            return;
        }
        if Key::of(self.request.id) == Key::Uuid(event.id) {
            self.named = Some(FoundAs::Event);
        } else if event.commit.command_id.as_ref().map(CommandId::as_str) == Some(self.request.id) {
            self.named = Some(FoundAs::Command);
        }
        self.entries.push(Traced {
            depth: 0,
            cause: None,
            position: Some(event.position),
            id: Some(event.id),
            stream: event.stream.clone(),
            version: event.version,
            name: event.name.clone(),
            at: event.recorded_at,
            commit: std::sync::Arc::clone(&event.commit),
            rejection: None,
            is_match: false,
        });
    }

    /// Whether a commit is the first one of the conversation.
    fn is_root_of(&self, commit: &CommitData) -> bool {
        let id = commit.command_id.as_ref().map(CommandId::as_str);
        id.is_some() && id == self.correlation()
    }

    /// Whether the id of the request names an entry.
    fn is_match(&self, entry: &Traced) -> bool {
        let text = self.request.id;
        let is_text = |id: Option<&str>| id == Some(text);
        let commit = &entry.commit;
        match self.found_as() {
            FoundAs::Position => {
                entry.position.is_some() && entry.position == self.start.position()
            }
            FoundAs::Event => entry.id.is_some_and(|id| Key::of(text) == Key::Uuid(id)),
            FoundAs::Command => is_text(commit.command_id.as_ref().map(CommandId::as_str)),
            FoundAs::Correlation => is_text(commit.correlation_id.as_deref()),
            FoundAs::Causation => is_text(commit.causation_id.as_deref()),
        }
    }

    /// The entries as a tree: each is followed by its consequences.
    pub fn into_entries(mut self) -> Vec<Traced> {
        let mut entries = std::mem::take(&mut self.entries);
        for entry in &mut entries {
            entry.is_match = self.is_match(entry);
        }
        // Rejections have no position; they are after the events that led to them.
        let last = Position(u64::MAX);
        entries.sort_by_key(|entry| (entry.position.unwrap_or(last), entry.at));
        let mut first_of: HashMap<Key, usize> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            if let Some(id) = entry.id {
                first_of.insert(Key::Uuid(id), index);
                if let Some(command) = command_of(&entry.commit) {
                    first_of.entry(command).or_insert(index);
                }
            }
        }
        let mut consequences: Vec<Vec<usize>> = vec![Vec::new(); entries.len()];
        let mut roots = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let cause = entry.commit.causation_id.as_deref().map(Key::of);
            // Callers choose ids, so an event might claim that a later one led to it.
            let cause = cause.and_then(|it| first_of.get(&it).copied());
            match cause.filter(|cause| *cause < index) {
                Some(cause) => consequences[cause].push(index),
                None => roots.push(index),
            }
        }
        let mut order = Vec::with_capacity(entries.len());
        let mut open: Vec<(usize, usize, Option<Position>)> = roots
            .into_iter()
            .rev()
            .map(|root| (root, 0, None))
            .collect();
        while let Some((index, depth, cause)) = open.pop() {
            order.push((index, depth, cause));
            let at = entries[index].position;
            let next = consequences[index].iter().rev();
            open.extend(next.map(|next| (*next, depth + 1, at)));
        }
        let mut entries: Vec<Option<Traced>> = entries.into_iter().map(Some).collect();
        let placed = order.into_iter().filter_map(|(index, depth, cause)| {
            let entry = entries[index].take()?;
            Some(Traced {
                depth,
                cause,
                ..entry
            })
        });
        placed.collect()
    }
}

/// Whether a commit has its own id as the correlation id.
fn is_root(commit: &CommitData) -> bool {
    let id = commit.command_id.as_ref().map(CommandId::as_str);
    id.is_some() && id == commit.correlation_id.as_deref()
}

fn command_of(commit: &CommitData) -> Option<Key> {
    commit.command_id.as_ref().map(|id| Key::of(id.as_str()))
}
