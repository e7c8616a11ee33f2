use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Error, Lift, Liftable, Route};
use crate::model::Name;
use crate::runtime::{Failure, Fault, FaultKind, FoldEvent, Idle, Instance, Lifted, Module};

/// Highest number of instances cached for the next events.
const IDLE_MAX: usize = 16;

/// Lifts events on the caller's thread. Shared by all readers.
pub struct Lifter {
    idle: Idle,
}

impl Default for Lifter {
    fn default() -> Self {
        Self {
            idle: Idle::new(IDLE_MAX),
        }
    }
}

/// A part of a stored event that is being lifted.
struct Part {
    contents: Lifted,
    /// The next step. `None` when the part is complete.
    step: Option<usize>,
}

/// A part that waits for a step: the index of the event, and the index of the part.
type Place = (usize, usize);

impl Lifter {
    /// Lifts events of one category, in order. Events without a step only get the name and version
    /// that their reader uses. The parts of one event follow each other; a dropped event has no
    /// parts.
    ///
    /// # Errors
    /// The first event that can't be lifted, or that its reader does not declare.
    pub fn lift<E: Liftable>(&self, lift: &Lift, events: Vec<E>) -> Result<Vec<E>, Error> {
        let mut events = events;
        let mut under_way: BTreeMap<usize, Vec<Part>> = BTreeMap::new();
        // Events of the same type often follow each other.
        let mut last: Option<(Name, u32, Route)> = None;
        for (index, event) in events.iter_mut().enumerate() {
            let (name, version) = (event.name(), event.schema_version());
            let known = last.take_if(|(known, at, _)| known == name && *at == version);
            let known = known.unwrap_or_else(|| (name.clone(), version, lift.route(name, version)));
            let (name, version, route) = last.insert(known);
            match route {
                Route::Reader(name, version) => event.relabel(name, *version),
                Route::Step(step) => {
                    let contents = Lifted {
                        name: name.clone(),
                        schema_version: *version,
                        body: event.fold().body.clone(),
                    };
                    let part = Part {
                        contents,
                        step: Some(*step),
                    };
                    under_way.insert(index, vec![part]);
                }
                Route::LeftOut => _ = under_way.insert(index, Vec::new()),
                route => return Err(refused(route, event.fold())),
            }
        }
        if under_way.is_empty() {
            return Ok(events);
        }
        // Each wave takes every part through one step, and a checked chain has no cycles.
        for _ in 0..=lift.chain().links().len() {
            if !self.wave(lift, &events, &mut under_way)? {
                return Ok(assemble(events, under_way));
            }
        }
        let text = "the steps lead back to themselves".to_owned();
        let begun = under_way.keys().next().copied().unwrap_or_default();
        Err(too_much(lift, &events[begun].fold(), text))
    }

    /// Whether an event would have to be lifted by a guest.
    pub fn needs_guest<E: Liftable>(lift: &Lift, event: &E) -> bool {
        matches!(
            lift.route(event.name(), event.schema_version()),
            Route::Step(_)
        )
    }

    /// Takes every part through one step. Returns false when all parts are complete.
    fn wave<E: Liftable>(
        &self,
        lift: &Lift,
        events: &[E],
        under_way: &mut BTreeMap<usize, Vec<Part>>,
    ) -> Result<bool, Error> {
        let mut by_step: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
        for (index, parts) in under_way.iter() {
            for (number, part) in parts.iter().enumerate() {
                if let Some(step) = part.step {
                    by_step.entry(step).or_default().push((*index, number));
                }
            }
        }
        let mut results: BTreeMap<Place, Vec<Part>> = BTreeMap::new();
        for (step, places) in by_step {
            let inputs: Vec<FoldEvent<'_>> = places
                .iter()
                .map(|(index, number)| {
                    let contents = &under_way[index][*number].contents;
                    FoldEvent {
                        name: &contents.name,
                        schema_version: contents.schema_version,
                        body: &contents.body,
                        ..events[*index].fold()
                    }
                })
                .collect();
            let link = lift.chain().link(step);
            let lifted = self.step(&link.module, link.index, &inputs)?;
            for ((place, input), parts) in places.iter().zip(&inputs).zip(lifted) {
                results.insert(*place, routed(lift, input, parts)?);
            }
        }
        let more = !results.is_empty();
        for (index, parts) in under_way.iter_mut() {
            let before = std::mem::take(parts);
            for (number, part) in before.into_iter().enumerate() {
                match results.remove(&(*index, number)) {
                    Some(lifted) => parts.extend(lifted),
                    None => parts.push(part),
                }
            }
            check_parts(lift, &events[*index].fold(), parts)?;
        }
        Ok(more)
    }

    /// Runs one step for many events. If it fails, each event is tried separately, so that the
    /// error names the right one.
    fn step(
        &self,
        module: &Arc<Module>,
        step: usize,
        events: &[FoldEvent<'_>],
    ) -> Result<Vec<Vec<Lifted>>, Error> {
        // The step's author used these names. They may be aliases by now.
        let name = &module.steps()[step].name;
        let from = module.steps()[step].from_version;
        let named: Vec<_> = events
            .iter()
            .map(|event| as_named(event, name, from))
            .collect();
        let failure = match self.call(module, step, &named) {
            Ok(lifted) => return Ok(lifted),
            Err(failure) => failure,
        };
        let mut lifted = Vec::with_capacity(named.len());
        for event in &named {
            let one = self.call(module, step, std::slice::from_ref(event));
            let one = one.map_err(|failure| Error::of(event.version, name, from, failure))?;
            lifted.extend(one);
        }
        tracing::warn!(%failure, module = ?module, "a batch could not be lifted, each of its events could");
        Ok(lifted)
    }

    /// Calls a guest, and a second time in a new instance if that may help.
    fn call(
        &self,
        module: &Arc<Module>,
        step: usize,
        events: &[FoldEvent<'_>],
    ) -> Result<Vec<Vec<Lifted>>, Failure> {
        let mut instance = match self.idle.take(module) {
            Some(instance) => instance,
            None => Instance::new(module)?,
        };
        let mut lifted = instance.upcast(step, events);
        if matches!(&lifted, Err(Failure::Fault(fault)) if fault.kind.may_pass()) {
            instance = Instance::new(module)?;
            lifted = instance.upcast(step, events);
        }
        self.idle.keep(instance);
        lifted
    }
}

/// Returns an event with the type and version that the step's author declared.
fn as_named<'a>(event: &FoldEvent<'a>, name: &'a Name, schema_version: u32) -> FoldEvent<'a> {
    FoldEvent {
        name,
        schema_version,
        ..*event
    }
}

/// Returns the results of a step, each with its next step.
fn routed(lift: &Lift, input: &FoldEvent<'_>, parts: Vec<Lifted>) -> Result<Vec<Part>, Error> {
    let route = |contents: Lifted| {
        let route = lift.route(&contents.name, contents.schema_version);
        let part = match route {
            Route::LeftOut => return None,
            Route::Step(step) => Ok(Part {
                contents,
                step: Some(step),
            }),
            Route::Reader(name, schema_version) => Ok(Part {
                contents: Lifted {
                    name,
                    schema_version,
                    body: contents.body,
                },
                step: None,
            }),
            refusal => {
                let name = contents.name.clone();
                let event = as_named(input, &name, contents.schema_version);
                Err(refused(&refusal, event))
            }
        };
        Some(part)
    };
    parts.into_iter().filter_map(route).collect()
}

/// Replaces every lifted event with its parts.
fn assemble<E: Liftable>(events: Vec<E>, mut lifted: BTreeMap<usize, Vec<Part>>) -> Vec<E> {
    let mut all = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        let Some(parts) = lifted.remove(&index) else {
            all.push(event);
            continue;
        };
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        for (number, part) in (0..).zip(parts) {
            all.push(event.lifted(part.contents, number, count));
        }
    }
    all
}

/// Checks that an event does not become larger than an append may be.
fn check_parts(lift: &Lift, event: &FoldEvent<'_>, parts: &[Part]) -> Result<(), Error> {
    let Some(link) = lift.chain().links().first() else {
        return Ok(());
    };
    let limits = link.module.runtime().limits().decision;
    let bytes: usize = parts.iter().map(|part| part.contents.body.len()).sum();
    for (what, found, max) in [
        ("parts of an event", parts.len(), limits.events_max),
        ("bytes of an event's parts", bytes, limits.append_bytes_max),
    ] {
        if found > max {
            let text = format!("{what}: {found} is more than {max}");
            return Err(too_much(lift, event, text));
        }
    }
    Ok(())
}

/// Returns a fault that no single component caused. It is assigned to the first component that
/// lifts the event.
fn too_much(lift: &Lift, event: &FoldEvent<'_>, text: String) -> Error {
    let link = lift.chain().link(0);
    let fault = Fault {
        kind: FaultKind::OutputTooLarge,
        component: link.module.manifest().name.clone(),
        digest: link.module.digest(),
        text,
        fuel: None,
        took: Duration::ZERO,
    };
    Error::Fault {
        version: event.version,
        fault: Box::new(fault),
    }
}

fn refused(route: &Route, event: FoldEvent<'_>) -> Error {
    let (version, name, schema_version) = (event.version, event.name.clone(), event.schema_version);
    match route {
        Route::TooNew(reads) => Error::TooNew {
            version,
            name,
            schema_version,
            reads: *reads,
        },
        _ => Error::Unknown {
            version,
            name,
            schema_version,
        },
    }
}
