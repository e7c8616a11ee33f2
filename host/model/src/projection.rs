//! The settings of projections, separate from their content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// When the documents of a projection are updated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// Asynchronously, shortly after the append.
    #[default]
    Async,
    /// In the transaction of the append. If it fails, the append fails.
    Inline,
    /// On demand, from one stream. Nothing is stored.
    Live,
}

/// What happens to an event that a projection can't fold, after retries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// The projection stops before the event.
    #[default]
    Stop,
    /// The event is left out for the document that it fails on, and a record is written.
    Skip,
    /// The event is parked, and so are later events for the same document.
    Park,
}

/// Settings of a projection, chosen in the deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Settings {
    /// When documents are updated.
    pub lifecycle: Lifecycle,
    /// What happens to events that can't be folded.
    pub on_error: OnError,
}

/// Changes to a projection's settings in a deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// When documents are updated. `None` keeps the setting; a new projection is asynchronous.
    pub lifecycle: Option<Lifecycle>,
    /// What happens to events that can't be folded. `None` keeps the setting; a new projection
    /// stops.
    pub on_error: Option<OnError>,
}

impl Settings {
    /// Returns these settings with a change applied.
    #[must_use]
    pub fn with(self, change: SettingsChange) -> Self {
        Self {
            lifecycle: change.lifecycle.unwrap_or(self.lifecycle),
            on_error: change.on_error.unwrap_or(self.on_error),
        }
    }
}

impl Lifecycle {
    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Inline => "inline",
            Self::Live => "live",
        }
    }
}

impl OnError {
    /// The name.
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
