//! One thread of a run: the commits of its streams, decided again.

use std::collections::HashSet;
use std::sync::Arc;

use super::commits::{Commits, Taken, Whole};
use super::report::{Finding, Kind, Verified, diff};
use super::states::{Source, States};
use crate::deploy::Past;
use crate::fold::{Error, Rules};
use crate::model::{CommandRecord, NewEvent, StreamId, Version};
use crate::runtime::Outcome;
use crate::store::{self, Decided, LoadedEvent, StoredEvent};

/// The streams of one thread.
pub(super) struct Lane {
    past: Arc<Past>,
    commits: Commits,
    states: States,
    /// Streams that can't be folded further.
    lost: HashSet<StreamId>,
    verified: Verified,
}

/// What came of a decision.
enum Again {
    Same,
    Different(Kind, String),
    Undecided(Option<(Kind, String)>),
}

impl Lane {
    /// Nothing is known of any stream.
    pub(super) fn new(past: Arc<Past>, source: Source) -> Self {
        Self {
            past,
            commits: Commits::default(),
            states: States::new(source),
            lost: HashSet::new(),
            verified: Verified::default(),
        }
    }

    /// Takes events, in the order of the log.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) fn take(&mut self, events: Vec<StoredEvent>) -> Result<(), store::Error> {
        for event in events {
            self.verified.events += 1;
            match self.commits.take(event) {
                Taken::Begun => {}
                Taken::Whole(whole) => self.judge(*whole)?,
                Taken::Misplaced(event, why) => {
                    let finding = finding(Kind::Order, &event, None, why);
                    self.verified.find(finding);
                }
            }
        }
        Ok(())
    }

    /// What came of it all.
    pub(super) fn end(mut self) -> Verified {
        for whole in std::mem::take(&mut self.commits).left() {
            let (found, expected) = (whole.events.len(), whole.commit.events);
            let why = format!("its commit has {found} events of {expected}");
            if let Some(first) = whole.events.first() {
                let finding = finding(Kind::Order, first, Some(&whole), why);
                self.verified.find(finding);
            }
        }
        self.verified
    }

    fn judge(&mut self, whole: Whole) -> Result<(), store::Error> {
        let Some(first) = whole.events.first() else {
            return Ok(());
        };
        match (&whole.commit.decided, &whole.commit.command) {
            (Some(decided), Some(command)) => {
                let again = self.again(first, &whole, *decided, command)?;
                self.count(first, &whole, command, again);
            }
            _ => self.verified.raw += 1,
        }
        let (stream, events) = (first.stream.clone(), whole.events);
        let events = events.into_iter().map(loaded).collect();
        match self.states.take(&stream, events) {
            // Whoever decides on it next says what is wrong.
            Err(error) if !is_of_the_stream(&error) => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// Decides a command once more.
    fn again(
        &mut self,
        first: &StoredEvent,
        whole: &Whole,
        decided: Decided,
        command: &CommandRecord,
    ) -> Result<Again, store::Error> {
        let (stream, plan) = (&first.stream, whole.commit.plan);
        let rules = match self.rules(stream, plan, decided) {
            Ok(rules) => rules,
            Err(why) => return Ok(Again::Different(Kind::Module, why)),
        };
        if self.lost.contains(stream) {
            return Ok(Again::Undecided(None));
        }
        let at = Version(first.version.0.saturating_sub(1));
        let annotations = crate::model::annotations(command.metadata.as_ref(), &command.context);
        match self
            .states
            .decide(&rules, (stream, at), command, &annotations)
        {
            Ok(Ok(decision)) => {
                let recorded: Vec<NewEvent> = whole
                    .events
                    .iter()
                    .map(|event| event.event.clone())
                    .collect();
                Ok(compared(&recorded, decision.outcome))
            }
            Ok(Err(failure)) => Ok(Again::Different(Kind::Fault, failure.to_string())),
            Err(error) if is_of_the_stream(&error) => {
                self.lost.insert(stream.clone());
                Ok(Again::Undecided(Some((Kind::Fold, error.to_string()))))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// What the plan of a commit had for its category, if that is what the commit names.
    fn rules(&self, stream: &StreamId, plan: u64, decided: Decided) -> Result<Arc<Rules>, String> {
        let named = decided.module.short();
        if plan > self.past.last() {
            let last = self.past.last();
            return Err(format!("it names plan {plan}; the last one is {last}"));
        }
        let category = stream.category();
        let Some(rules) = self.past.rules(category, plan) else {
            return Err(format!(
                "it names module {named}; under plan {plan} nothing decided {category}"
            ));
        };
        if rules.module.digest() != decided.module {
            let served = rules.module.digest().short();
            return Err(format!(
                "it names module {named}; under plan {plan} module {served} decided {category}"
            ));
        }
        Ok(Arc::clone(rules))
    }

    fn count(&mut self, first: &StoredEvent, whole: &Whole, command: &CommandRecord, again: Again) {
        let category = first.stream.category().into();
        let key = (category, command.name.clone());
        let tally = self.verified.commands.entry(key).or_default();
        let (kind, text) = match again {
            Again::Same => {
                tally.same += 1;
                return;
            }
            Again::Undecided(None) => {
                tally.undecided += 1;
                return;
            }
            Again::Undecided(Some(why)) => {
                tally.undecided += 1;
                why
            }
            Again::Different(kind, text) => {
                tally.different += 1;
                (kind, text)
            }
        };
        self.verified.find(finding(kind, first, Some(whole), text));
    }
}

/// Compares a decision with what is recorded.
fn compared(recorded: &[NewEvent], outcome: Outcome) -> Again {
    let events = match outcome {
        Outcome::Events(events) => events,
        Outcome::Rejected(rejection) => {
            let (code, message) = (rejection.code, rejection.message);
            let text = format!(
                "it is rejected now: {code}: {message}\n{}",
                diff(recorded, &[])
            );
            return Again::Different(Kind::Decision, text);
        }
        Outcome::BadCommand(text) => {
            let text = format!(
                "the command can't be read now: {text}\n{}",
                diff(recorded, &[])
            );
            return Again::Different(Kind::Decision, text);
        }
    };
    let same = |(one, other): (&NewEvent, &NewEvent)| one.is_same_decision(other);
    if recorded.len() == events.len() && recorded.iter().zip(&events).all(same) {
        return Again::Same;
    }
    Again::Different(Kind::Decision, diff(recorded, &events))
}

fn finding(kind: Kind, event: &StoredEvent, whole: Option<&Whole>, text: String) -> Finding {
    let commit = whole.map(|whole| &whole.commit).or(event.commit.as_ref());
    let command = commit.and_then(|commit| commit.command.as_ref());
    Finding {
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

fn loaded(event: StoredEvent) -> LoadedEvent {
    LoadedEvent {
        version: event.version,
        name: event.event.name,
        schema_version: event.event.schema_version,
        body: event.event.body,
        recorded_at: event.recorded_at,
        command_id: None,
    }
}

/// Whether other streams may be looked at all the same.
fn is_of_the_stream(error: &Error) -> bool {
    match error {
        Error::Store(error) => error.is_lasting(),
        Error::Stopped => false,
        _ => true,
    }
}

/// A failure of the store, or of what can't be opened at all.
fn failed(error: Error) -> store::Error {
    match error {
        Error::Store(error) => error,
        other => store::Error::Damaged(other.to_string()),
    }
}
