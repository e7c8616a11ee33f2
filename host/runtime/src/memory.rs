use wasmtime::ResourceLimiter;

use super::Limits;
use super::fault::is_of_host_memory;

/// Limits and counts the host memory that an instance uses.
pub(super) struct Memory {
    bytes: usize,
    bytes_max: usize,
    table_elements_max: usize,
}

/// A rejected growth. It traps, so that a guest which can't allocate can be distinguished from one
/// that hits any other `unreachable`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

impl Memory {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            bytes: 0,
            bytes_max: limits.memory_bytes_max,
            table_elements_max: limits.table_elements_max,
        }
    }

    /// Bytes of all linear memories.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn refused(what: &'static str, wanted: usize, max: usize) -> wasmtime::Error {
    wasmtime::Error::new(Refused(format!("{what}: {wanted} is more than {max}")))
}

/// A growth that failed: refused to the guest, unless the host has no memory.
fn unless_of_host(error: wasmtime::Error) -> wasmtime::Error {
    match is_of_host_memory(&error) {
        true => error,
        false => wasmtime::Error::new(Refused(error.to_string())),
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.bytes.saturating_add(desired.saturating_sub(current));
        if wanted > self.bytes_max {
            return Err(refused("bytes of memory", wanted, self.bytes_max));
        }
        if let Some(max) = maximum.filter(|max| desired > *max) {
            return Err(refused("bytes of a memory by its own bound", desired, max));
        }
        self.bytes = wanted;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(unless_of_host(error))
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let max = maximum.map_or(self.table_elements_max, |max| {
            max.min(self.table_elements_max)
        });
        if desired > max {
            return Err(refused("elements of a table", desired, max));
        }
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(unless_of_host(error))
    }

    fn instances(&self) -> usize {
        100
    }

    fn tables(&self) -> usize {
        100
    }

    fn memories(&self) -> usize {
        100
    }
}
