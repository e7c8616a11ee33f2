//! Instances of a worker: many aggregates share one, and fall with it.

use std::sync::Arc;

use crate::model::Digest;
use crate::runtime::{Aggregate, Failure, Fault, Instance, Module, Snapshot};

/// Aggregates in one instance: what a trap throws away at once.
const AGGREGATES_MAX: usize = 1_024;
/// Guest memory from which an instance takes no more aggregates, since it never shrinks.
const MEMORY_MARK: usize = 64 << 20;

/// Where an aggregate lives.
#[derive(Debug)]
pub struct Home {
    index: usize,
    generation: u64,
    aggregate: Aggregate,
}

/// The instances of one worker.
#[derive(Default)]
pub struct Pool {
    places: Vec<Place>,
    generations: u64,
}

#[derive(Default)]
struct Place {
    generation: u64,
    resident: Option<Resident>,
}

struct Resident {
    instance: Instance,
    aggregates: usize,
    /// Takes aggregates of other streams.
    is_shared: bool,
}

impl Pool {
    /// Opens an aggregate, from a snapshot or from the beginning: in an instance with room, or, for a stream that is to
    /// be kept apart, in one of its own.
    pub fn open(
        &mut self,
        module: &Arc<Module>,
        key: &str,
        snapshot: Option<&Snapshot>,
        apart: bool,
    ) -> Result<Home, Failure> {
        let index = match (!apart).then(|| self.with_room(module.digest())).flatten() {
            Some(index) => index,
            None => self.add(module, !apart)?,
        };
        let Some((resident, generation)) = self.resident(index) else {
            unreachable!("a place that was just found or filled has a resident")
        };
        let opened = resident.instance.open(key, snapshot);
        match opened {
            Ok(aggregate) => {
                resident.aggregates += 1;
                Ok(Home {
                    index,
                    generation,
                    aggregate,
                })
            }
            Err(failure) => {
                self.clear_if_spent(index);
                Err(failure)
            }
        }
    }

    /// Calls the instance in which an aggregate lives. None when it is gone, or
    /// when this very call ended it.
    pub fn call<T>(
        &mut self,
        home: &Home,
        call: impl FnOnce(&mut Instance, &Aggregate) -> Result<T, Failure>,
    ) -> Option<Result<T, Failure>> {
        let place = self.places.get_mut(home.index)?;
        let resident = place
            .resident
            .as_mut()
            .filter(|_| place.generation == home.generation)?;
        let result = call(&mut resident.instance, &home.aggregate);
        self.clear_if_spent(home.index);
        Some(result)
    }

    /// Whether an aggregate is still there.
    pub fn holds(&self, home: &Home) -> bool {
        self.places
            .get(home.index)
            .is_some_and(|place| place.generation == home.generation && place.resident.is_some())
    }

    /// Closes an aggregate and, when it was the last, an instance that takes no more.
    pub fn close(&mut self, home: Home) {
        if !self.holds(&home) {
            return;
        }
        let Some((resident, _)) = self.resident(home.index) else {
            return;
        };
        resident.instance.close(home.aggregate);
        resident.aggregates -= 1;
        let is_over = resident.aggregates == 0
            && (!resident.is_shared || resident.instance.memory_bytes() >= MEMORY_MARK);
        if is_over || resident.instance.is_spent() {
            self.places[home.index].resident = None;
        }
    }

    /// Guest memory of all instances.
    pub fn memory_bytes(&self) -> usize {
        self.residents()
            .map(|resident| resident.instance.memory_bytes())
            .sum()
    }

    /// Drops instances without aggregates of modules that are not in use any more.
    pub fn retain_modules(&mut self, in_use: impl Fn(Digest) -> bool) {
        for place in &mut self.places {
            place
                .resident
                .take_if(|one| one.aggregates == 0 && !in_use(one.instance.module().digest()));
        }
    }

    fn residents(&self) -> impl Iterator<Item = &Resident> {
        self.places
            .iter()
            .filter_map(|place| place.resident.as_ref())
    }

    fn with_room(&self, digest: Digest) -> Option<usize> {
        self.places.iter().position(|place| {
            place.resident.as_ref().is_some_and(|one| {
                one.is_shared
                    && one.aggregates < AGGREGATES_MAX
                    && one.instance.module().digest() == digest
                    && one.instance.memory_bytes() < MEMORY_MARK
            })
        })
    }

    fn add(&mut self, module: &Arc<Module>, is_shared: bool) -> Result<usize, Fault> {
        let resident = Resident {
            instance: Instance::new(module)?,
            aggregates: 0,
            is_shared,
        };
        self.generations += 1;
        let place = Place {
            generation: self.generations,
            resident: Some(resident),
        };
        match self
            .places
            .iter()
            .position(|place| place.resident.is_none())
        {
            Some(index) => {
                self.places[index] = place;
                Ok(index)
            }
            None => {
                self.places.push(place);
                Ok(self.places.len() - 1)
            }
        }
    }

    fn resident(&mut self, index: usize) -> Option<(&mut Resident, u64)> {
        let place = self.places.get_mut(index)?;
        let generation = place.generation;
        place
            .resident
            .as_mut()
            .map(|resident| (resident, generation))
    }

    fn clear_if_spent(&mut self, index: usize) {
        let place = &mut self.places[index];
        place
            .resident
            .take_if(|resident| resident.instance.is_spent());
    }
}
