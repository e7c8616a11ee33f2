use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Invalid;

/// Number of events ever appended to a stream; 0 means that the stream does not exist.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(pub u64);

/// Position of an event in the log of all events, from 1. Gaps are allowed.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Version {
    /// The version of a stream that does not exist.
    pub const NONE: Version = Version(0);

    /// Returns the version after `count` more events.
    pub fn plus(self, count: usize) -> Version {
        Version(self.0.saturating_add(count as u64))
    }

    /// Returns the version of the next event.
    pub fn next(self) -> Version {
        self.plus(1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Id of a stream: 1 to 255 bytes of UTF-8 without control characters.
///
/// Its category is the part before the first `-`, or the whole id if it contains none. Ids that
/// begin with `$` belong to the host. `.` and `..` are rejected, because no URL can contain them.
///
/// ```
/// let stream: quipu_model::StreamId = "loan-173688".parse().unwrap();
/// assert_eq!((stream.category(), stream.key()), ("loan", "173688"));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// Longest id in bytes.
    pub const BYTES_MAX: usize = 255;

    /// Checks an id.
    ///
    /// # Errors
    /// When it is empty, too long, `.` or `..`, or contains a control character.
    pub fn new(id: &str) -> Result<Self, Invalid> {
        if id.is_empty() || id.len() > Self::BYTES_MAX {
            return Err(Invalid(format!(
                "a stream id has 1 to {} bytes, this one has {}",
                Self::BYTES_MAX,
                id.len()
            )));
        }
        if id.chars().any(char::is_control) {
            return Err(Invalid(format!(
                "stream id {id:?} holds a control character"
            )));
        }
        if matches!(id, "." | "..") {
            return Err(Invalid(format!("stream id {id:?}: no URL can name it")));
        }
        Ok(Self(id.into()))
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first `-`.
    pub fn category(&self) -> &str {
        self.0
            .split_once('-')
            .map_or(&*self.0, |(category, _)| category)
    }

    /// The part after the first `-`; empty if there is none.
    pub fn key(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, key)| key)
    }

    /// Whether the stream belongs to the host.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl std::str::FromStr for StreamId {
    type Err = Invalid;

    fn from_str(id: &str) -> Result<Self, Invalid> {
        Self::new(id)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for StreamId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::new(&id).map_err(serde::de::Error::custom)
    }
}

/// A category that a decider can serve: 1 to 64 characters of `a-z 0-9 _`, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Category(Arc<str>);

impl Category {
    /// Checks the name of a category.
    ///
    /// # Errors
    /// When it does not have this form: 1 to 64 characters of `a-z 0-9 _`, beginning with a letter.
    pub fn new(name: &str) -> Result<Self, Invalid> {
        let well_formed = (1..=64).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if well_formed {
            Ok(Self(name.into()))
        } else {
            Err(Invalid(format!(
                "category {name:?}: 1 to 64 of a-z, 0-9 and _, beginning with a letter"
            )))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Category {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The version that the caller expects a stream to have at an append.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// Any version. The store assigns the versions.
    #[default]
    Any,
    /// The stream does not exist.
    NoStream,
    /// The stream exists, at any version.
    StreamExists,
    /// The stream is at this version. `Exact(0)` equals `NoStream`.
    Exact(Version),
}

impl ExpectedVersion {
    /// Whether the expectation is met by a stream at version `found`.
    pub fn admits(self, found: Version) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => found == Version::NONE,
            Self::StreamExists => found != Version::NONE,
            Self::Exact(version) => found == version,
        }
    }

    /// Whether the host may resolve a conflict by deciding a second time.
    pub fn may_be_decided_again(self) -> bool {
        matches!(self, Self::Any | Self::StreamExists)
    }
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::NoStream => f.write_str("no stream"),
            Self::StreamExists => f.write_str("an existing stream"),
            Self::Exact(version) => write!(f, "version {version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_ends_at_the_first_dash() {
        for (id, category, key) in [
            ("loan-1", "loan", "1"),
            ("a-b-c", "a", "b-c"),
            ("x", "x", ""),
        ] {
            let stream = StreamId::new(id).unwrap();
            assert_eq!((stream.category(), stream.key()), (category, key));
        }
    }

    #[test]
    fn a_stream_id_is_bounded_and_printable() {
        assert!(StreamId::new(&"x".repeat(255)).is_ok());
        assert!(StreamId::new(&"x".repeat(256)).is_err());
        assert!(StreamId::new("").is_err());
        assert!(StreamId::new("a\nb").is_err());
        assert!(StreamId::new("..").is_err());
    }

    #[test]
    fn exact_zero_means_no_stream() {
        let exact = ExpectedVersion::Exact(Version::NONE);
        for found in [Version(0), Version(1)] {
            assert_eq!(exact.admits(found), ExpectedVersion::NoStream.admits(found));
        }
    }

    #[test]
    fn a_category_is_lower_case_and_begins_with_a_letter() {
        assert!(Category::new("loan_2").is_ok());
        for bad in ["", "Loan", "2loan", "lo an", &"a".repeat(65)] {
            assert!(Category::new(bad).is_err(), "{bad}");
        }
    }
}
