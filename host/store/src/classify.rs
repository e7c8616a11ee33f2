//! The rules of an append, without a store: which items of a batch pass.
//!
//! A back-end fetches the heads of the streams and the known ids, calls this module, and writes the
//! accepted items. The order of checks is that of the semantics: the id, then archived, then the
//! expected version. A newer plan is checked after the id, because it leads to a new decision and
//! refuses nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

pub use super::parts::Parts;
use super::{
    Appended, Change, Check, Head, Item, KnownCommit, Mark, Outcome, RunId, Unprojected, Write,
};
use quipu_model::{CommandId, EventId, NewEvent, Position, StreamId, Timestamp, Version};

/// The records under the ids of a batch.
#[derive(Debug, Default)]
pub struct RecordedIds {
    /// By the id of a command.
    pub commands: HashMap<(StreamId, CommandId), Arc<KnownCommit>>,
    /// By the caller's id of an event.
    pub events: HashMap<(StreamId, EventId), Arc<KnownCommit>>,
}

/// The heads of the streams of a batch. A stream that does not exist has no entry.
pub type Heads = HashMap<StreamId, Head>;

/// Items that an inline projection can't fold, by index.
pub type Refused = BTreeMap<usize, Unprojected>;

/// A write that passed, and its future version.
#[derive(Debug)]
pub struct Accepted<'a> {
    /// Index of the item.
    pub item: usize,
    /// The write; its commit has events.
    pub write: &'a Write,
    /// Version of its first event.
    pub first_version: Version,
    /// When its events are recorded.
    pub recorded_at: Timestamp,
}

/// The result of a batch if its transaction commits.
#[derive(Debug)]
pub struct Classified<'a> {
    /// Outcome i belongs to item i.
    pub outcomes: Vec<Outcome>,
    /// In order of position.
    pub accepted: Vec<Accepted<'a>>,
    /// Marks that change, in order.
    pub marks: Vec<(&'a Mark, Timestamp)>,
    /// The plan after the batch.
    pub parts: Parts,
}

/// The streams that a batch names.
pub fn streams(items: &[Item]) -> impl Iterator<Item = &StreamId> {
    items.iter().flat_map(|item| {
        let other = match item {
            Item::Check(Check { stream, .. }) | Item::Mark(Mark { stream, .. }) => Some(stream),
            Item::Append { .. } | Item::Activate(_) => None,
        };
        writes(item).iter().map(|write| &write.stream).chain(other)
    })
}

/// The writes of an item if it passes.
pub fn writes(item: &Item) -> &[Write] {
    match item {
        Item::Append { writes, .. } => writes,
        Item::Mark(mark) => std::slice::from_ref(&mark.write),
        Item::Check(_) | Item::Activate(_) => &[],
    }
}

/// The command ids whose records a batch must look up.
pub fn ids(items: &[Item]) -> impl Iterator<Item = (&StreamId, &CommandId)> {
    items.iter().flat_map(|item| {
        let check = match item {
            Item::Check(Check {
                stream,
                command_id: Some(id),
                ..
            }) => Some((stream, id)),
            _ => None,
        };
        writes(item)
            .iter()
            .filter(|write| !write.commit.id_is_new)
            .filter_map(|write| callers_id(write).map(|id| (&write.stream, id)))
            .chain(check)
    })
}

/// The callers' ids of events that a batch must look up.
pub fn event_ids(items: &[Item]) -> impl Iterator<Item = (&StreamId, EventId)> {
    let writes = items.iter().flat_map(writes);
    writes.flat_map(|write| callers_events(write).map(|event| (&write.stream, event.id)))
}

/// The events of a write whose ids the caller chose.
fn callers_events(write: &Write) -> impl Iterator<Item = &NewEvent> {
    let events = write.commit.events.iter();
    events.filter(|event| event.id_is_callers)
}

/// The id under which the commit of a write can be found.
pub fn callers_id(write: &Write) -> Option<&CommandId> {
    write
        .commit
        .command
        .as_ref()
        .map(|record| &record.id)
        .filter(|id| id.is_callers())
}

/// Decides which items pass, taking them in order.
///
/// `next` is the position of the next event. Items in `refused` don't pass, unless an earlier check
/// has refused them.
pub fn classify<'a>(
    items: &'a [Item],
    heads: Heads,
    known: &RecordedIds,
    parts: Parts,
    next: Position,
    refused: &Refused,
) -> Classified<'a> {
    let mut batch = Batch {
        known,
        refused,
        item: 0,
        heads,
        parts,
        next,
        dead: HashSet::new(),
        taken: HashSet::new(),
        taken_events: HashSet::new(),
        marks: Vec::new(),
        accepted: Vec::with_capacity(items.len()),
    };
    let outcomes = items.iter().enumerate();
    let outcomes = outcomes.map(|(index, item)| batch.item(index, item));
    let outcomes = outcomes.collect();
    Classified {
        outcomes,
        accepted: batch.accepted,
        marks: batch.marks,
        parts: batch.parts,
    }
}

struct Batch<'a, 'k> {
    known: &'k RecordedIds,
    refused: &'k Refused,
    /// Index of the current item.
    item: usize,
    heads: Heads,
    parts: Parts,
    next: Position,
    /// Runs of which an item was refused.
    dead: HashSet<RunId>,
    /// Ids that this batch records.
    taken: HashSet<(&'a StreamId, &'a CommandId)>,
    /// Callers' ids of events that this batch records.
    taken_events: HashSet<(&'a StreamId, EventId)>,
    marks: Vec<(&'a Mark, Timestamp)>,
    accepted: Vec<Accepted<'a>>,
}

impl<'a> Batch<'a, '_> {
    fn item(&mut self, index: usize, item: &'a Item) -> Outcome {
        self.item = index;
        match item {
            Item::Activate(activation) if activation.plan != self.parts.plan => Outcome::PlanMoved,
            Item::Activate(activation) => {
                let parts = &mut self.parts;
                Outcome::Activated(parts.activate(&activation.categories, &activation.projections))
            }
            Item::Check(check) => self.check(check),
            Item::Mark(mark) => self.mark(mark),
            Item::Append { run, writes } => {
                if run.is_some_and(|run| self.dead.contains(&run)) {
                    return Outcome::RunDead;
                }
                let refusal = self
                    .repetition(writes)
                    .or_else(|| writes.iter().find_map(|write| self.refusal(write)))
                    .or_else(|| self.unprojected());
                match refusal {
                    None => {
                        Outcome::Appended(writes.iter().map(|write| self.accept(write)).collect())
                    }
                    Some(refusal) => {
                        self.dead.extend(run);
                        match refusal {
                            Outcome::Again if run.is_some() => Outcome::RunDead,
                            other => other,
                        }
                    }
                }
            }
        }
    }

    fn check(&mut self, check: &'a Check) -> Outcome {
        if check.run.is_some_and(|run| self.dead.contains(&run)) {
            return Outcome::RunDead;
        }
        if let Some(id) = &check.command_id {
            if self.taken.contains(&(&check.stream, id)) {
                return Outcome::Again;
            }
            let key = (check.stream.clone(), id.clone());
            if let Some(known) = self.known.commands.get(&key) {
                return Outcome::Known(vec![Some(Arc::clone(known))]);
            }
        }
        let category = check.stream.category();
        if check
            .plan
            .is_some_and(|plan| self.parts.have_moved(category, plan))
        {
            return Outcome::PlanMoved;
        }
        let found = self.version(&check.stream);
        let Some(version) = check.version else {
            return Outcome::Holds(found);
        };
        let is_archived = self
            .heads
            .get(&check.stream)
            .is_some_and(|head| head.archived);
        if version == found && is_archived == check.archived {
            return Outcome::Holds(found);
        }
        self.dead.extend(check.run);
        if version == found {
            return Outcome::RunDead;
        }
        let expected = quipu_model::ExpectedVersion::Exact(version);
        Outcome::WrongVersion {
            stream: check.stream.clone(),
            expected,
            found,
        }
    }

    fn mark(&mut self, mark: &'a Mark) -> Outcome {
        let (category, write) = (mark.stream.category(), &mark.write);
        let is_truncated = matches!(mark.change, Change::Truncated { .. });
        if is_truncated && self.parts.have_moved(category, write.commit.plan)
            || self
                .parts
                .have_moved(write.stream.category(), write.commit.plan)
        {
            return Outcome::PlanMoved;
        }
        let unprojected = self.unprojected();
        let Some(head) = self.heads.get_mut(&mark.stream) else {
            return Outcome::NoStream(mark.stream.clone());
        };
        let is_unchanged = match &mark.change {
            Change::Archived(archived) => *archived == head.archived,
            Change::Truncated { .. } => false,
            Change::Whole => head.truncated_before == Version::NONE,
        };
        if is_unchanged {
            return Outcome::Marked(None);
        }
        if let Some(unprojected) = unprojected {
            return unprojected;
        }
        match &mark.change {
            Change::Archived(archived) => head.archived = *archived,
            Change::Truncated { before, .. } => head.truncated_before = *before,
            Change::Whole => head.truncated_before = Version::NONE,
        }
        let appended = self.accept(&mark.write);
        self.marks.push((mark, mark.write.commit.recorded_at));
        Outcome::Marked(appended.positions.first().copied())
    }

    /// Returns the outcome of an append whose ids are known, if any is.
    fn repetition(&self, writes: &'a [Write]) -> Option<Outcome> {
        let is_taken = |write: &'a Write| {
            let stream = &write.stream;
            callers_id(write).is_some_and(|id| self.taken.contains(&(stream, id)))
                || callers_events(write)
                    .any(|event| self.taken_events.contains(&(stream, event.id)))
        };
        if writes.iter().any(is_taken) {
            return Some(Outcome::Again);
        }
        let recorded: Vec<_> = writes
            .iter()
            .map(|write| {
                let id = callers_id(write).filter(|_| !write.commit.id_is_new)?;
                let key = (write.stream.clone(), id.clone());
                self.known.commands.get(&key).cloned()
            })
            .collect();
        if recorded.iter().any(Option::is_some) {
            return Some(Outcome::Known(recorded));
        }
        if self.known.events.is_empty() {
            return None;
        }
        self.repeated_events(writes)
    }

    /// Returns the outcome of an append by the ids of its events.
    fn repeated_events(&self, writes: &'a [Write]) -> Option<Outcome> {
        let known = |write: &Write, event: &NewEvent| {
            let key = (write.stream.clone(), event.id);
            self.known.events.get(&key)
        };
        let mut found = None;
        for write in writes {
            for event in callers_events(write) {
                let Some(commit) = known(write, event) else {
                    continue;
                };
                let recorded = commit.events.iter().find(|other| other.id == event.id);
                let is_same = recorded
                    .is_some_and(|other| other.name == event.name && other.body == event.body);
                if !is_same {
                    return Some(Outcome::EventIdReused(write.stream.clone(), event.id));
                }
                found.get_or_insert((&write.stream, event.id));
            }
        }
        let (stream, id) = found?;
        let first_outcome = |write: &Write| {
            let events = &write.commit.events;
            let commit = known(write, events.first()?)?;
            let ids = commit.events.iter().map(|event| event.id);
            let is_whole = ids.eq(events.iter().map(|event| event.id))
                && events.iter().all(|event| event.id_is_callers);
            is_whole.then(|| Arc::clone(commit))
        };
        let outcomes: Vec<_> = writes.iter().map(first_outcome).collect();
        let is_whole = writes
            .iter()
            .zip(&outcomes)
            .all(|(write, outcome)| outcome.is_some() || write.commit.events.is_empty());
        Some(if is_whole {
            Outcome::Repeated(outcomes)
        } else {
            Outcome::PartialDuplicate(stream.clone(), id)
        })
    }

    /// Returns why a write can't pass, if it can't.
    fn refusal(&self, write: &'a Write) -> Option<Outcome> {
        let stream = &write.stream;
        if self.parts.have_moved(stream.category(), write.commit.plan) {
            return Some(Outcome::PlanMoved);
        }
        if self.heads.get(stream).is_some_and(|head| head.archived) {
            return Some(Outcome::Archived(stream.clone()));
        }
        let (expected, found) = (write.expected, self.version(stream));
        (!expected.admits(found)).then(|| Outcome::WrongVersion {
            stream: stream.clone(),
            expected,
            found,
        })
    }

    /// Returns the refusal of the current item by an inline projection.
    fn unprojected(&self) -> Option<Outcome> {
        let refused = self.refused.get(&self.item);
        refused.cloned().map(Outcome::Unprojected)
    }

    fn accept(&mut self, write: &'a Write) -> Appended {
        let head = self.heads.get(&write.stream).copied();
        let first_version = head.map_or(Version::NONE, |head| head.version).next();
        let events = write.commit.events.len();
        if events == 0 {
            return Appended {
                first_version,
                positions: Vec::new(),
            };
        }
        let first_position = self.next;
        self.next = Position(first_position.0 + events as u64);
        let earliest = head.map_or(Timestamp(0), |head| head.recorded_at);
        let recorded_at = write.commit.recorded_at.max(earliest);
        let version = Version(first_version.0 + events as u64 - 1);
        let head = Head {
            version,
            recorded_at,
            archived: false,
            truncated_before: head.map_or(Version::NONE, |head| head.truncated_before),
            digest: None,
        };
        self.heads.insert(write.stream.clone(), head);
        self.taken
            .extend(callers_id(write).map(|id| (&write.stream, id)));
        self.taken_events
            .extend(callers_events(write).map(|event| (&write.stream, event.id)));
        self.accepted.push(Accepted {
            item: self.item,
            write,
            first_version,
            recorded_at,
        });
        let positions = (first_position.0..self.next.0).map(Position).collect();
        Appended {
            first_version,
            positions,
        }
    }

    fn version(&self, stream: &StreamId) -> Version {
        self.heads
            .get(stream)
            .map_or(Version::NONE, |head| head.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Commit;
    use quipu_model::{Body, ExpectedVersion, Name, NewEvent};

    fn stream() -> StreamId {
        StreamId::new("account-1").unwrap()
    }

    fn append(run: Option<u64>, expected: ExpectedVersion) -> Item {
        let event = NewEvent {
            id: uuid::Uuid::now_v7(),
            id_is_callers: false,
            name: Name::new("opened").unwrap(),
            schema_version: 1,
            body: Body::empty(),
            metadata: None,
            tags: Vec::new(),
        };
        let commit = Commit {
            command: None,
            decided: None,
            plan: 1,
            recorded_at: Timestamp(5),
            events: vec![event],
            id_is_new: false,
        };
        let writes = vec![Write {
            stream: stream(),
            expected,
            commit,
        }];
        Item::Append {
            run: run.map(RunId),
            writes,
        }
    }

    fn heads(version: u64) -> Heads {
        let head = Head {
            version: Version(version),
            recorded_at: Timestamp(9),
            archived: false,
            truncated_before: Version::NONE,
            digest: None,
        };
        if version == 0 {
            Heads::new()
        } else {
            Heads::from([(stream(), head)])
        }
    }

    fn passed(items: &[Item], at: u64) -> Vec<bool> {
        classify(
            items,
            heads(at),
            &RecordedIds::default(),
            Parts::default(),
            Position(1),
            &Refused::new(),
        )
        .outcomes
        .iter()
        .map(|outcome| matches!(outcome, Outcome::Appended(_)))
        .collect()
    }

    #[test]
    fn a_run_falls_when_its_first_append_is_refused_though_the_version_fits() {
        let exact = |n| ExpectedVersion::Exact(Version(n));
        let items = [
            append(Some(1), exact(4)),
            append(None, ExpectedVersion::Any),
            append(Some(1), exact(6)),
            append(Some(2), exact(6)),
        ];
        assert_eq!(passed(&items, 5), [false, true, false, true]);
    }

    #[test]
    fn items_see_what_earlier_ones_of_their_batch_append() {
        let exact = |n| ExpectedVersion::Exact(Version(n));
        let items = [
            append(None, ExpectedVersion::NoStream),
            append(None, ExpectedVersion::NoStream),
            append(None, exact(1)),
        ];
        assert_eq!(passed(&items, 0), [true, false, true]);
    }

    #[test]
    fn recorded_at_never_runs_backward_in_a_stream() {
        let items = [append(None, ExpectedVersion::Any)];
        let classified = classify(
            &items,
            heads(3),
            &RecordedIds::default(),
            Parts::default(),
            Position(8),
            &Refused::new(),
        );
        assert_eq!(classified.accepted[0].recorded_at, Timestamp(9));
        assert_eq!(classified.accepted[0].first_version, Version(4));
    }

    #[test]
    fn an_append_decided_under_an_older_plan_is_refused() {
        let activation = crate::Activation {
            others: Vec::new(),
            name: "account".to_owned(),
            digest: quipu_model::Digest([0; 32]),
            categories: vec!["account".to_owned()],
            trusted: Vec::new(),
            projections: crate::ProjectionPlan::default(),
            turns: Vec::new(),
            plan: 1,
            at: Timestamp(0),
            by: None,
            preflight: None,
        };
        let items = [
            Item::Activate(Box::new(activation)),
            append(Some(1), ExpectedVersion::Any),
        ];
        let parts = Parts {
            plan: 1,
            ..Parts::default()
        };
        let (known, refused) = (RecordedIds::default(), Refused::new());
        let classified = classify(&items, heads(0), &known, parts, Position(1), &refused);
        assert!(matches!(classified.outcomes[0], Outcome::Activated(2)));
        assert!(matches!(classified.outcomes[1], Outcome::PlanMoved));
    }
}
