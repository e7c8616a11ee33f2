use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Invalid, check_json, is_same_json};

/// Media type of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// `application/json`: well-formed JSON text in UTF-8.
    #[default]
    Json,
    /// Any other media type. The host does not look inside.
    Other(Arc<str>),
}

impl ContentType {
    /// Name of the JSON content type.
    pub const JSON: &'static str = "application/json";
    /// Longest name in bytes.
    pub const BYTES_MAX: usize = 127;

    /// Checks a content type's name.
    ///
    /// # Errors
    /// When the name is empty, too long or contains anything but printable ASCII.
    pub fn new(name: &str) -> Result<Self, Invalid> {
        if name == Self::JSON {
            return Ok(Self::Json);
        }
        let well_formed = (1..=Self::BYTES_MAX).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if well_formed {
            Ok(Self::Other(name.into()))
        } else {
            Err(Invalid(format!(
                "content type {name:?}: 1 to 127 printable ASCII characters"
            )))
        }
    }

    /// The media type's name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Json => Self::JSON,
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The content of a command, an event or a state. Its bytes are never changed.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    content_type: ContentType,
    bytes: Bytes,
}

impl Body {
    /// Creates a JSON body.
    ///
    /// # Errors
    /// When the text is not well-formed JSON, or nested deeper than
    /// [`JSON_DEPTH_MAX`](super::JSON_DEPTH_MAX).
    pub fn json(text: impl Into<Bytes>) -> Result<Self, Invalid> {
        let bytes = text.into();
        check_json(&bytes)?;
        Ok(Self {
            content_type: ContentType::Json,
            bytes,
        })
    }

    /// Creates a body of any content type. Only JSON is checked.
    ///
    /// # Errors
    /// When the content type is JSON and the bytes are not.
    pub fn new(content_type: ContentType, bytes: impl Into<Bytes>) -> Result<Self, Invalid> {
        match content_type {
            ContentType::Json => Self::json(bytes),
            ContentType::Other(_) => Ok(Self {
                content_type,
                bytes: bytes.into(),
            }),
        }
    }

    /// Creates a body from stored bytes, which were checked before.
    pub fn stored(content_type: ContentType, bytes: Bytes) -> Self {
        Self {
            content_type,
            bytes,
        }
    }

    /// Returns the empty JSON object.
    pub fn empty() -> Self {
        Self {
            content_type: ContentType::Json,
            bytes: Bytes::from_static(b"{}"),
        }
    }

    /// The media type of the bytes.
    pub fn content_type(&self) -> &ContentType {
        &self.content_type
    }

    /// The bytes, as they were given.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the text of a JSON body, and `None` for other content types.
    pub fn as_json(&self) -> Option<&str> {
        match self.content_type {
            ContentType::Json => std::str::from_utf8(&self.bytes).ok(),
            ContentType::Other(_) => None,
        }
    }

    /// Whether both bodies have the same content type and the same content.
    ///
    /// JSON is compared as a value, regardless of spelling (see [`is_same_json`]). Everything else
    /// is compared byte by byte.
    pub fn is_same_content(&self, other: &Self) -> bool {
        self.content_type == other.content_type
            && match self.content_type {
                ContentType::Json => is_same_json(&self.bytes, &other.bytes),
                ContentType::Other(_) => self.bytes == other.bytes,
            }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the body has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_json() {
            Some(text) => f.write_str(text),
            None => write!(f, "{} ({} bytes)", self.content_type, self.bytes.len()),
        }
    }
}
