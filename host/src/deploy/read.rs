//! Recorded events for readers that are no guests, lifted to what is active.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Current, Plan, Registry};
use crate::fold::{self, off_the_reactor};
use crate::model::{Name, Position, RecordedEvent, StreamId, Version};
use crate::store::Filter;
use crate::upcast::{self, Lift, Liftable, Lifter, Route};

/// How readers that are no guests see events, under the plan that is current. Unlike the
/// registry it keeps nothing of the host alive.
#[derive(Clone)]
pub struct Reading {
    plan: Arc<Current>,
    lifter: Arc<Lifter>,
}

/// Events as they are read, up to one that can't be.
#[derive(Debug)]
pub struct Readable<E> {
    /// The parts of a split one follow each other, a dropped one is left out.
    pub events: Vec<E>,
    /// What came behind them, and could not be lifted.
    pub failed: Option<Box<Unreadable>>,
}

/// An event that can't be lifted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "stream {stream}: {error}; deploy an upcaster that lifts it, or read the events as they are \
     stored"
)]
pub struct Unreadable {
    /// Its stream.
    pub stream: StreamId,
    /// Its place there.
    pub version: Version,
    /// Its place in the log.
    pub position: Position,
    /// Why.
    pub error: upcast::Error,
}

/// A recorded event, or one that is shared.
pub trait Recorded: Liftable + Borrow<RecordedEvent> + Clone + Send + 'static {}

impl<E: Liftable + Borrow<RecordedEvent> + Clone + Send + 'static> Recorded for E {}

impl Registry {
    /// What lifts events.
    pub fn lifter(&self) -> Arc<Lifter> {
        Arc::clone(self.folder.lifter())
    }

    /// How readers that are no guests see events.
    pub fn reading(&self) -> Reading {
        Reading {
            plan: Arc::clone(&self.plan),
            lifter: Arc::clone(self.folder.lifter()),
        }
    }

    /// Lifts recorded events, of any categories, in their order: each to the version that
    /// the active decider of its category reads, without one to the end of its chain.
    /// Guests run off the reactor, and only if some event needs one.
    ///
    /// # Errors
    /// At the first event that can't be lifted.
    pub async fn lift(
        &self,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<RecordedEvent>, fold::Error> {
        self.lift_under(&self.plan(), events).await
    }

    /// The same under a plan that was the current one.
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
    /// What is active now.
    pub fn plan(&self) -> Arc<Plan> {
        self.plan.get()
    }

    /// Lifts events of any categories, which stand in the order of the log or against it,
    /// as far as they can be. Guests run off the reactor, and only if some event needs one.
    ///
    /// # Errors
    /// When the host is being shut down.
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

/// Lifts events of each category at once, so that each step is one call, and puts them in
/// their order again.
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
    // Stable: the parts of an event stay in their order.
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

/// Lifts events of one category as far as they can be.
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
    // One by one, to find those before the one that can't be lifted.
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
    /// Whether an event has to be lifted by a guest.
    pub fn needs_guest<E: Recorded>(&self, event: &E) -> bool {
        let recorded: &RecordedEvent = event.borrow();
        let lift = self.reader(recorded.stream.category());
        lift.is_some_and(|lift| Lifter::needs_guest(lift, event))
    }

    /// An event that needs no guest, under the name and version that it has by now.
    pub fn relabelled<E: Recorded>(&self, mut event: E) -> E {
        let recorded: &RecordedEvent = event.borrow();
        let lift = self.reader(recorded.stream.category());
        let route = lift.map(|lift| lift.route(event.name(), event.schema_version()));
        if let Some(Route::Reader(name, schema_version)) = route {
            event.relabel(&name, schema_version);
        }
        event
    }

    /// A filter that passes every stored event of which something may pass this one: types
    /// are taken by their canonical names, under which others may be stored.
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

    /// Every name by which a stored event may be asked for, where it has others than the
    /// one by which it is stored.
    pub fn names(&self, event: &RecordedEvent) -> &[Name] {
        let lift = self.reader(event.stream.category());
        lift.map_or(&[], |lift| lift.leads_to(&event.name))
    }

    /// Whether something of a stored event may pass a filter once it has been lifted. No
    /// guest is asked.
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

    /// Whether an event, lifted or as it is stored, is of a type that a filter excludes.
    pub fn excludes(&self, filter: &Filter, event: &RecordedEvent) -> bool {
        let types = filter.not_types.as_ref();
        types.is_some_and(|types| self.is_of(types, event))
    }

    /// Whether an event is of one of these types: under the name that it has now, or under
    /// the one by which it is stored.
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
