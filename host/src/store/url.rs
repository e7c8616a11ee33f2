use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Error, Result, Store, memory, sqlite};

/// Where a store is: `sqlite:PATH` or `memory:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A SQLite file; made if missing.
    Sqlite(PathBuf),
    /// In this process only, lost when it ends: for tests and experiments.
    Memory,
}

impl FromStr for StoreUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason: &str| Error::Url(format!("store {text:?}: {reason}"));
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                if path.is_empty() || path.contains('\0') {
                    return Err(wrong("a path belongs behind sqlite:"));
                }
                Ok(Self::Sqlite(path.into()))
            }
            Some(("postgres" | "postgresql", _)) => Err(wrong(
                "this version has no PostgreSQL back-end; use sqlite:PATH",
            )),
            _ => Err(wrong("expected sqlite:PATH or memory:")),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Memory => f.write_str("memory:"),
        }
    }
}

/// Opens a store, making it if it does not exist.
///
/// # Errors
/// When it can't be opened, is in use by another host, or was made by a newer program.
pub async fn open(url: &StoreUrl) -> Result<Store> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::open(path, &sqlite::Options::default()).await,
        StoreUrl::Memory => Ok(memory::open()),
    }
}
