use crate::Time;

/// An event with its position in the log, as a projection reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded<E> {
    /// The event itself.
    pub event: E,
    /// The event's id, a UUID.
    pub id: u128,
    /// The stream's whole id.
    pub stream: String,
    /// The event's version in its stream, from 1.
    pub version: u64,
    /// The event's position in the log, which only rises; 0 in
    /// [`Projection::keys`](super::Projection::keys).
    pub position: u64,
    /// When the host recorded the event.
    pub recorded_at: Time,
    /// The number of the part, from 0, when an upcaster split the event; otherwise 0.
    pub part: u32,
    /// Labels `name:value`; empty unless [asked for](super::Projection::TAGS).
    pub tags: Vec<String>,
    /// The event's metadata, and under `quipu.` the members that the host sets; empty unless [asked
    /// for](super::Projection::ANNOTATIONS).
    pub annotations: Vec<(String, String)>,
}

impl<E> Recorded<E> {
    /// The part of the stream's id before the first `-`; without one, the whole id.
    pub fn category(&self) -> &str {
        category(&self.stream)
    }

    /// The part of the stream's id after the first `-`; empty without one.
    pub fn key(&self) -> &str {
        self.stream.split_once('-').map_or("", |(_, key)| key)
    }

    /// Returns the annotation of that name.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        let mut annotations = self.annotations.iter();
        let (_, value) = annotations.find(|(known, _)| known == name)?;
        Some(value)
    }
}

/// An event of any type.
#[derive(Clone, Debug, PartialEq)]
pub struct Untyped {
    /// The event's type.
    pub event_type: String,
    /// Schema version of its body.
    pub schema_version: u32,
    /// The body as JSON; none when it is of another content type.
    pub body: Option<String>,
}

/// An event before its body is read.
pub type Stored = Recorded<Untyped>;

pub(super) fn category(stream: &str) -> &str {
    stream
        .split_once('-')
        .map_or(stream, |(category, _)| category)
}
