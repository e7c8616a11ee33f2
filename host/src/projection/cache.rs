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
    /// The greatest change that was given to be written.
    changes: u64,
    /// Documents that were not given to be written as they are here.
    changed: Vec<Arc<str>>,
    /// Raised with each flush.
    age: u64,
}

#[derive(Debug)]
struct Held {
    document: Option<Arc<str>>,
    /// The entries of `stored`; none: not looked at yet.
    entries: Option<Vec<IndexEntry>>,
    /// What is stored, or being written.
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
            changed: Vec::new(),
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
        if held.changed_at.is_none() {
            self.changed.push(Arc::clone(key));
        }
        held.changed_at = Some(at);
    }

    /// How many documents are to be written.
    pub(super) fn changed(&self) -> usize {
        self.changed.len()
    }

    /// Bytes of what is held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The greatest change that was given to be written.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// What is to be written, and the greatest change afterwards. From now on it counts as
    /// stored.
    pub(super) fn writes(&mut self, indexes: &[Index]) -> (Vec<DocumentWrite>, u64) {
        let base = self.changes;
        let changed = std::mem::take(&mut self.changed);
        let mut writes = Vec::with_capacity(changed.len());
        for key in &changed {
            let held = self.held.get_mut(key);
            let Some((held, at)) = held.and_then(|it| it.changed_at.take().map(|at| (it, at)))
            else {
                continue;
            };
            let change = at.0.max(base + 1);
            self.changes = self.changes.max(change);
            let write = Diff {
                stored: held.stored.as_ref(),
                entries: held.entries.take(),
                document: held.document.as_ref(),
            };
            let (write, now) = write.of(indexes, (self.build, key, change));
            held.entries = Some(now);
            held.stored.clone_from(&held.document);
            writes.push(write);
        }
        writes.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        (writes, self.changes)
    }

    /// Nothing is being written. Keeps what is still to be written, and within a bound what
    /// was used since the last time.
    pub(super) fn trim(&mut self, bytes_max: usize) {
        let age = self.age;
        self.age += 1;
        if self.bytes <= bytes_max {
            return;
        }
        self.keep_if(|held| held.used == age);
        if self.bytes > bytes_max {
            self.keep_if(|_| false);
        }
    }

    /// Forgets documents that are stored, but for some.
    fn keep_if(&mut self, is_kept: impl Fn(&Held) -> bool) {
        self.held
            .retain(|_, held| held.changed_at.is_some() || is_kept(held));
        let held = self.held.iter();
        self.bytes = held
            .map(|(key, held)| key.len() + size(held.document.as_ref()))
            .sum();
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
