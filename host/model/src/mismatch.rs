use std::fmt;
use std::str::FromStr;

use super::Invalid;

/// How a stored document differs from the result of folding all events from the first one, or from
/// what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mismatch {
    /// The document is stored and folded, with different bytes.
    Different,
    /// The document is stored, but folding does not create it.
    OnlyStored,
    /// Folding creates the document, but it is not stored.
    OnlyFolded,
    /// An event can no longer be folded into the document.
    Unfoldable,
    /// An event of a stream can no longer be lifted or given keys, so the documents that it
    /// concerns are unknown.
    Unreadable,
    /// The document does not have the digest that was stored with it.
    Changed,
}

impl Mismatch {
    /// All kinds of mismatch.
    pub const ALL: [Self; 6] = [
        Self::Different,
        Self::OnlyStored,
        Self::OnlyFolded,
        Self::Unfoldable,
        Self::Unreadable,
        Self::Changed,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Different => "different",
            Self::OnlyStored => "only-stored",
            Self::OnlyFolded => "only-folded",
            Self::Unfoldable => "unfoldable",
            Self::Unreadable => "unreadable",
            Self::Changed => "changed",
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mismatch {
    type Err = Invalid;

    fn from_str(name: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|it| it.as_str() == name);
        found.ok_or_else(|| {
            let all = Self::ALL.map(Self::as_str).join(", ");
            Invalid(format!("mismatch {name:?} is not one of: {all}"))
        })
    }
}
