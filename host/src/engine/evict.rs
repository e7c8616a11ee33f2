//! What a worker gives up: the least recently used streams, and what is warm in replaced modules.

use super::slot::{Slot, State};
use super::worker::Streams;
use crate::model::StreamId;

/// Slots that are looked at for one that can be evicted.
const EVICTION_LOOKS: usize = 32;

impl Streams {
    /// Gives up what is warm in modules that are not in use any more: each holds memory, and its
    /// streams are loaded anew with their next command anyway.
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

    /// Keeps the number of warm aggregates, and their memory, within bounds.
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
