use super::Imported;
use crate::model::{Invalid, Position};
use crate::store;

/// Why an export did not start, or an import did not finish.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A line is invalid.
    #[error("line {line}: {reason}")]
    Line {
        /// Number of the line, starting at 1.
        line: u64,
        /// What is wrong with the line.
        reason: String,
    },
    /// The file is truncated.
    #[error(
        "the file ends after line {0} without its quipu.end: it is cut off; import the whole file to go on"
    )]
    Incomplete(u64),
    /// The store is not empty, and its contents are not the beginning of this file.
    #[error("the store can't take in this file: {0}; a whole export needs an empty store")]
    Differs(String),
    /// The lines could not be read.
    #[error("the file can't be read on: {0}")]
    Read(String),
    /// The store rejected a part, or failed.
    #[error("lines {first} to {last}: {error}")]
    Part {
        /// Number of the part's first line.
        first: u64,
        /// Number of the part's last line.
        last: u64,
        /// The store's error.
        error: store::Error,
    },
    /// The position after which an export should begin does not exist.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// An import that did not finish, with its progress. What was imported is retained: repeating the
/// same import continues after it.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}", at(.imported.head))]
pub struct Failed {
    /// The cause. Its text is part of this error's text.
    pub error: Error,
    /// What was imported before the error.
    pub imported: Imported,
}

fn at(head: Position) -> String {
    match head {
        Position(0) => "; the store has no event".to_owned(),
        head => format!("; the store's last event is at position {head}"),
    }
}

impl Error {
    /// Returns the stable code of the error, as HTTP clients see it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Line { .. } | Self::Incomplete(_) | Self::Read(_) | Self::Invalid(_) => {
                "bad-request"
            }
            Self::Differs(_)
            | Self::Part {
                error: store::Error::Import(_),
                ..
            } => "import-refused",
            Self::Part { error, .. } | Self::Store(error) => error.code(),
        }
    }
}
