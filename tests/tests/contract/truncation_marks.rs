//! Semantics 11.2: the marks of truncated streams in a store.

use quipu::model::ExpectedVersion::{Any, NoStream};
use quipu::model::{Position, Timestamp, Version};
use quipu::store::{
    Direction, Error, EventReader, Filter, Head, Import, Outcome, Store, StreamFilter, StreamPage,
};
use quipu_tests::build::{mark, noted, stream, truncate, whole};
use quipu_tests::{Place, build, log, on_every_store};

use crate::export::commit;

on_every_store! {
    reads_of_a_truncated_stream_start_at_its_mark,
    a_stream_can_be_truncated_before_its_first_or_its_last_event,
    loading_and_the_log_show_everything,
    truncating_keeps_the_version_and_the_stream_takes_appends,
    heads_and_lists_show_the_mark,
    a_mark_can_be_moved_forward_and_back,
    removing_a_mark_is_idempotent_and_shows_all_events,
    a_stream_that_does_not_exist_cannot_be_truncated,
    archiving_and_truncating_are_independent,
    a_mark_can_be_in_a_batch_with_appends,
    the_event_about_a_mark_is_in_the_same_commit,
    automatic_snapshots_and_the_anchor_do_not_replace_each_other,
    an_anchor_is_imported,
    an_invalid_anchor_is_refused_and_changes_nothing,
    a_truncation_mark_survives_a_restart,
}

/// A store with two streams of 8 events.
async fn filled(place: &Place) -> Store {
    let mut store = place.open().await;
    let items = [noted("note-1", NoStream, 8), noted("note-2", NoStream, 8)];
    commit(&mut store, &items).await;
    store
}

async fn truncated(place: &Place, before: u64, at: u64) -> Store {
    let mut store = filled(place).await;
    let outcomes = commit(&mut store, &[truncate("note-1", before, at)]).await;
    assert!(
        matches!(outcomes[0], Outcome::Marked(Some(_))),
        "{outcomes:?}"
    );
    store
}

async fn page(store: &Store, from: u64, direction: Direction, limit: usize) -> StreamPage {
    let of = stream("note-1");
    let page = store
        .reader
        .read_stream(&of, Version(from), direction, limit)
        .await;
    page.unwrap().unwrap()
}

async fn shown(store: &Store) -> Vec<u64> {
    let page = page(store, 1, Direction::Forward, 100).await;
    page.events.iter().map(|it| it.version.0).collect()
}

/// The version and the mark.
async fn head(store: &Store, of: &str) -> (u64, u64) {
    let head = store.reader.head(&stream(of)).await.unwrap().unwrap();
    (head.version.0, head.truncated_before.0)
}

fn shape(outcomes: &[Outcome]) -> String {
    let shape = outcomes.iter().map(|outcome| match outcome {
        Outcome::NoStream(_) => "none",
        Outcome::Appended(_) => "appended",
        Outcome::Archived(_) => "archived",
        Outcome::Marked(Some(_)) => "marked",
        Outcome::Marked(None) => "unchanged",
        Outcome::Holds(_) => "holds",
        other => panic!("{other:?}"),
    });
    shape.collect::<Vec<_>>().join(" ")
}

async fn check_reads(store: &Store, version: u64, first: u64) {
    for from in 1..=version + 2 {
        for limit in 1..=version as usize + 1 {
            let forward: Vec<u64> = (from.max(first)..=version).collect();
            let backward: Vec<u64> = (first..=from.min(version)).rev().collect();
            for (direction, expected) in [
                (Direction::Forward, forward),
                (Direction::Backward, backward),
            ] {
                let page = page(store, from, direction, limit).await;
                let found: Vec<u64> = page.events.iter().map(|it| it.version.0).collect();
                let end = expected.len().min(limit);
                assert_eq!(found, expected[..end], "{from} {direction:?} {limit}");
                let next = expected.get(end).copied();
                assert_eq!(
                    page.next.map(|it| it.0),
                    next,
                    "{from} {direction:?} {limit}"
                );
                assert_eq!(page.version.0, version);
            }
        }
    }
}

async fn reads_of_a_truncated_stream_start_at_its_mark(place: Place) {
    let store = truncated(&place, 4, 6).await;
    check_reads(&store, 8, 4).await;
    assert_eq!(
        page(&store, 1, Direction::Forward, 1)
            .await
            .truncated_before
            .0,
        4
    );
    assert_eq!(
        page(&store, u64::MAX, Direction::Backward, 9)
            .await
            .events
            .len(),
        5
    );
}

async fn a_stream_can_be_truncated_before_its_first_or_its_last_event(place: Place) {
    for before in [1, 8] {
        let place = place.another();
        let store = truncated(&place, before, 8).await;
        check_reads(&store, 8, before).await;
        assert_eq!(head(&store, "note-1").await, (8, before));
    }
}

async fn loading_and_the_log_show_everything(place: Place) {
    let store = truncated(&place, 4, 8).await;
    let of = stream("note-1");
    for (after, limit) in [(0, 100), (2, 3), (8, 5)] {
        let load = store.reader.load(&of, Version(after), limit).await.unwrap();
        let found: Vec<u64> = load.events.iter().map(|it| it.version.0).collect();
        let end = 8.min(after + limit as u64);
        assert_eq!(found, (after + 1..=end).collect::<Vec<_>>());
        assert_eq!(load.head.unwrap().truncated_before.0, 4);
    }
    let all = Filter::default();
    let log = log::read(&*store.reader, Direction::Forward, 3, &all).await;
    assert_eq!(log::check(&log)[&of].len(), 8);
    let own = Filter {
        prefix: Some("note-1".into()),
        without_archived: true,
        ..Filter::default()
    };
    let own = log::read(&*store.reader, Direction::Backward, 3, &own).await;
    assert_eq!(own.len(), 8);
    assert_eq!(crate::export::whole(&store).await.len(), 17);
}

async fn truncating_keeps_the_version_and_the_stream_takes_appends(place: Place) {
    let mut store = truncated(&place, 4, 4).await;
    let items = [
        build::check("note-1", Some(8), None),
        noted("note-1", build::exact(8), 2),
        noted("note-1", build::exact(10), 1),
    ];
    let outcomes = commit(&mut store, &items).await;
    assert_eq!(shape(&outcomes), "holds appended appended");
    assert_eq!(head(&store, "note-1").await, (11, 4));
    assert_eq!(shown(&store).await, [4, 5, 6, 7, 8, 9, 10, 11]);
    // The writer remembers the mark, too.
    assert_eq!(
        shape(&commit(&mut store, &[whole("note-1")]).await),
        "marked"
    );
}

async fn heads_and_lists_show_the_mark(place: Place) {
    let store = truncated(&place, 4, 7).await;
    assert_eq!(head(&store, "note-1").await, (8, 4));
    assert_eq!(head(&store, "note-2").await, (8, 0));
    let all = StreamFilter::default();
    let page = store.reader.streams(None, 9, &all).await.unwrap();
    let listed: Vec<_> = page
        .streams
        .iter()
        .map(|it| (it.stream.as_str(), it.version.0, it.truncated_before.0))
        .collect();
    assert_eq!(
        listed,
        [("$streams", 1, 0), ("note-1", 8, 4), ("note-2", 8, 0)]
    );
}

async fn anchor_at(store: &Store) -> Vec<(u64, u64)> {
    let anchors = store.snapshots.anchors(None, None, 9).await.unwrap();
    let anchors = anchors.iter();
    anchors
        .map(|it| (it.before.0, it.snapshot.version.0))
        .collect()
}

async fn a_mark_can_be_moved_forward_and_back(place: Place) {
    let mut store = truncated(&place, 4, 6).await;
    for (before, at) in [(7, 8), (2, 3), (2, 8), (2, 8)] {
        let outcomes = commit(&mut store, &[truncate("note-1", before, at)]).await;
        assert_eq!(shape(&outcomes), "marked");
        assert_eq!(anchor_at(&store).await, [(before, at)]);
        assert_eq!(shown(&store).await, (before..=8).collect::<Vec<_>>());
        let found = store.snapshots.find(&stream("note-1")).await.unwrap();
        assert_eq!((found.len(), found[0].version.0), (1, at));
    }
}

async fn removing_a_mark_is_idempotent_and_shows_all_events(place: Place) {
    let mut store = truncated(&place, 4, 6).await;
    let items = [whole("note-1"), whole("note-1"), whole("note-2")];
    assert_eq!(
        shape(&commit(&mut store, &items).await),
        "marked unchanged unchanged"
    );
    assert_eq!(
        shape(&commit(&mut store, &items).await),
        "unchanged unchanged unchanged"
    );
    check_reads(&store, 8, 1).await;
    assert_eq!(head(&store, "note-1").await, (8, 0));
    assert!(anchor_at(&store).await.is_empty());
    let found = store.snapshots.find(&stream("note-1")).await.unwrap();
    assert!(found.is_empty());
    assert_eq!(head(&store, "$streams").await, (2, 0));
}

async fn a_stream_that_does_not_exist_cannot_be_truncated(place: Place) {
    let mut store = filled(&place).await;
    let items = [truncate("none-1", 1, 1), whole("none-1")];
    assert_eq!(shape(&commit(&mut store, &items).await), "none none");
    assert!(anchor_at(&store).await.is_empty());
    assert_eq!(crate::export::whole(&store).await.len(), 16);
}

async fn archiving_and_truncating_are_independent(place: Place) {
    let mut store = filled(&place).await;
    let of = stream("note-1");
    let steps = [
        (truncate("note-1", 3, 5), false, 3),
        (mark("note-1", true), true, 3),
        (truncate("note-1", 6, 6), true, 6),
        (whole("note-1"), true, 0),
        (truncate("note-1", 2, 8), true, 2),
        (mark("note-1", false), false, 2),
        (whole("note-1"), false, 0),
    ];
    for (item, archived, before) in steps {
        assert_eq!(shape(&commit(&mut store, &[item]).await), "marked");
        let head = store.reader.head(&of).await.unwrap().unwrap();
        assert_eq!((head.archived, head.truncated_before.0), (archived, before));
        let load = store.reader.load(&of, Version(0), 9).await.unwrap();
        // A load reads the digest of the last commit only where the writer takes it from there.
        let loaded = load.head.map(|loaded| Head {
            digest: head.digest,
            ..loaded
        });
        assert_eq!(loaded, Some(head));
        assert_eq!(shown(&store).await.len() as u64, 9 - before.max(1));
        let appended = commit(&mut store, &[noted("note-1", build::exact(8), 0)]).await;
        assert_eq!(
            shape(&appended),
            if archived { "archived" } else { "appended" }
        );
    }
}

async fn a_mark_can_be_in_a_batch_with_appends(place: Place) {
    let mut store = place.open().await;
    let items = [
        truncate("note-1", 1, 1),
        noted("note-1", NoStream, 3),
        truncate("note-1", 2, 3),
        noted("note-1", build::exact(3), 2),
        whole("note-1"),
        whole("note-1"),
        truncate("note-1", 3, 5),
        noted("note-1", build::exact(5), 1),
    ];
    assert_eq!(
        shape(&commit(&mut store, &items).await),
        "none appended marked appended marked unchanged marked appended"
    );
    assert_eq!(head(&store, "note-1").await, (6, 3));
    assert_eq!(shown(&store).await, [3, 4, 5, 6]);
    assert_eq!(anchor_at(&store).await, [(3, 5)]);
    let items = [
        noted("note-1", Any, 1),
        whole("note-1"),
        noted("note-1", Any, 1),
    ];
    let outcomes = commit(&mut store, &items).await;
    assert_eq!(shape(&outcomes), "appended marked appended");
    assert_eq!(shown(&store).await.len(), 8);
    assert!(anchor_at(&store).await.is_empty());
}

async fn the_event_about_a_mark_is_in_the_same_commit(place: Place) {
    let mut store = filled(&place).await;
    let head = store.reader.log_head().await.unwrap();
    let outcomes = commit(&mut store, &[truncate("note-1", 4, 4)]).await;
    let Outcome::Marked(Some(position)) = outcomes[0] else {
        panic!("{outcomes:?}")
    };
    let all = Filter::default();
    assert!(position > head);
    let events = store.reader.read_log(head, Direction::Forward, 9, &all);
    let events = events.await.unwrap().events;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].stream.as_str(), events[0].position),
        ("$streams", position)
    );
}

async fn automatic_snapshots_and_the_anchor_do_not_replace_each_other(place: Place) {
    let mut store = truncated(&place, 4, 6).await;
    let of = stream("note-1");
    for version in [5, 6, 8] {
        let taken = build::snapshot("note-1", version);
        assert!(store.snapshots.keep(&of, &taken).await.unwrap());
        assert_eq!(anchor_at(&store).await, [(4, 6)]);
    }
    commit(&mut store, &[truncate("note-1", 5, 5)]).await;
    let summary = |found: Vec<quipu::store::StoredSnapshot>| -> Vec<(u64, bool)> {
        let found = found.iter();
        found.map(|it| (it.version.0, it.is_anchor)).collect()
    };
    let found = store.snapshots.find(&of).await.unwrap();
    assert_eq!(summary(found), [(8, false), (5, true)]);
    commit(&mut store, &[whole("note-1")]).await;
    let found = store.snapshots.find(&of).await.unwrap();
    assert_eq!(summary(found), [(8, false)]);
}

fn anchor(of: &str, before: u64, at: u64) -> quipu::store::Anchor {
    let mut snapshot = build::snapshot(of, at);
    snapshot.is_anchor = true;
    quipu::store::Anchor {
        stream: stream(of),
        before: Version(before),
        snapshot,
    }
}

async fn an_anchor_is_imported(place: Place) {
    let mut store = filled(&place).await;
    let archived = Import::Archived(stream("note-1"), Timestamp(7));
    store.writer.import(&archived).await.unwrap();
    for (before, at) in [(4, 6), (4, 6), (2, 8), (8, 8), (1, 1)] {
        let anchor = anchor("note-1", before, at);
        let part = Import::Truncated(Box::new(anchor.clone()));
        store.writer.import(&part).await.unwrap();
        assert_eq!(
            store.snapshots.anchors(None, None, 9).await.unwrap(),
            [anchor]
        );
        assert_eq!(head(&store, "note-1").await, (8, before));
    }
    let items = [
        mark("note-1", true),
        mark("note-1", false),
        noted("note-1", Any, 1),
    ];
    let outcomes = commit(&mut store, &items).await;
    assert_eq!(shape(&outcomes), "unchanged marked appended");
    // The writer remembers the mark when later events are imported.
    let place = place.another();
    let source = filled(&place).await;
    let mut more = crate::export::whole(&source).await.split_off(15).remove(0);
    more.stream = stream("note-1");
    more.version = Version(10);
    more.position = Position(1_000);
    let mut first = crate::export::whole(&source).await.remove(0).commit;
    first.as_mut().unwrap().events = 1;
    (more.commit, more.commit_offset) = (first, 0);
    store
        .writer
        .import(&Import::Events(vec![more]))
        .await
        .unwrap();
    assert_eq!(head(&store, "note-1").await, (10, 1));
    assert_eq!(
        shape(&commit(&mut store, &[whole("note-1")]).await),
        "marked"
    );
}

async fn an_invalid_anchor_is_refused_and_changes_nothing(place: Place) {
    let mut store = truncated(&place, 4, 6).await;
    let damaged = |change: fn(&mut quipu::store::Anchor)| {
        let mut anchor = anchor("note-1", 2, 4);
        change(&mut anchor);
        anchor
    };
    for unfit in [
        anchor("none-1", 1, 1),
        anchor("note-1", 0, 1),
        anchor("note-1", 5, 4),
        anchor("note-1", 2, 9),
        anchor("note-1", 9, 9),
        damaged(|it| it.stream = stream("note-2")),
        damaged(|it| it.snapshot.checksum[0] ^= 1),
        damaged(|it| it.snapshot.version = Version(5)),
        damaged(|it| it.snapshot.content_type = String::new()),
    ] {
        let part = Import::Truncated(Box::new(unfit));
        let error = store.writer.import(&part).await;
        assert!(
            matches!(error, Err(Error::Import(_))),
            "{part:?}: {error:?}"
        );
        assert_eq!(anchor_at(&store).await, [(4, 6)]);
        assert_eq!(head(&store, "note-2").await, (8, 0));
    }
}

async fn a_truncation_mark_survives_a_restart(place: Place) {
    let mut store = truncated(&place, 4, 6).await;
    commit(&mut store, &[truncate("note-2", 8, 8), whole("note-2")]).await;
    store.writer.close().await.unwrap();
    let mut store = place.open().await;
    check_reads(&store, 8, 4).await;
    assert_eq!(head(&store, "note-2").await, (8, 0));
    assert_eq!(anchor_at(&store).await, [(4, 6)]);
    let items = [
        noted("note-1", build::exact(8), 1),
        whole("note-2"),
        whole("note-1"),
    ];
    let outcomes = commit(&mut store, &items).await;
    assert_eq!(shape(&outcomes), "appended unchanged marked");
    store.writer.close().await.unwrap();
    let store = place.open().await;
    check_reads(&store, 9, 1).await;
    assert_eq!(
        store.reader.log_head().await.unwrap(),
        last(&*store.reader).await
    );
}

/// The position of the last event.
async fn last(reader: &dyn EventReader) -> Position {
    let all = log::read(reader, Direction::Forward, 1_000, &Filter::default()).await;
    all.last().unwrap().position
}
