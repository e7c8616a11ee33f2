//! Semantics 4.2: reading the log by tags and without archived streams, and the head of the log.

use std::sync::Arc;

use quipu::model::ExpectedVersion::Any;
use quipu::model::{Name, NewEvent, Position};
use quipu::store::Direction::{Backward, Forward};
use quipu::store::{Filter, Item, Store};
use quipu_tests::build::tagged;
use quipu_tests::{Place, build, log, on_every_store};

on_every_store! {
    a_filter_selects_events_with_any_of_its_tags,
    a_filter_by_tags_combines_with_other_filters,
    a_filter_can_exclude_archived_streams,
    an_empty_list_of_tags_is_refused,
    a_filter_removes_the_events_that_it_excludes,
    exclusions_combine_with_inclusions,
    an_empty_exclusion_is_refused,
    a_bound_ends_a_read_of_the_log_in_both_directions,
    the_head_of_the_log_is_the_last_event,
    readers_are_woken_by_writes,
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

/// The events that pass a filter, as stream and version; the same in both directions and in pages
/// of every length.
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
    for (selection, expected) in cases {
        assert_eq!(
            passing(&store, &tags(selection)).await,
            expected,
            "{selection:?}"
        );
    }
}

async fn a_filter_by_tags_combines_with_other_filters(place: Place) {
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

async fn a_filter_can_exclude_archived_streams(place: Place) {
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

/// A filter that excludes categories, types, prefixes and tags.
fn excluding(categories: &[&str], types: &[&str], prefixes: &[&str], tags: &[&str]) -> Filter {
    let texts = |all: &[&str]| -> Option<Vec<Arc<str>>> {
        let texts = all.iter().map(|text| Arc::from(*text));
        (!all.is_empty()).then(|| texts.collect())
    };
    let names = types.iter().map(|name| Name::new(name).unwrap());
    Filter {
        not_categories: texts(categories),
        not_types: (!types.is_empty()).then(|| names.collect()),
        not_prefixes: texts(prefixes),
        not_tags: texts(tags),
        ..Filter::default()
    }
}

async fn a_filter_removes_the_events_that_it_excludes(place: Place) {
    let mut store = marked(&place).await;
    let mut seen = tagged(&["z:1"]);
    seen.name = Name::new("seen").unwrap();
    let items = [to("a%-1", vec![seen]), build::noted("A-1", Any, 1)];
    commit(&mut store, &items).await;
    let a = ["a-1 1", "a-1 2", "a-2 1", "a-2 2", "a-1 3"];
    let b = ["b-1 1", "b-1 2", "b-1 3"];
    let rest = ["a%-1 1", "A-1 1"];
    let all = passing(&store, &Filter::default()).await;
    let without = |left_out: &[&str]| -> Vec<String> {
        let all = all.iter().filter(|it| !left_out.contains(&it.as_str()));
        all.cloned().collect()
    };
    type Names = &'static [&'static str];
    let cases: [(Names, Names, Names, Names, Vec<String>); 10] = [
        (&["a"], &[], &[], &[], without(&a)),
        (&["b", "none", "b"], &[], &[], &[], without(&b)),
        (&["a", "b", "a%", "A"], &[], &[], &[], Vec::new()),
        (&[], &["seen"], &[], &[], without(&["a%-1 1"])),
        (&[], &["none"], &[], &[], all.clone()),
        (&[], &[], &["a-"], &[], without(&a)),
        (
            &[],
            &[],
            &["a%", "b-1", "A"],
            &[],
            without(&[&b[..], &rest].concat()),
        ),
        (&[], &[], &["a_", "none"], &[], all.clone()),
        (
            &[],
            &[],
            &[],
            &["x:1", "%"],
            without(&["a-1 1", "a-1 2", "a-2 1"]),
        ),
        (
            &["b"],
            &["seen"],
            &["a-2"],
            &["x:1"],
            vec!["a-1 3".to_owned(), "A-1 1".to_owned()],
        ),
    ];
    for (categories, types, prefixes, tags, expected) in cases {
        let filter = excluding(categories, types, prefixes, tags);
        assert_eq!(passing(&store, &filter).await, expected, "{filter:?}");
    }
}

async fn exclusions_combine_with_inclusions(place: Place) {
    let mut store = marked(&place).await;
    let filter = Filter {
        categories: Some(vec!["a".into()]),
        ..excluding(&[], &[], &["a-2"], &["y:2"])
    };
    assert_eq!(passing(&store, &filter).await, ["a-1 1", "a-1 3"]);
    let both = Filter {
        categories: Some(vec!["a".into()]),
        ..excluding(&["a"], &[], &[], &[])
    };
    assert!(passing(&store, &both).await.is_empty());
    commit(&mut store, &[build::mark("a-1", true)]).await;
    let active = Filter {
        without_archived: true,
        ..excluding(&["$streams"], &[], &[], &["y:2"])
    };
    let rest = ["b-1 1", "b-1 3", "a-2 1", "a-2 2"];
    assert_eq!(passing(&store, &active).await, rest);
}

async fn an_empty_exclusion_is_refused(place: Place) {
    let host = place.host().await;
    let empty = || Filter::default();
    for filter in [
        Filter {
            not_categories: Some(vec![]),
            ..empty()
        },
        Filter {
            not_types: Some(vec![]),
            ..empty()
        },
        Filter {
            not_tags: Some(vec![]),
            ..empty()
        },
        Filter {
            not_prefixes: Some(vec![]),
            ..empty()
        },
        Filter {
            not_prefixes: Some(vec!["".into()]),
            ..empty()
        },
    ] {
        let answer = host.read_log(Position(0), Forward, 10, &filter).await;
        assert_eq!(answer.unwrap_err().code(), "bad-request", "{filter:?}");
    }
}

async fn a_bound_ends_a_read_of_the_log_in_both_directions(place: Place) {
    let store = marked(&place).await;
    let all = passing(&store, &Filter::default()).await;
    let up_to = |to: u64, filter: Filter| Filter {
        to: Some(Position(to)),
        ..filter
    };
    for to in 0..=all.len() + 1 {
        let filter = up_to(to as u64, Filter::default());
        let expected = &all[..to.min(all.len())];
        assert_eq!(passing(&store, &filter).await, expected, "{to}");
    }
    let most = up_to(u64::MAX, Filter::default());
    assert_eq!(passing(&store, &most).await, all);
    let some = up_to(3, excluding(&[], &[], &[], &["y:2"]));
    assert_eq!(passing(&store, &some).await, ["a-1 1", "b-1 1"]);
    // The page reports the end of the log, whatever the bound.
    let page = store.reader.read_log(Position(0), Forward, 100, &some);
    let head = Position(all.len() as u64);
    assert_eq!(page.await.unwrap().head, head);
    let page = store.reader.read_log(Position(3), Forward, 100, &some);
    let page = page.await.unwrap();
    assert_eq!((page.events.len(), page.next), (0, None));
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
    // Refused appends and checks do not move it.
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

async fn readers_are_woken_by_writes(place: Place) {
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
        // A reader that is woken finds the written events.
        assert!(store.reader.log_head().await.unwrap() > head);
    }
}
