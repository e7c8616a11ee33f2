//! What a projection is given, and in which form.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::Plan;
use super::read::{Readable, Recorded, lift_by};
use crate::model::{Name, RecordedEvent};
use crate::runtime::{Definition, Source};
use crate::store::Filter;
use crate::upcast::{Chain, Lift, Lifter, Names, Route, Way};

/// Ways to a projection by category that are remembered: a store may have any number.
const LIFTS_MAX: usize = 1_000;

/// What a projection reads, under one plan.
#[derive(Debug)]
pub struct Sources {
    plan: Arc<Plan>,
    /// By category.
    own: HashMap<Box<str>, Source>,
    /// For every other category but those of the host.
    every: Option<Source>,
    filter: OnceLock<Filter>,
    lifts: RwLock<HashMap<Box<str>, Arc<Lift>>>,
}

impl Sources {
    /// What a definition names.
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

    /// Whether it may take events of a category.
    pub fn take(&self, category: &str) -> bool {
        self.source(category).is_some()
    }

    /// Whether it takes an event, or may take something of what that is lifted to. No guest
    /// is asked.
    pub fn takes(&self, event: &RecordedEvent) -> bool {
        let lift = self.lift(event.stream.category());
        lift.is_some_and(|lift| lift.route(&event.name, event.schema_version) != Route::LeftOut)
    }

    /// Whether every event, stored or to come, takes the same way to another reader.
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

    /// The way of a stored form of events to it; none when it is given nothing of that.
    pub fn way(&self, category: &str, name: &Name, version: u32) -> Option<Way> {
        let lift = self.lift(category)?;
        Some(lift.way(name, version)).filter(|way| !way.is_left_out())
    }

    fn source(&self, category: &str) -> Option<&Source> {
        let every = || self.every.as_ref().filter(|_| !category.starts_with('$'));
        self.own.get(category).or_else(every)
    }

    /// A filter that passes at least every stored event that it takes.
    pub fn filter(&self) -> &Filter {
        self.filter.get_or_init(|| self.widest())
    }

    fn widest(&self) -> Filter {
        if self.every.is_some() {
            return Filter::default();
        }
        let mut categories: Vec<&str> = self.own.keys().map(|category| &**category).collect();
        // Equal sources have equal filters.
        categories.sort_unstable();
        let categories = categories.into_iter().map(Into::into).collect();
        Filter {
            categories: Some(categories),
            types: self.types(),
            ..Filter::default()
        }
    }

    /// Every type, as it may be stored, of which something may be taken; none: all.
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

    /// How the events of a category come to it; none when it takes none of them.
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

    /// Lifts events, which stand in the order of the log, as far as they can be; what it
    /// does not take is left out. Guests run on the caller's thread.
    pub fn lift_all<E: Recorded>(&self, lifter: &Lifter, mut events: Vec<E>) -> Readable<E> {
        events.retain(|event| {
            let event: &RecordedEvent = event.borrow();
            self.take(event.stream.category())
        });
        lift_by(&|category| self.lift(category), lifter, events)
    }
}
