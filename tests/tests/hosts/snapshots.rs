//! Snapshots and truncation marks belong to the store, whichever host set them.

use std::sync::Arc;

use futures::future::join_all;
use quipu::model::ExpectedVersion::Any;
use quipu::model::{Body, Digest, Timestamp, Version};
use quipu::store::{
    Change, Direction, Item, Mark, Outcome, SnapshotStore, Store, StoredSnapshot, StreamFilter,
};
use quipu_tests::{Place, build, seed};
use rand::seq::SliceRandom;

const STREAM: &str = "note-1";
const FOLD: Digest = Digest([7; 32]);

/// A snapshot of the stream whose state is its version.
fn taken(version: u64, fold: Digest) -> StoredSnapshot {
    let body = Body::json(format!("{{\"n\":{version}}}")).unwrap();
    let (stream, at) = (build::stream(STREAM), Timestamp(version));
    StoredSnapshot::new(&stream, Version(version), 1, &body, fold, at)
}

/// This number of stores at one place, with a stream of this number of events.
async fn stores(place: &Place, count: usize, events: usize) -> Vec<Store> {
    let mut stores = Vec::new();
    for _ in 0..count {
        stores.push(place.open().await);
    }
    let items = [build::noted(STREAM, Any, events)];
    commit(&mut stores[0], &items).await;
    stores
}

async fn commit(store: &mut Store, items: &[Item]) -> Vec<Outcome> {
    store.writer.commit(items, None).await.unwrap()
}

fn mark(change: Change) -> Item {
    let events = vec![build::event("marked", "{}")];
    Item::Mark(Mark {
        stream: build::stream(STREAM),
        change,
        write: build::write("$streams", Any, build::commit(None, events)),
    })
}

fn truncated(before: u64, at: u64) -> Item {
    mark(Change::Truncated {
        before: Version(before),
        anchor: Box::new(taken(at, FOLD)),
    })
}

/// The version of the stream's last snapshot that is not an anchor.
async fn snapshot_version(snapshots: &dyn SnapshotStore) -> Option<u64> {
    let stream = build::stream(STREAM);
    let found = snapshots.find(&stream).await.unwrap();
    assert!(found.iter().all(|one| one.is_intact(&stream)));
    let mut automatic = found.iter().filter(|one| !one.is_anchor);
    automatic.next().map(|one| one.version.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_one_host_is_found_by_another() {
    let place = Place::postgres();
    let stores = stores(&place, 2, 9).await;
    let (here, there) = (&stores[0].snapshots, &stores[1].snapshots);
    let stream = build::stream(STREAM);
    for version in [3, 5] {
        let snapshot = taken(version, FOLD);
        assert!(here.keep(&stream, &snapshot).await.unwrap());
        let found = there.find(&stream).await.unwrap();
        assert_eq!(found, std::slice::from_ref(&snapshot));
        let newest = there.newest("note", 9).await.unwrap();
        assert_eq!(newest, [(stream.clone(), snapshot)]);
    }
    assert!(!there.keep(&stream, &taken(4, FOLD)).await.unwrap());
    assert!(!there.keep(&stream, &taken(10, FOLD)).await.unwrap());
    assert_eq!(snapshot_version(&**here).await, Some(5));
    // A snapshot of another fold is replaced even if its version is later.
    let other = taken(4, Digest([8; 32]));
    assert!(there.keep(&stream, &other).await.unwrap());
    assert_eq!(snapshot_version(&**here).await, Some(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_snapshots_by_several_hosts_the_latest_is_kept() {
    let place = Place::postgres();
    let stores = stores(&place, 2, 200).await;
    let seed = seed::seeds(1)[0];
    let mut random = seed::random(seed);
    for round in 0..20 {
        let mut versions: Vec<u64> = (round * 10 + 1..=round * 10 + 10).collect();
        versions.shuffle(&mut random);
        let keeping = versions.iter().enumerate().map(|(n, version)| {
            let (snapshots, version) = (Arc::clone(&stores[n % 2].snapshots), *version);
            tokio::spawn(async move {
                let stream = build::stream(STREAM);
                snapshots
                    .keep(&stream, &taken(version, FOLD))
                    .await
                    .unwrap()
            })
        });
        let stored = join_all(keeping).await;
        let of_last = versions.iter().position(|it| *it == round * 10 + 10);
        assert!(*stored[of_last.unwrap()].as_ref().unwrap(), "round {round}");
        assert_eq!(
            snapshot_version(&*stores[0].snapshots).await,
            Some(round * 10 + 10)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_truncated_at_one_host_is_truncated_for_readers_at_another() {
    let place = Place::postgres();
    let mut stores = stores(&place, 2, 9).await;
    let stream = build::stream(STREAM);
    // Both have cached the version of the stream.
    commit(&mut stores[1], &[build::noted(STREAM, Any, 1)]).await;
    for (turn, change) in [truncated(4, 6), truncated(8, 8), mark(Change::Whole)]
        .into_iter()
        .enumerate()
    {
        let before = Version([4, 8, 0][turn]);
        let (one, other) = (turn % 2, (turn + 1) % 2);
        let outcomes = commit(&mut stores[one], &[change]).await;
        assert!(matches!(outcomes[..], [Outcome::Marked(Some(_))]));

        let reader = &stores[other].reader;
        let head = reader.head(&stream).await.unwrap().unwrap();
        assert_eq!((head.version.0, head.truncated_before), (10, before));
        let page = reader
            .read_stream(&stream, Version(1), Direction::Forward, 100)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(page.truncated_before, before);
        assert_eq!(page.events[0].version, head.first());
        assert_eq!(page.events.len() as u64, 11 - head.first().0);
        let load = reader.load(&stream, Version(5), 100).await.unwrap();
        assert_eq!((load.head, load.events.len()), (Some(head), 5));
        let listed = reader.streams(None, 9, &StreamFilter::default()).await;
        let info = listed.unwrap().streams.pop().unwrap();
        assert_eq!(
            (info.stream, info.truncated_before),
            (stream.clone(), before)
        );
        let anchors = stores[other].snapshots.anchors(Some("note"), None, 9).await;
        let anchors: Vec<_> = anchors
            .unwrap()
            .iter()
            .map(|it| it.snapshot.version.0)
            .collect();
        assert_eq!(anchors, [vec![6], vec![8], vec![]][turn]);
    }
    let again = commit(&mut stores[0], &[mark(Change::Whole)]).await;
    assert!(matches!(again[..], [Outcome::Marked(None)]));
    // Appends continue as before at both.
    for store in &mut stores {
        let outcomes = commit(store, &[build::noted(STREAM, Any, 1)]).await;
        assert!(matches!(outcomes[..], [Outcome::Appended(_)]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_marks_in_a_batch_the_last_of_each_kind_applies() {
    let place = Place::postgres();
    let mut stores = stores(&place, 2, 9).await;
    let archived = |archived| mark(Change::Archived(archived));
    let whole = || mark(Change::Whole);
    let expected = [
        (vec![truncated(3, 3), truncated(5, 6)], (5, false), vec![6]),
        (
            vec![whole(), archived(true), truncated(2, 9)],
            (2, true),
            vec![9],
        ),
        (
            vec![archived(false), archived(true), archived(false)],
            (2, false),
            vec![9],
        ),
        (
            vec![archived(true), archived(false), archived(true)],
            (2, true),
            vec![9],
        ),
        (
            vec![truncated(7, 7), archived(false), whole()],
            (0, false),
            vec![],
        ),
    ];
    for (items, (before, is_archived), anchors) in expected {
        for outcome in commit(&mut stores[0], &items).await {
            assert!(matches!(outcome, Outcome::Marked(Some(_))), "{outcome:?}");
        }
        let head = stores[1].reader.head(&build::stream(STREAM)).await;
        let head = head.unwrap().unwrap();
        let state = (head.truncated_before.0, head.archived);
        assert_eq!(state, (before, is_archived));
        let found = stores[1].snapshots.anchors(None, None, 9).await.unwrap();
        let found: Vec<_> = found.iter().map(|it| it.snapshot.version.0).collect();
        assert_eq!(found, anchors);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_is_returned_and_not_intact() {
    let place = Place::postgres();
    let mut stores = stores(&place, 1, 9).await;
    let store = stores.pop().unwrap();
    let stream = build::stream(STREAM);
    for damage in [
        "UPDATE snapshots SET version = -1",
        "UPDATE snapshots SET version = version + 1",
        "UPDATE snapshots SET state_schema_version = -1",
        "UPDATE snapshots SET state_schema_version = 4294967297",
        "UPDATE snapshots SET content_type = E'\\x01'",
        "UPDATE snapshots SET content_type = ''",
        "UPDATE snapshots SET data = ''",
        "UPDATE snapshots SET fold = fold || '\\x00'",
        "UPDATE snapshots SET fold = '\\x07'",
        "UPDATE snapshots SET taken_at = -9223372036854775808",
        "UPDATE snapshots SET checksum = checksum || checksum",
        "UPDATE snapshots SET checksum = ''",
    ] {
        // It belongs to another fold than the stored snapshot, so it is stored in any case.
        let snapshot = taken(5, Digest(rand::random()));
        assert!(store.snapshots.keep(&stream, &snapshot).await.unwrap());
        place.tamper(damage).await;
        let found = store.snapshots.find(&stream).await.unwrap();
        assert_eq!(found.len(), 1, "{damage}");
        assert!(!found[0].is_intact(&stream), "{damage}");
        let newest = store.snapshots.newest("note", 1).await.unwrap();
        assert_eq!(newest, [(stream.clone(), found[0].clone())], "{damage}");
    }
}
