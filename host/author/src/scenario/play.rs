//! Plays one scenario: folds what was given, decides the command, folds the documents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quipu::model::{
    Annotations, Body, CommandRecord, CommitData, Name, NewEvent, Position, RecordedEvent,
    StreamId, Timestamp, Version, add_members, annotations,
};
use quipu::runtime::{Definition, Instance, Module, Outcome, Work};
use quipu::upcast::Lifter;

use super::message::{body, command, metadata, own_members, same_ids, uuid};
use super::stream::Stream;
use super::{Message, Scenario};
use crate::Components;

/// Time of the first event or command that names none: 2026-01-01 in UTC.
const BEGIN: Timestamp = Timestamp(1_767_225_600_000_000);
const SECOND: u64 = 1_000_000;

/// A type of event, command or rejection: its category and its name.
pub(crate) type Typed = (String, String);

/// The types of events that a projection received, and those that its sources left out.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Received {
    /// Types that it received, by the names that it uses.
    pub taken: BTreeSet<Typed>,
    /// Types that it did not receive, as they were stored.
    pub left_out: BTreeSet<Typed>,
}

/// What came of a scenario.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Played {
    /// The answer to the command. The ids of its events are no part of the decision.
    pub outcome: Option<Outcome>,
    /// The state afterwards, as JSON. `None` if there is no decider or it does not show it.
    pub state: Option<String>,
    /// The given events after lifting.
    pub lifted: Vec<RecordedEvent>,
    /// Documents by projection and key.
    pub documents: BTreeMap<String, BTreeMap<String, String>>,
    /// The events of each projection.
    pub received: BTreeMap<String, Received>,
    /// Types of commands that were decided, with their category.
    pub commands: BTreeSet<Typed>,
    /// Types of events that were decided, with their category.
    pub events: BTreeSet<Typed>,
    /// Codes of rejections, with their category.
    pub rejections: BTreeSet<Typed>,
}

/// The history of a stream that its decider folds, and the commands that it was asked.
#[derive(Debug)]
pub(crate) struct History {
    /// The decider.
    pub module: Arc<Module>,
    /// The key of the stream.
    pub key: String,
    /// Its events, lifted.
    pub events: Vec<RecordedEvent>,
    /// Each command, with the number of events before it.
    pub commands: Vec<(usize, CommandRecord)>,
    /// The commands that it accepted.
    pub accepted: Vec<Accepted>,
}

/// A command that a decider accepted.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The command.
    pub command: CommandRecord,
    /// The events that it led to, as they were decided.
    pub events: Vec<NewEvent>,
}

/// How the guests are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    /// As few calls as possible.
    Few,
    /// Every event in a call of its own, and the state through a snapshot before each decision.
    Many,
}

/// Plays a scenario in new instances with few calls, and a second time with many.
///
/// # Errors
/// When a guest faults or can't read something, the scenario does not fit the components, or the
/// answers differ.
pub(crate) fn twice(components: &Components, scenario: &Scenario) -> Result<Played, String> {
    let few = Play::new(components, Calls::Few).play(scenario)?;
    let many = Play::new(components, Calls::Many).play(scenario);
    if many.as_ref() == Ok(&few) {
        return Ok(few);
    }
    let repeat = Play::new(components, Calls::Few).play(scenario);
    Err(unequal(repeat.as_ref() == Ok(&few), many))
}

/// Says that a guest answers differently when it is called differently.
fn unequal(is_repeatable: bool, many: Result<Played, String>) -> String {
    let text = match (is_repeatable, many) {
        (false, _) => {
            "two new instances give different answers to the same calls: the guest is not pure"
        }
        (true, Ok(_)) => {
            "the answers differ when each event comes in a call of its own and the state goes \
             through a snapshot; `quipu conform` names the rule that the guest breaks"
        }
        (true, Err(error)) => {
            return format!(
                "with each event in a call of its own and the state through a snapshot: {error}"
            );
        }
    };
    text.to_owned()
}

/// Plays a scenario once, in new instances.
///
/// # Errors
/// As [`twice`].
pub(crate) fn once(
    components: &Components,
    scenario: &Scenario,
    calls: Calls,
) -> Result<Played, String> {
    Play::new(components, calls).play(scenario)
}

/// Whether guests that are called twice with the same events give the same results.
pub(crate) struct Repeated {
    /// The same lifted events.
    pub lifted: bool,
    /// The same documents.
    pub documents: bool,
}

/// Lifts and folds the events of a scenario twice in the same instances.
///
/// # Errors
/// As [`twice`].
pub(crate) fn repeats(components: &Components, scenario: &Scenario) -> Result<Repeated, String> {
    let mut play = Play::new(components, Calls::Few);
    let given = play.run(scenario)?;
    let lifted = play.lifted(given.clone())? == play.lifted(given)?;
    let mut documents = true;
    for (module, projection) in components.projections() {
        let events = play.lifted_for(projection)?;
        let mut instance = Instance::new(module).map_err(|fault| fault.to_string())?;
        let first = play.documents(&mut instance, projection, &events)?;
        documents &= play.documents(&mut instance, projection, &events)? == first;
    }
    Ok(Repeated { lifted, documents })
}

/// The histories of a scenario's streams that have a decider.
///
/// # Errors
/// As [`twice`].
pub(crate) fn histories(
    components: &Components,
    scenario: &Scenario,
) -> Result<Vec<History>, String> {
    let mut play = Play::new(components, Calls::Few);
    play.run(scenario)?;
    let mut histories = Vec::new();
    for (id, stream) in play.streams {
        histories.push(History {
            module: Arc::clone(stream.instance.module()),
            key: stream.key,
            events: stream.lifted,
            commands: play.recorded_commands.remove(&id).unwrap_or_default(),
            accepted: play.accepted.remove(&id).unwrap_or_default(),
        });
    }
    Ok(histories)
}

/// A scenario that is played.
struct Play<'a> {
    components: &'a Components,
    calls: Calls,
    lifter: Lifter,
    streams: BTreeMap<StreamId, Stream>,
    events: Vec<RecordedEvent>,
    /// The places of each stream's events, so that no command searches all events.
    places: BTreeMap<StreamId, Vec<usize>>,
    commands: u64,
    now: Timestamp,
    recorded_commands: BTreeMap<StreamId, Vec<(usize, CommandRecord)>>,
    accepted: BTreeMap<StreamId, Vec<Accepted>>,
    played: Played,
}

impl<'a> Play<'a> {
    fn new(components: &'a Components, calls: Calls) -> Self {
        Self {
            components,
            calls,
            lifter: Lifter::default(),
            streams: BTreeMap::new(),
            events: Vec::new(),
            places: BTreeMap::new(),
            commands: 0,
            now: BEGIN,
            recorded_commands: BTreeMap::new(),
            accepted: BTreeMap::new(),
            played: Played::default(),
        }
    }

    fn play(mut self, scenario: &Scenario) -> Result<Played, String> {
        let given = self.run(scenario)?;
        self.played.lifted = self.lifted(given)?;
        self.fold_documents()?;
        Ok(self.played)
    }

    /// Folds and decides. Returns the given events.
    fn run(&mut self, scenario: &Scenario) -> Result<Vec<RecordedEvent>, String> {
        let usual = match &scenario.stream {
            Some(stream) => Some(stream_id(stream)?),
            None => self.only_stream(),
        };
        for (number, given) in (1..).zip(&scenario.given) {
            let done = self.give(given, usual.as_ref());
            done.map_err(|text| format!("given {number}: {text}"))?;
        }
        let given = self.events.clone();
        let mut target = usual.clone();
        if let Some(when) = &scenario.when {
            let stream = chosen(when.stream.as_deref(), usual.as_ref())?;
            self.passes(when.at.as_deref())?;
            let outcome = self.decide(&stream, when);
            self.played.outcome = Some(outcome.map_err(|text| format!("when: {text}"))?);
            target = Some(stream);
        }
        if let Some(stream) = target {
            self.fold(&stream)?;
            if let Some(stream) = self.streams.get_mut(&stream) {
                self.played.state = stream.state()?;
            }
        }
        Ok(given)
    }

    /// Key 1 in the category of the only decider, or of the only upcaster.
    fn only_stream(&self) -> Option<StreamId> {
        let categories = self.components.categories();
        let with_decider = |it: &&String| self.components.decider(it).is_some();
        let category = match categories.iter().filter(with_decider).count() {
            1 => categories.iter().find(with_decider),
            0 if categories.len() == 1 => categories.first(),
            _ => None,
        };
        StreamId::new(&format!("{}-1", category?)).ok()
    }

    fn give(&mut self, given: &Message, usual: Option<&StreamId>) -> Result<(), String> {
        let stream = chosen(given.stream.as_deref(), usual)?;
        self.passes(given.at.as_deref())?;
        if let Some(name) = &given.event {
            return self.record(&stream, name, given);
        }
        let name = given.command.as_deref().unwrap_or_default();
        match self.decide(&stream, given)? {
            Outcome::Events(_) => Ok(()),
            Outcome::Rejected(rejection) => Err(format!(
                "command {name} is rejected as {}: {}",
                rejection.code, rejection.message
            )),
            Outcome::BadCommand(text) => Err(format!("command {name} can't be read: {text}")),
        }
    }

    /// Moves the time to `at`, or one second on.
    fn passes(&mut self, at: Option<&str>) -> Result<(), String> {
        self.now = match at {
            None => Timestamp(self.now.0.saturating_add(SECOND)),
            Some(at) => {
                let time: jiff::Timestamp = at
                    .parse()
                    .map_err(|_| format!("time {at:?} is not of the form 2026-01-31T12:00:00Z"))?;
                let since = u64::try_from(time.as_microsecond());
                Timestamp(since.map_err(|_| format!("time {at:?} is before 1970"))?)
            }
        };
        Ok(())
    }

    /// Adds a given event.
    fn record(&mut self, stream: &StreamId, name: &str, given: &Message) -> Result<(), String> {
        let body = body(given)?;
        let name = Name::new(name).map_err(|error| error.to_string())?;
        let current = || {
            let decider = self.components.decider(stream.category())?;
            let known = decider.manifest().event(name.as_str())?;
            Some(known.schema_version)
        };
        let schema_version = given.schema_version.or_else(current).unwrap_or(1);
        let metadata = metadata(&given.metadata)?;
        let tags = given.tags.iter().map(|tag| tag.as_str().into()).collect();
        self.push(stream, CommitData::default(), |event| RecordedEvent {
            name,
            schema_version,
            body,
            metadata,
            tags,
            ..event
        });
        Ok(())
    }

    /// Adds an event to the log and to its stream.
    fn push(
        &mut self,
        stream: &StreamId,
        commit: CommitData,
        of: impl FnOnce(RecordedEvent) -> RecordedEvent,
    ) {
        let places = self.places.entry(stream.clone()).or_default();
        places.push(self.events.len());
        let version = Version(places.len() as u64);
        let position = Position(self.events.len() as u64 + 1);
        let event = of(RecordedEvent {
            id: uuid(position.0),
            stream: stream.clone(),
            version,
            position,
            name: Name::stored(""),
            schema_version: 1,
            body: Body::empty(),
            metadata: None,
            tags: Vec::new(),
            recorded_at: self.now,
            commit: Arc::new(commit),
            stored_as: None,
        });
        self.events.push(event);
    }

    /// Decides a command and adds its events.
    fn decide(&mut self, id: &StreamId, message: &Message) -> Result<Outcome, String> {
        let category = id.category().to_owned();
        self.fold(id)?;
        self.commands += 1;
        let Some(stream) = self.streams.get_mut(id) else {
            return Err(format!(
                "no decider decides commands of category {category}"
            ));
        };
        let manifest = stream.instance.module().manifest();
        let command = command(manifest, message, self.commands, self.now)?;
        let annotations: Annotations = annotations(command.metadata.as_ref(), &command.context);
        let Some(aggregate) = &stream.aggregate else {
            return Err(format!("stream {id} has no state"));
        };
        let commands = self.recorded_commands.entry(id.clone()).or_default();
        commands.push((stream.lifted.len(), command.clone()));
        let decided = stream.instance.decide(aggregate, &command, &annotations);
        let outcome = decided.map_err(|error| error.to_string())?.outcome;
        let of = |name: &str| (category.clone(), name.to_owned());
        self.played.commands.insert(of(command.name.as_str()));
        match &outcome {
            Outcome::Events(events) => {
                let commit = CommitData::of(Some(&command), 0, None, None);
                let accepted = self.accepted.entry(id.clone()).or_default();
                accepted.push(Accepted {
                    command: command.clone(),
                    events: events.clone(),
                });
                for event in events.clone() {
                    self.played.events.insert(of(event.name.as_str()));
                    let mut metadata = command.metadata.clone();
                    add_members(&mut metadata, &own_members(event.metadata.as_ref()));
                    self.push(id, commit.clone(), |it| RecordedEvent {
                        name: event.name,
                        schema_version: event.schema_version,
                        body: event.body,
                        metadata,
                        tags: event.tags,
                        ..it
                    });
                }
            }
            Outcome::Rejected(rejection) => _ = self.played.rejections.insert(of(&rejection.code)),
            Outcome::BadCommand(_) => {}
        }
        Ok(same_ids(outcome))
    }

    /// Folds the events of a stream that are not folded yet. Nothing happens without a decider.
    fn fold(&mut self, id: &StreamId) -> Result<(), String> {
        let Some(module) = self.components.decider(id.category()) else {
            return Ok(());
        };
        if !self.streams.contains_key(id) {
            let stream = Stream::open(module, id, self.components)?;
            self.streams.insert(id.clone(), stream);
        }
        let Some(stream) = self.streams.get_mut(id) else {
            return Ok(());
        };
        let places = self.places.get(id).map_or(&[][..], Vec::as_slice);
        let new = places.iter().skip(stream.folded);
        let new = new.map(|place| self.events[*place].clone()).collect();
        stream.fold(new, &self.lifter, self.calls)
    }
}

impl Play<'_> {
    /// Lifts the given events for their deciders, or without one for any reader.
    fn lifted(&self, events: Vec<RecordedEvent>) -> Result<Vec<RecordedEvent>, String> {
        let mut lifted = Vec::with_capacity(events.len());
        for event in events {
            let category = event.stream.category().to_owned();
            let lift = match self.components.decider(&category) {
                Some(_) => self.components.lift_for_decider(&category),
                None => self.components.lift_for_readers(&category),
            };
            let parts = self.lifter.lift(&lift, vec![event]);
            lifted.extend(parts.map_err(|error| error.to_string())?);
        }
        Ok(lifted)
    }

    /// Folds the documents of every projection.
    fn fold_documents(&mut self) -> Result<(), String> {
        for (module, projection) in self.components.projections() {
            let name = &*projection.name;
            let failed = |text: String| format!("projection {name}: {text}");
            let events = self.lifted_for(projection).map_err(failed)?;
            let mut instance = Instance::new(module).map_err(|fault| failed(fault.to_string()))?;
            let received = self.received(&events);
            self.played.received.insert(name.to_owned(), received);
            let documents = self.documents(&mut instance, projection, &events);
            self.played
                .documents
                .insert(name.to_owned(), documents.map_err(failed)?);
        }
        Ok(())
    }

    /// Lifts all events for a projection. Those that it does not read are left out.
    fn lifted_for(&self, projection: &Definition) -> Result<Vec<RecordedEvent>, String> {
        let mut lifted = Vec::new();
        for event in &self.events {
            let category = event.stream.category();
            let Some(lift) = self.components.lift_for(projection, category) else {
                continue;
            };
            let parts = self.lifter.lift(&lift, vec![event.clone()]);
            lifted.extend(parts.map_err(|error| error.to_string())?);
        }
        Ok(lifted)
    }

    /// The types of the events that were lifted for a projection, and of the others.
    fn received(&self, lifted: &[RecordedEvent]) -> Received {
        let positions: BTreeSet<Position> = lifted.iter().map(|event| event.position).collect();
        let is_left_out = |event: &&RecordedEvent| !positions.contains(&event.position);
        Received {
            taken: lifted.iter().map(typed).collect(),
            left_out: self.events.iter().filter(is_left_out).map(typed).collect(),
        }
    }

    /// Folds lifted events into documents.
    fn documents(
        &self,
        instance: &mut Instance,
        projection: &Definition,
        events: &[RecordedEvent],
    ) -> Result<BTreeMap<String, String>, String> {
        let together = match self.calls {
            Calls::Few => events.len().max(1),
            Calls::Many => 1,
        };
        let mut documents: BTreeMap<String, String> = BTreeMap::new();
        for events in stored_together(events, together) {
            let each: Vec<&RecordedEvent> = events.iter().collect();
            let keys = instance.keys(projection, &each);
            let keys = keys.map_err(|error| error.to_string())?;
            let mut by_key: BTreeMap<&str, Vec<&RecordedEvent>> = BTreeMap::new();
            for (event, keys) in events.iter().zip(&keys) {
                for key in keys {
                    by_key.entry(key).or_default().push(event);
                }
            }
            let work: Vec<Work<'_>> = by_key
                .iter()
                .map(|(key, events)| Work {
                    key,
                    document: documents.get(*key).map(String::as_str),
                    events: events.clone(),
                })
                .collect();
            let folded = instance.apply_documents(projection, &work);
            let folded = folded.map_err(|error| error.to_string())?;
            for (key, document) in by_key.keys().zip(folded) {
                match document {
                    Some(document) => _ = documents.insert((*key).to_owned(), document),
                    None => _ = documents.remove(*key),
                }
            }
        }
        Ok(documents)
    }
}

fn typed(event: &RecordedEvent) -> Typed {
    let category = event.stream.category().to_owned();
    (category, event.name.as_str().to_owned())
}

/// Cuts events into groups, never between the parts of one stored event.
fn stored_together(events: &[RecordedEvent], count: usize) -> Vec<&[RecordedEvent]> {
    let mut groups = Vec::new();
    let mut begin = 0;
    for end in 1..=events.len() {
        let is_cut = end == events.len() || events[end].position != events[end - 1].position;
        if is_cut && (end - begin >= count || end == events.len()) {
            groups.push(&events[begin..end]);
            begin = end;
        }
    }
    groups
}

fn chosen(named: Option<&str>, usual: Option<&StreamId>) -> Result<StreamId, String> {
    match (named, usual) {
        (Some(named), _) => stream_id(named),
        (None, Some(usual)) => Ok(usual.clone()),
        (None, None) => Err("name the stream: there is not one decider whose it could be".into()),
    }
}

fn stream_id(text: &str) -> Result<StreamId, String> {
    StreamId::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_differ_between_equal_instances_are_the_first_that_is_named() {
        for many in [Ok(Played::default()), Err("trap".to_owned())] {
            assert!(unequal(false, many).ends_with("the guest is not pure"));
        }
        assert!(unequal(true, Err("trap".to_owned())).ends_with("a snapshot: trap"));
    }
}
