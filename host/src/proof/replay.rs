//! One thread of a run. It re-decides the commits of its streams.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::acknowledge::Acknowledged;
use super::cancel::Stop;
use super::decider_source::Judge;
use super::name::FindingName;
use super::reassemble::{Commits, EventEffect, Whole};
use super::report::{Finding, Kind, Tally, Times, Verified, Weight, diff};
use super::state_cache::{Source, States};
use crate::fold::{Error, Rules};
use crate::model::{CommandRecord, Name, NewEvent, Position, StreamId, Version};
use crate::runtime::{Decision, Failure, Outcome};
use crate::store::{self, Decided, LoadedEvent, Rejected, StoredEvent};

/// Which decisions of a thread are repeated in a new instance: the first ones, and one in a fixed
/// number after that.
const TWICE_FIRST: u64 = 64;
const TWICE_EVERY: u64 = 16;

/// Limit for the number of command types that are counted by name, because a guest may accept any
/// type.
const COMMANDS_MAX: usize = 10_000;

/// The state of one thread, with its share of the streams.
pub(super) struct Lane {
    pub(super) judge: Arc<Judge>,
    pub(super) commits: Commits,
    pub(super) states: States,
    /// States of the active deciders. Used when a candidate's decision differs from the recorded
    /// one.
    active: States,
    pub(super) source: Source,
    pub(super) acknowledged: Arc<Acknowledged>,
    pub(super) stop: Arc<Stop>,
    /// The first event that was not checked, because the run had to stop.
    cut_at: Option<Position>,
    /// Number of commands that were re-decided.
    decided: u64,
    /// Stored rejections by stream, sorted by version.
    pub(super) rejections: HashMap<StreamId, VecDeque<Rejected>>,
    /// Streams that can't be folded any further.
    pub(super) lost: HashSet<StreamId>,
    pub(super) verified: Verified,
}

/// The results of one thread.
pub(super) struct Ended {
    pub verified: Verified,
    /// Findings about commits that are incomplete if no more events follow.
    pub unfinished: Vec<Finding>,
    /// The first event that was not checked.
    pub cut_at: Option<Position>,
}

/// The result of re-deciding a command.
enum Redecision {
    Same,
    /// The same, once the recorded events are lifted to what the candidate reads.
    SameLifted,
    /// Not what is recorded, but what the active decider would decide now.
    AsActive,
    Undecided,
    Found(Kind, String),
    /// The events before the command can't be folded by these rules.
    Unfoldable(Arc<Rules>, String),
}

impl Lane {
    /// Creates a thread's state without any streams.
    pub(super) fn new(
        judge: &Arc<Judge>,
        source: &Source,
        (stop, acknowledged): (&Arc<Stop>, &Arc<Acknowledged>),
        rejections: Vec<Rejected>,
    ) -> Self {
        let mut by_stream: HashMap<StreamId, VecDeque<Rejected>> = HashMap::new();
        for rejected in rejections {
            let stream = rejected.stream.clone();
            by_stream.entry(stream).or_default().push_back(rejected);
        }
        for rejections in by_stream.values_mut() {
            let rejections = rejections.make_contiguous();
            rejections.sort_by_key(|rejected| (rejected.version, rejected.id));
        }
        Self {
            rejections: by_stream,
            judge: Arc::clone(judge),
            commits: Commits::default(),
            states: States::new(source.clone()),
            active: States::new(source.clone()),
            source: source.clone(),
            acknowledged: Arc::clone(acknowledged),
            stop: Arc::clone(stop),
            cut_at: None,
            decided: 0,
            lost: HashSet::new(),
            verified: Verified::default(),
        }
    }

    /// Processes events in log order.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) fn take(&mut self, events: Vec<StoredEvent>) -> Result<(), store::Error> {
        for event in events {
            if self.cut_at.is_none() && self.stop.is_over() {
                self.cut_at = Some(event.position);
            }
            if self.cut_at.is_some() {
                return Ok(());
            }
            self.verified.events += 1;
            match self.commits.take(event) {
                EventEffect::Begun => {}
                EventEffect::Whole(whole) => self.check(&whole)?,
                EventEffect::Misplaced(event, why) => {
                    let finding = finding(Kind::Order, &event, None, why);
                    self.find(finding);
                }
            }
        }
        Ok(())
    }

    /// Returns the results.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) fn end(mut self) -> Result<Ended, store::Error> {
        self.refuse_the_rest()?;
        let left = std::mem::take(&mut self.commits).left();
        let unfinished = left.filter_map(|whole| {
            let (found, expected) = (whole.events.len(), whole.commit.events);
            let why = format!("its commit has {found} events of {expected}");
            let first = whole.events.first()?;
            let mut finding = finding(Kind::Order, first, Some(&whole), why);
            finding.weight = self.acknowledged.weight(&finding.name);
            Some(finding)
        });
        Ok(Ended {
            unfinished: unfinished.collect(),
            cut_at: self.cut_at,
            verified: self.verified,
        })
    }

    fn check(&mut self, whole: &Whole) -> Result<(), store::Error> {
        let Some(first) = whole.events.first() else {
            return Ok(());
        };
        let before = Version(first.version.0.saturating_sub(1));
        self.refuse(&first.stream, before)?;
        match (&whole.commit.decided, &whole.commit.command) {
            (Some(decided), Some(command)) => {
                let redecision = self.redecide(first, whole, *decided, command)?;
                self.count(first, whole, command, redecision)?;
            }
            _ => self.verified.raw += 1,
        }
        self.fold(whole)
    }

    /// Re-decides a command.
    fn redecide(
        &mut self,
        first: &StoredEvent,
        whole: &Whole,
        decided: Decided,
        command: &CommandRecord,
    ) -> Result<Redecision, store::Error> {
        let stream = &first.stream;
        let rules = match self.judge.rules(stream, whole.commit.plan, decided.module) {
            Ok(rules) => rules,
            Err(why) => return Ok(Redecision::Found(Kind::Module, why)),
        };
        if self.lost.contains(stream) {
            return Ok(Redecision::Undecided);
        }
        let place = (stream, Version(first.version.0.saturating_sub(1)));
        let command = fitted(command, &rules);
        let annotations = crate::model::annotations(command.metadata.as_ref(), &command.context);
        let decided_now = self.states.decide(&rules, place, &command, &annotations);
        let decision = match decided_now {
            Ok(Ok(decision)) => decision,
            Ok(Err(failure)) if failure.is_of_host() => return Err(of_host(&failure)),
            Ok(Err(failure)) => return Ok(Redecision::Found(Kind::Fault, failure.to_string())),
            Err(error) if is_of_the_stream(&error) => {
                self.lost.insert(stream.clone());
                return Ok(Redecision::Unfoldable(rules, error.to_string()));
            }
            Err(error) => return Err(failed(error)),
        };
        let is_asked_twice = self.asks_twice();
        let mut times = Times::default();
        if is_asked_twice {
            let mut fresh = States::new(self.source.clone());
            let twice = fresh.decide(&rules, place, &command, &annotations);
            let same = |twice: &Decision| decision.outcome.is_same(&twice.outcome);
            match &twice {
                Ok(Ok(twice)) if same(twice) => {}
                // A failure of the store, or of the host, says nothing about the guest.
                Ok(Err(failure)) if failure.is_of_host() => return Err(of_host(failure)),
                Err(error) if !is_of_the_stream(error) => return Err(failed(error.clone())),
                _ => {
                    let text = "a fresh instance decides differently".to_owned();
                    return Ok(Redecision::Found(Kind::Impure, text));
                }
            }
            times = self.times(&mut fresh, &rules, place, &command)?;
        }
        let tally = self.tally(stream, &command);
        tally.times.add(times);
        tally.fuel = tally.fuel.saturating_add(decision.fuel);
        tally.fuel_recorded = tally.fuel_recorded.saturating_add(decided.fuel);
        let events = whole.events.iter();
        let recorded: Vec<NewEvent> = events.map(|event| event.event.clone()).collect();
        let redecision = compared(&recorded, &decision.outcome);
        Ok(match redecision {
            Redecision::Found(Kind::Decision, _)
                if !self.judge.is_past() && self.lifts_to(whole, &rules, &decision.outcome) =>
            {
                Redecision::SameLifted
            }
            Redecision::Found(Kind::Decision | Kind::Rejected | Kind::Command, _)
                if self.is_as_active(
                    place,
                    whole.commit.command.as_ref(),
                    &decision.outcome,
                )? =>
            {
                Redecision::AsActive
            }
            redecision => redecision,
        })
    }

    /// Whether the active decider would make the same decision now. If so, a candidate changes
    /// nothing.
    fn is_as_active(
        &mut self,
        place: (&StreamId, Version),
        command: Option<&CommandRecord>,
        outcome: &Outcome,
    ) -> Result<bool, store::Error> {
        let active = self.judge.active(place.0.category()).cloned();
        let (Some(active), Some(command)) = (active, command) else {
            return Ok(false);
        };
        let command = fitted(command, &active);
        let annotations = crate::model::annotations(command.metadata.as_ref(), &command.context);
        match self.active.decide(&active, place, &command, &annotations) {
            Ok(decided) => Ok(decided.is_ok_and(|decided| decided.outcome.is_same(outcome))),
            Err(error) if is_of_the_stream(&error) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether a decision has the events that its decider reads when the recorded ones are lifted.
    /// For an event that is not split into parts, annotations and tags are compared too.
    fn lifts_to(&self, whole: &Whole, rules: &Rules, outcome: &Outcome) -> bool {
        let Outcome::Events(decided) = outcome else {
            return false;
        };
        let stored: Vec<LoadedEvent> = whole.events.iter().map(loaded).collect();
        let Ok(lifted) = self.source.lifter.lift(&rules.lift, stored) else {
            return false;
        };
        let mut of_version: HashMap<Version, usize> = HashMap::new();
        for part in &lifted {
            *of_version.entry(part.version).or_default() += 1;
        }
        let is_same = |(part, decided): (&LoadedEvent, &NewEvent)| {
            let mut recorded = whole.events.iter();
            let recorded = recorded.find(|event| event.version == part.version);
            let is_whole = of_version.get(&part.version) == Some(&1);
            recorded.is_some_and(|recorded| {
                let recorded = &recorded.event;
                part.name == decided.name
                    && part.schema_version == decided.schema_version
                    && part.body.is_same_content(&decided.body)
                    && (!is_whole
                        || recorded.metadata == decided.metadata && recorded.tags == decided.tags)
            })
        };
        lifted.len() == decided.len() && lifted.iter().zip(decided).all(is_same)
    }

    /// Measures the decision with the candidate and with the active decider. Returns an empty value
    /// if either fails.
    fn times(
        &self,
        fresh: &mut States,
        rules: &Arc<Rules>,
        place: (&StreamId, Version),
        command: &CommandRecord,
    ) -> Result<Times, store::Error> {
        let Some(active) = self.judge.active(place.0.category()) else {
            return Ok(Times::default());
        };
        let annotations = crate::model::annotations(command.metadata.as_ref(), &command.context);
        let time = |states: &mut States, rules: &Arc<Rules>| {
            let command = fitted(command, rules);
            match states.time(rules, place, &command, &annotations) {
                Err(error) if !is_of_the_stream(&error) => Err(failed(error)),
                timed => Ok(timed.unwrap_or_default()),
            }
        };
        let candidate = time(fresh, rules)?;
        let active = time(&mut States::new(self.source.clone()), active)?;
        Ok(match (active, candidate) {
            (Some(active), Some(candidate)) => Times {
                decisions: 1,
                active,
                candidate,
            },
            _ => Times::default(),
        })
    }

    /// Whether this decision is repeated in a new instance.
    fn asks_twice(&mut self) -> bool {
        self.decided += 1;
        let is_due = self.decided <= TWICE_FIRST || self.decided.is_multiple_of(TWICE_EVERY);
        is_due && self.judge.asks_twice()
    }

    pub(super) fn tally(&mut self, stream: &StreamId, command: &CommandRecord) -> &mut Tally {
        let mut key = (stream.category().into(), command.name.clone());
        let commands = &mut self.verified.commands;
        if commands.len() >= COMMANDS_MAX && !commands.contains_key(&key) {
            key.1 = Name::stored("*");
        }
        commands.entry(key).or_default()
    }

    fn count(
        &mut self,
        first: &StoredEvent,
        whole: &Whole,
        command: &CommandRecord,
        redecision: Redecision,
    ) -> Result<(), store::Error> {
        let tally = self.tally(&first.stream, command);
        match redecision {
            Redecision::Same => tally.same += 1,
            Redecision::SameLifted => tally.lifted += 1,
            Redecision::AsActive => tally.as_active += 1,
            Redecision::Undecided => tally.undecided += 1,
            Redecision::Found(kind, text) => {
                tally.count(kind);
                self.find(finding(kind, first, Some(whole), text));
            }
            Redecision::Unfoldable(rules, text) => {
                tally.count(Kind::Fold);
                let finding = finding(Kind::Fold, first, Some(whole), text);
                self.find_fold(finding, Some(&rules), whole)?;
            }
        }
        Ok(())
    }

    /// Applies recorded events to the state of their stream.
    fn fold(&mut self, whole: &Whole) -> Result<(), store::Error> {
        let Some(first) = whole.events.first() else {
            return Ok(());
        };
        let stream = &first.stream;
        if self.lost.contains(stream) {
            return Ok(());
        }
        let events = whole.events.iter().map(loaded).collect();
        // Candidates must be able to fold every stream, even one without decisions.
        let rules = self.judge.rules_to_come(stream.category()).cloned();
        // The rules for the finding if the stream can't be folded any further.
        let by = rules.clone().or_else(|| self.states.rules(stream));
        let folded = match rules {
            Some(rules) => self.states.fold(&rules, stream, events),
            None => self.states.take(stream, events),
        };
        match folded {
            Ok(()) => Ok(()),
            Err(error) if is_of_the_stream(&error) => {
                self.lost.insert(stream.clone());
                let finding = finding(Kind::Fold, first, Some(whole), error.to_string());
                self.find_fold(finding, by.as_ref(), whole)
            }
            Err(error) => Err(failed(error)),
        }
    }
}

/// Returns the command under the name that a candidate has for its type.
pub(super) fn fitted<'a>(command: &'a CommandRecord, rules: &Rules) -> Cow<'a, CommandRecord> {
    match rules.module.manifest().command(command.name.as_str()) {
        Some(known) if known.name != command.name => {
            let name = known.name.clone();
            Cow::Owned(CommandRecord {
                name,
                ..command.clone()
            })
        }
        _ => Cow::Borrowed(command),
    }
}

/// Compares a decision with the recorded events.
fn compared(recorded: &[NewEvent], outcome: &Outcome) -> Redecision {
    let events = match outcome {
        Outcome::Events(events) => events,
        Outcome::Rejected(rejection) => {
            let (code, message) = (&rejection.code, &rejection.message);
            let text = format!(
                "it is rejected now: {code}: {message}\n{}",
                diff(recorded, &[])
            );
            return Redecision::Found(Kind::Rejected, text);
        }
        Outcome::BadCommand(text) => {
            let text = format!(
                "the command can't be read now: {text}\n{}",
                diff(recorded, &[])
            );
            return Redecision::Found(Kind::Command, text);
        }
    };
    let same = |(one, other): (&NewEvent, &NewEvent)| one.is_same_decision(other);
    if recorded.len() == events.len() && recorded.iter().zip(events).all(same) {
        return Redecision::Same;
    }
    Redecision::Found(Kind::Decision, diff(recorded, events))
}

fn finding(kind: Kind, event: &StoredEvent, whole: Option<&Whole>, text: String) -> Finding {
    let commit = whole.map(|whole| &whole.commit).or(event.commit.as_ref());
    let command = commit.and_then(|commit| commit.command.as_ref());
    Finding {
        name: FindingName::at(kind, &event.stream, event.version),
        weight: Weight::Open,
        kind,
        position: event.position,
        stream: event.stream.clone(),
        version: event.version,
        command: command.map(|command| (command.id.clone(), command.name.clone())),
        module: commit.and_then(|commit| Some(commit.decided?.module)),
        plan: commit.map_or(0, |commit| commit.plan),
        text,
    }
}

fn loaded(event: &StoredEvent) -> LoadedEvent {
    LoadedEvent {
        version: event.version,
        name: event.event.name.clone(),
        schema_version: event.event.schema_version,
        body: event.event.body.clone(),
        recorded_at: event.recorded_at,
        command_id: None,
    }
}

/// Converts a failure of the host. A run can't go on, because it would report findings that are none.
pub(super) fn of_host(failure: &Failure) -> store::Error {
    store::Error::Unavailable(failure.to_string())
}

/// Whether the error concerns only this stream, so that other streams can still be checked.
pub(super) fn is_of_the_stream(error: &Error) -> bool {
    match error {
        Error::Store(error) => error.is_lasting(),
        Error::Stopped => false,
        error => !error.is_of_host(),
    }
}

/// Converts a failure of the store, or of a guest that can't be opened at all.
pub(super) fn failed(error: Error) -> store::Error {
    match error {
        Error::Store(error) => error,
        error if error.is_of_host() => store::Error::Unavailable(error.to_string()),
        other => store::Error::Damaged(other.to_string()),
    }
}
