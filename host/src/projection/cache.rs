//! The in-memory documents of a build: those to be written, and those that may be needed again.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::model::{Index, Position};
use crate::store::{BuildId, DocumentWrite, IndexEntry, StoredDocument};

/// The documents of a build that its owner has in memory. Only the owner changes them.
#[derive(Debug)]
pub(super) struct Cache {
    build: BuildId,
    held: HashMap<Arc<str>, Entry>,
    /// Bytes of all keys and documents in the cache.
    bytes: usize,
    /// The greatest change number that was passed on to be written.
    changes: u64,
    /// Keys of documents that changed since they were last passed on to be written.
    changed: Vec<Arc<str>>,
    /// Incremented by every call of `trim`.
    age: u64,
}

#[derive(Debug)]
struct Entry {
    document: Option<Arc<str>>,
    /// The index entries of `stored`. `None` if they were not computed yet.
    entries: Option<Vec<IndexEntry>>,
    /// The document as it is stored, or as it is being written.
    stored: Option<Arc<str>>,
    /// Position of the last change that was not passed on to be written.
    changed_at: Option<Position>,
    used: u64,
}

impl Cache {
    /// Creates an empty cache.
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

    /// Returns the keys whose documents have to be read first.
    pub(super) fn missing<'a>(&self, keys: impl Iterator<Item = &'a Arc<str>>) -> Vec<Arc<str>> {
        let missing = keys.filter(|key| !self.held.contains_key(*key));
        missing.cloned().collect()
    }

    /// Inserts documents that were read from the store.
    pub(super) fn take(&mut self, keys: Vec<Arc<str>>, read: Vec<Option<StoredDocument>>) {
        for (key, read) in keys.into_iter().zip(read) {
            let document = read.and_then(|read| read.document);
            self.bytes += key.len() + size(document.as_ref());
            let held = Entry {
                stored: document.clone(),
                document,
                entries: None,
                changed_at: None,
                used: self.age,
            };
            self.held.insert(key, held);
        }
    }

    /// Returns a document, if it exists. The document must have been loaded before.
    pub(super) fn get(&self, key: &str) -> Option<Arc<str>> {
        self.held.get(key)?.document.clone()
    }

    /// Replaces a document, or deletes it if `document` is `None`. An equal document is no change.
    pub(super) fn put(&mut self, key: &Arc<str>, document: Option<Arc<str>>, at: Position) {
        let age = self.age;
        let held = self.held.entry(Arc::clone(key)).or_insert(Entry {
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

    /// Returns the number of documents to be written.
    pub(super) fn changed(&self) -> usize {
        self.changed.len()
    }

    /// Returns the bytes of all keys and documents in the cache.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the greatest change number that was passed on to be written.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns the writes for all changed documents, and the greatest change number after them. The
    /// cache then regards these documents as stored.
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

    /// Evicts documents if the cache is larger than `bytes_max`: first those not used since the
    /// last call, then all. Unwritten documents always stay. Must not be called while documents are
    /// being written.
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

    /// Evicts stored documents, except those for which the predicate holds.
    fn keep_if(&mut self, is_kept: impl Fn(&Entry) -> bool) {
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

/// A document before and after a change.
pub(super) struct Diff<'a> {
    pub stored: Option<&'a Arc<str>>,
    /// The index entries of the stored document, if they are known.
    pub entries: Option<Vec<IndexEntry>>,
    pub document: Option<&'a Arc<str>>,
}

impl Diff<'_> {
    /// Returns the write, and the index entries after it.
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

/// Computes all index entries of a document, sorted. Stored documents were validated before.
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
