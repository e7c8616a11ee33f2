//! The instances of a worker. Many aggregates share one instance and are lost with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::Digest;
use crate::runtime::{Aggregate, Failure, Fault, Instance, Module, Snapshot};

/// Highest number of aggregates in one instance, which a trap drops at once.
const AGGREGATES_MAX: usize = 1_024;
/// The same for a module whose instances failed recently.
const FRAGILE_AGGREGATES_MAX: usize = 16;
/// Number of failed instances from which a module counts as fragile, and how long it does after the
/// last one.
const FALLS_MIN: u32 = 3;
const FRAGILE: Duration = Duration::from_secs(60);
/// Guest memory from which an instance accepts no more aggregates, because its memory never
/// shrinks.
const MEMORY_MARK: usize = 64 << 20;

/// Refers to an aggregate in an instance.
#[derive(Debug)]
pub struct Handle {
    index: usize,
    generation: u64,
    aggregate: Aggregate,
}

/// The instances of one worker.
#[derive(Default)]
pub struct Pool {
    places: Vec<Place>,
    generations: u64,
    /// Total guest memory of all instances.
    bytes: usize,
    /// Number of failed shared instances of a module, and the time of the last failure.
    falls: HashMap<Digest, (u32, Instant)>,
}

#[derive(Default)]
struct Place {
    generation: u64,
    resident: Option<Resident>,
}

struct Resident {
    instance: Instance,
    aggregates: usize,
    /// Whether aggregates of other streams may be added.
    is_shared: bool,
    /// Guest memory after its last call.
    bytes: usize,
}

impl Pool {
    /// Opens an aggregate, from a snapshot or from the beginning: in an instance with room, or in a
    /// separate one.
    pub fn open(
        &mut self,
        module: &Arc<Module>,
        key: &str,
        snapshot: Option<&Snapshot>,
        is_separate: bool,
    ) -> Result<Handle, Failure> {
        let index = match (!is_separate)
            .then(|| self.with_room(module.digest()))
            .flatten()
        {
            Some(index) => index,
            None => self.add(module, !is_separate)?,
        };
        self.open_at(index, key, snapshot)
    }

    /// Opens an aggregate in a separate instance, after another aggregate that is never used. This
    /// places its state at a different address in memory, so that results which depend on the
    /// address differ.
    pub fn open_displaced(
        &mut self,
        module: &Arc<Module>,
        key: &str,
        snapshot: Option<&Snapshot>,
    ) -> Result<Handle, Failure> {
        let index = self.add(module, false)?;
        if let Some((resident, _)) = self.resident(index) {
            let unused = resident.instance.open(key, None);
            self.called(index);
            _ = unused?;
        }
        self.open_at(index, key, snapshot)
    }

    fn open_at(
        &mut self,
        index: usize,
        key: &str,
        snapshot: Option<&Snapshot>,
    ) -> Result<Handle, Failure> {
        let Some((resident, generation)) = self.resident(index) else {
            unreachable!("a place that was just found or filled has a resident")
        };
        let opened = resident.instance.open(key, snapshot);
        match opened {
            Ok(aggregate) => {
                resident.aggregates += 1;
                self.called(index);
                Ok(Handle {
                    index,
                    generation,
                    aggregate,
                })
            }
            Err(failure) => {
                self.called(index);
                Err(failure)
            }
        }
    }

    /// Calls the instance that contains an aggregate. `None` when the instance is gone, or when
    /// this call ended it.
    pub fn call<T>(
        &mut self,
        handle: &Handle,
        call: impl FnOnce(&mut Instance, &Aggregate) -> Result<T, Failure>,
    ) -> Option<Result<T, Failure>> {
        let place = self.places.get_mut(handle.index)?;
        let resident = place
            .resident
            .as_mut()
            .filter(|_| place.generation == handle.generation)?;
        let result = call(&mut resident.instance, &handle.aggregate);
        self.called(handle.index);
        Some(result)
    }

    /// Whether an aggregate still exists.
    pub fn holds(&self, handle: &Handle) -> bool {
        self.places
            .get(handle.index)
            .is_some_and(|place| place.generation == handle.generation && place.resident.is_some())
    }

    /// Closes an aggregate. If it was the last one, also drops an instance that accepts no more.
    pub fn close(&mut self, handle: Handle) {
        if !self.holds(&handle) {
            return;
        }
        let Some((resident, _)) = self.resident(handle.index) else {
            return;
        };
        resident.instance.close(handle.aggregate);
        resident.aggregates -= 1;
        let is_over = resident.aggregates == 0
            && (!resident.is_shared || resident.instance.memory_bytes() >= MEMORY_MARK);
        if is_over || resident.instance.is_spent() {
            self.clear(handle.index);
        }
    }

    /// Returns the guest memory of all instances, each measured after its last call.
    pub fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// Drops instances without aggregates whose modules are no longer in use.
    pub fn retain_modules(&mut self, in_use: impl Fn(Digest) -> bool) {
        for index in 0..self.places.len() {
            let resident = self.places[index].resident.as_ref();
            if resident
                .is_some_and(|one| one.aggregates == 0 && !in_use(one.instance.module().digest()))
            {
                self.clear(index);
            }
        }
        self.falls.retain(|_, (_, last)| last.elapsed() < FRAGILE);
    }

    fn with_room(&self, digest: Digest) -> Option<usize> {
        let fell = self.falls.get(&digest);
        let is_fragile =
            fell.is_some_and(|(falls, last)| *falls >= FALLS_MIN && last.elapsed() < FRAGILE);
        let aggregates_max = match is_fragile {
            true => FRAGILE_AGGREGATES_MAX,
            false => AGGREGATES_MAX,
        };
        self.places.iter().position(|place| {
            place.resident.as_ref().is_some_and(|one| {
                one.is_shared
                    && one.aggregates < aggregates_max
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
            bytes: 0,
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

    /// Updates the memory of an instance after a call, and drops it when the call ended it.
    fn called(&mut self, index: usize) {
        let Some(resident) = &mut self.places[index].resident else {
            return;
        };
        if !resident.instance.is_spent() {
            let bytes = resident.instance.memory_bytes();
            self.bytes = self.bytes - resident.bytes + bytes;
            resident.bytes = bytes;
            return;
        }
        if resident.is_shared {
            let digest = resident.instance.module().digest();
            let (falls, last) = self.falls.entry(digest).or_insert((0, Instant::now()));
            *falls = if last.elapsed() < FRAGILE {
                *falls + 1
            } else {
                1
            };
            *last = Instant::now();
        }
        self.clear(index);
    }

    fn clear(&mut self, index: usize) {
        if let Some(resident) = self.places[index].resident.take() {
            self.bytes -= resident.bytes;
        }
    }
}
