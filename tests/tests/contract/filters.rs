//! Section 4.2: the log by tags, and without archived streams; its head.

use std::sync::Arc;

use quipu::model::ExpectedVersion::Any;
use quipu::model::{NewEvent, Position};
use quipu::store::Direction::{Backward, Forward};
use quipu::store::{Filter, Item, Store};
use quipu_tests::build::tagged;
use quipu_tests::{Place, build, log, on_every_store};

on_every_store! {
    a_filter_selects_events_with_any_of_its_tags,
    a_filter_by_tags_goes_together_with_others,
    a_filter_leaves_out_archived_streams,
    an_empty_list_of_tags_is_refused,
    the_head_of_the_log_is_the_last_event,
    readers_are_woken_by_what_was_written,
}

fn tags(tags: &[&str]) -> Filter {
    Filter {
        tags: Some(tags.iter().map(|tag| Arc::from(*tag)).collect()),
        ..Filter::default()
    }
}

fn active() -> Filter {
    Filter {
        without_archived: true,
        ..Filter::default()
    }
}

fn to(stream: &str, events: Vec<NewEvent>) -> Item {
    build::item(
        None,
        vec![build::write(stream, Any, build::commit(None, events))],
    )
}

async fn commit(store: &mut Store, items: &[Item]) {
    store.writer.commit(items, None).await.unwrap();
}

/// What passes a filter, as stream and version, equal in both directions and in pages of
/// every length.
async fn passing(store: &Store, filter: &Filter) -> Vec<String> {
    let seen = |events: Vec<quipu::model::RecordedEvent>| -> Vec<String> {
        let seen = events
            .iter()
            .map(|it| format!("{} {}", it.stream, it.version));
        seen.collect()
    };
    let all = seen(log::read(&*store.reader, Forward, 100, filter).await);
    for limit in 1..=3 {
        assert_eq!(
            seen(log::read(&*store.reader, Forward, limit, filter).await),
            all
        );
        let mut back = seen(log::read(&*store.reader, Backward, limit, filter).await);
        back.reverse();
        assert_eq!(back, all);
    }
    all
}

async fn marked(place: &Place) -> Store {
    let mut store = place.open().await;
    let items = [
        to("a-1", vec![tagged(&["x:1"]), tagged(&["x:1", "y:2"])]),
        to(
            "b-1",
            vec![tagged(&[]), tagged(&["y:2"]), tagged(&["x:11"])],
        ),
        to("a-2", vec![tagged(&["é\"\\:,[]", "%"]), tagged(&["X:1"])]),
        build::noted("a-1", Any, 1),
    ];
    commit(&mut store, &items).await;
    store
}

async fn a_filter_selects_events_with_any_of_its_tags(place: Place) {
    let store = marked(&place).await;
    let cases: [(&[&str], &[&str]); 9] = [
        (&["x:1"], &["a-1 1", "a-1 2"]),
        (&["y:2"], &["a-1 2", "b-1 2"]),
        (&["x:1", "y:2"], &["a-1 1", "a-1 2", "b-1 2"]),
        (&["x:1", "x:1", "none"], &["a-1 1", "a-1 2"]),
        (&["é\"\\:,[]"], &["a-2 1"]),
        (&["%"], &["a-2 1"]),
        (&["x"], &[]),
        (&[""], &[]),
        (&["1"], &[]),
    ];
    for (asked, expected) in cases {
        assert_eq!(passing(&store, &tags(asked)).await, expected, "{asked:?}");
    }
}

async fn a_filter_by_tags_goes_together_with_others(place: Place) {
    let mut store = marked(&place).await;
    let of = |category: &str| Filter {
        categories: Some(vec![category.into()]),
        ..tags(&["y:2"])
    };
    assert_eq!(passing(&store, &of("a")).await, ["a-1 2"]);
    assert_eq!(passing(&store, &of("b")).await, ["b-1 2"]);
    let begins = Filter {
        prefix: Some("a-2".into()),
        ..tags(&["y:2"])
    };
    assert!(passing(&store, &begins).await.is_empty());
    commit(&mut store, &[build::mark("a-1", true)]).await;
    let both = Filter {
        without_archived: true,
        ..tags(&["y:2"])
    };
    assert_eq!(passing(&store, &both).await, ["b-1 2"]);
}

async fn a_filter_leaves_out_archived_streams(place: Place) {
    let mut store = marked(&place).await;
    let all = passing(&store, &Filter::default()).await;
    assert_eq!(passing(&store, &active()).await, all);
    commit(&mut store, &[build::mark("a-1", true)]).await;
    let rest = ["b-1 1", "b-1 2", "b-1 3", "a-2 1", "a-2 2", "$streams 1"];
    assert_eq!(passing(&store, &active()).await, rest);
    assert_eq!(
        passing(&store, &Filter::default()).await.len(),
        all.len() + 1
    );
    commit(&mut store, &[build::mark("a-1", false)]).await;
    assert_eq!(passing(&store, &active()).await.len(), all.len() + 2);
}

async fn an_empty_list_of_tags_is_refused(place: Place) {
    let host = place.host().await;
    let answer = host.read_log(Position(0), Forward, 10, &tags(&[])).await;
    assert_eq!(answer.unwrap_err().code(), "bad-request");
    let answer = host.read_log(Position(0), Forward, 10, &active()).await;
    assert!(answer.unwrap().events.is_empty());
}

async fn the_head_of_the_log_is_the_last_event(place: Place) {
    let mut store = place.open().await;
    assert_eq!(store.reader.log_head().await.unwrap(), Position(0));
    for count in [1, 3, 1_000, 2] {
        commit(&mut store, &[build::noted("note-1", Any, count)]).await;
        let head = store.reader.log_head().await.unwrap();
        let last = store
            .reader
            .read_log(Position(u64::MAX), Backward, 1, &Filter::default())
            .await
            .unwrap();
        assert_eq!((last.events[0].position, last.head), (head, head));
    }
    let head = store.reader.log_head().await.unwrap();
    // What is refused or only checked moves nothing.
    commit(
        &mut store,
        &[
            build::noted("note-1", build::exact(1), 1),
            build::noted("note-1", Any, 0),
        ],
    )
    .await;
    assert_eq!(store.reader.log_head().await.unwrap(), head);
}

async fn readers_are_woken_by_what_was_written(place: Place) {
    let mut store = place.open().await;
    store.wakes.log.mark_unchanged();
    for item in [
        build::noted("note-1", Any, 2),
        build::mark("note-1", true),
        build::mark("note-1", false),
    ] {
        let head = store.reader.log_head().await.unwrap();
        commit(&mut store, &[item]).await;
        assert!(store.wakes.log.has_changed().unwrap());
        store.wakes.log.mark_unchanged();
        // Who is woken finds what was written.
        assert!(store.reader.log_head().await.unwrap() > head);
    }
}
