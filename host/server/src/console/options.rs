use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What the console does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ConsoleMode {
    /// There is no console.
    Off,
    /// It shows what its reader may read.
    #[default]
    Read,
    /// It also offers actions that its reader may do.
    Full,
}

impl ConsoleMode {
    const ALL: [Self; 3] = [Self::Off, Self::Read, Self::Full];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Read => "read",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for ConsoleMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ConsoleMode {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == word);
        found.ok_or_else(|| format!("expected off, read or full, found {word:?}"))
    }
}

/// A key of the configuration as the console shows it. It has no secret.
#[derive(Debug, Clone)]
pub struct ConsoleSetting {
    /// The key.
    pub key: String,
    /// Its value; none if nothing is set and nothing is the default.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: String,
}

/// The console of a host.
#[derive(Debug, Clone, Default)]
pub struct Console {
    /// What it does.
    pub mode: ConsoleMode,
    /// The configuration with which the host was started.
    pub settings: Arc<[ConsoleSetting]>,
}
