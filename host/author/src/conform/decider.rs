//! Rules about deciders, tried on histories.

use std::sync::Arc;

use quipu::model::{CommandRecord, RecordedEvent, annotations};
use quipu::runtime::{Aggregate, FoldEvent, Instance, Module, Outcome, Snapshot};

use super::rules::{BATCHING, CLOSED, FUEL, ISOLATED, PURE, REPEATED, SNAPSHOT, UNCHANGED};
use super::{Depth, Findings, Rule};
use crate::scenario::play::History;

/// Cuts of one history with a short depth.
const CUTS: usize = 8;
/// Aggregates that are opened and closed.
const CLOSED_COUNT: usize = 4_000;
/// What they may leave in the instance's memory.
const LEFT_BYTES_MAX: usize = 16 << 20;

/// The state as a guest shows it.
#[derive(Debug, PartialEq)]
struct GuestState {
    snapshot: Option<Snapshot>,
    view: Option<String>,
}

pub(super) fn check(
    findings: &mut Findings,
    module: &Arc<Module>,
    histories: &[&History],
    depth: Depth,
) {
    let with_events: Vec<&&History> = histories
        .iter()
        .filter(|it| !it.events.is_empty())
        .collect();
    let with_commands: Vec<&&History> = histories
        .iter()
        .filter(|it| !it.commands.is_empty())
        .collect();
    for (rule, tried) in [
        (&PURE, pure as fn(&History) -> Result<(), String>),
        (&UNCHANGED, unchanged),
        (&ISOLATED, isolated),
        (&FUEL, fuel),
    ] {
        all(findings, module, rule, &with_commands, "a command", tried);
    }
    for (rule, tried) in [
        (&BATCHING, batching as fn(&History) -> Result<(), String>),
        (&REPEATED, repeated),
    ] {
        all(findings, module, rule, &with_events, "an event", tried);
    }
    all(
        findings,
        module,
        &SNAPSHOT,
        &with_events,
        "an event",
        |history| snapshot(history, depth),
    );
    if depth == Depth::Full {
        findings.add(module, &CLOSED, closed(module, histories.first().copied()));
    }
}

/// Tries a rule on every history.
fn all(
    findings: &mut Findings,
    module: &Module,
    rule: &'static Rule,
    histories: &[&&History],
    needs: &str,
    tried: impl Fn(&History) -> Result<(), String>,
) {
    if histories.is_empty() {
        let why = format!("no scenario has {needs} for it; name a file of scenarios");
        return findings.not_tried(module, rule, &why);
    }
    let mut results = histories.iter().map(|history| {
        tried(history).map_err(|error| format!("stream key {}: {error}", history.key))
    });
    findings.add(module, rule, results.find(Result::is_err).unwrap_or(Ok(())));
}

/// An instance with one aggregate.
struct Opened {
    instance: Instance,
    aggregate: Aggregate,
}

impl Opened {
    fn new(history: &History, snapshot: Option<&Snapshot>) -> Result<Self, String> {
        let instance = Instance::new(&history.module).map_err(|fault| fault.to_string())?;
        Self::within(instance, &history.key, snapshot)
    }

    fn within(
        mut instance: Instance,
        key: &str,
        snapshot: Option<&Snapshot>,
    ) -> Result<Self, String> {
        let aggregate = instance
            .open(key, snapshot)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            instance,
            aggregate,
        })
    }

    fn fold(&mut self, events: &[RecordedEvent]) -> Result<u64, String> {
        let events: Vec<FoldEvent<'_>> = events.iter().map(FoldEvent::from).collect();
        let folded = self.instance.apply(&self.aggregate, &events);
        folded.map_err(|error| error.to_string())
    }

    fn fold_each(&mut self, events: &[RecordedEvent]) -> Result<(), String> {
        let events: Vec<FoldEvent<'_>> = events.iter().map(FoldEvent::from).collect();
        let folded = self.instance.apply_each(&self.aggregate, &events);
        folded.map(drop).map_err(|error| error.to_string())
    }

    fn decide(&mut self, command: &CommandRecord) -> Result<(Outcome, u64), String> {
        let annotations = annotations(command.metadata.as_ref(), &command.context);
        let decided = self.instance.decide(&self.aggregate, command, &annotations);
        let decided = decided.map_err(|error| format!("command {}: {error}", command.name))?;
        Ok((decided.outcome, decided.fuel))
    }

    fn shown(&mut self) -> Result<GuestState, String> {
        let snapshot = self.instance.snapshot(&self.aggregate);
        let view = self.instance.view(&self.aggregate);
        Ok(GuestState {
            snapshot: snapshot.map_err(|error| error.to_string())?,
            view: view.map_err(|error| error.to_string())?,
        })
    }
}

/// An aggregate that has folded the events before a command, in a new instance.
fn before(history: &History, count: usize) -> Result<Opened, String> {
    let mut opened = Opened::new(history, None)?;
    opened.fold(&history.events[..count])?;
    Ok(opened)
}

/// Decides in a new instance, and in one that has decided before.
fn pure(history: &History) -> Result<(), String> {
    for (count, command) in &history.commands {
        let (first, _) = before(history, *count)?.decide(command)?;
        let mut used = before(history, *count)?;
        for (_, other) in history.commands.iter().filter(|(at, _)| at == count) {
            used.decide(other)?;
        }
        let (repeat, _) = used.decide(command)?;
        same(
            command,
            &first,
            &repeat,
            "in an instance that has decided before",
        )?;
    }
    Ok(())
}

fn unchanged(history: &History) -> Result<(), String> {
    for (count, command) in &history.commands {
        let mut opened = before(history, *count)?;
        let shown = opened.shown()?;
        opened.decide(command)?;
        if opened.shown()? != shown {
            return Err(format!("command {} changed the state", command.name));
        }
    }
    Ok(())
}

/// Decides with other aggregates in the same instance, that have seen other events and commands.
fn isolated(history: &History) -> Result<(), String> {
    for (count, command) in &history.commands {
        let (first, _) = before(history, *count)?.decide(command)?;
        let mut other = Opened::new(history, None)?;
        other.fold(&history.events)?;
        other.decide(command)?;
        let mut opened = Opened::within(other.instance, &history.key, None)?;
        opened.fold(&history.events[..*count])?;
        let (repeat, _) = opened.decide(command)?;
        same(
            command,
            &first,
            &repeat,
            "after another aggregate was used in the instance",
        )?;
    }
    Ok(())
}

fn fuel(history: &History) -> Result<(), String> {
    let max = history.module.runtime().limits().fuel_per_call / 2;
    for (count, command) in &history.commands {
        let mut opened = Opened::new(history, None)?;
        for event in &history.events[..*count] {
            let used = opened.fold(std::slice::from_ref(event))?;
            if used > max {
                return Err(format!("event {} took {used} of at most {max}", event.name));
            }
        }
        let (_, used) = opened.decide(command)?;
        if used > max {
            return Err(format!(
                "command {} took {used} of at most {max}",
                command.name
            ));
        }
    }
    Ok(())
}

fn batching(history: &History) -> Result<(), String> {
    let whole = before(history, history.events.len())?.shown()?;
    let mut each = Opened::new(history, None)?;
    each.fold_each(&history.events)?;
    if each.shown()? != whole {
        return Err("the state differs when each event comes in a call of its own".to_owned());
    }
    for cut in cuts(history, CUTS) {
        let (one, other) = history.events.split_at(cut);
        let mut opened = Opened::new(history, None)?;
        opened.fold(one)?;
        opened.fold(other)?;
        if opened.shown()? != whole {
            return Err(format!(
                "the state differs with a call for the first {cut} events"
            ));
        }
    }
    Ok(())
}

fn repeated(history: &History) -> Result<(), String> {
    let mut opened = before(history, history.events.len())?;
    let first = opened.shown()?;
    if opened.shown()? != first {
        return Err("a second snapshot or view of the same state differs".to_owned());
    }
    match before(history, history.events.len())?.shown()? == first {
        true => Ok(()),
        false => Err("the snapshot or view differs in a new instance".to_owned()),
    }
}

fn snapshot(history: &History, depth: Depth) -> Result<(), String> {
    let whole = before(history, history.events.len())?.shown()?;
    let count = match depth {
        Depth::Short => CUTS,
        Depth::Full => usize::MAX,
    };
    for cut in cuts(history, count) {
        let Some(snapshot) = before(history, cut)?.shown()?.snapshot else {
            // Without a snapshot form, streams are folded from the beginning.
            return Ok(());
        };
        let restored = Opened::new(history, Some(&snapshot));
        let mut restored = restored.map_err(|error| format!("after event {cut}: {error}"))?;
        restored.fold(&history.events[cut..])?;
        if restored.shown()? != whole {
            return Err(format!(
                "restored after event {cut}, the state differs at the end"
            ));
        }
        for (at, command) in history.commands.iter().filter(|(at, _)| *at >= cut) {
            let (direct, _) = before(history, *at)?.decide(command)?;
            let mut restored = Opened::new(history, Some(&snapshot))?;
            restored.fold(&history.events[cut..*at])?;
            let (repeat, _) = restored.decide(command)?;
            let when = format!("from a snapshot after event {cut}");
            same(command, &direct, &repeat, &when)?;
        }
    }
    Ok(())
}

/// Returns at most `max` places between two stored events, spread over the history.
fn cuts(history: &History, max: usize) -> Vec<usize> {
    let events = &history.events;
    let is_between =
        |cut: &usize| *cut == events.len() || events[*cut].version != events[*cut - 1].version;
    let all: Vec<usize> = (1..=events.len()).filter(is_between).collect();
    let step = all.len().div_ceil(max).max(1);
    all.into_iter().step_by(step).collect()
}

/// Opens and closes many aggregates in one instance.
fn closed(module: &Arc<Module>, history: Option<&History>) -> Result<(), String> {
    let mut instance = Instance::new(module).map_err(|fault| fault.to_string())?;
    let events = history.map_or(&[][..], |it| &it.events);
    let events: Vec<FoldEvent<'_>> = events.iter().map(FoldEvent::from).collect();
    let mut at_first = 0;
    for number in 0..CLOSED_COUNT {
        let failed = |error: quipu::runtime::Failure| format!("aggregate {number}: {error}");
        let aggregate = instance.open("1", None).map_err(failed)?;
        instance.apply(&aggregate, &events).map_err(failed)?;
        instance.close(aggregate);
        if instance.is_spent() {
            return Err(format!("closing aggregate {number} is a fault"));
        }
        if number == CLOSED_COUNT / 10 {
            at_first = instance.memory_bytes();
        }
    }
    let left = instance.memory_bytes().saturating_sub(at_first);
    match left <= LEFT_BYTES_MAX {
        true => Ok(()),
        false => Err(format!(
            "{CLOSED_COUNT} aggregates that were opened and closed left {left} bytes of memory"
        )),
    }
}

fn same(command: &CommandRecord, one: &Outcome, other: &Outcome, when: &str) -> Result<(), String> {
    match one.is_same(other) {
        true => Ok(()),
        false => Err(format!(
            "command {} is decided differently {when}",
            command.name
        )),
    }
}
