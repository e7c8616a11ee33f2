use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::{Body, Context, ExpectedVersion, Invalid, Name, Timestamp};

/// The idempotency key of a command: 1 to 255 bytes without control characters.
///
/// Its scope is the stream. Ids that begin with `quipu.` are made by the host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(Arc<str>);

impl CommandId {
    /// Prefix of ids that the host makes for commands that came without one.
    pub const RESERVED: &'static str = "quipu.";

    /// Checks and keeps a caller's id.
    ///
    /// # Errors
    /// When it is empty, longer than 255 bytes, holds a control character, or
    /// begins with `quipu.`.
    pub fn new(id: &str) -> Result<Self, Invalid> {
        if id.is_empty() || id.len() > 255 {
            let found = id.len();
            return Err(Invalid(format!(
                "a command id has 1 to 255 bytes, this one has {found}"
            )));
        }
        if id.chars().any(char::is_control) {
            return Err(Invalid(format!(
                "command id {id:?} holds a control character"
            )));
        }
        if id.starts_with(Self::RESERVED) {
            return Err(Invalid(format!(
                "command id {id:?}: ids in quipu. belong to the host"
            )));
        }
        Ok(Self(id.into()))
    }

    /// A fresh id for a command that came without one.
    pub fn made_by_host() -> Self {
        Self(format!("{}{}", Self::RESERVED, super::fresh_id()).into())
    }

    /// An id that was checked before it was stored.
    pub fn stored(id: &str) -> Self {
        Self(id.into())
    }

    /// Whether the caller chose it, so that it may come again.
    pub fn is_callers(&self) -> bool {
        !self.0.starts_with(Self::RESERVED)
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id's text, to be shared.
    pub(super) fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A command as a caller gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The idempotency key; without one the host makes an id.
    pub id: Option<CommandId>,
    /// Its type.
    pub name: Name,
    /// Schema version of the body; without one, the decider's current one.
    pub schema_version: Option<u32>,
    /// The data.
    pub body: Body,
    /// A JSON object, kept as given.
    pub metadata: Option<Bytes>,
    /// What the caller expects of the stream.
    pub expected_version: ExpectedVersion,
    /// Where the request comes from.
    pub context: Context,
}

impl Command {
    /// A command with a JSON body and nothing else.
    ///
    /// # Errors
    /// When the type's name or the body is not well-formed.
    pub fn new(name: &str, json: impl Into<Bytes>) -> Result<Self, Invalid> {
        Ok(Self {
            id: None,
            name: Name::new(name)?,
            schema_version: None,
            body: Body::json(json)?,
            metadata: None,
            expected_version: ExpectedVersion::Any,
            context: Context::default(),
        })
    }

    /// A command whose body is a value as JSON.
    ///
    /// # Errors
    /// When the type's name is not well-formed, or the value has no JSON form.
    pub fn from_value(name: &str, data: &impl Serialize) -> Result<Self, Invalid> {
        let json = serde_json::to_vec(data);
        Self::new(
            name,
            json.map_err(|error| Invalid(format!("command {name}: {error}")))?,
        )
    }

    /// The same with an idempotency key.
    ///
    /// # Errors
    /// When the id is not well-formed.
    pub fn with_id(mut self, id: &str) -> Result<Self, Invalid> {
        self.id = Some(CommandId::new(id)?);
        Ok(self)
    }

    /// The same under an expected version.
    #[must_use]
    pub fn expecting(mut self, expected: ExpectedVersion) -> Self {
        self.expected_version = expected;
        self
    }
}

/// Everything a decision depended on besides the state: stored with its commit,
/// so that the decision can be made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRecord {
    /// The caller's id, or the host's.
    pub id: CommandId,
    /// Type as the guest saw it.
    pub name: Name,
    /// Schema version as the guest saw it.
    pub schema_version: u32,
    /// The data.
    pub body: Body,
    /// The caller's metadata; what the guest sees of them is
    /// [`annotations`](super::annotations) of this and `context`.
    pub metadata: Option<Bytes>,
    /// What the host vouched for.
    pub context: Context,
    /// When the host accepted the request.
    pub accepted_at: Timestamp,
    /// The decision's only source of randomness.
    pub seed: [u64; 4],
}

impl CommandRecord {
    /// Whether another request under the same id is the same request: of equal type
    /// and body.
    pub fn is_repeated_by(&self, other: &Self) -> bool {
        self.name == other.name && self.body == other.body
    }
}

/// The domain says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Stable and machine-readable.
    pub code: String,
    /// For people.
    pub message: String,
    /// More for programs.
    pub details: Option<Body>,
}
