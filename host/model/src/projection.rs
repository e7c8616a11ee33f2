//! How projections are kept, apart from what they are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// When the documents of a projection are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// Behind the log, as fast as it goes.
    #[default]
    Async,
    /// In the transaction of the append; its failure fails the append.
    Inline,
    /// On demand, from one stream; stored nowhere.
    Live,
}

/// What becomes of an event that a projection can't fold, after it has been tried again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The projection stops before it.
    #[default]
    Stop,
    /// It is left out for the document that it fails on, with a record.
    Skip,
    /// It waits, and so does what comes later for the same document.
    Park,
}

/// How a projection is kept: chosen in the deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// When its documents are made.
    pub lifecycle: Lifecycle,
    /// What becomes of what it can't fold.
    pub on_error: OnError,
}

/// What a deployment changes of how a projection is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// When its documents are made; none: as before, at first asynchronously.
    pub lifecycle: Option<Lifecycle>,
    /// What becomes of what it can't fold; none: as before, at first it stops.
    pub on_error: Option<OnError>,
}

impl Settings {
    /// These, with a change.
    #[must_use]
    pub fn with(self, change: SettingsChange) -> Self {
        Self {
            lifecycle: change.lifecycle.unwrap_or(self.lifecycle),
            on_error: change.on_error.unwrap_or(self.on_error),
        }
    }
}

impl Lifecycle {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Inline => "inline",
            Self::Live => "live",
        }
    }
}

impl OnError {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Skip => "skip",
            Self::Park => "park",
        }
    }
}

impl fmt::Display for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Lifecycle {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let all = [Self::Async, Self::Inline, Self::Live];
        let found = all.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| Invalid(format!("lifecycle {text:?}: it is async, inline or live")))
    }
}

impl FromStr for OnError {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let all = [Self::Stop, Self::Skip, Self::Park];
        let found = all.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| Invalid(format!("on-error {text:?}: it is stop, skip or park")))
    }
}
