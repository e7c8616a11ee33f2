//! Builds and documents for tests, in one line each.

use std::sync::Arc;
use std::time::Duration;

use quipu::model::{Digest, Position, Timestamp};
use quipu::store::{
    BatchOutcome, Build, BuildBatch, BuildClaim, BuildId, ChangedDocument, DOCUMENTS_PAGE_MAX,
    DocumentStore, DocumentWrite, IndexEntry, Role, Scan, ScannedDocument, StoredDocument,
};

/// A lease that lasts longer than any test.
pub const LONG: Duration = Duration::from_secs(3_600);

/// Starts a build of version 1.
pub async fn begin(store: &dyn DocumentStore, name: &str, role: Role) -> Build {
    let begun = store.begin(name, role, 1, Digest([7; 32]), (Timestamp(5), 1));
    begun.await.unwrap().unwrap()
}

/// Claims a build with a long lease.
pub async fn claim(store: &dyn DocumentStore, build: BuildId) -> BuildClaim {
    store.claim(build, LONG).await.unwrap().unwrap()
}

/// A batch that only moves the checkpoint.
pub fn moved(position: u64) -> BuildBatch {
    BuildBatch {
        position: Position(position),
        changes: position,
        ..BuildBatch::default()
    }
}

/// A batch of documents that moves the checkpoint to the last change.
pub fn batch(writes: Vec<DocumentWrite>) -> BuildBatch {
    let last = writes.iter().map(|write| write.change).max();
    BuildBatch {
        writes,
        ..moved(last.unwrap_or_default())
    }
}

/// A document that is written, without index entries.
pub fn document(build: BuildId, key: &str, json: Option<&str>, change: u64) -> DocumentWrite {
    DocumentWrite {
        build,
        key: Arc::from(key),
        document: json.map(Arc::from),
        change,
        removed: Vec::new(),
        added: Vec::new(),
    }
}

/// An entry of an index.
pub fn entry(index: u16, value: &[u8]) -> IndexEntry {
    (index, value.into())
}

/// Stores a batch, which must succeed.
pub async fn keep(store: &dyn DocumentStore, build: BuildId, token: u64, batch: &BuildBatch) {
    let outcome = store.keep(build, token, batch, LONG).await.unwrap();
    assert!(matches!(outcome, BatchOutcome::Done { .. }), "{outcome:?}");
}

/// A build of a projection that holds these documents.
pub async fn filled(store: &dyn DocumentStore, name: &str, writes: &[DocumentWrite]) -> BuildId {
    let build = begin(store, name, Role::Active).await.id;
    let token = claim(store, build).await.token;
    let mut writes = writes.to_vec();
    for write in &mut writes {
        write.build = build;
    }
    keep(store, build, token, &batch(writes)).await;
    store.release(build, token).await.unwrap();
    build
}

/// The documents under some keys.
pub async fn read(
    store: &dyn DocumentStore,
    build: BuildId,
    keys: &[&str],
) -> Vec<Option<StoredDocument>> {
    let keys: Vec<Arc<str>> = keys.iter().map(|key| Arc::from(*key)).collect();
    store.documents(build, &keys).await.unwrap()
}

/// The JSON of a document; none if the document does not exist.
pub async fn json(store: &dyn DocumentStore, build: BuildId, key: &str) -> Option<String> {
    let found = read(store, build, &[key]).await.pop().flatten();
    found?.document.map(|json| json.to_string())
}

/// A document to write, with entries; the build is named later.
pub fn written(key: &str, json: &str, change: u64, values: &[(u16, &[u8])]) -> DocumentWrite {
    DocumentWrite {
        added: values.iter().map(|(of, value)| entry(*of, value)).collect(),
        ..document(BuildId(0), key, Some(json), change)
    }
}

/// A document to write, without entries; the build is named later.
pub fn plain(key: &str, json: &str, change: u64) -> DocumentWrite {
    written(key, json, change, &[])
}

/// All documents in the order of their keys.
pub fn by_key() -> Scan {
    Scan {
        limit: DOCUMENTS_PAGE_MAX,
        ..Scan::default()
    }
}

/// Documents between two values of an index, or two keys.
pub fn between(index: Option<u16>, from: Option<&[u8]>, to: Option<&[u8]>) -> Scan {
    Scan {
        index,
        from: from.map(Into::into),
        to: to.map(Into::into),
        ..by_key()
    }
}

/// The keys that a scan returns.
pub async fn scanned(store: &dyn DocumentStore, build: BuildId, scan: &Scan) -> Vec<String> {
    let found = store.scan(build, scan).await.unwrap();
    found.iter().map(|found| found.key.to_string()).collect()
}

/// The pages of a scan, up to the last one.
pub async fn pages(
    store: &dyn DocumentStore,
    build: BuildId,
    scan: &Scan,
) -> Vec<Vec<ScannedDocument>> {
    let (mut scan, mut pages) = (scan.clone(), Vec::new());
    loop {
        let page = store.scan(build, &scan).await.unwrap();
        let is_last = scan.ends_with(&page);
        if let Some(last) = page.last() {
            scan.after = Some((last.value.clone(), Arc::clone(&last.key)));
        }
        pages.push(page);
        if is_last {
            return pages;
        }
    }
}

/// Documents that changed after a change, with their contents.
pub async fn changed(
    store: &dyn DocumentStore,
    build: BuildId,
    after: u64,
    limit: usize,
) -> Vec<StoredDocument> {
    let changed = store.changed(build, after, limit).await.unwrap();
    let keys: Vec<_> = changed.iter().map(|it| Arc::clone(&it.key)).collect();
    let read = store.documents(build, &keys).await.unwrap();
    let read: Vec<_> = read.into_iter().flatten().collect();
    let listed = read.iter().map(|it| ChangedDocument {
        key: Arc::clone(&it.key),
        change: it.change,
        bytes: it.document.as_ref().map_or(0, |text| text.len() as u64),
    });
    assert!(listed.eq(changed));
    read
}
