use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::{Body, Context, ExpectedVersion, Invalid, Name, Timestamp};

/// The idempotency key of a command: 1 to 255 bytes without control characters.
///
/// Its scope is the stream. Ids that begin with `quipu.` are created by the host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(Arc<str>);

impl CommandId {
    /// Prefix of the ids that the host creates for commands without an id.
    pub const RESERVED: &'static str = "quipu.";

    /// Checks an id given by a caller.
    ///
    /// # Errors
    /// When it is empty, longer than 255 bytes, contains a control character, or begins with
    /// `quipu.`.
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

    /// Creates a new id for a command that has none.
    pub fn made_by_host() -> Self {
        Self(format!("{}{}", Self::RESERVED, super::fresh_id()).into())
    }

    /// Creates an id from stored text, which was checked before.
    pub fn stored(id: &str) -> Self {
        Self(id.into())
    }

    /// Whether the caller chose the id. Such a command may be sent a second time.
    pub fn is_callers(&self) -> bool {
        !self.0.starts_with(Self::RESERVED)
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as shared text.
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
    /// The idempotency key. Without one, the host creates an id.
    pub id: Option<CommandId>,
    /// Type of the command.
    pub name: Name,
    /// Schema version of the body. Without one, the decider's current version.
    pub schema_version: Option<u32>,
    /// The data.
    pub body: Body,
    /// Metadata: a JSON object, stored as given.
    pub metadata: Option<Bytes>,
    /// Expected version of the stream.
    pub expected_version: ExpectedVersion,
    /// Origin of the request.
    pub context: Context,
}

impl Command {
    /// Creates a command with a JSON body and nothing else.
    ///
    /// # Errors
    /// When the name of the type or the body is not well-formed.
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

    /// Sets the idempotency key.
    ///
    /// # Errors
    /// When the id is not well-formed.
    pub fn with_id(mut self, id: &str) -> Result<Self, Invalid> {
        self.id = Some(CommandId::new(id)?);
        Ok(self)
    }

    /// Sets the expected version.
    #[must_use]
    pub fn expecting(mut self, expected: ExpectedVersion) -> Self {
        self.expected_version = expected;
        self
    }
}

/// Everything that a decision depends on in addition to the state.
///
/// It is stored with the commit, so that the decision can be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRecord {
    /// The caller's id, or the id created by the host.
    pub id: CommandId,
    /// Type, as the guest saw it.
    pub name: Name,
    /// Schema version, as the guest saw it.
    pub schema_version: u32,
    /// The data.
    pub body: Body,
    /// The caller's metadata. The guest sees the [`annotations`](super::annotations) of this and
    /// `context`.
    pub metadata: Option<Bytes>,
    /// Values that the host vouched for.
    pub context: Context,
    /// Time at which the host accepted the request.
    pub accepted_at: Timestamp,
    /// The decision's only source of randomness.
    pub seed: [u64; 4],
}

impl CommandRecord {
    /// Whether a request with the same id is a repetition of this one: it has the same type and an
    /// equal body.
    pub fn is_repeated_by(&self, other: &Self) -> bool {
        self.name == other.name && self.body == other.body
    }
}

/// The answer of a decider that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Stable, machine-readable code.
    pub code: String,
    /// Message for people.
    pub message: String,
    /// Further data for programs.
    pub details: Option<Body>,
}
