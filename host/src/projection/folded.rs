//! Documents that are folded in memory, separately from the stored ones, in parts that fit into
//! memory.

use std::collections::hash_map::{DefaultHasher, IntoIter};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::Error;
use super::rules::FoldFailure;
use crate::model::Position;
use crate::store::{BuildId, DOCUMENTS_PAGE_MAX, DocumentStore, FailedEvent, Subject};

/// Limit for the number of times that the documents are halved.
const BITS_MAX: u32 = 24;

/// A subset of all documents, selected by a hash of their keys. The default is all documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Part {
    bits: u32,
    /// Required value of the lowest `bits` of the hash.
    value: u64,
}

impl Part {
    pub(super) fn holds(self, key: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish() & ((1 << self.bits) - 1) == self.value
    }

    /// Halves the part and returns the other half. `None` if it cannot be halved any further.
    pub(super) fn split(&mut self) -> Option<Self> {
        if self.bits == BITS_MAX {
            return None;
        }
        let rest = Self {
            bits: self.bits + 1,
            value: self.value | 1 << self.bits,
        };
        self.bits += 1;
        Some(rest)
    }
}

/// The result of folding a document.
#[derive(Debug)]
pub(super) enum Value {
    Document(Arc<str>),
    Failed(FoldFailure),
}

/// Folded documents by key. Deleted documents are not included.
#[derive(Debug, Default)]
pub(super) struct Folded {
    values: HashMap<Arc<str>, Value>,
    bytes: usize,
}

impl Folded {
    pub(super) fn document(&self, key: &str) -> Option<Arc<str>> {
        match self.values.get(key)? {
            Value::Document(document) => Some(Arc::clone(document)),
            Value::Failed(_) => None,
        }
    }

    pub(super) fn has_failed(&self, key: &str) -> bool {
        matches!(self.values.get(key), Some(Value::Failed(_)))
    }

    pub(super) fn put(&mut self, key: Arc<str>, document: Option<Arc<str>>) {
        match document {
            Some(document) => self.insert(key, Value::Document(document)),
            None => _ = self.take(&key),
        }
    }

    pub(super) fn fail(&mut self, key: Arc<str>, stuck: FoldFailure) {
        self.insert(key, Value::Failed(stuck));
    }

    fn insert(&mut self, key: Arc<str>, value: Value) {
        self.take(&key);
        self.bytes += size(&key, &value);
        self.values.insert(key, value);
    }

    /// Removes and returns the result for a key.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        let value = self.values.remove(key)?;
        self.bytes = self.bytes.saturating_sub(size(key, &value));
        Some(value)
    }

    /// Returns the bytes of all keys and documents.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Removes the documents that do not belong to a part.
    pub(super) fn keep(&mut self, part: Part) {
        self.values.retain(|key, _| part.holds(key));
        self.bytes = self
            .values
            .iter()
            .map(|(key, value)| size(key, value))
            .sum();
    }
}

impl IntoIterator for Folded {
    type Item = (Arc<str>, Value);
    type IntoIter = IntoIter<Arc<str>, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter()
    }
}

fn size(key: &str, value: &Value) -> usize {
    /// Approximate overhead of a hash map entry, in bytes.
    const EACH: usize = 64;
    let value = match value {
        Value::Document(document) => document.len(),
        Value::Failed(stuck) => stuck.error.len(),
    };
    EACH + key.len() + value
}

/// Reads skipped events in step with the log.
pub(super) struct Skips {
    after: (Subject, Position),
    ahead: VecDeque<FailedEvent>,
    is_last: bool,
}

impl Skips {
    /// Starts after a position.
    pub(super) fn after(position: Position) -> Self {
        // No subject has an empty key, so all skipped events of the next position come after this
        // one.
        let subject = Subject::Document("".into());
        Self {
            after: (subject, Position(position.0.saturating_add(1))),
            ahead: VecDeque::new(),
            is_last: false,
        }
    }

    /// Returns the skipped events up to a position that were not returned before.
    pub(super) async fn until(
        &mut self,
        documents: &dyn DocumentStore,
        build: BuildId,
        position: Position,
    ) -> Result<HashSet<(Position, Subject)>, Error> {
        let mut skipped = HashSet::new();
        loop {
            while let Some(first) = self.ahead.pop_front_if(|it| it.position <= position) {
                skipped.insert((first.position, first.subject));
            }
            if !self.ahead.is_empty() || self.is_last {
                return Ok(skipped);
            }
            let page = documents.skipped(build, Some(&self.after), DOCUMENTS_PAGE_MAX);
            self.ahead = page.await?.into();
            match self.ahead.back() {
                Some(last) => self.after = (last.subject.clone(), last.position),
                None => self.is_last = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_one_part() {
        let mut parts = vec![Part::default()];
        for _ in 0..5 {
            let mut first = parts.remove(0);
            let rest = first.split().unwrap();
            parts.extend([first, rest]);
        }
        assert_eq!(parts.len(), 6);
        for n in 0..1_000 {
            let key = format!("key-{n}");
            let holding = parts.iter().filter(|part| part.holds(&key)).count();
            assert_eq!(holding, 1, "{key}");
        }
    }

    #[test]
    fn bytes_are_those_of_what_is_held() {
        let mut folded = Folded::default();
        for n in 0..100 {
            folded.put(format!("key-{n}").into(), Some("{}".into()));
            folded.put(format!("key-{n}").into(), Some("{\"n\":1}".into()));
        }
        let all = folded.bytes();
        let mut part = Part::default();
        part.split().unwrap();
        folded.keep(part);
        assert!(folded.bytes() < all);
        for n in 0..100 {
            folded.put(format!("key-{n}").into(), None);
        }
        assert_eq!(folded.bytes(), 0);
    }
}
