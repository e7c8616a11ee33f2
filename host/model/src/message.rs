use std::fmt;
use std::sync::Arc;

use super::{ContentType, Invalid};

/// Type of an event or a command: UTF-8 without control characters, not empty.
///
/// Its length is limited by [`AppendLimits`](super::AppendLimits).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks the name of a type.
    ///
    /// # Errors
    /// When it is empty or contains a control character.
    pub fn new(name: &str) -> Result<Self, Invalid> {
        if name.is_empty() {
            return Err(Invalid("a type must not be empty".to_owned()));
        }
        if name.chars().any(char::is_control) {
            return Err(Invalid(format!("type {name:?} holds a control character")));
        }
        Ok(Self(name.into()))
    }

    /// Creates a name from stored text, which was checked before.
    pub fn stored(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Always false, because a name is never empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Description of an event or command type in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageType {
    /// Canonical name.
    pub name: Name,
    /// Current schema version, from 1.
    pub schema_version: u32,
    /// Older names of this type.
    pub aliases: Vec<Name>,
    /// Content type of its bodies.
    pub content_type: ContentType,
    /// JSON Schema of the body. Empty when there is none.
    pub json_schema: String,
}
