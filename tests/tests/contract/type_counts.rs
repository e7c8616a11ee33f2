//! Counts of the events in a store by type.

use std::collections::BTreeMap;

use futures::future::join_all;
use quipu::model::ExpectedVersion::Any;
use quipu::model::{Body, ContentType, NewEvent, Position};
use quipu::store::{Item, Store, StoredEvent, TypeUse};
use quipu_tests::{Place, build, on_every_store};

use crate::export::{commit, filled, import, whole, with_module};

on_every_store! {
    an_empty_store_has_no_types,
    counts_are_by_category_type_version_and_content_type,
    a_count_includes_everything_up_to_the_end_of_the_log,
    imported_events_are_counted,
    concurrent_counts_count_nothing_twice,
    counting_does_not_block_the_writer,
    a_count_continues_after_a_restart,
}

fn of_type(name: &str, schema_version: u32, content_type: &str) -> NewEvent {
    let content_type = ContentType::new(content_type).unwrap();
    NewEvent {
        schema_version,
        body: Body::new(content_type, "{}").unwrap(),
        ..build::event(name, "{}")
    }
}

fn append(to: &str, events: Vec<NewEvent>) -> Item {
    let write = build::write(to, Any, build::commit(None, events));
    build::item(None, vec![write])
}

/// The counts of these events.
fn counted(events: &[StoredEvent]) -> Vec<TypeUse> {
    let mut counts = BTreeMap::new();
    for stored in events {
        let (event, category) = (&stored.event, stored.stream.category());
        let content_type = event.body.content_type();
        let key = (
            category.as_bytes().to_vec(),
            event.name.as_str().as_bytes().to_vec(),
            event.schema_version,
            content_type.as_str().as_bytes().to_vec(),
        );
        let place = (stored.position, stored.recorded_at);
        let used = counts.entry(key).or_insert_with(|| TypeUse {
            category: category.into(),
            name: event.name.clone(),
            schema_version: event.schema_version,
            content_type: content_type.clone(),
            events: 0,
            oldest: place,
            newest: place,
        });
        used.events += 1;
        used.newest = place;
    }
    counts.into_values().collect()
}

async fn check(store: &Store) {
    let expected = counted(&whole(store).await);
    assert_eq!(store.types.types().await.unwrap(), expected);
    assert_eq!(store.types.types().await.unwrap(), expected);
}

async fn an_empty_store_has_no_types(place: Place) {
    let mut store = place.open().await;
    assert!(store.types.types().await.unwrap().is_empty());
    assert!(store.types.types().await.unwrap().is_empty());
    commit(&mut store, &[build::noted("note-1", Any, 1)]).await;
    assert_eq!(store.types.types().await.unwrap().len(), 1);
}

async fn counts_are_by_category_type_version_and_content_type(place: Place) {
    let mut store = place.open().await;
    let json = "application/json";
    let kinds = [
        ("note-1", of_type("opened", 1, json)),
        // To a decider this is an alias of the same type; here it is a different name.
        ("note-1", of_type("Opened", 1, json)),
        ("note-1", of_type("opened", 2, json)),
        ("note-1", of_type("opened", 10, json)),
        ("note-1", of_type("opened", 1, "application/x-thing")),
        ("other-1", of_type("opened", 1, json)),
        ("é-1", of_type("é \"'", 1, json)),
        ("Note", of_type("opened", 1, json)),
    ];
    for (n, (to, event)) in kinds.iter().enumerate() {
        let events = std::iter::repeat_with(|| NewEvent {
            id: quipu::model::EventId::from_u128(rand::random()),
            ..event.clone()
        });
        commit(&mut store, &[append(to, events.take(n + 1).collect())]).await;
    }
    let types = store.types.types().await.unwrap();
    assert_eq!(types.len(), kinds.len());
    let mut counts: Vec<u64> = types.iter().map(|it| it.events).collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7, 8]);
    check(&store).await;
    // Streams of one category count together.
    commit(
        &mut store,
        &[append("note-2", vec![of_type("opened", 1, json)])],
    )
    .await;
    check(&store).await;
    assert_eq!(store.types.types().await.unwrap().len(), kinds.len());
}

async fn a_count_includes_everything_up_to_the_end_of_the_log(place: Place) {
    let mut store = place.open().await;
    for round in 1..=4_u64 {
        let mut items = vec![
            build::noted(&format!("note-{round}"), Any, round as usize),
            append("note-1", vec![build::event(&format!("only-{round}"), "1")]),
        ];
        if round == 3 {
            // Truncation and archiving hide no events from a count.
            items.push(build::mark("note-1", true));
            items.push(build::truncate("note-2", 2, 2));
        }
        commit(&mut store, &items).await;
        check(&store).await;
    }
}

async fn imported_events_are_counted(place: Place) {
    let source_place = place.another();
    let events = whole(&filled(&source_place).await).await;
    for hole in [0, 20_000, 49_999, 50_000, 1 << 40] {
        let place = place.another();
        let mut store = with_module(&place).await;
        let mut events = events.clone();
        for (n, event) in (0..).zip(&mut events) {
            event.position = Position(event.position.0 + n * hole);
        }
        let last = events.split_off(5);
        import(&mut store, events).await.unwrap();
        check(&store).await;
        import(&mut store, last).await.unwrap();
        check(&store).await;
        commit(&mut store, &[build::noted("new-1", Any, 2)]).await;
        check(&store).await;
    }
}

async fn concurrent_counts_count_nothing_twice(place: Place) {
    let mut store = place.open().await;
    for _ in 0..5 {
        let items: Vec<Item> = (0..20)
            .map(|n| build::noted(&format!("note-{n}"), Any, 5))
            .collect();
        commit(&mut store, &items).await;
        let expected = counted(&whole(&store).await);
        let counts = join_all((0..8).map(|_| store.types.types())).await;
        for count in counts {
            assert_eq!(count.unwrap(), expected);
        }
    }
}

async fn counting_does_not_block_the_writer(place: Place) {
    let mut store = place.open().await;
    let types = std::sync::Arc::clone(&store.types);
    let (is_over, mut over) = tokio::sync::oneshot::channel();
    let counting = tokio::spawn(async move {
        let mut last = 0;
        while over.try_recv().is_err() {
            let counts = types.types().await.unwrap();
            let events = counts.iter().map(|it| it.events).sum();
            assert!(events >= last, "{events} after {last}");
            last = events;
        }
    });
    for _ in 0..50 {
        commit(&mut store, &[build::noted("note-1", Any, 3)]).await;
    }
    is_over.send(()).unwrap();
    counting.await.unwrap();
    check(&store).await;
}

async fn a_count_continues_after_a_restart(place: Place) {
    for round in 1..=3 {
        let mut store = place.open().await;
        if round > 1 {
            check(&store).await;
        }
        commit(&mut store, &[build::noted("note-1", Any, 2)]).await;
        if round < 3 {
            check(&store).await;
        }
        commit(&mut store, &[build::noted("other-1", Any, round)]).await;
        store.writer.close().await.unwrap();
    }
    check(&place.open().await).await;
}
