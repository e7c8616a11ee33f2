//! A batch as the parameters of one statement: JSON arrays of numbers and names,
//! and one BLOB that holds every byte.

use std::fmt::Write as _;

use super::memory::TypeKey;
use crate::{Error, Result};
use quipu_model::{Digest, NewEvent, Timestamp, Version};

/// Digits of each number of an event.
const DIGITS: usize = 16;

/// Parameters of the INSERT into `batch`; the migration says what each holds.
#[derive(Default)]
pub struct Batch {
    /// New rows of `streams`.
    pub streams: String,
    /// New rows of `event_types`.
    pub types: String,
    /// The stream of each event.
    pub owners: String,
    /// The numbers of each event.
    pub numbers: Vec<u8>,
    /// Their bytes.
    pub payload: Vec<u8>,
}

/// The place of an event, and when it was recorded.
pub struct Place {
    pub stream_id: i64,
    pub type_id: i64,
    pub version: Version,
    pub recorded_at: Timestamp,
    /// Place in the commit, from 0.
    pub commit_offset: u64,
}

/// The data that is stored with the first event of a commit.
pub struct First<'a> {
    /// The caller's idempotency key.
    pub command_id: Option<&'a str>,
    /// The command, encoded.
    pub command: Option<&'a [u8]>,
    /// Number of events in the commit.
    pub events: u64,
    pub plan: u64,
    pub module_id: Option<i64>,
    pub fuel: Option<u64>,
    pub digest: Option<Digest>,
}

impl Batch {
    /// A batch without rows.
    pub fn new() -> Self {
        let open = || "[".to_owned();
        Self {
            streams: open(),
            types: open(),
            owners: open(),
            ..Self::default()
        }
    }

    /// Adds a new stream.
    pub fn stream(&mut self, stream_id: i64, name: &str) {
        row(&mut self.streams, |row| row.int(stream_id).text(name));
    }

    /// Adds a new type of events.
    pub fn event_type(&mut self, type_id: i64, key: &TypeKey) {
        row(&mut self.types, |row| {
            row.int(type_id)
                .text(&key.category)
                .text(key.name.as_str())
                .int(i64::from(key.schema_version))
                .text(key.content_type.as_str())
        });
    }

    /// Adds an event after the one that was added before.
    pub fn event(&mut self, place: &Place, event: &NewEvent, first: Option<First>) -> Result<()> {
        Row {
            array: &mut self.owners,
        }
        .int(place.stream_id);
        self.number(place.version.0);
        self.number(place.type_id.unsigned_abs());
        self.number(place.recorded_at.0);
        self.number(place.commit_offset);
        self.number(self.payload.len() as u64 + 1);
        self.payload.extend_from_slice(event.id.as_bytes());
        self.number(event.id_is_callers.into());
        self.part(event.body.bytes());
        self.part(event.metadata.as_deref().unwrap_or_default());
        let tags = if event.tags.is_empty() {
            String::new()
        } else {
            tags(&event.tags)?
        };
        self.part(tags.as_bytes());
        match first {
            Some(first) => self.first(&first),
            None => {
                self.numbers.extend_from_slice(&[b'0'; 9 * DIGITS]);
            }
        }
        Ok(())
    }

    /// Adds the data that is stored with the first event of a commit.
    fn first(&mut self, first: &First<'_>) {
        self.part(first.command_id.unwrap_or_default().as_bytes());
        self.part(first.command.unwrap_or_default());
        self.number(first.events);
        self.number(first.plan.saturating_add(1));
        self.number(first.module_id.unwrap_or_default().unsigned_abs());
        self.number(first.fuel.map_or(0, |fuel| fuel.saturating_add(1)));
        match first.digest {
            Some(digest) => {
                self.number(self.payload.len() as u64 + 1);
                self.payload.extend_from_slice(&digest.0);
            }
            None => self.number(0),
        }
    }

    /// Adds bytes, and the numbers that say where they are.
    fn part(&mut self, bytes: &[u8]) {
        let start = self.payload.len();
        self.payload.extend_from_slice(bytes);
        self.number(start as u64 + 1);
        self.number(bytes.len() as u64);
    }

    fn number(&mut self, value: u64) {
        number(&mut self.numbers, value);
    }

    /// Ends the arrays.
    pub fn finish(mut self) -> Self {
        for array in [&mut self.streams, &mut self.types, &mut self.owners] {
            array.push(']');
        }
        self
    }
}

/// Adds a number of fixed length; one with more digits than there is room for becomes the
/// largest.
pub fn number(numbers: &mut Vec<u8>, mut number: u64) {
    number = number.min(10u64.pow(DIGITS as u32) - 1);
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        if number == 0 {
            break;
        }
        *digit += (number % 10) as u8;
        number /= 10;
    }
    numbers.extend_from_slice(&digits);
}

fn tags(tags: &[std::sync::Arc<str>]) -> Result<String> {
    let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
    serde_json::to_string(&tags).map_err(|error| Error::Unexpected(error.to_string()))
}

/// A JSON array of the names of rows.
pub fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut array = "[".to_owned();
    let mut row = Row { array: &mut array };
    for name in names {
        row = row.text(name);
    }
    array.push(']');
    array
}

/// A JSON array of pairs.
pub fn pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut array = "[".to_owned();
    for (first, second) in pairs {
        row(&mut array, |row| row.text(first).text(second));
    }
    array.push(']');
    array
}

fn row(array: &mut String, fill: impl FnOnce(Row<'_>) -> Row<'_>) {
    if !array.ends_with('[') {
        array.push(',');
    }
    array.push('[');
    fill(Row { array });
    array.push(']');
}

/// Fills one JSON array.
struct Row<'a> {
    array: &'a mut String,
}

impl Row<'_> {
    fn next(&mut self) {
        if !self.array.ends_with('[') {
            self.array.push(',');
        }
    }

    fn int(mut self, number: i64) -> Self {
        self.next();
        // Writing into a String can't fail.
        _ = write!(self.array, "{number}");
        self
    }

    fn text(mut self, text: &str) -> Self {
        self.next();
        if text
            .bytes()
            .all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
        {
            self.array.push('"');
            self.array.push_str(text);
            self.array.push('"');
        } else {
            self.array
                .push_str(&serde_json::Value::from(text).to_string());
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_kind_are_valid_json() {
        for text in ["plain", "quo\"te", "back\\slash", "é\u{7f}", "[", ""] {
            let array = names([text, text].into_iter());
            let read: Vec<String> = serde_json::from_str(&array).unwrap();
            assert_eq!(read, [text, text]);
        }
    }

    #[test]
    fn rows_are_separated_whatever_they_end_in() {
        let array = pairs([("a", "["), ("[", "b")].into_iter());
        let read: Vec<(String, String)> = serde_json::from_str(&array).unwrap();
        assert_eq!(read, [("a".into(), "[".into()), ("[".into(), "b".into())]);
    }
}
