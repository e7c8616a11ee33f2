//! A store without a host: the outcomes of a batch, and what a reader finds afterwards.

use std::time::Duration;

use quipu::model::ExpectedVersion::{Any, NoStream};
use quipu::model::{ExpectedVersion, Position, Version};
use quipu::store::{Direction, Filter, Item, Outcome, Store};
use quipu_tests::{Place, build, log, on_every_store};

on_every_store! {
    items_of_a_batch_succeed_or_fail_independently,
    positions_rise_in_the_order_of_the_items,
    an_append_to_several_streams_is_all_or_nothing,
    an_append_can_check_streams_that_it_does_not_write,
    appends_that_check_each_others_streams_do_not_both_succeed,
    an_id_that_occurs_twice_in_a_batch_has_to_be_retried,
    a_known_id_returns_its_commit,
    a_check_reports_whether_a_version_matches,
    a_head_is_the_version_and_time_of_the_last_event,
    a_load_returns_events_command_ids_and_the_head,
    an_empty_batch_stores_nothing,
    a_batch_can_be_large,
    a_reopened_store_continues_at_its_last_position,
}

async fn commit(store: &mut Store, items: &[Item]) -> Vec<Outcome> {
    store.writer.commit(items, None).await.unwrap()
}

async fn version(store: &Store, stream: &str) -> u64 {
    let head = store.reader.head(&build::stream(stream)).await.unwrap();
    head.map_or(0, |head| head.version.0)
}

/// The number of events in the log.
async fn count(store: &Store) -> usize {
    let all = Filter::default();
    log::read(&*store.reader, Direction::Forward, 1_000, &all)
        .await
        .len()
}

fn passed(outcomes: &[Outcome]) -> Vec<bool> {
    let is_appended = |it: &Outcome| matches!(it, Outcome::Appended(_));
    outcomes.iter().map(is_appended).collect()
}

async fn items_of_a_batch_succeed_or_fail_independently(place: Place) {
    let mut store = place.open().await;
    let cases: [(ExpectedVersion, usize, bool); 7] = [
        (NoStream, 2, true),
        (NoStream, 1, false),
        (build::exact(2), 3, true),
        (build::exact(2), 1, false),
        (Any, 1, true),
        (build::exact(9), 0, false),
        (build::exact(6), 0, true),
    ];
    let items = cases.map(|(expected, count, _)| build::noted("note-1", expected, count));
    let outcomes = commit(&mut store, &items).await;
    assert_eq!(passed(&outcomes), cases.map(|(_, _, passes)| passes));
    assert!(matches!(
        &outcomes[3],
        Outcome::WrongVersion {
            found: Version(5),
            ..
        }
    ));
    assert_eq!(version(&store, "note-1").await, 6);
    assert_eq!(count(&store).await, 6);
}

async fn positions_rise_in_the_order_of_the_items(place: Place) {
    let mut store = place.open().await;
    let mut last = 0;
    for round in 1..=3 {
        let items: Vec<_> = (1..=4)
            .map(|n| build::noted(&format!("note-{n}"), Any, n))
            .collect();
        for outcome in commit(&mut store, &items).await {
            let Outcome::Appended(appended) = outcome else {
                panic!("{outcome:?}")
            };
            let count = appended[0].positions.len() as u64;
            assert_eq!(appended[0].first_version.0, (round - 1) * count + 1);
            for position in &appended[0].positions {
                assert!(position.0 > last);
                last = position.0;
            }
        }
    }
}

fn writes(parts: &[(&str, ExpectedVersion, usize)]) -> Item {
    let write = |(to, expected, count): &(&str, ExpectedVersion, usize)| {
        build::write(to, *expected, build::commit(None, build::events(*count)))
    };
    build::item(None, parts.iter().map(write).collect())
}

async fn an_append_to_several_streams_is_all_or_nothing(place: Place) {
    let mut store = place.open().await;
    let items = [
        writes(&[("a-1", NoStream, 2), ("b-1", NoStream, 1)]),
        writes(&[("a-1", build::exact(2), 1), ("b-1", build::exact(7), 1)]),
        writes(&[("a-1", build::exact(2), 1), ("c-1", Any, 2)]),
    ];
    let outcomes = commit(&mut store, &items).await;
    assert_eq!(passed(&outcomes), [true, false, true]);
    let Outcome::WrongVersion { stream, found, .. } = &outcomes[1] else {
        panic!()
    };
    assert_eq!((stream.as_str(), found.0), ("b-1", 1));
    for (stream, at) in [("a-1", 3), ("b-1", 1), ("c-1", 2)] {
        assert_eq!(version(&store, stream).await, at, "{stream}");
    }
}

async fn an_append_can_check_streams_that_it_does_not_write(place: Place) {
    let mut store = place.open().await;
    commit(&mut store, &[build::noted("a-1", Any, 2)]).await;
    for (expected, none, passes) in [
        (build::exact(2), NoStream, true),
        (build::exact(1), NoStream, false),
        (build::exact(2), build::exact(1), false),
    ] {
        let item = writes(&[("a-1", expected, 0), ("none-1", none, 0), ("b-1", Any, 1)]);
        assert_eq!(passed(&commit(&mut store, &[item]).await), [passes]);
    }
    assert_eq!(
        (version(&store, "a-1").await, version(&store, "b-1").await),
        (2, 1)
    );
    assert_eq!(
        store.reader.head(&build::stream("none-1")).await.unwrap(),
        None
    );
}

async fn appends_that_check_each_others_streams_do_not_both_succeed(place: Place) {
    let mut store = place.open().await;
    let items = [
        writes(&[("a-1", NoStream, 1), ("b-1", NoStream, 0)]),
        writes(&[("b-1", NoStream, 1), ("a-1", NoStream, 0)]),
    ];
    assert_eq!(passed(&commit(&mut store, &items).await), [true, false]);
}

fn with_id(to: &str, id: &str, count: usize) -> Item {
    let commit = build::commit(Some(id), build::events(count));
    build::item(None, vec![build::write(to, Any, commit)])
}

async fn an_id_that_occurs_twice_in_a_batch_has_to_be_retried(place: Place) {
    let mut store = place.open().await;
    let items = [
        with_id("note-1", "a", 2),
        with_id("note-1", "a", 2),
        with_id("note-2", "a", 1),
        build::check("note-1", None, Some("a")),
        build::check("note-1", None, Some("b")),
    ];
    let outcomes = commit(&mut store, &items).await;
    assert_eq!(passed(&outcomes), [true, false, true, false, false]);
    assert!(matches!(outcomes[1], Outcome::Again));
    assert!(matches!(outcomes[3], Outcome::Again));
    assert!(matches!(outcomes[4], Outcome::Holds(Version(2))));
    let outcomes = commit(&mut store, &items[1..2]).await;
    assert!(matches!(outcomes[0], Outcome::Known(_)));
    assert_eq!(version(&store, "note-1").await, 2);
}

async fn a_known_id_returns_its_commit(place: Place) {
    let mut store = place.open().await;
    let events = build::events(3);
    let made = build::commit(Some("a"), events.clone());
    let record = made.command.clone().unwrap();
    commit(&mut store, &[build::noted("note-1", Any, 1)]).await;
    let item = build::item(None, vec![build::write("note-1", Any, made)]);
    let outcomes = commit(&mut store, &[item]).await;
    let Outcome::Appended(appended) = &outcomes[0] else {
        panic!("{outcomes:?}")
    };
    commit(&mut store, &[build::noted("note-1", Any, 1)]).await;
    let requests = [
        with_id("note-1", "a", 1),
        build::check("note-1", Some(77), Some("a")),
    ];
    for outcome in commit(&mut store, &requests).await {
        let Outcome::Known(known) = outcome else {
            panic!("{outcome:?}")
        };
        let known = known[0].as_ref().unwrap();
        assert_eq!(known.record.as_ref(), Some(&*record));
        assert_eq!(known.data.command_id.as_ref(), Some(&record.id));
        let found: Vec<_> = known
            .events
            .iter()
            .map(|it| (it.id, it.version.0, it.position))
            .collect();
        let places = (2..).zip(&appended[0].positions);
        let expected: Vec<_> = events
            .iter()
            .zip(places)
            .map(|(event, (version, position))| (event.id, version, *position))
            .collect();
        assert_eq!(found, expected);
        assert!(
            known
                .events
                .iter()
                .zip(&events)
                .all(|(known, event)| known.body == event.body)
        );
    }
    assert_eq!(version(&store, "note-1").await, 5);
}

async fn a_check_reports_whether_a_version_matches(place: Place) {
    let mut store = place.open().await;
    commit(&mut store, &[build::noted("note-1", Any, 3)]).await;
    let items = [
        build::check("note-1", Some(3), None),
        build::check("note-1", Some(2), None),
        build::check("note-1", None, Some("unknown")),
        build::check("none-1", Some(0), None),
        build::check("none-1", Some(1), None),
        build::noted("note-1", Any, 1),
        build::check("note-1", Some(4), None),
    ];
    let outcomes = commit(&mut store, &items).await;
    let holds: Vec<Option<u64>> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Holds(version) => Some(version.0),
            _ => None,
        })
        .collect();
    assert_eq!(
        holds,
        [Some(3), None, Some(3), Some(0), None, None, Some(4)]
    );
    assert!(matches!(
        &outcomes[1],
        Outcome::WrongVersion {
            found: Version(3),
            ..
        }
    ));
}

async fn a_head_is_the_version_and_time_of_the_last_event(place: Place) {
    let mut store = place.open().await;
    let stream = build::stream("note-1");
    assert_eq!(store.reader.head(&stream).await.unwrap(), None);
    for at in [2, 4, 6] {
        commit(&mut store, &[build::noted("note-1", Any, 2)]).await;
        let head = store.reader.head(&stream).await.unwrap().unwrap();
        assert_eq!(
            (head.version.0, head.recorded_at.0, head.archived),
            (at, 1_000, false)
        );
    }
}

async fn a_load_returns_events_command_ids_and_the_head(place: Place) {
    let mut store = place.open().await;
    let stream = build::stream("note-1");
    let page = store.reader.load(&stream, Version(0), 10).await.unwrap();
    assert!(page.head.is_none() && page.events.is_empty());
    for (id, count) in [("a", 2), ("b", 3)] {
        commit(&mut store, &[with_id("note-1", id, count)]).await;
    }
    commit(&mut store, &[build::noted("note-1", Any, 2)]).await;
    let ids = [Some("a"), None, Some("b"), None, None, None, None];
    for (after, limit) in [(0, 10), (0, 7), (0, 3), (2, 2), (3, 10), (7, 10), (9, 10)] {
        let page = store
            .reader
            .load(&stream, Version(after as u64), limit)
            .await
            .unwrap();
        let end = (after + limit).min(7);
        let versions: Vec<u64> = page.events.iter().map(|it| it.version.0).collect();
        assert_eq!(
            versions,
            (after as u64 + 1..=end as u64).collect::<Vec<_>>()
        );
        for event in &page.events {
            let id = event.command_id.as_ref().map(|id| id.as_str());
            assert_eq!(id, ids[event.version.0 as usize - 1]);
        }
        // The head never lags its events.
        assert!(page.head.is_some_and(|head| head.version.0 >= end as u64));
    }
}

async fn an_empty_batch_stores_nothing(place: Place) {
    let mut store = place.open().await;
    assert!(commit(&mut store, &[]).await.is_empty());
    assert_eq!(store.reader.log_head().await.unwrap(), Position(0));
}

async fn a_batch_can_be_large(place: Place) {
    let mut store = place.open().await;
    let items: Vec<_> = (0..1_024)
        .map(|n| with_id(&format!("note-{}", n % 700), &format!("id-{n}"), 2))
        .collect();
    assert!(
        passed(&commit(&mut store, &items).await)
            .iter()
            .all(|passed| *passed)
    );
    assert_eq!(count(&store).await, 2_048);
    let again = commit(&mut store, &items).await;
    assert!(again.iter().all(|it| matches!(it, Outcome::Known(_))));
}

async fn a_reopened_store_continues_at_its_last_position(place: Place) {
    let (mut last, mut events) = (Position(0), 0);
    let mut secret = None;
    for round in 0..3 {
        let mut store = place.open().await;
        assert_eq!(*secret.get_or_insert(store.secret), store.secret);
        assert_eq!(store.reader.log_head().await.unwrap(), last);
        assert_eq!(count(&store).await, events);
        let items = [
            build::noted("note-1", build::exact(round), 1),
            with_id("note-2", "a", 1),
            build::noted(&format!("new-{round}"), NoStream, 1),
        ];
        let outcomes = commit(&mut store, &items).await;
        assert_eq!(passed(&outcomes), [true, round == 0, true]);
        let head = store.reader.log_head().await.unwrap();
        assert!(head > last, "{head} after {last}");
        (last, events) = (head, events + if round == 0 { 3 } else { 2 });
        store.writer.close().await.unwrap();
    }
}

/// On PostgreSQL the planner once sorted the rest of the stream for each page. Nothing has collected
/// statistics about this young table.
#[tokio::test]
async fn a_page_of_a_long_stream_reads_no_more_rows_than_it_returns() {
    const EVENTS: u64 = 3_000;
    const PAGE: usize = 300;
    let place = Place::postgres();
    let mut store = place.open().await;
    for _ in 0..EVENTS / 1_000 {
        commit(&mut store, &[build::noted("note-1", Any, 1_000)]).await;
    }
    drop(store);
    let before = settled(&place, 0).await;
    let store = place.open().await;
    let stream = build::stream("note-1");
    let mut after = Version(0);
    while after.0 < EVENTS {
        let page = store.reader.load(&stream, after, PAGE).await.unwrap();
        assert_eq!(page.events.len(), PAGE);
        after = page.events[PAGE - 1].version;
    }
    drop(store);
    let read = settled(&place, before + EVENTS).await - before;
    assert!(
        read < 2 * EVENTS,
        "{read} rows were read for {EVENTS} events"
    );
}

/// How many rows of events were read, at least `least`. A connection reports it some time later.
async fn settled(place: &Place, least: u64) -> u64 {
    let mut last = (fetched(place).await, 0);
    while last.0 < least || last.1 < 5 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = fetched(place).await;
        last = (now, if now == last.0 { last.1 + 1 } else { 0 });
    }
    last.0
}

/// How many rows of events were read so far.
async fn fetched(place: &Place) -> u64 {
    let count = "SELECT (coalesce(idx_tup_fetch, 0) + seq_tup_read)::bigint FROM \
                 pg_stat_user_tables WHERE schemaname = current_schema() AND relname = 'events'";
    place.number(count).await as u64
}
