use std::sync::{Mutex, PoisonError};

use super::{Instance, Module};

/// Instances that nobody uses, kept for the next call: to make one takes as long as a
/// dozen calls. The oldest goes when there are too many; one that is spent, or whose
/// memory has grown large, isn't kept.
#[derive(Debug)]
pub struct Idle {
    instances: Mutex<Vec<Instance>>,
    instances_max: usize,
}

/// Guest memory from which an instance isn't kept, since it never shrinks.
const MEMORY_MARK: usize = 32 << 20;

impl Idle {
    /// Room for so many.
    pub fn new(instances_max: usize) -> Self {
        Self {
            instances: Mutex::default(),
            instances_max,
        }
    }

    /// One of this module, if there is one.
    pub fn take(&self, module: &Module) -> Option<Instance> {
        let mut idle = self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut places = idle.iter();
        let index = places.position(|one| one.module().digest() == module.digest())?;
        Some(idle.remove(index))
    }

    /// Drops all that are kept.
    pub fn clear(&self) {
        let mut idle = self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.clear();
    }

    /// Keeps one, if it is worth it.
    pub fn keep(&self, instance: Instance) {
        if instance.is_spent() || instance.memory_bytes() > MEMORY_MARK {
            return;
        }
        let mut idle = self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= self.instances_max {
            idle.remove(0);
        }
        idle.push(instance);
    }
}
