//! Semantics 7.2: snapshots in a store.

use futures::future::join_all;
use quipu::model::ExpectedVersion::Any;
use quipu::model::{Body, ContentType, Digest, Timestamp, Version};
use quipu::store::{SNAPSHOTS_PAGE_MAX, Store, StoredSnapshot};
use quipu_tests::build::{noted, snapshot, snapshot_of, stream, truncate};
use quipu_tests::{Place, build, on_every_store};

on_every_store! {
    a_snapshot_is_returned_as_it_was_stored,
    a_snapshot_replaces_only_one_of_an_older_or_equal_version,
    a_snapshot_of_another_fold_replaces_any_other,
    a_snapshot_beyond_its_stream_is_not_stored,
    of_concurrent_snapshots_the_latest_is_kept,
    snapshots_of_a_stream_are_returned_latest_version_first,
    snapshots_of_a_category_are_returned_newest_first,
    anchors_are_listed_by_stream,
    snapshots_change_nothing_for_readers,
    snapshots_survive_a_restart,
    damaged_snapshots_are_returned_with_a_wrong_checksum,
    a_damaged_snapshot_can_be_replaced,
    a_damaged_anchor_is_returned_with_a_wrong_checksum,
}

/// A store with streams of 5 events.
async fn filled(place: &Place) -> Store {
    let mut store = place.open().await;
    let items = ["note-1", "note-2", "other-1", "note"].map(|to| noted(to, Any, 5));
    store.writer.commit(&items, None).await.unwrap();
    store
}

async fn keep(store: &Store, of: &str, snapshot: &StoredSnapshot) -> bool {
    store.snapshots.keep(&stream(of), snapshot).await.unwrap()
}

async fn find(store: &Store, of: &str) -> Vec<StoredSnapshot> {
    store.snapshots.find(&stream(of)).await.unwrap()
}

fn anchor(of: &str, version: u64) -> StoredSnapshot {
    StoredSnapshot {
        is_anchor: true,
        ..snapshot(of, version)
    }
}

async fn a_snapshot_is_returned_as_it_was_stored(place: Place) {
    let store = filled(&place).await;
    assert!(find(&store, "note-1").await.is_empty());
    assert!(find(&store, "none-1").await.is_empty());
    let thing = ContentType::new("application/x-thing; a=\"b\"").unwrap();
    let of = stream("note-1");
    for (body, schema_version, taken_at) in [
        (Body::empty(), 1, 0),
        (Body::json(" [1.50,\n\"\u{e9}\"]").unwrap(), 7, 1),
        (
            Body::new(thing.clone(), (0..=255).collect::<Vec<u8>>()).unwrap(),
            2,
            1 << 50,
        ),
        (Body::new(thing, vec![]).unwrap(), i32::MAX as u32, 9),
        (
            Body::json(format!("\"{}\"", "x".repeat(2 << 20))).unwrap(),
            3,
            10,
        ),
    ] {
        let fold = Digest([200; 32]);
        let at = Timestamp(taken_at);
        let taken = StoredSnapshot::new(&of, Version(5), schema_version, &body, fold, at);
        assert!(keep(&store, "note-1", &taken).await);
        let found = find(&store, "note-1").await;
        assert_eq!(found, [taken]);
        assert!(found[0].is_intact(&of));
        assert_eq!(found[0].body(), Some(body));
    }
    assert!(find(&store, "note-2").await.is_empty());
}

async fn a_snapshot_replaces_only_one_of_an_older_or_equal_version(place: Place) {
    let store = filled(&place).await;
    let mut there = 0;
    for (version, state) in [(3, "1"), (2, "2"), (3, "3"), (1, "4"), (5, "5"), (4, "6")] {
        let taken = snapshot_of("note-1", version, 1, state);
        assert_eq!(
            keep(&store, "note-1", &taken).await,
            version >= there,
            "{version}"
        );
        if version >= there {
            there = version;
            assert_eq!(find(&store, "note-1").await, [taken]);
        } else {
            assert_eq!(find(&store, "note-1").await[0].version.0, there);
        }
    }
}

async fn a_snapshot_of_another_fold_replaces_any_other(place: Place) {
    let store = filled(&place).await;
    for (version, fold) in [(4, 1), (2, 2), (1, 1), (5, 3), (5, 1)] {
        let taken = snapshot_of("note-1", version, fold, "0");
        assert!(keep(&store, "note-1", &taken).await);
        assert_eq!(find(&store, "note-1").await, [taken]);
    }
}

async fn a_snapshot_beyond_its_stream_is_not_stored(place: Place) {
    let mut store = filled(&place).await;
    assert!(!keep(&store, "note-1", &snapshot("note-1", 6)).await);
    assert!(!keep(&store, "note-1", &snapshot("note-1", 1 << 40)).await);
    assert!(!keep(&store, "none-1", &snapshot("none-1", 1)).await);
    assert!(find(&store, "note-1").await.is_empty());
    assert!(keep(&store, "note-1", &snapshot("note-1", 5)).await);
    store
        .writer
        .commit(&[noted("note-1", Any, 1)], None)
        .await
        .unwrap();
    assert!(keep(&store, "note-1", &snapshot("note-1", 6)).await);
}

async fn of_concurrent_snapshots_the_latest_is_kept(place: Place) {
    let store = filled(&place).await;
    for round in 0..5 {
        let versions = [3, 1, 5, 2, 4];
        let taken = versions.map(|version| snapshot_of("note-1", version, round, "0"));
        let results = join_all(taken.iter().map(|it| keep(&store, "note-1", it))).await;
        assert!(results[2], "{results:?}");
        let found = find(&store, "note-1").await;
        assert_eq!((found.len(), found[0].version.0), (1, 5), "{results:?}");
    }
}

async fn snapshots_of_a_stream_are_returned_latest_version_first(place: Place) {
    let mut store = filled(&place).await;
    for at in 2..=4 {
        store
            .writer
            .commit(&[truncate("note-1", 2, at)], None)
            .await
            .unwrap();
        for version in [3, 5] {
            let taken = snapshot_of("note-1", version, version as u8 + at as u8, "0");
            assert!(keep(&store, "note-1", &taken).await);
            let found = find(&store, "note-1").await;
            let mut expected = vec![taken, anchor("note-1", at)];
            if at > version {
                expected.reverse();
            }
            assert_eq!(found, expected);
        }
    }
}

async fn snapshots_of_a_category_are_returned_newest_first(place: Place) {
    let mut store = filled(&place).await;
    let of_category = |category: &'static str, limit: usize| {
        let newest = store.snapshots.newest(category, limit);
        async move {
            let newest = newest.await.unwrap();
            assert!(newest.iter().all(|(of, it)| it.is_intact(of)));
            let newest = newest.iter().map(|(of, it)| (of.to_string(), it.is_anchor));
            newest.collect::<Vec<_>>()
        }
    };
    assert!(of_category("note", 10).await.is_empty());
    for (of, taken_at) in [
        ("note-1", 30),
        ("note-2", 10),
        ("other-1", 99),
        ("note", 20),
    ] {
        let (of, state) = (stream(of), Body::empty());
        let (fold, at) = (Digest([1; 32]), Timestamp(taken_at));
        let taken = StoredSnapshot::new(&of, Version(1), 1, &state, fold, at);
        assert!(store.snapshots.keep(&of, &taken).await.unwrap());
    }
    let named = |names: &[(&str, bool)]| -> Vec<(String, bool)> {
        let names = names.iter();
        names
            .map(|(of, is_anchor)| ((*of).to_owned(), *is_anchor))
            .collect()
    };
    let all = named(&[("note-1", false), ("note", false), ("note-2", false)]);
    for limit in [0, 1, 2, 3, 9, usize::MAX] {
        assert_eq!(of_category("note", limit).await, all[..limit.min(3)]);
    }
    assert_eq!(of_category("other", 9).await, named(&[("other-1", false)]));
    assert!(of_category("not", 9).await.is_empty());
    // An anchor is returned like the stream's other snapshot.
    let items = [truncate("note-2", 1, 5)];
    store.writer.commit(&items, None).await.unwrap();
    let newest = store.snapshots.newest("note", 9).await.unwrap();
    let newest: Vec<_> = newest
        .iter()
        .map(|(of, it)| (of.to_string(), it.is_anchor))
        .collect();
    assert_eq!(newest, [&named(&[("note-2", true)])[..], &all[..]].concat());
}

async fn anchors_are_listed_by_stream(place: Place) {
    let mut store = place.open().await;
    let mut ids = vec![
        "loan-10", "loan-2", "loan", "loan-", "loan.x", "é-1", "Loan-1", "loanx-1",
    ];
    for (n, id) in (1..).zip(&ids) {
        let items = [noted(id, Any, 10), truncate(id, n, 10)];
        store.writer.commit(&items, None).await.unwrap();
    }
    let whole = [noted("loan-11", Any, 3), noted("a-1", Any, 1)];
    store.writer.commit(&whole, None).await.unwrap();
    keep(&store, "a-1", &snapshot("a-1", 1)).await;
    let before = |id: &str| 1 + ids.iter().position(|it| *it == id).unwrap() as u64;
    let befores: std::collections::HashMap<_, _> = ids.iter().map(|id| (*id, before(id))).collect();
    ids.sort_unstable();
    for category in [None, Some("loan"), Some("é"), Some("none"), Some("loan-2")] {
        let of = |id: &&&str| category.is_none_or(|it| stream(id).category() == it);
        let expected: Vec<&str> = ids.iter().filter(of).copied().collect();
        for limit in [1, 2, 3, 100] {
            let (mut found, mut after) = (Vec::new(), None::<String>);
            loop {
                let anchors = store.snapshots.anchors(category, after.as_deref(), limit);
                let anchors = anchors.await.unwrap();
                assert!(anchors.len() <= limit);
                let Some(last) = anchors.last() else { break };
                after = Some(last.stream.to_string());
                found.extend(anchors);
            }
            let names: Vec<_> = found.iter().map(|it| it.stream.as_str()).collect();
            assert_eq!(names, expected, "{category:?} {limit}");
            for it in &found {
                let id = it.stream.as_str();
                assert_eq!(it.before.0, befores[id]);
                assert_eq!(it.snapshot, anchor(id, 10));
            }
        }
    }
    assert!(
        store
            .snapshots
            .anchors(None, None, 0)
            .await
            .unwrap()
            .is_empty()
    );
    let most = store
        .snapshots
        .anchors(None, None, usize::MAX)
        .await
        .unwrap();
    assert!(most.len() <= SNAPSHOTS_PAGE_MAX);
}

async fn snapshots_change_nothing_for_readers(place: Place) {
    let store = filled(&place).await;
    let before = crate::export::whole(&store).await;
    let head = store.reader.head(&stream("note-1")).await.unwrap();
    assert!(keep(&store, "note-1", &snapshot("note-1", 4)).await);
    assert_eq!(crate::export::whole(&store).await, before);
    assert_eq!(store.reader.head(&stream("note-1")).await.unwrap(), head);
    assert!(
        store
            .snapshots
            .anchors(None, None, 9)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn snapshots_survive_a_restart(place: Place) {
    let mut store = filled(&place).await;
    let taken = snapshot("note-1", 4);
    assert!(keep(&store, "note-1", &taken).await);
    let items = [truncate("note-1", 2, 3), truncate("note-2", 1, 1)];
    store.writer.commit(&items, None).await.unwrap();
    let anchors = store.snapshots.anchors(None, None, 9).await.unwrap();
    store.writer.close().await.unwrap();

    let store = place.open().await;
    assert_eq!(
        find(&store, "note-1").await,
        [taken.clone(), anchor("note-1", 3)]
    );
    assert_eq!(find(&store, "note-2").await, [anchor("note-2", 1)]);
    assert_eq!(
        store.snapshots.anchors(None, None, 9).await.unwrap(),
        anchors
    );
    let older = snapshot("note-1", 3);
    assert!(!keep(&store, "note-1", &older).await);
    store.writer.close().await.unwrap();
    let source = quipu::store::open_reading(&place.url().parse().unwrap())
        .await
        .unwrap();
    assert_eq!(
        source.snapshots.anchors(None, None, 9).await.unwrap(),
        anchors
    );
}

/// Kinds of damage to a row.
const DAMAGE: [&str; 17] = [
    "UPDATE snapshots SET data = substr(data, 2)",
    "UPDATE snapshots SET data = substr(data, 1, 0)",
    "UPDATE snapshots SET data = checksum",
    "UPDATE snapshots SET checksum = substr(checksum, 2)",
    "UPDATE snapshots SET checksum = substr(checksum, 1, 0)",
    "UPDATE snapshots SET checksum = fold",
    "UPDATE snapshots SET fold = substr(fold, 2)",
    "UPDATE snapshots SET fold = checksum",
    "UPDATE snapshots SET version = version - 1",
    "UPDATE snapshots SET version = version + 1",
    "UPDATE snapshots SET version = -version",
    "UPDATE snapshots SET state_schema_version = state_schema_version + 1",
    "UPDATE snapshots SET state_schema_version = -1",
    "UPDATE snapshots SET taken_at = taken_at + 1",
    "UPDATE snapshots SET taken_at = -1",
    "UPDATE snapshots SET content_type = ''",
    "UPDATE snapshots SET content_type = 'é\n'",
];

async fn damaged_snapshots_are_returned_with_a_wrong_checksum(place: Place) {
    for damage in DAMAGE {
        let place = place.another();
        let store = filled(&place).await;
        assert!(keep(&store, "note-1", &snapshot("note-1", 4)).await);
        store.writer.close().await.unwrap();
        place.tamper(damage).await;
        let store = place.open().await;
        let of = stream("note-1");
        let found = find(&store, "note-1").await;
        assert_eq!(found.len(), 1, "{damage}");
        assert!(!found[0].is_intact(&of), "{damage}: {found:?}");
        let newest = store.snapshots.newest("note", 9).await.unwrap();
        assert_eq!(newest, [(of, found[0].clone())], "{damage}");
        store.writer.close().await.unwrap();
    }
}

async fn a_damaged_snapshot_can_be_replaced(place: Place) {
    for damage in DAMAGE {
        let place = place.another();
        let store = filled(&place).await;
        assert!(keep(&store, "note-1", &snapshot("note-1", 3)).await);
        store.writer.close().await.unwrap();
        place.tamper(damage).await;
        let store = place.open().await;
        let taken = snapshot("note-1", 5);
        assert!(keep(&store, "note-1", &taken).await, "{damage}");
        assert_eq!(find(&store, "note-1").await, [taken], "{damage}");
        store.writer.close().await.unwrap();
    }
}

async fn a_damaged_anchor_is_returned_with_a_wrong_checksum(place: Place) {
    for damage in DAMAGE {
        let place = place.another();
        let mut store = filled(&place).await;
        let items = [truncate("note-1", 2, 4)];
        store.writer.commit(&items, None).await.unwrap();
        store.writer.close().await.unwrap();
        place.tamper(damage).await;
        let mut store = place.open().await;
        let anchors = store.snapshots.anchors(None, None, 9).await.unwrap();
        assert_eq!((anchors.len(), anchors[0].before.0), (1, 2), "{damage}");
        let found = find(&store, "note-1").await;
        assert_eq!(found, [anchors[0].snapshot.clone()], "{damage}");
        assert!(
            found[0].is_anchor && !found[0].is_intact(&anchors[0].stream),
            "{damage}"
        );
        // The events are all stored, and the mark can be removed or set a second time.
        for item in [truncate("note-1", 3, 5), build::whole("note-1")] {
            let outcomes = store.writer.commit(&[item], None).await.unwrap();
            assert!(matches!(
                outcomes[0],
                quipu::store::Outcome::Marked(Some(_))
            ));
        }
        assert!(find(&store, "note-1").await.is_empty());
        store.writer.close().await.unwrap();
    }
}
