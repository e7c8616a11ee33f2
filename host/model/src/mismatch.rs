use std::fmt;
use std::str::FromStr;

use super::Invalid;

/// How a stored document differs from what is folded from the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mismatch {
    /// Both have the document, with other bytes.
    Different,
    /// It is stored, and not folded.
    OnlyStored,
    /// It is folded, and not stored.
    OnlyFolded,
    /// An event can't be folded into it now.
    Unfoldable,
    /// An event of a stream can't be lifted or given keys now, so that nothing says which
    /// documents it concerns.
    Unreadable,
}

impl Mismatch {
    /// Every mismatch.
    pub const ALL: [Self; 5] = [
        Self::Different,
        Self::OnlyStored,
        Self::OnlyFolded,
        Self::Unfoldable,
        Self::Unreadable,
    ];

    /// Its stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Different => "different",
            Self::OnlyStored => "only-stored",
            Self::OnlyFolded => "only-folded",
            Self::Unfoldable => "unfoldable",
            Self::Unreadable => "unreadable",
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
