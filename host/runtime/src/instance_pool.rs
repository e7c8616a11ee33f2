use std::sync::{Mutex, PoisonError};

use super::{Instance, Module};

/// Caches unused instances for the next call, because creating one takes as long as a dozen calls.
///
/// When there are too many, the oldest is dropped. An instance that is spent, or whose memory has
/// grown large, is not cached.
#[derive(Debug)]
pub struct Idle {
    instances: Mutex<Vec<Instance>>,
    instances_max: usize,
}

/// Guest memory above which an instance is not stored, because its memory never shrinks.
const MEMORY_MARK: usize = 32 << 20;

impl Idle {
    /// Creates a cache for at most `instances_max` instances.
    pub fn new(instances_max: usize) -> Self {
        Self {
            instances: Mutex::default(),
            instances_max,
        }
    }

    /// Takes an instance of this module, if there is one.
    pub fn take(&self, module: &Module) -> Option<Instance> {
        let mut idle = self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut places = idle.iter();
        let index = places.position(|one| one.module().digest() == module.digest())?;
        Some(idle.remove(index))
    }

    /// Drops all stored instances.
    pub fn clear(&self) {
        let mut idle = self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        idle.clear();
    }

    /// Stores an instance, if it is worth storing.
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
