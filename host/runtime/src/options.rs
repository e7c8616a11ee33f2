use std::path::PathBuf;
use std::time::Duration;

use super::Compiler;
use quipu_model::AppendLimits;

/// How a [`Runtime`](super::Runtime) works.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Bounds of every call.
    pub limits: Limits,
    /// Where compiled components are kept between runs; none: nowhere, so each
    /// start compiles them again.
    ///
    /// Whoever can write there can run code as this host: compiled components are
    /// machine code. The folder belongs to the host alone. Files are never
    /// deleted by the host, and all of them may be deleted while none runs.
    pub cache_dir: Option<PathBuf>,
    /// Who compiles components; none: this process, without a limit of time and memory.
    pub compiler: Option<Compiler>,
}

/// What a guest may use. A guest that exceeds a bound has a fault.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Fuel of one call, and of making an instance. Every instruction takes
    /// about one unit; half a billion is a quarter to half a second.
    pub fuel_per_call: u64,
    /// Time of one call, a backstop behind the fuel: how much a guest gets done
    /// in it depends on the machine. Kept to within a few milliseconds.
    pub deadline: Duration,
    /// All linear memories of an instance together. Guest memory never shrinks.
    pub memory_bytes_max: usize,
    /// Elements of one table.
    pub table_elements_max: usize,
    /// Handles of an instance, which lie in the host's memory: one for each open
    /// aggregate, and what the guest makes itself. One more is a fault that spends
    /// the instance, so keep fewer aggregates in one.
    pub handles_max: usize,
    /// Stack of a call. A guest written in Rust has a second stack in its linear
    /// memory, of 1 MiB by default; keep this one the smaller, or its overflow
    /// looks like any access out of bounds.
    pub stack_bytes_max: usize,
    /// What one call may copy out of the guest, counted as the host's memory.
    pub output_bytes_max: usize,
    /// The events of one decision.
    pub decision: AppendLimits,
    /// Events that one call folds; longer lists are cut.
    pub events_per_call_max: usize,
    /// Bytes of bodies that one call folds; longer lists are cut.
    pub call_bytes_max: usize,
    /// A component's file.
    pub component_bytes_max: usize,
    /// A message to the log, and a text for people in an answer.
    pub message_bytes_max: usize,
    /// Messages that one instance may log in a second; the rest is counted.
    pub messages_per_second_max: u32,
}

/// How much wider the limits are under which the history is decided again.
const WIDER: u32 = 16;

impl Limits {
    /// Those under which the history is decided again: what was decided once is no fault
    /// because the host's limits are narrower by now, or its machine is slower.
    pub fn of_history(&self) -> Self {
        let usual = Self::default();
        let wider = |own: usize, usual: usize| own.max(usual).saturating_mul(WIDER as usize);
        Self {
            fuel_per_call: self
                .fuel_per_call
                .max(usual.fuel_per_call)
                .saturating_mul(WIDER.into()),
            deadline: self.deadline.max(usual.deadline).saturating_mul(WIDER),
            // There are several instances at once.
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
