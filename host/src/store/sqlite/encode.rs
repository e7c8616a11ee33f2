//! A batch as the parameters of one statement: JSON arrays of numbers and names,
//! and one BLOB that holds every byte.

use std::fmt::Write as _;

use super::writer::TypeKey;
use crate::model::CommandId;
use crate::store::classify::Accepted;
use crate::store::{Error, Result, classify, record};

/// Parameters of the INSERT into `batch`.
#[derive(Default)]
pub struct Batch {
    /// New rows of `streams`.
    pub streams: String,
    /// New rows of `event_types`.
    pub types: String,
    /// Rows of `events`.
    pub events: String,
    /// Their bytes.
    pub payload: Vec<u8>,
}

impl Batch {
    /// A batch without rows.
    pub fn new() -> Self {
        let open = || "[".to_owned();
        Self {
            streams: open(),
            types: open(),
            events: open(),
            payload: Vec::new(),
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

    /// Adds the events of one commit. `type_ids` belong to its events.
    pub fn commit(
        &mut self,
        accepted: &Accepted<'_>,
        stream_id: i64,
        type_ids: &[i64],
        module_id: Option<i64>,
    ) -> Result<()> {
        let commit = &accepted.write.commit;
        for (offset, (event, type_id)) in commit.events.iter().zip(type_ids).enumerate() {
            let place = self.payload.len() + 1;
            self.payload.extend_from_slice(event.id.as_bytes());
            self.payload.extend_from_slice(event.body.bytes());
            let metadata = event.metadata.as_ref().map(|metadata| {
                self.payload.extend_from_slice(metadata);
                metadata.len()
            });
            let command = match (&commit.command, offset) {
                (Some(command), 0) => {
                    let start = self.payload.len();
                    record::encode(command, &mut self.payload)?;
                    Some(self.payload.len() - start)
                }
                _ => None,
            };
            let first = offset == 0;
            let id = if first {
                classify::callers_id(accepted.write)
            } else {
                None
            };
            let decided = commit.decided.filter(|_| first);
            let tags = (!event.tags.is_empty())
                .then(|| tags(&event.tags))
                .transpose()?;
            row(&mut self.events, |row| {
                row.int(stream_id)
                    .int(signed(accepted.first_version.0 + offset as u64))
                    .int(*type_id)
                    .int(signed(accepted.recorded_at.0))
                    .int(signed(offset as u64))
                    .int(signed(place as u64))
                    .int(signed(event.body.len() as u64))
                    .maybe(metadata.map(|length| signed(length as u64)))
                    .maybe(command.map(|length| signed(length as u64)))
                    .maybe(None)
                    .maybe(first.then(|| signed(commit.events.len() as u64)))
                    .maybe(first.then(|| signed(commit.plan)))
                    .maybe(module_id.filter(|_| first))
                    .maybe(decided.map(|decided| signed(decided.fuel)))
                    .maybe_text(id.map(CommandId::as_str))
                    .maybe_text(tags.as_deref())
            });
        }
        Ok(())
    }

    /// Ends the arrays.
    pub fn finish(mut self) -> Self {
        for array in [&mut self.streams, &mut self.types, &mut self.events] {
            array.push(']');
        }
        self
    }
}

fn tags(tags: &[std::sync::Arc<str>]) -> Result<String> {
    let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
    serde_json::to_string(&tags).map_err(|error| Error::Unexpected(error.to_string()))
}

/// SQLite's integers have a sign; every number here is far below the bound.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
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

    fn maybe(mut self, number: Option<i64>) -> Self {
        match number {
            Some(number) => self.int(number),
            None => {
                self.next();
                self.array.push_str("null");
                self
            }
        }
    }

    fn maybe_text(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.text(text),
            None => self.maybe(None),
        }
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
