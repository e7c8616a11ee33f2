//! Counts of events by type, made by several hosts at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use quipu::model::{Position, RecordedEvent, Timestamp};
use quipu::store::TypeUse;
use quipu_tests::{Place, build, log};

type Counts = BTreeMap<(String, String), (u64, (Position, Timestamp), (Position, Timestamp))>;

fn counts(uses: &[TypeUse]) -> Counts {
    assert!(uses.iter().all(|it| it.schema_version == 1));
    let count = |it: &TypeUse| {
        let key = (it.category.to_string(), it.name.to_string());
        (key, (it.events, it.oldest, it.newest))
    };
    uses.iter().map(count).collect()
}

fn counted(log: &[RecordedEvent]) -> Counts {
    let mut counts = Counts::new();
    for event in log {
        let key = (event.stream.category().to_owned(), event.name.to_string());
        let place = (event.position, event.recorded_at);
        let count = counts.entry(key).or_insert((0, place, place));
        count.0 += 1;
        count.2 = place;
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_counts_by_hosts_are_right_while_they_append() {
    let place = Place::postgres();
    let hosts = [place.host().await, place.host().await];
    let stores = [place.open().await, place.open().await];
    let appending = (0..8).map(|n| {
        let host = hosts[n % 2].clone();
        tokio::spawn(async move {
            let category = ["note", "memo", "page"][n % 3];
            for round in 0..60 {
                let stream = build::stream(&format!("{category}-{}", round % 5));
                let name = ["noted", "changed"][round % 2];
                let events = (0..1 + round % 3).map(|_| build::event(name, "{}"));
                let append = build::append(events.collect());
                host.append(&stream, append).await.unwrap();
            }
        })
    });
    let appending = tokio::spawn(join_all(appending));
    let appending = Arc::new(appending);
    let counting = (0..6).map(|n| {
        let (types, appending) = (Arc::clone(&stores[n % 2].types), Arc::clone(&appending));
        tokio::spawn(async move {
            let mut seen = 0;
            while !appending.is_finished() {
                let uses = types.types().await.unwrap();
                let sum = uses.iter().map(|it| it.events).sum();
                assert!(seen <= sum, "{sum} events follow {seen}");
                seen = sum;
            }
        })
    });
    for counted in join_all(counting).await {
        counted.unwrap();
    }
    let appended = Arc::into_inner(appending).unwrap().await.unwrap();
    appended.into_iter().for_each(|it| it.unwrap());

    let expected = counted(&log::whole(&hosts[0]).await);
    assert_eq!(expected.len(), 6);
    for store in &stores {
        let uses = store.types.types().await.unwrap();
        assert_eq!(counts(&uses), expected);
        let order: Vec<_> = uses
            .iter()
            .map(|it| (&*it.category, it.name.as_str()))
            .collect();
        assert!(order.is_sorted(), "{order:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_count_a_long_log_like_one() {
    let place = Place::postgres();
    let host = place.host().await;
    for round in 0..45 {
        let stream = build::stream(&format!("note-{}", round % 2));
        let append = build::append(build::events(1_000));
        host.append(&stream, append).await.unwrap();
    }
    let stores = [place.open().await, place.open().await];
    let both = tokio::join!(stores[0].types.types(), stores[1].types.types());
    for uses in [both.0.unwrap(), both.1.unwrap()] {
        assert_eq!(uses[0].events, 45_000);
        assert_eq!(
            (uses[0].oldest.0, uses[0].newest.0),
            (Position(1), Position(45_000))
        );
    }
}
