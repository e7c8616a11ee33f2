use quipu::model::{Name, Position, Version};
use quipu::store::Filter;
use quipu::subscribe::{Message, Place, Subscribe};
use quipu_tests::build::{append, event, stream};
use quipu_tests::{Place as Store, on_every_store};

use crate::follow::{
    all_positions, host, log, next, note, positions, small, stream_from, subscribe, until_caught_up,
};

on_every_store! {
    stored_events_are_delivered_before_new_ones,
    a_subscription_can_start_at_every_position,
    a_subscription_that_leaves_the_ring_continues_from_the_log,
    a_ring_without_memory_causes_no_gap,
    a_subscription_from_now_delivers_only_new_events,
    a_stream_can_be_followed_from_a_version,
    a_stream_that_does_not_exist_can_be_followed,
    only_events_that_pass_the_filter_are_delivered,
    heartbeats_move_the_place_over_events_that_do_not_pass_the_filter,
    archived_streams_are_followed_too,
}

async fn stored_events_are_delivered_before_new_ones(store: Store) {
    let host = host(&store, small()).await;
    note(&host, "note-1", 50).await;
    let mut subscription = log(&host, 0).await;
    let all = all_positions(&host).await;
    let (found, place) = until_caught_up(&mut subscription).await;
    assert_eq!(found, all);
    assert_eq!(place, Place::Log(Position(all[49])));
    for count in 51..=60 {
        note(&host, "note-1", 1).await;
        let Message::Event(event) = next(&mut subscription).await else {
            panic!("it has caught up once")
        };
        assert_eq!(event.version, Version(count));
        assert_eq!(subscription.place(), Place::Log(event.position));
    }
}

async fn a_subscription_can_start_at_every_position(store: Store) {
    let host = host(&store, small()).await;
    let mut before = log(&host, 0).await;
    note(&host, "note-1", 20).await;
    let all = all_positions(&host).await;
    assert_eq!(positions(&mut before, 20).await, all);
    for (index, position) in all.iter().enumerate() {
        let mut subscription = log(&host, *position).await;
        let (found, _) = until_caught_up(&mut subscription).await;
        assert_eq!(found, all[index + 1..], "after {position}");
        let mut of_stream = stream_from(&host, "note-1", index as u64 + 1).await;
        let (found, _) = until_caught_up(&mut of_stream).await;
        assert_eq!(found, all[index..], "from version {}", index + 1);
    }
}

async fn a_subscription_that_leaves_the_ring_continues_from_the_log(store: Store) {
    let host = host(&store, small()).await;
    let mut subscription = log(&host, 0).await;
    assert_eq!(until_caught_up(&mut subscription).await.0, [0; 0]);
    let mut other = log(&host, 0).await;
    for round in 1..=3 {
        note(&host, "note-1", 20).await;
        // When the other one has these events, the ring has moved on.
        positions(&mut other, 20).await;
        let all = all_positions(&host).await;
        let (found, place) = until_caught_up(&mut subscription).await;
        assert_eq!(found, all[20 * (round - 1)..]);
        assert_eq!(place, Place::Log(Position(all[all.len() - 1])));
    }
    note(&host, "note-1", 1).await;
    assert!(matches!(next(&mut subscription).await, Message::Event(_)));
}

async fn a_ring_without_memory_causes_no_gap(store: Store) {
    let mut options = small();
    (options.ring_bytes_max, options.page_bytes_max) = (0, 0);
    let host = host(&store, options).await;
    note(&host, "note-1", 5).await;
    let mut subscription = log(&host, 0).await;
    positions(&mut subscription, 5).await;
    for _ in 0..5 {
        note(&host, "note-1", 2).await;
        positions(&mut subscription, 2).await;
    }
    let all = all_positions(&host).await;
    assert_eq!(subscription.place(), Place::Log(Position(all[14])));
}

async fn a_subscription_from_now_delivers_only_new_events(store: Store) {
    let host = host(&store, small()).await;
    note(&host, "note-1", 3).await;
    let to_log = Subscribe::log(Position(0), Filter::default()).from_now();
    let to_stream = Subscribe::stream(stream("note-1"), Version(1)).from_now();
    let mut log = subscribe(&host, to_log).await;
    let mut of_stream = subscribe(&host, to_stream).await;
    note(&host, "note-1", 1).await;
    let last = *all_positions(&host).await.last().unwrap();
    assert_eq!(positions(&mut log, 1).await, [last]);
    assert_eq!(positions(&mut of_stream, 1).await, [last]);
}

async fn a_stream_can_be_followed_from_a_version(store: Store) {
    let host = host(&store, small()).await;
    for _ in 0..10 {
        note(&host, "note-1", 1).await;
        note(&host, "note-2", 2).await;
    }
    let mut subscription = stream_from(&host, "note-2", 5).await;
    let mut versions = Vec::new();
    while versions.len() < 16 {
        if let Message::Event(event) = next(&mut subscription).await {
            assert_eq!(event.stream, stream("note-2"));
            versions.push(event.version.0);
        }
    }
    assert_eq!(versions, (5..=20).collect::<Vec<_>>());
    let message = next(&mut subscription).await;
    assert_eq!(message, Message::CaughtUp(Place::Stream(Version(20))));
    note(&host, "note-1", 30).await;
    note(&host, "note-2", 1).await;
    positions(&mut subscription, 1).await;
    assert_eq!(subscription.place(), Place::Stream(Version(21)));
}

async fn a_stream_that_does_not_exist_can_be_followed(store: Store) {
    let host = host(&store, small()).await;
    let mut first = stream_from(&host, "note-1", 1).await;
    let mut third = stream_from(&host, "note-1", 3).await;
    assert_eq!(until_caught_up(&mut first).await.0, [0; 0]);
    let (_, place) = until_caught_up(&mut third).await;
    assert_eq!(place, Place::Stream(Version(2)));
    note(&host, "note-1", 2).await;
    note(&host, "note-1", 2).await;
    let all = all_positions(&host).await;
    assert_eq!(positions(&mut first, 4).await, all);
    assert_eq!(positions(&mut third, 2).await, all[2..]);
}

fn filters() -> Vec<Filter> {
    let all = Filter::default();
    let texts = |text: &str| Some(vec![text.into()]);
    vec![
        Filter {
            categories: texts("loan"),
            ..all.clone()
        },
        Filter {
            categories: Some(vec!["note".into(), "other".into()]),
            ..all.clone()
        },
        Filter {
            types: Some(vec![Name::new("paid").unwrap()]),
            ..all.clone()
        },
        Filter {
            prefix: Some("loan-1".into()),
            ..all.clone()
        },
        Filter {
            tags: texts("to:ann"),
            ..all.clone()
        },
        Filter {
            categories: texts("loan"),
            types: Some(vec![Name::new("paid").unwrap()]),
            tags: Some(vec!["to:ann".into(), "to:bob".into()]),
            prefix: Some("loan-2".into()),
            ..all.clone()
        },
        Filter {
            not_categories: texts("note"),
            ..all.clone()
        },
        Filter {
            categories: texts("loan"),
            not_types: Some(vec![Name::new("paid").unwrap()]),
            not_prefixes: texts("loan-1"),
            ..all.clone()
        },
        Filter {
            not_tags: texts("to:bob"),
            ..all
        },
    ]
}

async fn only_events_that_pass_the_filter_are_delivered(store: Store) {
    let host = host(&store, small()).await;
    let write = async || {
        for (to, tag) in [
            ("loan-1", "to:ann"),
            ("note-1", "to:bob"),
            ("loan-2", "to:bob"),
        ] {
            for name in ["granted", "paid"] {
                let mut one = event(name, "{}");
                one.tags = vec![tag.into(), "all:all".into()];
                host.append(&stream(to), append(vec![one])).await.unwrap();
            }
        }
    };
    write().await;
    let mut subscriptions = Vec::new();
    for filter in filters() {
        let to = Subscribe::log(Position(0), filter.clone());
        let mut subscription = subscribe(&host, to).await;
        let (found, _) = until_caught_up(&mut subscription).await;
        let passing = crate::follow::read(&host, Position(0), &filter).await;
        assert_eq!(found.len(), passing.len(), "{filter:?}");
        assert!(!found.is_empty(), "{filter:?}");
        subscriptions.push((filter, subscription, passing.len()));
    }
    for _ in 0..2 {
        write().await;
    }
    for (filter, mut subscription, before) in subscriptions {
        let passing = crate::follow::read(&host, Position(0), &filter).await;
        let expected: Vec<u64> = passing[before..].iter().map(|it| it.position.0).collect();
        assert_eq!(expected.len(), 2 * before);
        assert_eq!(
            positions(&mut subscription, 2 * before).await,
            expected,
            "{filter:?}"
        );
    }
}

async fn heartbeats_move_the_place_over_events_that_do_not_pass_the_filter(store: Store) {
    let host = host(&store, small()).await;
    let filter = Filter {
        prefix: Some("other".into()),
        ..Filter::default()
    };
    let to = Subscribe::log(Position(0), filter).heartbeat(std::time::Duration::from_millis(5));
    let mut subscription = subscribe(&host, to).await;
    for _ in 0..3 {
        note(&host, "note-1", 20).await;
        let head = host.log_head().await.unwrap();
        let mut last = Position(0);
        while last < head {
            match next(&mut subscription).await {
                Message::Heartbeat(Place::Log(position)) => {
                    assert!(last <= position && position <= head);
                    last = position;
                }
                Message::CaughtUp(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    note(&host, "other-1", 1).await;
    assert_eq!(positions(&mut subscription, 1).await.len(), 1);
}

async fn archived_streams_are_followed_too(store: Store) {
    let host = host(&store, small()).await;
    note(&host, "note-1", 2).await;
    host.archive(&stream("note-1"), quipu::model::Context::default())
        .await
        .unwrap();
    let mut subscription = log(&host, 0).await;
    let (found, _) = until_caught_up(&mut subscription).await;
    assert_eq!(found, all_positions(&host).await);
    assert_eq!(found.len(), 3);
}
