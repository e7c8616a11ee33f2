//! Documents of a build in its owner's memory: those that are to be written, and those
//! that may be wanted again.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::model::{Index, Position};
use crate::store::{BuildId, DocumentWrite, IndexEntry, StoredDocument};

/// What is known of a build's documents by the one who owns it, and nobody else changes.
#[derive(Debug)]
pub(super) struct Cache {
    build: BuildId,
    held: HashMap<Arc<str>, Held>,
    /// Bytes of keys and documents.
    bytes: usize,
    /// The greatest change that is stored.
    changes: u64,
    /// Documents that are not stored as they are here.
    changed: usize,
    /// Raised with each flush.
    age: u64,
}

#[derive(Debug)]
struct Held {
    document: Option<Arc<str>>,
    /// The entries of what is stored; none: not looked at yet.
    entries: Option<Vec<IndexEntry>>,
    /// What is stored.
    stored: Option<Arc<str>>,
    /// Where it was changed since.
    changed_at: Option<Position>,
    used: u64,
}

impl Cache {
    /// Nothing is known.
    pub(super) fn new(build: BuildId, changes: u64) -> Self {
        Self {
            build,
            held: HashMap::new(),
            bytes: 0,
            changes,
            changed: 0,
            age: 0,
        }
    }

    /// Those of some keys that have to be read.
    pub(super) fn missing<'a>(&self, keys: impl Iterator<Item = &'a Arc<str>>) -> Vec<Arc<str>> {
        let missing = keys.filter(|key| !self.held.contains_key(*key));
        missing.cloned().collect()
    }

    /// Takes what was read.
    pub(super) fn take(&mut self, keys: Vec<Arc<str>>, read: Vec<Option<StoredDocument>>) {
        for (key, read) in keys.into_iter().zip(read) {
            let document = read.and_then(|read| read.document);
            self.bytes += key.len() + size(document.as_ref());
            let held = Held {
                stored: document.clone(),
                document,
                entries: None,
                changed_at: None,
                used: self.age,
            };
            self.held.insert(key, held);
        }
    }

    /// A document, if it is there. It has been read before.
    pub(super) fn get(&self, key: &str) -> Option<Arc<str>> {
        self.held.get(key)?.document.clone()
    }

    /// A document is another by now.
    pub(super) fn put(&mut self, key: &Arc<str>, document: Option<Arc<str>>, at: Position) {
        let age = self.age;
        let held = self.held.entry(Arc::clone(key)).or_insert(Held {
            document: None,
            entries: None,
            stored: None,
            changed_at: None,
            used: age,
        });
        held.used = age;
        if held.document == document {
            return;
        }
        self.bytes = self.bytes.saturating_sub(size(held.document.as_ref()));
        self.bytes += size(document.as_ref());
        held.document = document;
        self.changed += usize::from(held.changed_at.is_none());
        held.changed_at = Some(at);
    }

    /// How many documents are to be written.
    pub(super) fn changed(&self) -> usize {
        self.changed
    }

    /// Bytes of what is held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The greatest change that is stored.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// What is to be written, and the greatest change afterwards.
    pub(super) fn writes(&mut self, indexes: &[Index]) -> (Vec<DocumentWrite>, u64) {
        let (build, base) = (self.build, self.changes);
        let mut writes = Vec::with_capacity(self.changed);
        let mut changes = base;
        for (key, held) in &mut self.held {
            let Some(at) = held.changed_at else { continue };
            let change = at.0.max(base + 1);
            changes = changes.max(change);
            let write = Diff {
                stored: held.stored.as_ref(),
                entries: held.entries.take(),
                document: held.document.as_ref(),
            };
            let (write, now) = write.of(indexes, (build, key, change));
            held.entries = Some(now);
            writes.push(write);
        }
        writes.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        (writes, changes)
    }

    /// What was to be written is stored. Keeps what was used last, within a bound.
    pub(super) fn stored(&mut self, changes: u64, bytes_max: usize) {
        self.changes = changes;
        self.changed = 0;
        for held in self.held.values_mut() {
            if held.changed_at.take().is_some() {
                held.stored = held.document.clone();
            }
        }
        if self.bytes > bytes_max {
            let age = self.age;
            self.held.retain(|_, held| held.used == age);
            let held = self.held.iter();
            self.bytes = held
                .map(|(key, held)| key.len() + size(held.document.as_ref()))
                .sum();
            if self.bytes > bytes_max {
                self.held.clear();
                self.bytes = 0;
            }
        }
        self.age += 1;
    }
}

fn size(document: Option<&Arc<str>>) -> usize {
    document.map_or(0, |document| document.len())
}

/// A document before and after.
pub(super) struct Diff<'a> {
    pub stored: Option<&'a Arc<str>>,
    /// The entries of what is stored, if they are known.
    pub entries: Option<Vec<IndexEntry>>,
    pub document: Option<&'a Arc<str>>,
}

impl Diff<'_> {
    /// What is to be written, and the entries afterwards.
    pub(super) fn of(
        self,
        indexes: &[Index],
        (build, key, change): (BuildId, &Arc<str>, u64),
    ) -> (DocumentWrite, Vec<IndexEntry>) {
        let before = self
            .entries
            .unwrap_or_else(|| entries(indexes, self.stored));
        let now = entries(indexes, self.document);
        let without = |some: &[IndexEntry], others: &[IndexEntry]| -> Vec<IndexEntry> {
            let missing = some.iter().filter(|it| others.binary_search(it).is_err());
            missing.cloned().collect()
        };
        let write = DocumentWrite {
            build,
            key: Arc::clone(key),
            document: self.document.cloned(),
            change,
            removed: without(&before, &now),
            added: without(&now, &before),
        };
        (write, now)
    }
}

/// Every entry of a document, in order. Stored documents have been checked.
pub(super) fn entries(indexes: &[Index], document: Option<&Arc<str>>) -> Vec<IndexEntry> {
    let Some(document) = document.filter(|_| !indexes.is_empty()) else {
        return Vec::new();
    };
    let value: Value = serde_json::from_str(document).unwrap_or_default();
    let numbered = (0..).zip(indexes);
    let mut entries: Vec<IndexEntry> = numbered
        .flat_map(|(number, index)| {
            let values = index.entries(&value).into_iter();
            values.map(move |value| (number, value.into()))
        })
        .collect();
    entries.sort_unstable();
    entries
}
