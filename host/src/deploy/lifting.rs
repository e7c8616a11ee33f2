//! Lifts recorded events for readers that are not guests, under the current plan.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Current, Plan, Registry};
use crate::fold::{self, off_the_reactor};
use crate::model::{Name, Position, RecordedEvent, StreamId, Version};
use crate::store::Filter;
use crate::upcast::{self, Lift, Liftable, Lifter, Route};

/// Reads events for readers that are not guests, under the current plan. Unlike the registry, this
/// value keeps nothing of the host alive.
#[derive(Clone)]
pub struct Reading {
    plan: Arc<Current>,
    lifter: Arc<Lifter>,
}

/// Lifted events, up to the first one that can't be lifted.
#[derive(Debug)]
pub struct Readable<E> {
    /// The events. The parts of a split event follow each other, a dropped event is left out.
    pub events: Vec<E>,
    /// The event after them that could not be lifted.
    pub failed: Option<Box<Unreadable>>,
}

/// An event that can't be lifted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "stream {stream}: {error}; deploy an upcaster that lifts it, or read the events as they are \
     stored"
)]
pub struct Unreadable {
    /// Stream of the event.
    pub stream: StreamId,
    /// Number of the event in its stream.
    pub version: Version,
    /// Position of the event in the log.
    pub position: Position,
    /// The error.
    pub error: upcast::Error,
}

/// A recorded event, owned or shared.
pub trait Recorded: Liftable + Borrow<RecordedEvent> + Clone + Send + 'static {}

impl<E: Liftable + Borrow<RecordedEvent> + Clone + Send + 'static> Recorded for E {}

impl Registry {
    /// Returns the lifter.
    pub fn lifter(&self) -> Arc<Lifter> {
        Arc::clone(self.folder.lifter())
    }

    /// Returns a reader of events for readers that are not guests.
    pub fn reading(&self) -> Reading {
        Reading {
            plan: Arc::clone(&self.plan),
            lifter: Arc::clone(self.folder.lifter()),
        }
    }

    /// Lifts recorded events of any categories, in their order: each to the version that the active
    /// decider of its category reads, or without a decider to the end of its chain. Guests run on
    /// blocking threads, and only if an event needs one.
    ///
    /// # Errors
    /// The first event that can't be lifted.
    pub async fn lift(
        &self,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<RecordedEvent>, fold::Error> {
        self.lift_under(&self.plan(), events).await
    }

    /// Lifts recorded events under an earlier plan.
    ///
    /// # Errors
    /// As [`lift`](Self::lift).
    pub async fn lift_under(
        &self,
        plan: &Arc<Plan>,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<RecordedEvent>, fold::Error> {
        let lifted = self.reading().lift(plan, events).await?;
        match lifted.failed {
            None => Ok(lifted.events),
            Some(failed) => Err(fold::Error::of_lift(&failed.stream, failed.error)),
        }
    }
}

impl Reading {
    /// Returns the current plan.
    pub fn plan(&self) -> Arc<Plan> {
        self.plan.get()
    }

    /// Lifts events of any categories until one can't be lifted. The events are in the order of the
    /// log or in reverse order. Guests run on blocking threads, and only if an event needs one.
    ///
    /// # Errors
    /// When the host is shutting down.
    pub async fn lift<E: Recorded>(
        &self,
        plan: &Arc<Plan>,
        events: Vec<E>,
    ) -> Result<Readable<E>, fold::Error> {
        if events.iter().any(|event| plan.needs_guest(event)) {
            let (plan, lifter) = (Arc::clone(plan), Arc::clone(&self.lifter));
            let lift = move |category: &str| plan.reader(category).map(Arc::clone);
            return off_the_reactor(move || lift_by(&lift, &lifter, events)).await;
        }
        let events = events.into_iter().map(|event| plan.relabelled(event));
        Ok(Readable {
            events: events.collect(),
            failed: None,
        })
    }
}

/// Lifts the events of each category together, so that each step is one call, and restores their
/// order.
pub(super) fn lift_by<E: Recorded>(
    lift: &dyn Fn(&str) -> Option<Arc<Lift>>,
    lifter: &Lifter,
    events: Vec<E>,
) -> Readable<E> {
    let position = |event: &E| Borrow::<RecordedEvent>::borrow(event).position;
    let ends = events.first().zip(events.last());
    let is_backward = ends.is_some_and(|(first, last)| position(first) > position(last));
    let mut groups: BTreeMap<Box<str>, Vec<E>> = BTreeMap::new();
    for event in events {
        let category = Borrow::<RecordedEvent>::borrow(&event).stream.category();
        match groups.get_mut(category) {
            Some(group) => group.push(event),
            None => _ = groups.insert(category.into(), vec![event]),
        }
    }
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    let is_one = groups.len() == 1;
    for (category, group) in groups {
        match lift(&category) {
            None => all.extend(group),
            Some(lift) => failed.extend(lift_group(&lift, lifter, group, &mut all)),
        }
    }
    // The sort is stable, so the parts of an event keep their order.
    match (is_one, is_backward) {
        (true, _) => {}
        (false, false) => all.sort_by_key(position),
        (false, true) => all.sort_by_key(|event| Reverse(position(event))),
    }
    let failed = if is_backward {
        failed.into_iter().max_by_key(|failed| failed.position)
    } else {
        failed.into_iter().min_by_key(|failed| failed.position)
    };
    if let Some(failed) = &failed {
        let is_before = |event: &E| match is_backward {
            true => position(event) > failed.position,
            false => position(event) < failed.position,
        };
        all.truncate(all.partition_point(is_before));
    }
    Readable {
        events: all,
        failed,
    }
}

/// Lifts events of one category until one can't be lifted.
fn lift_group<E: Recorded>(
    lift: &Lift,
    lifter: &Lifter,
    group: Vec<E>,
    all: &mut Vec<E>,
) -> Option<Box<Unreadable>> {
    if let Ok(lifted) = lifter.lift(lift, group.clone()) {
        all.extend(lifted);
        return None;
    }
    // One by one, to find the events before the one that can't be lifted.
    for event in group {
        let recorded: &RecordedEvent = event.borrow();
        let (stream, version) = (recorded.stream.clone(), recorded.version);
        let position = recorded.position;
        match lifter.lift(lift, vec![event]) {
            Ok(lifted) => all.extend(lifted),
            Err(error) => {
                return Some(Box::new(Unreadable {
                    stream,
                    version,
                    position,
                    error,
                }));
            }
        }
    }
    None
}

impl Plan {
    /// Whether an event must be lifted by a guest.
    pub fn needs_guest<E: Recorded>(&self, event: &E) -> bool {
        let recorded: &RecordedEvent = event.borrow();
        let lift = self.reader(recorded.stream.category());
        lift.is_some_and(|lift| Lifter::needs_guest(lift, event))
    }

    /// Returns an event that needs no guest, with its current name and version.
    pub fn relabelled<E: Recorded>(&self, mut event: E) -> E {
        let recorded: &RecordedEvent = event.borrow();
        let lift = self.reader(recorded.stream.category());
        let route = lift.map(|lift| lift.route(event.name(), event.schema_version()));
        if let Some(Route::Reader(name, schema_version)) = route {
            event.relabel(&name, schema_version);
        }
        event
    }

    /// Returns a filter that passes every stored event whose results may pass this filter. Types
    /// are matched by their canonical names, but events may be stored under other names.
    pub fn widened(&self, filter: &Filter) -> Filter {
        let Some(types) = &filter.types else {
            return filter.clone();
        };
        let mut all: Vec<Name> = types.clone();
        for (_, lift) in self.readers() {
            for name in types {
                for source in lift.sources(lift.names().canonical(name)) {
                    if !all.contains(&source) {
                        all.push(source);
                    }
                }
            }
        }
        Filter {
            types: Some(all),
            ..filter.clone()
        }
    }

    /// Returns the other names under which a stored event may be requested.
    pub fn names(&self, event: &RecordedEvent) -> &[Name] {
        let lift = self.reader(event.stream.category());
        lift.map_or(&[], |lift| lift.leads_to(&event.name))
    }

    /// Whether a result of a stored event may pass a filter after lifting. No guest is called.
    pub fn may_admit(&self, filter: &Filter, event: &RecordedEvent) -> bool {
        let mut names = self.names(event).iter();
        filter.admits(event)
            || filter.types.is_some() && names.any(|name| filter.admits_as(event, name.as_str()))
    }

    /// Whether a lifted event passes a filter by its type.
    pub fn admits(&self, filter: &Filter, event: &RecordedEvent) -> bool {
        let types = filter.types.as_ref();
        types.is_none_or(|types| self.is_of(types, event)) && !self.excludes(filter, event)
    }

    /// Whether an event, lifted or stored, has a type that a filter excludes.
    pub fn excludes(&self, filter: &Filter, event: &RecordedEvent) -> bool {
        let types = filter.not_types.as_ref();
        types.is_some_and(|types| self.is_of(types, event))
    }

    /// Whether an event has one of these types, either by its current name or by the name under
    /// which it is stored.
    fn is_of(&self, types: &[Name], event: &RecordedEvent) -> bool {
        let stored = event.stored_as.as_ref().map(|stored| &stored.name);
        let reader = self.reader(event.stream.category());
        types.iter().any(|wanted| {
            let canonical = reader.map_or(wanted, |lift| lift.names().canonical(wanted));
            let canonical_of = |name| reader.map_or(name, |lift| lift.names().canonical(name));
            *canonical == *canonical_of(&event.name) || Some(wanted) == stored
        })
    }
}
