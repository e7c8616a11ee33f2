//! The events that a projection receives, and their form.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::Plan;
use super::lifting::{Readable, Recorded, lift_by};
use crate::model::{Name, RecordedEvent};
use crate::runtime::{Definition, Source};
use crate::store::Filter;
use crate::upcast::{Chain, Lift, Lifter, Names, Route, Way};

/// Highest number of cached lifts by category, because a store may have any number of categories.
const LIFTS_MAX: usize = 1_000;

/// The sources of a projection under one plan.
#[derive(Debug)]
pub struct Sources {
    plan: Arc<Plan>,
    /// By category.
    own: HashMap<Box<str>, Source>,
    /// For every other category, except those of the host.
    every: Option<Source>,
    filter: OnceLock<Filter>,
    lifts: RwLock<HashMap<Box<str>, Arc<Lift>>>,
}

impl Sources {
    /// Creates the sources of a definition.
    pub fn new(plan: &Arc<Plan>, definition: &Definition) -> Self {
        let sources = definition.sources.iter();
        let own = sources.filter_map(|source| Some((source.category.clone()?, source.clone())));
        Self {
            plan: Arc::clone(plan),
            own: own.collect(),
            every: definition.source_of_every().cloned(),
            filter: OnceLock::new(),
            lifts: RwLock::default(),
        }
    }

    /// Whether events of a category may be received.
    pub fn take(&self, category: &str) -> bool {
        self.source(category).is_some()
    }

    /// Whether an event, or a result of lifting it, may be received. No guest is called.
    pub fn takes(&self, event: &RecordedEvent) -> bool {
        let lift = self.lift(event.stream.category());
        lift.is_some_and(|lift| lift.route(&event.name, event.schema_version) != Route::LeftOut)
    }

    /// Whether every event, stored or future, takes the same way with other sources.
    pub fn is_same(&self, other: &Self) -> bool {
        let categories = |sources: &Self| -> BTreeSet<Box<str>> {
            let own = sources.own.keys().cloned();
            let readers = sources.plan.readers().map(|(category, _)| category.into());
            own.chain(readers.filter(|_| sources.every.is_some()))
                .collect()
        };
        let all: BTreeSet<_> = categories(self)
            .union(&categories(other))
            .cloned()
            .collect();
        all.iter().all(
            |category| match (self.lift(category), other.lift(category)) {
                (Some(one), Some(other)) => {
                    one.chain().is_same(other.chain()) && one.names() == other.names()
                }
                (one, other) => one.is_none() && other.is_none(),
            },
        )
    }

    /// Returns the way of a stored form of events. `None` if none of them is received.
    pub fn way(&self, category: &str, name: &Name, version: u32) -> Option<Way> {
        let lift = self.lift(category)?;
        Some(lift.way(name, version)).filter(|way| !way.is_left_out())
    }

    fn source(&self, category: &str) -> Option<&Source> {
        let every = || self.every.as_ref().filter(|_| !category.starts_with('$'));
        self.own.get(category).or_else(every)
    }

    /// Returns a filter that passes at least every stored event that may be received.
    pub fn filter(&self) -> &Filter {
        self.filter.get_or_init(|| self.widest())
    }

    fn widest(&self) -> Filter {
        if self.every.is_some() {
            return Filter::default();
        }
        let mut categories: Vec<&str> = self.own.keys().map(|category| &**category).collect();
        // Sorted, so that equal sources have equal filters.
        categories.sort_unstable();
        let categories = categories.into_iter().map(Into::into).collect();
        Filter {
            categories: Some(categories),
            types: self.types(),
            ..Filter::default()
        }
    }

    /// Returns every stored type whose results may be received. `None`: all types.
    fn types(&self) -> Option<Vec<Name>> {
        let mut types = BTreeSet::new();
        for (category, source) in &self.own {
            if source.events.is_empty() {
                return None;
            }
            let lift = self.lift(category)?;
            for (name, _) in &source.events {
                types.extend(lift.sources(name));
            }
        }
        Some(types.into_iter().collect())
    }

    /// Returns how the events of a category are lifted. `None` if none of them is received.
    pub fn lift(&self, category: &str) -> Option<Arc<Lift>> {
        let known = self.lifts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(lift) = known.get(category) {
            return Some(Arc::clone(lift));
        }
        drop(known);
        let source = self.source(category)?;
        let reader = self.plan.reader(category);
        let chain = reader.map_or_else(Chain::default, |lift| lift.chain().clone());
        let names = Names::of_source(&source.events, reader.map(|lift| lift.names()));
        let lift = Arc::new(Lift::new(chain, names));
        let mut known = self.lifts.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < LIFTS_MAX {
            known.insert(category.into(), Arc::clone(&lift));
        }
        Some(lift)
    }

    /// Lifts events in the order of the log until one can't be lifted. Events that are not received
    /// are left out. Guests run on the caller's thread.
    pub fn lift_all<E: Recorded>(&self, lifter: &Lifter, mut events: Vec<E>) -> Readable<E> {
        events.retain(|event| {
            let event: &RecordedEvent = event.borrow();
            self.take(event.stream.category())
        });
        lift_by(&|category| self.lift(category), lifter, events)
    }
}
