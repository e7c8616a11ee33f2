use std::path::PathBuf;
use std::time::Duration;

use super::{Compiler, Functions};
use quipu_model::AppendLimits;

/// Options of a [`Runtime`](super::Runtime).
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Limits of every call.
    pub limits: Limits,
    /// Folder in which compiled components are stored between runs. `None`: they are not stored,
    /// and each start compiles them from scratch.
    ///
    /// Anyone who can write to the folder can run code as this host, because compiled components
    /// are machine code. Only the host may use the folder. The host never deletes files there; all
    /// of them may be deleted while no host is running.
    pub cache_dir: Option<PathBuf>,
    /// Functions that were compiled before, for components that are compiled in this process. `None`:
    /// every function is compiled.
    pub functions: Option<Functions>,
    /// External compiler. `None`: components are compiled in this process, without limits of time
    /// and memory.
    pub compiler: Option<Compiler>,
}

/// Limits of a guest. Exceeding one is a fault.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Fuel of one call, and of creating an instance. Every instruction takes about one unit; half
    /// a billion takes a quarter to half a second.
    pub fuel_per_call: u64,
    /// Time limit of one call, in addition to the fuel. The work that a guest completes in this
    /// time depends on the machine. Accurate to a few milliseconds.
    pub deadline: Duration,
    /// Total linear memory of an instance. Guest memory never shrinks.
    pub memory_bytes_max: usize,
    /// Elements of one table.
    pub table_elements_max: usize,
    /// Handles of an instance: one for each open aggregate, and those that the guest creates
    /// itself. They use the host's memory. Exceeding the limit is a fault that spends the instance,
    /// so keep the number of aggregates in one instance below it.
    pub handles_max: usize,
    /// Stack of a call. A guest written in Rust has a second stack in its linear memory, of 1 MiB
    /// by default. This limit should be the smaller one, otherwise an overflow looks like any
    /// access out of bounds.
    pub stack_bytes_max: usize,
    /// Data that one call may copy out of the guest, measured in host memory.
    pub output_bytes_max: usize,
    /// Limits of the events of one decision.
    pub decision: AppendLimits,
    /// Events folded in one call; longer lists are split.
    pub events_per_call_max: usize,
    /// Bytes of bodies folded in one call; longer lists are split.
    pub call_bytes_max: usize,
    /// Size of a component's file.
    pub component_bytes_max: usize,
    /// Length of a log message, and of a text for people in an answer.
    pub message_bytes_max: usize,
    /// Messages that one instance may log per second. Further ones are only counted.
    pub messages_per_second_max: u32,
}

/// Factor by which limits are raised for re-deciding the history.
const WIDER: u32 = 16;

impl Limits {
    /// Returns the limits for re-deciding the history. They are higher, so that a past decision
    /// does not become a fault because the limits are lower now or the machine is slower.
    pub fn of_history(&self) -> Self {
        let usual = Self::default();
        let wider = |own: usize, usual: usize| own.max(usual).saturating_mul(WIDER as usize);
        Self {
            fuel_per_call: self
                .fuel_per_call
                .max(usual.fuel_per_call)
                .saturating_mul(WIDER.into()),
            deadline: self.deadline.max(usual.deadline).saturating_mul(WIDER),
            // Several instances exist at once.
            memory_bytes_max: self
                .memory_bytes_max
                .max(usual.memory_bytes_max)
                .saturating_mul(4),
            table_elements_max: wider(self.table_elements_max, usual.table_elements_max),
            output_bytes_max: wider(self.output_bytes_max, usual.output_bytes_max),
            message_bytes_max: wider(self.message_bytes_max, usual.message_bytes_max),
            decision: self.decision.wider(WIDER as usize),
            ..self.clone()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel_per_call: 500_000_000,
            deadline: Duration::from_secs(5),
            memory_bytes_max: 256 << 20,
            table_elements_max: 200_000,
            handles_max: 100_000,
            stack_bytes_max: 512 << 10,
            output_bytes_max: 16 << 20,
            decision: AppendLimits::default(),
            events_per_call_max: 1_000,
            call_bytes_max: 4 << 20,
            component_bytes_max: 64 << 20,
            message_bytes_max: 4 << 10,
            messages_per_second_max: 100,
        }
    }
}
