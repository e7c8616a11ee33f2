//! Documents of random batches, compared with a simple model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quipu::store::{
    BuildId, DOCUMENTS_PAGE_MAX, DocumentStore, DocumentWrite, IndexEntry, Role, Scan,
    ScannedDocument, StoredDocument,
};
use quipu_tests::documents::{batch, begin, changed, claim, document, keep};
use quipu_tests::{Place, on_every_store, seed};
use rand::Rng;
use rand::rngs::StdRng;

on_every_store! {
    random_batches_store_the_documents_of_the_model,
}

#[derive(Default)]
struct Model {
    documents: BTreeMap<Arc<str>, Row>,
}

#[derive(Clone)]
struct Row {
    document: Option<Arc<str>>,
    change: u64,
    entries: BTreeSet<IndexEntry>,
}

impl Model {
    fn found(&self, scan: &Scan) -> Vec<ScannedDocument> {
        let mut all = Vec::new();
        for (key, row) in &self.documents {
            let Some(document) = &row.document else {
                continue;
            };
            let values: Vec<Box<[u8]>> = match scan.index {
                None => vec![key.as_bytes().into()],
                Some(index) => {
                    let of_index = row.entries.iter().filter(|(of, _)| *of == index);
                    of_index.map(|(_, value)| value.clone()).collect()
                }
            };
            all.extend(values.into_iter().map(|value| ScannedDocument {
                value,
                key: key.clone(),
                document: document.clone(),
                change: row.change,
            }));
        }
        all.retain(|it| scan.from.as_ref().is_none_or(|from| it.value >= *from));
        all.retain(|it| scan.to.as_ref().is_none_or(|to| it.value <= *to));
        all.sort_by_key(|it| (it.value.clone(), it.key.clone()));
        if scan.is_descending {
            all.reverse();
        }
        all.retain(|it| {
            let place = (it.value.clone(), it.key.clone());
            let after = scan.after.as_ref();
            after.is_none_or(|after| (place > *after) != scan.is_descending && place != *after)
        });
        all.truncate(scan.limit);
        all
    }

    fn stored(&self, key: &Arc<str>) -> Option<StoredDocument> {
        let row = self.documents.get(key)?;
        Some(StoredDocument {
            key: key.clone(),
            document: row.document.clone(),
            change: row.change,
        })
    }
}

fn key(random: &mut StdRng) -> Arc<str> {
    let parts = ["a", "b", "'", "\"", "\\", "\u{e9}", "\u{1F600}", "[", " "];
    let length = random.random_range(1..4);
    let part = |_| parts[random.random_range(0..parts.len())];
    (0..length).map(part).collect::<String>().into()
}

fn value(random: &mut StdRng) -> Box<[u8]> {
    let length = random.random_range(0..3);
    let byte = |_| [0, 1, b'"', 0x7f, 0x80, 0xff][random.random_range(0..6)];
    (0..length).map(byte).collect()
}

fn row(random: &mut StdRng, change: u64) -> Row {
    let is_deleted = random.random_bool(0.2);
    let texts = ["{}", "\"\\u0000 \\\"\u{1F600}\"", "[1, 2]", "null", "1.50"];
    let document = (!is_deleted).then(|| Arc::from(texts[random.random_range(0..texts.len())]));
    let count = if is_deleted {
        0
    } else {
        random.random_range(0..4)
    };
    let entry = |_| (random.random_range(0..3), value(random));
    let entries = (0..count).map(entry).collect();
    Row {
        document,
        change,
        entries,
    }
}

/// Documents that change in one batch, which the model applies.
fn writes(random: &mut StdRng, model: &mut Model, build: BuildId, from: u64) -> Vec<DocumentWrite> {
    let mut changed = BTreeMap::new();
    for _ in 0..random.random_range(0..30) {
        let change = from + random.random_range(0..5);
        changed.insert(key(random), row(random, change));
    }
    let mut writes = Vec::new();
    for (key, row) in changed {
        let old = model.documents.insert(key.clone(), row.clone());
        let old = old.map(|old| old.entries).unwrap_or_default();
        writes.push(DocumentWrite {
            removed: old.difference(&row.entries).cloned().collect(),
            added: row.entries.difference(&old).cloned().collect(),
            ..document(build, &key, row.document.as_deref(), row.change)
        });
    }
    writes
}

fn scan(random: &mut StdRng) -> Scan {
    let index = random.random_bool(0.7).then(|| random.random_range(0..3));
    let bound = |random: &mut StdRng| match index {
        None => key(random).as_bytes().into(),
        Some(_) => value(random),
    };
    let after = |random: &mut StdRng| {
        let key = key(random);
        let value = index.map_or(key.as_bytes().into(), |_| value(random));
        (value, key)
    };
    Scan {
        index,
        from: random.random_bool(0.5).then(|| bound(random)),
        to: random.random_bool(0.5).then(|| bound(random)),
        is_descending: random.random(),
        after: random.random_bool(0.5).then(|| after(random)),
        limit: [1, 3, 50, DOCUMENTS_PAGE_MAX][random.random_range(0..4)],
    }
}

async fn compare(store: &dyn DocumentStore, build: BuildId, model: &Model, random: &mut StdRng) {
    let keys: Vec<Arc<str>> = (0..20).map(|_| key(random)).collect();
    let found = store.documents(build, &keys).await.unwrap();
    let expected: Vec<_> = keys.iter().map(|key| model.stored(key)).collect();
    assert_eq!(found, expected);
    for _ in 0..10 {
        let scan = scan(random);
        let found = store.scan(build, &scan).await.unwrap();
        assert_eq!(found, model.found(&scan), "{scan:?}");
    }
    let mut expected: Vec<_> = model
        .documents
        .keys()
        .filter_map(|it| model.stored(it))
        .collect();
    expected.sort_by_key(|it| (it.change, it.key.clone()));
    let after = random.random_range(0..40);
    expected.retain(|it| it.change > after);
    let found = changed(store, build, after, DOCUMENTS_PAGE_MAX).await;
    assert_eq!(found, expected);
    let living = model
        .documents
        .values()
        .filter(|row| row.document.is_some());
    let counts = store.counts(build).await.unwrap();
    assert_eq!(counts.documents, living.count() as u64);
}

async fn random_batches_store_the_documents_of_the_model(place: Place) {
    for seed in seed::seeds(3) {
        let mut random = seed::random(seed);
        let place = place.another();
        let store = place.open().await.documents;
        let mut builds = Vec::new();
        for role in [Role::Active, Role::Next] {
            let build = begin(&*store, "a", role).await.id;
            let token = claim(&*store, build).await.token;
            builds.push((build, token, Model::default()));
        }
        for round in 0..15 {
            let (build, token, model) = &mut builds[round % 2];
            let writes = writes(&mut random, model, *build, 5 * round as u64 + 1);
            keep(&*store, *build, *token, &batch(writes)).await;
            for (build, _, model) in &builds {
                compare(&*store, *build, model, &mut random).await;
            }
        }
    }
}
