use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use quipu::Host;
use quipu::model::{Position, RecordedEvent, Version};
use quipu::store::Filter;
use quipu::subscribe::{Message, Options, Place, Subscribe};
use quipu_tests::build::stream;
use quipu_tests::{Place as Store, on_every_store, seed};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::follow::{host, next, note, read, subscribe};

on_every_store! {
    no_event_is_missed_or_duplicated_whenever_a_subscription_starts,
}

const WRITERS: usize = 3;
const APPENDS: usize = 60;
const SUBSCRIBERS: usize = 12;

/// Appends to streams of two categories.
async fn write(host: Host, mut random: StdRng) {
    for _ in 0..APPENDS {
        let category = ["a", "b"][random.random_range(0..2)];
        let to = format!("{category}-{}", random.random_range(0..3));
        note(&host, &to, random.random_range(1..=3)).await;
    }
}

/// A randomly drawn subscription and its start.
async fn draw(host: &Host, random: &mut StdRng) -> (Subscribe, Filter, Place) {
    if random.random_bool(0.3) {
        let id = format!("a-{}", random.random_range(0..3));
        let from = Version(random.random_range(1..=20));
        let filter = Filter {
            prefix: Some(id.as_str().into()),
            ..Filter::default()
        };
        let seen = Place::Stream(Version(from.0 - 1));
        return (Subscribe::stream(stream(&id), from), filter, seen);
    }
    let head = host.log_head().await.unwrap();
    let after = Position(random.random_range(0..=head.0));
    let filter = match random.random_range(0..3) {
        0 => Filter::default(),
        1 => Filter {
            categories: Some(vec!["b".into()]),
            ..Filter::default()
        },
        _ => Filter {
            prefix: Some("a-1".into()),
            ..Filter::default()
        },
    };
    (
        Subscribe::log(after, filter.clone()),
        filter,
        Place::Log(after),
    )
}

fn is_after(event: &RecordedEvent, place: Place) -> bool {
    match place {
        Place::Log(position) => event.position > position,
        Place::Stream(version) => event.version > version,
    }
}

/// Follows until every writer has finished and the last event was delivered.
async fn follow(host: Host, mut random: StdRng, mut done: tokio::sync::watch::Receiver<bool>) {
    for _ in 0..random.random_range(0..400) {
        tokio::task::yield_now().await;
    }
    let (to, filter, from) = draw(&host, &mut random).await;
    let mut subscription = subscribe(&host, to.heartbeat(Duration::from_millis(3))).await;
    let (mut found, mut caught_up): (Vec<Arc<RecordedEvent>>, _) = (Vec::new(), false);
    // Read once, when nothing more is written.
    let mut expected: Option<Vec<Arc<RecordedEvent>>> = None;
    let expected = loop {
        match next(&mut subscription).await {
            Message::Event(event) => found.push(event),
            Message::CaughtUp(place) => {
                assert_eq!(place, subscription.place());
                caught_up = true;
            }
            Message::Heartbeat(_) => {}
        }
        // It is slow sometimes, so that it lags.
        for _ in 0..random.random_range(0..8) {
            tokio::task::yield_now().await;
        }
        let is_done = *done.borrow_and_update();
        if is_done && expected.is_none() {
            let all = read(&host, Position(0), &filter).await;
            let later = all.into_iter().filter(|event| is_after(event, from));
            expected = Some(later.collect());
        }
        if let Some(expected) = expected.take_if(|expected| expected.len() <= found.len()) {
            break expected;
        }
    };
    let places = |events: &[Arc<RecordedEvent>]| -> Vec<u64> {
        events.iter().map(|event| event.position.0).collect()
    };
    assert_eq!(
        places(&found),
        places(&expected),
        "from {from:?} with {filter:?}"
    );
    assert_eq!(found, expected);
    let once: HashSet<_> = places(&found).into_iter().collect();
    assert_eq!(once.len(), found.len());
    while !caught_up {
        caught_up = matches!(next(&mut subscription).await, Message::CaughtUp(_));
    }
}

/// Semantics 4.5.
async fn no_event_is_missed_or_duplicated_whenever_a_subscription_starts(store: Store) {
    for seed in seed::seeds(2) {
        let (mut random, store) = (seed::random(seed), store.another());
        let options = Options {
            ring_events_max: random.random_range(0..40),
            page_events_max: random.random_range(1..10),
            page_bytes_max: random.random_range(0..4_000),
            reads_max: 2,
            ..Options::default()
        };
        let host = host(&store, options).await;
        let (done, is_done) = tokio::sync::watch::channel(false);
        let (mut writers, mut followers) = (JoinSet::new(), JoinSet::new());
        for _ in 0..WRITERS {
            writers.spawn(write(host.clone(), StdRng::seed_from_u64(random.random())));
        }
        for _ in 0..SUBSCRIBERS {
            let random = StdRng::seed_from_u64(random.random());
            followers.spawn(follow(host.clone(), random, is_done.clone()));
        }
        writers.join_all().await;
        done.send_replace(true);
        followers.join_all().await;
        assert_eq!(host.subscriptions(), 0);
    }
}
