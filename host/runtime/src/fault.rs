use std::fmt;

use wasmtime::{Trap, WasmBacktrace};

use super::{Fuel, memory};
use quipu_model::Digest;

/// A fault of a guest: it broke a limit, a rule of the contract, or itself.
/// Nothing of the call counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} in {component} ({}): {text}", digest.short())]
pub struct Fault {
    /// What kind of fault.
    pub kind: FaultKind,
    /// Name of the component by its manifest; `?` while that is not known.
    pub component: String,
    /// Digest of the component.
    pub digest: Digest,
    /// What happened. Words of the guest stand in quotes, escaped and bounded.
    pub text: String,
    /// What the call had taken, when it came that far.
    pub fuel: Option<Fuel>,
}

/// Kinds of faults, as clients see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest stopped itself or did what WebAssembly forbids; also a full stack.
    Trap,
    /// It ran longer than its fuel.
    OutOfFuel,
    /// It ran longer than its time.
    Deadline,
    /// It asked for more memory than it may have.
    OutOfMemory,
    /// It answered more than it may.
    OutputTooLarge,
    /// It says of itself that it failed.
    Internal,
    /// Its answer is not what the contract or its own manifest says.
    Contract,
}

impl FaultKind {
    /// The kind's stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::OutOfFuel => "out-of-fuel",
            Self::Deadline => "deadline",
            Self::OutOfMemory => "out-of-memory",
            Self::OutputTooLarge => "output-too-large",
            Self::Internal => "internal",
            Self::Contract => "contract",
        }
    }

    /// Whether it may depend on what else the instance holds or on the machine, so
    /// that a fresh instance deserves one more try.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Deadline | Self::OutOfMemory | Self::OutOfFuel)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a guest can't take what it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It broke.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It names an event's type or schema version that it does not know and may
    /// not skip. The aggregate is to be closed.
    #[error("the guest does not know an event: {0}")]
    UnknownEvent(String),
    /// It can't take a snapshot, or nothing leads from it to the current form.
    #[error("the guest can't open a snapshot: {0}")]
    BadSnapshot(String),
    /// The body of an event does not fit its type. The aggregate is to be closed.
    #[error("the guest can't read an event: {0}")]
    BadEvent(String),
}

/// A fault before anyone says whose it is.
#[derive(Debug)]
pub(super) struct Broken {
    pub kind: FaultKind,
    pub text: String,
    pub fuel: Option<Fuel>,
}

impl Broken {
    pub(super) fn new(kind: FaultKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            fuel: None,
        }
    }

    /// What an error of the engine means. `said` is what the guest last logged as
    /// an error: a trap carries no message, so panic hooks log theirs.
    pub(super) fn by(error: &wasmtime::Error, said: Option<&str>) -> Self {
        let (kind, mut text) = classify(error);
        if let Some(function) = innermost(error) {
            text.push_str(&format!(" in {}", quoted(&function, 200)));
        }
        if let Some(said) = said {
            text.push_str(&format!("; it said {}", quoted(said, 2_000)));
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
        }
    }
}

fn classify(error: &wasmtime::Error) -> (FaultKind, String) {
    if let Some(refused) = error.downcast_ref::<memory::Refused>() {
        return (FaultKind::OutOfMemory, refused.to_string());
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return of_trap(*trap);
    }
    let text = format!("{:#}", error.root_cause());
    // The engine's errors for these two have no public types; tests hold their words.
    if text.contains("fuel allocated for hostcalls has been exhausted") {
        let text = "more data than one call may copy out of the guest";
        return (FaultKind::OutputTooLarge, text.to_owned());
    }
    if text.contains("cannot allocate another handle") {
        let text = "more handles than an instance may have";
        return (FaultKind::OutOfMemory, text.to_owned());
    }
    // What is no trap comes from reading what the guest gave.
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

/// The guest's function in which it happened, when the component tells names.
fn innermost(error: &wasmtime::Error) -> Option<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>()?;
    let name = backtrace.frames().first()?.func_name()?;
    Some(name.to_owned())
}

/// A guest's words: in quotes, escaped, cut to a length.
pub(super) fn quoted(text: &str, bytes_max: usize) -> String {
    let kept = bounded(text, bytes_max);
    let ellipsis = if kept.len() < text.len() { "…" } else { "" };
    format!("{kept:?}{ellipsis}")
}

/// As much of a text as fits, in whole characters.
pub(super) fn bounded(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_words_are_escaped_and_cut_between_characters() {
        assert_eq!(quoted("a\n\"b\"", 100), r#""a\n\"b\"""#);
        assert_eq!(quoted("éé", 3), "\"é\"…");
        assert_eq!(quoted("", 3), "\"\"");
    }
}
