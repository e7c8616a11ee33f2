//! Evicts the least recently used streams, and the warm states of replaced modules, from a worker.

use super::slot::{Slot, State};
use super::worker::Streams;
use crate::model::StreamId;

/// Number of slots that are checked to find one that can be evicted.
const EVICTION_LOOKS: usize = 32;

impl Streams {
    /// Evicts the warm states of modules that are no longer in use. Each such module uses memory,
    /// and its streams must be loaded from scratch for their next command anyway.
    pub(super) fn give_up_replaced(&mut self) {
        let plan = self.executor.shared.registry.plan();
        let is_replaced = |slot: &Slot| match &slot.state {
            State::Warm(warm) => !plan.serves(warm.deployed.rules.module.digest()),
            _ => false,
        };
        let replaced: Vec<StreamId> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.is_idle() && is_replaced(slot))
            .map(|(stream, _)| stream.clone())
            .collect();
        for stream in replaced {
            self.give_up(&stream);
        }
        self.executor
            .pool
            .retain_modules(|digest| plan.serves(digest));
    }

    /// Keeps the number of warm aggregates, and their memory, within limits.
    pub(super) fn evict(&mut self) {
        let options = &self.executor.shared.options;
        let is_over = self.executor.pool.memory_bytes() > options.warm_bytes_max;
        if self.slots.len() <= options.warm_aggregates_max && !is_over {
            return;
        }
        let idle = self
            .slots
            .iter()
            .take(EVICTION_LOOKS)
            .find(|(_, slot)| slot.is_idle());
        let Some(stream) = idle.map(|(stream, _)| stream.clone()) else {
            return;
        };
        self.give_up(&stream);
    }

    fn give_up(&mut self, stream: &StreamId) {
        if let Some(mut slot) = self.slots.remove(stream) {
            self.executor.retire(&mut slot);
        }
    }
}
