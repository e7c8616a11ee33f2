use std::time::Duration;
use std::{fmt, io};

use rustix::io::Errno;
use wasmtime::{Trap, WasmBacktrace};

use super::{Fuel, memory, processor_time};
use quipu_model::Digest;

/// A fault of a guest: it exceeded a limit, broke the contract, or crashed. The call has no effect.
///
/// Two faults are equal also when their calls took different times.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind} in {component} ({}): {text}", digest.short())]
pub struct Fault {
    /// Kind of fault.
    pub kind: FaultKind,
    /// Name of the component from its manifest; `?` while it is unknown.
    pub component: String,
    /// Digest of the component.
    pub digest: Digest,
    /// Description. Text from the guest is quoted, escaped and shortened.
    pub text: String,
    /// Fuel used by the call, if it got that far.
    pub fuel: Option<Fuel>,
    /// Processor time of the call, or of all calls of a fold.
    pub took: Duration,
}

impl PartialEq for Fault {
    fn eq(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.kind, it.digest, it.fuel);
        of(self) == of(other) && self.component == other.component && self.text == other.text
    }
}

impl Eq for Fault {}

/// Kinds of faults, as clients see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest aborted, did something that WebAssembly forbids, or overflowed its stack.
    Trap,
    /// It used more than its fuel.
    OutOfFuel,
    /// It ran longer than its time limit.
    Deadline,
    /// It requested more memory than allowed.
    OutOfMemory,
    /// It returned more data than allowed.
    OutputTooLarge,
    /// It reported an internal error.
    Internal,
    /// Its answer contradicts the contract or its own manifest.
    Contract,
    /// The host had no memory for the call. The guest is not at fault.
    HostOutOfMemory,
}

impl FaultKind {
    /// All kinds, in order.
    pub const ALL: [Self; 8] = [
        Self::Trap,
        Self::OutOfFuel,
        Self::Deadline,
        Self::OutOfMemory,
        Self::OutputTooLarge,
        Self::Internal,
        Self::Contract,
        Self::HostOutOfMemory,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::OutOfFuel => "out-of-fuel",
            Self::Deadline => "deadline",
            Self::OutOfMemory => "out-of-memory",
            Self::OutputTooLarge => "output-too-large",
            Self::Internal => "internal",
            Self::Contract => "contract",
            Self::HostOutOfMemory => "host-out-of-memory",
        }
    }

    /// Whether the host failed, and not the guest. Such a fault says nothing about the guest, so
    /// nothing lasting may follow from it.
    pub fn is_of_host(self) -> bool {
        self == Self::HostOutOfMemory
    }

    /// Whether the fault may depend on the machine or on other aggregates in the instance, so that
    /// a retry in a new instance makes sense.
    pub fn may_pass(self) -> bool {
        matches!(
            self,
            Self::Deadline | Self::OutOfMemory | Self::OutOfFuel | Self::HostOutOfMemory
        )
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a guest can't process its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The guest faulted.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The guest does not know the type or schema version of an event, and must not skip it. The
    /// aggregate must be closed.
    #[error("the guest does not know an event: {0}")]
    UnknownEvent(String),
    /// The guest can't read a snapshot, or no migration leads from it to the current version.
    #[error("the guest can't open a snapshot: {0}")]
    BadSnapshot(String),
    /// The body of an event does not match its type. The aggregate must be closed.
    #[error("the guest can't read an event: {0}")]
    BadEvent(String),
}

impl Failure {
    /// Whether the host failed, and not the guest.
    pub fn is_of_host(&self) -> bool {
        matches!(self, Self::Fault(fault) if fault.kind.is_of_host())
    }

    /// Lets a fault have taken the processor time of this thread since a moment, because it ended
    /// several calls.
    pub(super) fn since(mut self, begun: Duration) -> Self {
        if let Self::Fault(fault) = &mut self {
            fault.took = processor_time().saturating_sub(begun);
        }
        self
    }
}

/// A fault that is not yet assigned to a component.
#[derive(Debug)]
pub(super) struct Broken {
    pub kind: FaultKind,
    pub text: String,
    pub fuel: Option<Fuel>,
    pub took: Duration,
}

impl Broken {
    pub(super) fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            fuel: None,
            took: Duration::ZERO,
        }
    }

    /// Converts an error of the engine. `last_error` is the last error that the guest logged: a trap
    /// carries no message, so panic hooks log theirs.
    pub(super) fn by(error: &wasmtime::Error, last_error: Option<&str>) -> Self {
        let (kind, mut text) = classify(error);
        if let Some(function) = innermost(error) {
            text.push_str(&format!(" in {}", quoted(&function, 200)));
        }
        if let Some(last_error) = last_error {
            text.push_str(&format!("; it said {}", quoted(last_error, 2_000)));
        }
        Self::new(kind, text)
    }

    pub(super) fn of(self, component: &str, digest: Digest) -> Fault {
        Fault {
            kind: self.kind,
            component: component.to_owned(),
            digest,
            text: self.text,
            fuel: self.fuel,
            took: self.took,
        }
    }
}

/// Whether the machine had no memory for what the engine wanted.
pub(super) fn is_of_host_memory(error: &wasmtime::Error) -> bool {
    let root = error.root_cause();
    let by_system = root.downcast_ref::<Errno>() == Some(&Errno::NOMEM);
    let io = root.downcast_ref::<io::Error>();
    by_system
        || io.is_some_and(|error| error.kind() == io::ErrorKind::OutOfMemory)
        || root.is::<wasmtime::error::OutOfMemory>()
}

fn classify(error: &wasmtime::Error) -> (FaultKind, String) {
    if is_of_host_memory(error) {
        let text = format!("the host has no memory left: {error:#}");
        return (FaultKind::HostOutOfMemory, text);
    }
    if let Some(refused) = error.downcast_ref::<memory::Refused>() {
        return (FaultKind::OutOfMemory, refused.to_string());
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return of_trap(*trap);
    }
    let text = format!("{:#}", error.root_cause());
    // The engine has no public types for these two errors. Tests check their text.
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        let text = "more data than one call may copy out of the guest";
        return (FaultKind::OutputTooLarge, text.to_owned());
    }
    if text.contains("cannot allocate another handle") {
        let text = "more handles than an instance may have";
        return (FaultKind::OutOfMemory, text.to_owned());
    }
    // Other errors occur when the host reads the guest's output.
    (FaultKind::Contract, bounded(&text, 1_000).to_owned())
}

fn of_trap(trap: Trap) -> (FaultKind, String) {
    let kind = match trap {
        Trap::OutOfFuel => FaultKind::OutOfFuel,
        Trap::Interrupt => FaultKind::Deadline,
        Trap::AllocationTooLarge => FaultKind::OutOfMemory,
        Trap::InvalidChar
        | Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::UnalignedPointer => FaultKind::Contract,
        _ => FaultKind::Trap,
    };
    let text = match trap {
        Trap::OutOfFuel => "the fuel of the call is used up".to_owned(),
        Trap::Interrupt => "the time of the call is over".to_owned(),
        Trap::StackOverflow => "stack overflow: calls are nested too deep".to_owned(),
        Trap::MemoryOutOfBounds => {
            "memory access out of bounds, or an overflow of the guest's own stack".to_owned()
        }
        other => other.to_string(),
    };
    (kind, text)
}

/// Returns the guest function that failed, if the component contains names.
fn innermost(error: &wasmtime::Error) -> Option<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>()?;
    let name = backtrace.frames().first()?.func_name()?;
    Some(name.to_owned())
}

/// Quotes text from a guest: escaped and shortened.
pub(super) fn quoted(text: &str, bytes_max: usize) -> String {
    let prefix = bounded(text, bytes_max);
    let ellipsis = if prefix.len() < text.len() { "…" } else { "" };
    format!("{prefix:?}{ellipsis}")
}

/// Returns the longest prefix that fits, in whole characters.
pub(super) fn bounded(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_memory_is_not_a_fault_of_the_guest() {
        let mapping = wasmtime::Error::from(Errno::NOMEM).context("mmap failed to reserve");
        let file = wasmtime::Error::from(io::Error::from_raw_os_error(12)).context("a file");
        for error in [mapping, file] {
            let broken = Broken::by(&error, None);
            assert_eq!(broken.kind, FaultKind::HostOutOfMemory);
            assert!(broken.text.contains("no memory left"), "{}", broken.text);
        }
        let other = wasmtime::Error::from(Errno::INVAL).context("mmap failed");
        assert_eq!(Broken::by(&other, None).kind, FaultKind::Contract);
        let trap = wasmtime::Error::from(Trap::AllocationTooLarge);
        assert_eq!(Broken::by(&trap, None).kind, FaultKind::OutOfMemory);
    }

    #[test]
    fn a_guests_words_are_escaped_and_cut_between_characters() {
        assert_eq!(quoted("a\n\"b\"", 100), r#""a\n\"b\"""#);
        assert_eq!(quoted("éé", 3), "\"é\"…");
        assert_eq!(quoted("", 3), "\"\"");
    }
}
