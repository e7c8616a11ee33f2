//! The rules of a projection: the guest that folds it, and the events it reads. Everything here
//! runs the guest on the caller's thread.

use std::collections::HashMap;
use std::sync::Arc;

use crate::deploy::{Plan, Sources};
use crate::model::{Position, RecordedEvent, StreamId};
use crate::runtime::{Definition, Failure, FaultKind, Idle, Instance, Module, Work};
use crate::store;
use crate::upcast::{self, Lifter};

/// A shared event. A batch is retried in parts if something fails, so events are in several lists.
pub(super) type Event = Arc<RecordedEvent>;

/// Limit for the number of idle guest instances that are reused.
const IDLE_MAX: usize = 32;

/// Runs guests for projections. Shared by all projections of a store.
pub struct Guests {
    pub(super) lifter: Arc<Lifter>,
    pub(super) idle: Idle,
}

/// The definition of a projection by one module, under one plan.
pub struct Rules {
    pub(super) name: Arc<str>,
    pub(super) module: Arc<Module>,
    pub(super) sources: Sources,
    pub(super) plan: Arc<Plan>,
    pub(super) guests: Arc<Guests>,
}

/// Events, and the documents that they concern.
#[derive(Debug, Default)]
pub(super) struct Keyed {
    /// The events as the projection reads them: lifted.
    pub events: Vec<Event>,
    /// For each document, the indexes of its events. The documents are in the order in which the
    /// events first name them.
    pub works: Vec<(Arc<str>, Vec<usize>)>,
}

/// A stored event that can't be folded.
#[derive(Debug, Clone)]
pub(super) struct FoldFailure {
    /// Position of the event.
    pub position: Position,
    /// Stream of the event.
    pub stream: StreamId,
    /// The document for which the event fails. `None` if the event can't be lifted, or the guest
    /// can't determine its keys.
    pub document: Option<Arc<str>>,
    /// Kind of the guest's fault, if there was one.
    pub fault: Option<&'static str>,
    /// What happened.
    pub error: Box<str>,
}

/// A document to be folded: its key, its current value and its events.
pub(super) struct Task {
    pub key: Arc<str>,
    pub document: Option<Arc<str>>,
    pub events: Vec<Event>,
}

impl Guests {
    /// Creates the value with a lifter and no idle instances.
    pub(super) fn new(lifter: Arc<Lifter>) -> Self {
        Self {
            lifter,
            idle: Idle::new(IDLE_MAX),
        }
    }
}

impl Rules {
    /// Returns the rules of a projection under a plan. `None` if the module does not define the
    /// projection.
    pub(super) fn new(
        name: &str,
        module: &Arc<Module>,
        plan: &Arc<Plan>,
        guests: &Arc<Guests>,
    ) -> Option<Self> {
        let definition = module.projection(name)?;
        Some(Self {
            name: name.into(),
            sources: Sources::new(plan, definition),
            module: Arc::clone(module),
            plan: Arc::clone(plan),
            guests: Arc::clone(guests),
        })
    }

    /// Returns the definition of the projection.
    pub(super) fn definition(&self) -> &Definition {
        let found = self.module.projection(&self.name);
        found.expect("rules are made of a module that defines the projection")
    }

    /// Lifts events and asks the guest which documents they concern, up to the first event for
    /// which that fails.
    pub(super) fn key(&self, events: Vec<Event>) -> (Keyed, Option<FoldFailure>) {
        let readable = self.sources.lift_all(&self.guests.lifter, events);
        let stuck = readable.failed.map(|failed| FoldFailure {
            position: failed.position,
            stream: failed.stream,
            document: None,
            fault: fault_of_lift(&failed.error),
            error: failed.error.to_string().into(),
        });
        let events = readable.events;
        match self.keys(&events) {
            Ok(keys) => (Keyed::of(events, keys), stuck),
            Err(_) => self.key_up_to(events),
        }
    }

    /// Does the same for events of which at least one fails. The first one that fails is found by
    /// bisection.
    fn key_up_to(&self, events: Vec<Event>) -> (Keyed, Option<FoldFailure>) {
        let (mut keys, mut rest) = (Vec::with_capacity(events.len()), 0..events.len());
        // `rest` is the longest range, from its start, that may still contain a failing event.
        while !rest.is_empty() {
            let end = whole(&events, rest.start, rest.end - rest.start);
            let failure = match self.keys(&events[rest.start..end]) {
                Ok(more) => {
                    keys.extend(more);
                    rest = end..events.len();
                    continue;
                }
                Err(failure) => failure,
            };
            let first = whole(&events, rest.start, 1);
            if end <= first {
                let stuck = FoldFailure::of(&events[rest.start], None, &failure);
                let events = events[..rest.start].to_vec();
                return (Keyed::of(events, keys), Some(stuck));
            }
            rest.end = rest.start + (end - rest.start) / 2;
        }
        (Keyed::of(events, keys), None)
    }

    fn keys(&self, events: &[Event]) -> Result<Vec<Vec<Box<str>>>, Failure> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let events: Vec<&RecordedEvent> = events.iter().map(|event| &**event).collect();
        self.call(|instance| instance.keys(self.definition(), &events))
    }

    /// Folds documents. Result i belongs to task i.
    ///
    /// # Errors
    /// The first stored event, by position, that can't be folded. Nothing is reported about the
    /// other events.
    pub(super) fn apply(&self, tasks: &[Task]) -> Result<Vec<Option<Arc<str>>>, FoldFailure> {
        if let Ok(documents) = self.documents(tasks) {
            return Ok(documents);
        }
        let (mut documents, mut first) = (Vec::with_capacity(tasks.len()), None::<FoldFailure>);
        for task in tasks {
            // Events after the first failure need not be tried. They may take long to fail.
            let until = first.as_ref().map(|known| known.position);
            match self.apply_one(&task.before(until)) {
                Ok(document) => documents.push(document),
                Err(stuck) => first = Some(stuck),
            }
        }
        first.map_or(Ok(documents), Err)
    }

    /// Folds one document. An event that fails is found by bisection.
    pub(super) fn apply_one(&self, task: &Task) -> Result<Option<Arc<str>>, FoldFailure> {
        let mut document = task.document.clone();
        let mut rest = 0..task.events.len();
        while !rest.is_empty() {
            let end = whole(&task.events, rest.start, rest.end - rest.start);
            let part = Task {
                key: Arc::clone(&task.key),
                document: document.clone(),
                events: task.events[rest.start..end].to_vec(),
            };
            let failure = match self.documents(std::slice::from_ref(&part)) {
                Ok(mut folded) => {
                    document = folded.pop().flatten();
                    rest = end..task.events.len();
                    continue;
                }
                Err(failure) => failure,
            };
            if end <= whole(&task.events, rest.start, 1) {
                let event = &task.events[rest.start];
                return Err(FoldFailure::of(event, Some(&task.key), &failure));
            }
            rest.end = rest.start + (end - rest.start) / 2;
        }
        Ok(document)
    }

    fn documents(&self, tasks: &[Task]) -> Result<Vec<Option<Arc<str>>>, Failure> {
        let work: Vec<Work<'_>> = tasks
            .iter()
            .map(|task| Work {
                key: &task.key,
                document: task.document.as_deref(),
                events: task.events.iter().map(|event| &**event).collect(),
            })
            .collect();
        let folded = self.call(|instance| instance.apply_documents(self.definition(), &work))?;
        Ok(folded.into_iter().map(|it| it.map(Into::into)).collect())
    }

    /// Calls the guest. Retries once in a new instance, if that may help.
    fn call<R>(
        &self,
        mut call: impl FnMut(&mut Instance) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let idle = &self.guests.idle;
        let mut instance = match idle.take(&self.module) {
            Some(instance) => instance,
            None => Instance::new(&self.module)?,
        };
        let mut answer = call(&mut instance);
        if matches!(&answer, Err(Failure::Fault(fault)) if fault.kind.may_pass()) {
            instance = Instance::new(&self.module)?;
            answer = call(&mut instance);
        }
        idle.keep(instance);
        answer
    }
}

impl Keyed {
    fn of(events: Vec<Event>, keys: Vec<Vec<Box<str>>>) -> Self {
        let mut works: Vec<(Arc<str>, Vec<usize>)> = Vec::new();
        let mut places: HashMap<Box<str>, usize> = HashMap::new();
        for (index, keys) in keys.into_iter().enumerate() {
            for key in keys {
                match places.get(&key) {
                    Some(place) => works[*place].1.push(index),
                    None => {
                        works.push(((&*key).into(), vec![index]));
                        places.insert(key, works.len() - 1);
                    }
                }
            }
        }
        Self { events, works }
    }

    /// Returns the tasks that fold the documents, given the documents that exist.
    pub(super) fn tasks(&self, document: impl Fn(&str) -> Option<Arc<str>>) -> Vec<Task> {
        let task = |(key, events): &(Arc<str>, Vec<usize>)| Task {
            key: Arc::clone(key),
            document: document(key),
            events: events
                .iter()
                .map(|index| Arc::clone(&self.events[*index]))
                .collect(),
        };
        self.works.iter().map(task).collect()
    }
}

impl Task {
    /// Returns the same task with only the events before a position.
    fn before(&self, until: Option<Position>) -> Self {
        let count = until.map_or(self.events.len(), |until| {
            self.events.partition_point(|event| event.position < until)
        });
        Self {
            key: Arc::clone(&self.key),
            document: self.document.clone(),
            events: self.events[..count].to_vec(),
        }
    }

    /// Returns the position of the last event.
    pub(super) fn position(&self) -> Position {
        let last = self.events.last();
        last.map_or(Position(0), |event| event.position)
    }
}

impl FoldFailure {
    /// Whether the host failed, and not the guest. The event may be folded in a moment.
    pub(super) fn is_of_host(&self) -> bool {
        self.fault == Some(FaultKind::HostOutOfMemory.as_str())
    }

    /// The error of a host that failed.
    pub(super) fn unavailable(&self) -> store::Error {
        store::Error::Unavailable(self.error.to_string())
    }

    fn of(event: &RecordedEvent, document: Option<&Arc<str>>, failure: &Failure) -> Self {
        let fault = match failure {
            Failure::Fault(fault) => Some(fault.kind.as_str()),
            _ => None,
        };
        Self {
            position: event.position,
            stream: event.stream.clone(),
            document: document.cloned(),
            fault,
            error: failure.to_string().into(),
        }
    }
}

/// Returns the end of the range that starts at `start` and has at most `count` events, without
/// splitting the parts of a stored event. The range has at least one stored event.
fn whole(events: &[Event], start: usize, count: usize) -> usize {
    let mut end = start.saturating_add(count.max(1)).min(events.len());
    while end < events.len() && events[end].position == events[end - 1].position {
        end += 1;
    }
    end
}

fn fault_of_lift(error: &upcast::Error) -> Option<&'static str> {
    match error {
        upcast::Error::Fault { fault, .. } => Some(fault.kind.as_str()),
        _ => None,
    }
}
