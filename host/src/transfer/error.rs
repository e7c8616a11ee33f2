use super::Imported;
use crate::model::Position;
use crate::store;

/// Why an import ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A line that can't be taken in.
    #[error("line {line}: {reason}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is cut off.
    #[error(
        "the file ends after line {0} without its quipu.end: it is cut off; import the whole file to go on"
    )]
    Incomplete(u64),
    /// The store is not empty, and holds something else than the beginning of this file.
    #[error("the store can't take in this file: {0}; a whole export needs an empty store")]
    Differs(String),
    /// The lines could not be read.
    #[error("the file can't be read on: {0}")]
    Read(String),
    /// The store refused a part, or failed.
    #[error("lines {first} to {last}: {error}")]
    Part {
        /// Number of the part's first line.
        first: u64,
        /// Number of its last line.
        last: u64,
        /// What the store says.
        error: store::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// An import that ended before its end, and how far it came. What was taken in stays:
/// the same import goes on behind it.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}", at(.imported.head))]
pub struct Failed {
    /// Why; part of this error's own text.
    pub error: Error,
    /// What had been taken in.
    pub imported: Imported,
}

fn at(head: Position) -> String {
    match head {
        Position(0) => "; the store has no event".to_owned(),
        head => format!("; the store's last event stands at position {head}"),
    }
}

impl Error {
    /// Its stable code, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Line { .. } | Self::Incomplete(_) | Self::Read(_) => "bad-request",
            Self::Differs(_)
            | Self::Part {
                error: store::Error::Import(_),
                ..
            } => "import-refused",
            Self::Part { error, .. } | Self::Store(error) => error.code(),
        }
    }
}
