use std::sync::Arc;

use bytes::Bytes;

use quipu_model::{
    Body, CommandId, Digest, Invalid, Name, Position, RecordedEvent, Timestamp, Version,
};

/// Most events in a page of a stream.
pub const STREAM_PAGE_MAX: usize = 1_000;
/// Most events in a page of the log.
pub const LOG_PAGE_MAX: usize = 1_000;

/// Bytes of data after which a page ends, whatever its limit in events. A page holds at least one
/// event.
pub const PAGE_BYTES_MAX: usize = 8 << 20;

/// The direction of a read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Direction {
    /// From older to newer.
    #[default]
    Forward,
    /// From newer to older.
    Backward,
}

/// Selects events of a stream to read, and the direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The first version to read: forward the oldest, backward the newest.
    pub from: Version,
    /// No events after this version, in either direction; none to read up to the newest.
    pub to: Option<Version>,
    /// The direction.
    pub direction: Direction,
}

/// The head of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its version, 1 or more.
    pub version: Version,
    /// When its last event was recorded.
    pub recorded_at: Timestamp,
    /// Whether appends are refused.
    pub archived: bool,
    /// Events before this version are hidden from the stream's reads; 0 when none are hidden.
    pub truncated_before: Version,
    /// The digest of its last commit; none when that has none, or when it was not read.
    pub digest: Option<Digest>,
}

/// Events of one stream.
#[derive(Debug, Clone)]
pub struct StreamPage {
    /// The stream's version when the page was read.
    pub version: Version,
    /// Events before this version are hidden from the stream's reads; 0 when none are hidden.
    pub truncated_before: Version,
    /// The events.
    pub events: Vec<RecordedEvent>,
    /// Where to continue in the same direction; none at the end.
    pub next: Option<Version>,
}

/// Events of the log.
#[derive(Debug, Clone)]
pub struct LogPage {
    /// The events.
    pub events: Vec<RecordedEvent>,
    /// Where to continue in the same direction; none at the end, when everything up to `head`, or
    /// down to the first event, has been searched.
    pub next: Option<Position>,
    /// How far the log could be read: see [`log_head`](super::EventReader::log_head).
    pub head: Position,
}

/// The input of a fold.
#[derive(Debug, Clone)]
pub struct LoadPage {
    /// The head of the stream, at the page's last event or later; none when there is no such
    /// stream.
    pub head: Option<Head>,
    /// The events.
    pub events: Vec<LoadedEvent>,
    /// Whether there were no events after them.
    pub is_last: bool,
}

/// The parts of an event that a fold needs.
#[derive(Debug, Clone)]
pub struct LoadedEvent {
    /// Its type.
    pub name: Name,
    /// Schema version of the body.
    pub schema_version: u32,
    /// The version in the stream.
    pub version: Version,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The data.
    pub body: Body,
    /// On the first event of a commit: the caller's id of its command.
    pub command_id: Option<CommandId>,
}

/// Selects events of the log to read. Empty parts do not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Any of these categories.
    pub categories: Option<Vec<Arc<str>>>,
    /// Any of these types.
    pub types: Option<Vec<Name>>,
    /// Streams whose id begins with this.
    pub prefix: Option<Arc<str>>,
    /// Events that carry any of these tags.
    pub tags: Option<Vec<Arc<str>>>,
    /// None of these categories.
    pub not_categories: Option<Vec<Arc<str>>>,
    /// None of these types.
    pub not_types: Option<Vec<Name>>,
    /// No streams whose id begins with one of these.
    pub not_prefixes: Option<Vec<Arc<str>>>,
    /// No events that carry any of these tags.
    pub not_tags: Option<Vec<Arc<str>>>,
    /// No events after this position, in either direction.
    pub to: Option<Position>,
    /// Excludes the events of archived streams.
    pub without_archived: bool,
}

impl Filter {
    /// Refuses parts that are given but empty.
    ///
    /// # Errors
    /// When a part is an empty list or an empty text. It would select nothing, but the caller more
    /// likely means everything.
    pub fn check(&self) -> Result<(), Invalid> {
        fn names_nothing<T>(part: &Option<Vec<T>>) -> bool {
            part.as_ref().is_some_and(Vec::is_empty)
        }
        let has_empty = |prefix: &Arc<str>| prefix.is_empty();
        let mut not_prefixes = self.not_prefixes.iter().flatten();
        let empty = [
            ("category", names_nothing(&self.categories)),
            ("type", names_nothing(&self.types)),
            ("tag", names_nothing(&self.tags)),
            ("prefix", self.prefix.as_ref().is_some_and(has_empty)),
        ];
        let excluded = [
            ("category", names_nothing(&self.not_categories)),
            ("type", names_nothing(&self.not_types)),
            ("tag", names_nothing(&self.not_tags)),
            ("prefix", names_nothing(&self.not_prefixes)),
            ("prefix", not_prefixes.any(has_empty)),
        ];
        if let Some((part, _)) = empty.iter().find(|(_, empty)| *empty) {
            return Err(Invalid(format!(
                "the filter names no {part}; leave it out to read every {part}"
            )));
        }
        match excluded.iter().find(|(_, empty)| *empty) {
            Some((part, _)) => Err(Invalid(format!(
                "the filter excludes no {part}: not_{part} is empty; leave it out to exclude none"
            ))),
            None => Ok(()),
        }
    }

    /// Returns the position up to which the log is read, when it can be read up to a position.
    pub fn end(&self, head: Position) -> Position {
        self.to.map_or(head, |to| to.min(head))
    }

    /// Whether an event passes, but for [`without_archived`](Self::without_archived).
    pub fn admits(&self, event: &RecordedEvent) -> bool {
        self.admits_as(event, event.name.as_str())
    }

    /// Whether an event would pass if [`types`](Self::types) asked for it by this name.
    pub fn admits_as(&self, event: &RecordedEvent, name: &str) -> bool {
        let (stream, category) = (event.stream.as_str(), event.stream.category());
        self.categories
            .as_ref()
            .is_none_or(|all| all.iter().any(|one| **one == *category))
            && self
                .types
                .as_ref()
                .is_none_or(|all| all.iter().any(|one| one.as_str() == name))
            && self
                .prefix
                .as_ref()
                .is_none_or(|prefix| stream.starts_with(&**prefix))
            && self
                .tags
                .as_ref()
                .is_none_or(|tags| tags.iter().any(|tag| event.tags.contains(tag)))
            && self.to.is_none_or(|to| event.position <= to)
            && !self.excludes(event)
    }

    /// Returns whether an event is explicitly excluded.
    fn excludes(&self, event: &RecordedEvent) -> bool {
        let (stream, category) = (event.stream.as_str(), event.stream.category());
        let mut categories = self.not_categories.iter().flatten();
        let mut types = self.not_types.iter().flatten();
        let mut prefixes = self.not_prefixes.iter().flatten();
        let mut tags = self.not_tags.iter().flatten();
        categories.any(|one| **one == *category)
            || types.any(|one| *one == event.name)
            || prefixes.any(|prefix| stream.starts_with(&**prefix))
            || tags.any(|tag| event.tags.contains(tag))
    }

    /// Returns whether every event passes, up to its last position.
    pub(crate) fn is_all(&self) -> bool {
        let rest = Self {
            to: None,
            ..self.clone()
        };
        rest == Self::default()
    }
}

impl Versions {
    /// Where to begin, and how many events there can be.
    pub fn start(&self, limit: usize) -> (Version, usize) {
        let Some(to) = self.to else {
            return (self.from, limit);
        };
        let from = match self.direction {
            Direction::Forward => self.from,
            Direction::Backward => self.from.min(to).max(Version(1)),
        };
        let events = match self.direction {
            Direction::Forward if from > to => 0,
            Direction::Forward => (to.0 - from.0).saturating_add(1),
            Direction::Backward => to.0,
        };
        (from, limit.min(usize::try_from(events).unwrap_or(limit)))
    }

    /// Whether a version is among those that are read.
    pub fn has(&self, version: Version) -> bool {
        self.to.is_none_or(|to| version <= to)
    }
}

impl StreamPage {
    /// A page of events of a stream that were read up to its limit.
    pub(crate) fn new(head: Head, events: Vec<RecordedEvent>, direction: Direction) -> Self {
        let (version, first) = (head.version, head.first());
        let next = events.last().and_then(|last| match direction {
            Direction::Forward => (last.version < version).then(|| last.version.next()),
            Direction::Backward => (last.version > first).then(|| Version(last.version.0 - 1)),
        });
        Self {
            version,
            truncated_before: head.truncated_before,
            events,
            next,
        }
    }
}

/// The room in a page, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Room {
    used: usize,
}

impl Room {
    /// Adds an event. Returns false when the page ends with it.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        self.used = self.used.saturating_add(bytes);
        self.used < PAGE_BYTES_MAX
    }
}

impl Head {
    /// Version of the first event that the stream's reads show.
    pub fn first(&self) -> Version {
        self.truncated_before.max(Version(1))
    }
}

/// Returns the versions of a page, ascending, of a stream with this head.
pub(crate) fn page_bounds(
    from: Version,
    direction: Direction,
    limit: usize,
    head: Head,
) -> std::ops::RangeInclusive<u64> {
    let limit = limit.min(STREAM_PAGE_MAX) as u64;
    let (version, first) = (head.version.0, head.first().0);
    match direction {
        Direction::Forward => {
            let from = from.0.max(first);
            from..=version.min(from.saturating_add(limit).saturating_sub(1))
        }
        Direction::Backward => {
            let last = from.0.min(version);
            (last.saturating_add(1).saturating_sub(limit)).max(first)..=last
        }
    }
}

/// Describes a complete page, in the order in which it is read.
pub(crate) fn in_order(
    range: std::ops::RangeInclusive<u64>,
    direction: Direction,
) -> Box<dyn Iterator<Item = u64> + Send> {
    match direction {
        Direction::Forward => Box::new(range),
        Direction::Backward => Box::new(range.rev()),
    }
}

/// Checks that no number is missing between the first and the last number of a page, nor, unless it
/// may end early, after it. Otherwise returns the first missing number.
pub(crate) fn missing(
    found: impl Iterator<Item = u64>,
    mut expected: impl Iterator<Item = u64>,
    may_end_early: bool,
) -> Result<(), u64> {
    for found in found {
        match expected.next() {
            Some(number) if number == found => {}
            Some(number) => return Err(number),
            None => return Ok(()),
        }
    }
    match expected.next() {
        Some(number) if !may_end_early => Err(number),
        _ => Ok(()),
    }
}

/// A decided event's metadata: the command's members, then its own.
pub(crate) fn composed_metadata(command: Option<&Bytes>, own: Option<&Bytes>) -> Option<Bytes> {
    let (Some(command), Some(own)) = (command, own) else {
        return command.or(own).cloned();
    };
    let (Some(first), Some(second)) = (members(command), members(own)) else {
        return Some(own.clone());
    };
    if first.is_empty() {
        return Some(own.clone());
    }
    if second.is_empty() {
        return Some(command.clone());
    }
    Some([b"{", first, b",", second, b"}"].concat().into())
}

/// The text between the braces of a JSON object.
fn members(object: &[u8]) -> Option<&[u8]> {
    let text = object.trim_ascii().strip_prefix(b"{")?.strip_suffix(b"}")?;
    Some(text.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_of_a_decided_event_are_the_commands_then_its_own() {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        let cases = [
            (
                Some("{\"a\":1}"),
                Some("{\"b\":2}"),
                Some("{\"a\":1,\"b\":2}"),
            ),
            (Some(" { } "), Some("{\"b\":2}"), Some("{\"b\":2}")),
            (Some("{\"a\":1}"), Some("{}"), Some("{\"a\":1}")),
            (Some("{\"a\": 1 }"), None, Some("{\"a\": 1 }")),
            (Some("[1]"), Some("{\"b\":2}"), Some("{\"b\":2}")),
            (None, None, None),
        ];
        for (command, own, expected) in cases {
            let (command, own) = (command.map(bytes), own.map(bytes));
            assert_eq!(
                composed_metadata(command.as_ref(), own.as_ref()),
                expected.map(bytes)
            );
        }
    }

    #[test]
    fn an_empty_filter_is_refused_rather_than_read_as_all() {
        assert!(Filter::default().check().is_ok());
        assert!(
            Filter {
                categories: Some(vec![]),
                ..Filter::default()
            }
            .check()
            .is_err()
        );
        assert!(
            Filter {
                types: Some(vec![]),
                ..Filter::default()
            }
            .check()
            .is_err()
        );
        assert!(
            Filter {
                prefix: Some("".into()),
                ..Filter::default()
            }
            .check()
            .is_err()
        );
        assert!(
            Filter {
                not_prefixes: Some(vec!["a".into(), "".into()]),
                ..Filter::default()
            }
            .check()
            .is_err()
        );
        assert!(
            Filter {
                not_types: Some(vec![]),
                ..Filter::default()
            }
            .check()
            .is_err()
        );
    }
}
