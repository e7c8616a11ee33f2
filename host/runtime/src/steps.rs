//! Checks the steps of an upcaster and lifts events with them.

use std::collections::HashSet;

use super::bindings::upcaster;
use super::fault::{Broken, quoted};
use super::instance::{Instance, batch_len, event_param};
use super::manifest::check_type_name;
use super::validate::{contract, lifted_body, too_large};
use super::{Failure, FaultKind, FoldEvent, Manifest, Refused};
use quipu_model::{Body, Category, Name};

/// Highest number of steps of one component.
const STEPS_MAX: usize = 1_000;
/// Highest number of results of one step.
const RESULTS_MAX: usize = 64;

/// A step from one type and version to its possible results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Category of the events that are lifted.
    pub category: Category,
    /// Type of the events that are lifted.
    pub name: Name,
    /// Schema version of the events that are lifted.
    pub from_version: u32,
    /// All types and versions that can result. Empty: the event is dropped.
    pub to: Vec<(Name, u32)>,
}

/// An event after lifting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifted {
    /// Type.
    pub name: Name,
    /// Schema version of the body.
    pub schema_version: u32,
    /// The data.
    pub body: Body,
}

/// Checks the steps declared by a component.
pub(super) fn read(
    declarations: Vec<upcaster::Step>,
    manifest: &Manifest,
) -> Result<Vec<Step>, Refused> {
    let checked = check(declarations).and_then(|steps| fits(steps, manifest));
    checked.map_err(Refused::Upcaster)
}

/// Checks that the steps for a decider's own events lead to the versions that it reads.
fn fits(steps: Vec<Step>, manifest: &Manifest) -> Result<Vec<Step>, String> {
    let own = |step: &&Step| step.category.as_str() == manifest.name;
    let mut seen = HashSet::new();
    for step in steps.iter().filter(own) {
        let Some(event) = manifest.event(step.name.as_str()) else {
            continue;
        };
        let (name, current) = (&event.name, event.schema_version);
        if step.from_version >= current {
            return Err(format!(
                "the step from {step} lifts what the decider writes: its {name} has version {current}"
            ));
        }
        if !seen.insert((name, step.from_version)) {
            return Err(format!("two steps from {step}: it is called {name} by now"));
        }
    }
    Ok(steps)
}

fn check(declarations: Vec<upcaster::Step>) -> Result<Vec<Step>, String> {
    if declarations.len() > STEPS_MAX {
        return Err(format!(
            "{} steps, at most {STEPS_MAX} are accepted",
            declarations.len()
        ));
    }
    let mut seen = HashSet::new();
    let mut steps = Vec::with_capacity(declarations.len());
    for declaration in declarations {
        let step = check_step(declaration)?;
        let key = (step.category.clone(), step.name.clone(), step.from_version);
        if !seen.insert(key) {
            return Err(format!("two steps from {step}"));
        }
        steps.push(step);
    }
    Ok(steps)
}

fn check_step(declaration: upcaster::Step) -> Result<Step, String> {
    let category = Category::new(&declaration.category).map_err(|_| {
        let category = quoted(&declaration.category, 255);
        format!("a step lifts events of {category}, which is not a category")
    })?;
    let name = check_type_name("event", &declaration.type_)?;
    let step = Step {
        category,
        name,
        from_version: declaration.from_version,
        to: Vec::new(),
    };
    if step.from_version == 0 {
        return Err(format!("the step from {step}: versions begin at 1"));
    }
    if declaration.to.len() > RESULTS_MAX {
        return Err(format!(
            "the step from {step} has {} results, at most {RESULTS_MAX} are accepted",
            declaration.to.len()
        ));
    }
    let mut to = Vec::with_capacity(declaration.to.len());
    for (name, version) in declaration.to {
        let name = check_type_name("event", &name)?;
        let leads_on = version > 0 && (name != step.name || version > step.from_version);
        if !leads_on {
            return Err(format!(
                "the step from {step} leads to {name} of version {version}: a step leads to \
                 another type or to a later version"
            ));
        }
        to.push((name, version));
    }
    Ok(Step { to, ..step })
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (category, name, version) = (&self.category, &self.name, self.from_version);
        write!(f, "{category}/{name} of version {version}")
    }
}

impl Instance {
    /// Lifts events by one step, given as an index into the module's steps. Result i belongs to
    /// event i.
    ///
    /// A long list is split into several calls, each with its own limits.
    ///
    /// # Errors
    /// When the guest faults, can't read an event, or returns something that the step does not
    /// declare.
    pub fn upcast(
        &mut self,
        step: usize,
        events: &[FoldEvent<'_>],
    ) -> Result<Vec<Vec<Lifted>>, Failure> {
        let limits = self.module().limits();
        let (count_max, bytes_max) = (limits.events_per_call_max, limits.call_bytes_max);
        let index = u32::try_from(step).unwrap_or(u32::MAX);
        let mut lifted = Vec::with_capacity(events.len());
        let mut rest = events;
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest, count_max, bytes_max));
            let params: Vec<_> = batch.iter().map(event_param).collect();
            let (answer, fuel) =
                self.call_upcaster(|guest, store| guest.call_upcast(store, index, &params))?;
            let answer = answer.map_err(|error| self.failure(error, fuel))?;
            let checked = self.checked(step, batch, answer);
            lifted.extend(checked.map_err(|broken| self.fault(broken, fuel))?);
            rest = after;
        }
        Ok(lifted)
    }

    fn checked(
        &self,
        step: usize,
        events: &[FoldEvent<'_>],
        answer: Vec<Vec<upcaster::Upcasted>>,
    ) -> Result<Vec<Vec<Lifted>>, Broken> {
        let Some(step) = self.module().steps().get(step) else {
            return Err(contract(format!("there is no step {step}")));
        };
        if answer.len() != events.len() {
            return Err(contract(format!(
                "the step from {step} answers {} results for {} events",
                answer.len(),
                events.len()
            )));
        }
        let pairs = events.iter().zip(answer);
        pairs
            .map(|(event, results)| self.checked_one(step, event, results))
            .collect()
    }

    fn checked_one(
        &self,
        step: &Step,
        event: &FoldEvent<'_>,
        results: Vec<upcaster::Upcasted>,
    ) -> Result<Vec<Lifted>, Broken> {
        let limits = &self.module().limits().decision;
        if results.len() > limits.events_max {
            return Err(too_large(
                "parts of an event",
                results.len(),
                limits.events_max,
            ));
        }
        let check = |result: upcaster::Upcasted| {
            let mut named = step.to.iter();
            let Some((name, version)) = named.find(|(name, version)| {
                name.as_str() == result.type_ && *version == result.schema_version
            }) else {
                return Err(contract(format!(
                    "the step from {step} answers {} of version {}, which it does not name",
                    quoted(&result.type_, 255),
                    result.schema_version
                )));
            };
            Ok(Lifted {
                name: name.clone(),
                schema_version: *version,
                body: lifted_body(name, event.body, result.body, limits.event_bytes_max)?,
            })
        };
        results.into_iter().map(check).collect()
    }
}

/// The fault of a component that exports no upcaster.
pub(super) fn no_upcaster() -> Broken {
    Broken::new(FaultKind::Contract, "the component exports no upcaster")
}
