//! Semantics 9.7: documents of projections: by key, by index, by change, and for SQL.

use std::sync::Arc;

use quipu::store::{
    BatchOutcome, BuildCounts, BuildId, DocumentStore, DocumentWrite, Role, Scan, ScannedDocument,
    StoredDocument,
};
use quipu_tests::documents::{
    LONG, batch, begin, between, by_key, changed, claim, document, entry, filled, json, keep,
    moved, pages, plain, read, scanned, written,
};
use quipu_tests::{Place, on_every_store};

on_every_store! {
    a_document_is_read_by_its_key,
    builds_do_not_share_documents,
    deleting_a_document_leaves_a_change,
    any_json_is_returned_byte_for_byte,
    any_text_can_be_a_key,
    a_key_without_a_document_finds_nothing,
    a_batch_can_hold_five_thousand_documents,
    a_batch_can_hold_large_documents,
    index_entries_are_written_and_removed_with_their_documents,
    changes_are_read_in_order,
    a_page_of_changes_never_splits_a_change,
    documents_that_are_not_deleted_are_counted,
    a_batch_that_fails_stores_nothing,
    the_sql_view_shows_the_documents_of_the_active_build,
    documents_survive_a_restart,
}

const NOBODY: BuildId = BuildId(0);

fn stored(key: &str, json: Option<&str>, change: u64) -> Option<StoredDocument> {
    Some(StoredDocument {
        key: Arc::from(key),
        document: json.map(Arc::from),
        change,
    })
}

/// Writes more to a build that has no owner.
async fn write(store: &dyn DocumentStore, build: BuildId, writes: Vec<DocumentWrite>) {
    let token = claim(store, build).await.token;
    let of_build = |write| DocumentWrite { build, ..write };
    let writes = writes.into_iter().map(of_build).collect();
    keep(store, build, token, &batch(writes)).await;
    store.release(build, token).await.unwrap();
}

async fn a_document_is_read_by_its_key(place: Place) {
    let store = place.open().await.documents;
    let build = filled(&*store, "a", &[plain("b", "2", 7), plain("a", "1", 5)]).await;
    let found = read(&*store, build, &["a", "c", "b", "a", "B", ""]).await;
    let (a, b) = (stored("a", Some("1"), 5), stored("b", Some("2"), 7));
    assert_eq!(found, [a.clone(), None, b, a, None, None]);
    assert!(read(&*store, build, &[]).await.is_empty());
    write(&*store, build, vec![plain("a", "[1]", 9)]).await;
    let found = read(&*store, build, &["a"]).await;
    assert_eq!(found, [stored("a", Some("[1]"), 9)]);
}

async fn builds_do_not_share_documents(place: Place) {
    let store = place.open().await.documents;
    let one = filled(&*store, "one", &[plain("k", "1", 1)]).await;
    let two = filled(&*store, "two", &[plain("k", "2", 1)]).await;
    write(&*store, two, vec![plain("k", "3", 2)]).await;
    assert_eq!(json(&*store, one, "k").await.unwrap(), "1");
    assert_eq!(json(&*store, two, "k").await.unwrap(), "3");
    assert_eq!(json(&*store, BuildId(99), "k").await, None);
}

async fn deleting_a_document_leaves_a_change(place: Place) {
    let store = place.open().await.documents;
    let build = filled(&*store, "a", &[plain("k", "1", 1), plain("l", "1", 2)]).await;
    write(&*store, build, vec![document(NOBODY, "k", None, 4)]).await;
    assert_eq!(read(&*store, build, &["k"]).await, [stored("k", None, 4)]);
    assert_eq!(scanned(&*store, build, &by_key()).await, ["l"]);
    write(&*store, build, vec![plain("k", "2", 5)]).await;
    assert_eq!(json(&*store, build, "k").await.unwrap(), "2");
    // Deleting a document that never existed is allowed, too.
    write(&*store, build, vec![document(NOBODY, "m", None, 6)]).await;
    assert_eq!(read(&*store, build, &["m"]).await, [stored("m", None, 6)]);
}

async fn any_json_is_returned_byte_for_byte(place: Place) {
    let store = place.open().await.documents;
    let texts = [
        "null".to_owned(),
        " {\t\"a\" :\r\n1.50 , \"a\":2}\n".to_owned(),
        r#""quo\"te back\\slash \/ \u0000 \ud83d\ude00 \u00e9""#.to_owned(),
        "\"\u{1F600}\u{e9}\u{10FFFF}'%_;--\"".to_owned(),
        "1e400".to_owned(),
        "-0.0".to_owned(),
        format!("\"{}\"", "x\u{1F600}".repeat(200_000)),
    ];
    let keys: Vec<String> = (0..texts.len()).map(|n| format!("k{n}")).collect();
    let writes: Vec<_> = keys
        .iter()
        .zip(&texts)
        .map(|(key, text)| plain(key, text, 3))
        .collect();
    let build = filled(&*store, "a", &writes).await;
    for (key, text) in keys.iter().zip(&texts) {
        assert!(
            json(&*store, build, key).await.as_ref() == Some(text),
            "{key}"
        );
    }
    let found = store.scan(build, &by_key()).await.unwrap();
    assert!(
        found
            .iter()
            .map(|it| &*it.document)
            .eq(texts.iter().map(|text| &**text))
    );
    let changed = changed(&*store, build, 0, 100).await;
    let changed = changed.iter().map(|it| it.document.as_deref().unwrap());
    assert!(changed.eq(texts.iter().map(|text| &**text)));
}

async fn any_text_can_be_a_key(place: Place) {
    let store = place.open().await.documents;
    let long = "k".repeat(255);
    let last = format!("{}abc", "\u{10FFFF}".repeat(63));
    let mut keys = [
        "a",
        "A",
        "a'b",
        "a\"b",
        "a\\b",
        "a b",
        "[",
        "{}",
        "null",
        "%",
        "_",
        "\u{e9}",
        "e\u{301}",
        "\u{1F600}",
        "\t",
        "1",
        "01",
        "\u{7f}",
        &long,
        &last,
    ];
    let writes: Vec<_> = keys
        .iter()
        .map(|key| written(key, "1", 1, &[(3, key.as_bytes())]))
        .collect();
    let build = filled(&*store, "a", &writes).await;
    for key in keys {
        let found = read(&*store, build, &[key]).await;
        assert_eq!(found, [stored(key, Some("1"), 1)]);
    }
    keys.sort_unstable();
    for index in [None, Some(3)] {
        let scan = Scan { index, ..by_key() };
        assert_eq!(scanned(&*store, build, &scan).await, keys);
    }
}

async fn a_key_without_a_document_finds_nothing(place: Place) {
    let store = place.open().await.documents;
    let build = filled(&*store, "a", &[plain("a", "1", 1)]).await;
    let long = "a".repeat(100_000);
    let found = read(&*store, build, &["a\0", "\0", "a\0b", "a", &long, "A"]).await;
    let expected = [None, None, None, stored("a", Some("1"), 1), None, None];
    assert_eq!(found, expected);
}

async fn a_batch_can_hold_five_thousand_documents(place: Place) {
    let store = place.open().await.documents;
    let text = |n: u64| format!("{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(100));
    let writes: Vec<_> = (1..=5_000)
        .map(|n| written(&format!("k{n}"), &text(n), n, &[(0, &n.to_be_bytes())]))
        .collect();
    let build = filled(&*store, "a", &writes).await;
    let keys: Vec<Arc<str>> = writes.iter().map(|write| write.key.clone()).collect();
    let found = store.documents(build, &keys).await.unwrap();
    for (write, found) in writes.iter().zip(found) {
        assert_eq!(
            found,
            stored(&write.key, write.document.as_deref(), write.change)
        );
    }
    // A second time, with all of them changed.
    let again = writes.iter().map(|write| DocumentWrite {
        change: write.change + 5_000,
        removed: write.added.clone(),
        added: vec![entry(0, &(write.change + 1).to_be_bytes())],
        ..write.clone()
    });
    let again: Vec<_> = again.collect();
    write(&*store, build, again).await;
    assert_eq!(store.counts(build).await.unwrap().documents, 5_000);
    let least = Scan {
        limit: 1,
        index: Some(0),
        ..Scan::default()
    };
    let greatest = Scan {
        is_descending: true,
        ..least.clone()
    };
    let value =
        |found: Vec<ScannedDocument>| u64::from_be_bytes((*found[0].value).try_into().unwrap());
    assert_eq!(value(store.scan(build, &least).await.unwrap()), 2);
    assert_eq!(value(store.scan(build, &greatest).await.unwrap()), 5_001);
}

async fn a_batch_can_hold_large_documents(place: Place) {
    let store = place.open().await.documents;
    let text = format!("\"{}\"", "x".repeat((1 << 20) - 2));
    let writes: Vec<_> = (1..=20)
        .map(|n| written(&format!("k{n}"), &text, n, &[(0, &[n as u8])]))
        .collect();
    let build = filled(&*store, "a", &writes).await;
    let scan = Scan {
        index: Some(0),
        ..by_key()
    };
    let found = pages(&*store, build, &scan).await.concat();
    assert_eq!(found.len(), 20);
    assert!(found.iter().all(|found| *found.document == *text));
}

async fn index_entries_are_written_and_removed_with_their_documents(place: Place) {
    let store = place.open().await.documents;
    let first = [
        written("a", "1", 1, &[(0, b"x"), (0, b"y"), (1, b"x")]),
        written("b", "1", 1, &[(0, b"x")]),
    ];
    let build = filled(&*store, "a", &first).await;
    let changed = DocumentWrite {
        removed: vec![entry(0, b"x"), entry(0, b"never")],
        ..written("a", "2", 2, &[(0, b"z"), (0, b"y")])
    };
    write(&*store, build, vec![changed]).await;
    let values = async |index| {
        let found = store.scan(build, &between(Some(index), None, None)).await;
        let pair = |found: &ScannedDocument| (found.value.to_vec(), found.key.to_string());
        found.unwrap().iter().map(pair).collect::<Vec<_>>()
    };
    let pair = |value: &[u8], key: &str| (value.to_vec(), key.to_owned());
    assert_eq!(
        values(0).await,
        [pair(b"x", "b"), pair(b"y", "a"), pair(b"z", "a")]
    );
    assert_eq!(values(1).await, [pair(b"x", "a")]);
    let deleted = DocumentWrite {
        removed: vec![entry(0, b"x")],
        ..document(NOBODY, "b", None, 3)
    };
    write(&*store, build, vec![deleted]).await;
    assert_eq!(values(0).await, [pair(b"y", "a"), pair(b"z", "a")]);
}

async fn changes_are_read_in_order(place: Place) {
    let store = place.open().await.documents;
    let writes = [plain("c", "1", 1), plain("a", "2", 3), plain("b", "3", 2)];
    let build = filled(&*store, "a", &writes).await;
    write(
        &*store,
        build,
        vec![document(NOBODY, "c", None, 9), plain("d", "4", 7)],
    )
    .await;
    let all = changed(&*store, build, 0, 100).await;
    let expected = [
        stored("b", Some("3"), 2),
        stored("a", Some("2"), 3),
        stored("d", Some("4"), 7),
        stored("c", None, 9),
    ];
    assert!(all.into_iter().map(Some).eq(expected));
    for (after, count) in [
        (1, 4),
        (2, 3),
        (6, 2),
        (7, 1),
        (8, 1),
        (9, 0),
        (u64::MAX, 0),
    ] {
        let changed = changed(&*store, build, after, 100).await;
        assert_eq!(changed.len(), count, "after {after}");
    }
}

async fn a_page_of_changes_never_splits_a_change(place: Place) {
    let store = place.open().await.documents;
    let writes = [("a", 1), ("b", 2), ("c", 2), ("d", 2), ("e", 3)];
    let writes = writes.map(|(key, change)| plain(key, "1", change));
    let build = filled(&*store, "a", &writes).await;
    for (after, limit, expected) in [
        (0, 1, "a"),
        (0, 2, "a"),
        (0, 3, "a"),
        (0, 4, "abcd"),
        (0, 5, "abcde"),
        (1, 3, "bcd"),
        // A change with more documents than the limit: the page holds at most the limit.
        (1, 2, "bc"),
        (1, 4, "bcde"),
        (2, 1, "e"),
    ] {
        let changed = changed(&*store, build, after, limit).await;
        let keys: String = changed.iter().map(|it| &*it.key).collect();
        assert_eq!(keys, expected, "{limit} after {after}");
    }
}

async fn documents_that_are_not_deleted_are_counted(place: Place) {
    let store = place.open().await.documents;
    let build = begin(&*store, "a", Role::Active).await.id;
    assert_eq!(store.counts(build).await.unwrap(), BuildCounts::default());
    let count = async |writes| {
        write(&*store, build, writes).await;
        store.counts(build).await.unwrap().documents
    };
    assert_eq!(count(vec![plain("a", "1", 1), plain("b", "1", 2)]).await, 2);
    assert_eq!(count(vec![document(NOBODY, "a", None, 3)]).await, 1);
    assert_eq!(count(vec![document(NOBODY, "c", None, 4)]).await, 1);
    assert_eq!(count(vec![plain("a", "2", 5)]).await, 2);
}

async fn a_batch_that_fails_stores_nothing(place: Place) {
    let store = place.open().await.documents;
    let build = filled(&*store, "a", &[written("a", "1", 1, &[(0, b"x")])]).await;
    let late = DocumentWrite {
        build,
        removed: vec![entry(0, b"x")],
        ..written("a", "2", 2, &[(0, b"y")])
    };
    let late = batch(vec![late]);
    let outcome = store.keep(build, 999, &late, LONG);
    assert_eq!(outcome.await.unwrap(), BatchOutcome::Lost);
    assert_eq!(json(&*store, build, "a").await.unwrap(), "1");
    let found = store
        .scan(build, &between(Some(0), None, None))
        .await
        .unwrap();
    assert_eq!(&*found[0].value, b"x");
}

async fn the_sql_view_shows_the_documents_of_the_active_build(place: Place) {
    let store = place.open().await.documents;
    let name = "it-is_1";
    let writes = [
        plain("b'", "{\"n\": 1}", 2),
        plain("a", "2", 1),
        plain("c", "3", 3),
    ];
    let build = filled(&*store, name, &writes).await;
    filled(&*store, "other", &[plain("z", "9", 9)]).await;
    write(&*store, build, vec![document(NOBODY, "c", None, 4)]).await;
    let row = |key: &str, json: &str, change| (key.to_owned(), json.to_owned(), change);
    let expected = [row("a", "2", 1), row("b'", "{\"n\": 1}", 2)];
    assert_eq!(place.view(name).await, expected);
    let next = begin(&*store, name, Role::Next).await.id;
    write(&*store, next, vec![plain("n", "7", 5)]).await;
    assert_eq!(place.view(name).await, expected);
    assert!(store.switch(name, next, None).await.unwrap());
    assert_eq!(place.view(name).await, [row("n", "7", 5)]);
    assert!(store.roll_back(name).await.unwrap());
    assert_eq!(place.view(name).await, expected);
    assert!(store.drop_build(name, Role::Active).await.unwrap());
    assert!(place.view(name).await.is_empty());
    let token = claim(&*store, begin(&*store, name, Role::Active).await.id)
        .await
        .token;
    assert!(token > 0 && place.view(name).await.is_empty());
}

async fn documents_survive_a_restart(place: Place) {
    let store = place.open().await;
    let writes = [written("a", "1", 1, &[(0, b"x")]), plain("b", "2", 2)];
    let build = filled(&*store.documents, "a", &writes).await;
    store.writer.close().await.unwrap();
    let store = place.open().await.documents;
    let found = read(&*store, build, &["a", "b"]).await;
    assert_eq!(
        found,
        [stored("a", Some("1"), 1), stored("b", Some("2"), 2)]
    );
    assert_eq!(
        scanned(&*store, build, &between(Some(0), None, None)).await,
        ["a"]
    );
    let token = claim(&*store, build).await.token;
    keep(&*store, build, token, &moved(5)).await;
}
