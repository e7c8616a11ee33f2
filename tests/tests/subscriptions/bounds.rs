use futures::{FutureExt, StreamExt};
use quipu::model::{Position, Version};
use quipu::store::Filter;
use quipu::subscribe::{Error, Options, Subscribe};
use quipu_tests::build::stream;
use quipu_tests::{Place, on_every_store};

use crate::follow::{host, log, note, positions, stream_from, until_caught_up};

on_every_store! {
    the_number_of_subscriptions_is_bounded_and_an_ended_one_frees_its_slot,
    events_are_delivered_even_without_memory_for_pages,
    a_shutdown_ends_subscriptions,
    invalid_subscriptions_are_refused,
    a_subscription_from_a_distant_position_waits,
    a_new_subscription_works_after_a_time_without_subscriptions,
}

async fn the_number_of_subscriptions_is_bounded_and_an_ended_one_frees_its_slot(place: Place) {
    let options = Options {
        subscriptions_max: 2,
        ..Options::default()
    };
    let host = host(&place, options).await;
    let (first, _second) = (log(&host, 0).await, log(&host, 0).await);
    let refused = host
        .subscribe(Subscribe::log(Position(0), Filter::default()))
        .await;
    assert!(matches!(refused.err(), Some(Error::TooMany(2))));
    drop(first);
    assert_eq!(host.subscriptions(), 1);
    log(&host, 0).await;
}

async fn events_are_delivered_even_without_memory_for_pages(place: Place) {
    let options = Options {
        ring_events_max: 2,
        catch_up_bytes_max: 0,
        ..Options::default()
    };
    let host = host(&place, options).await;
    note(&host, "note-1", 20).await;
    let mut all = log(&host, 0).await;
    let (found, _) = until_caught_up(&mut all).await;
    assert_eq!(found, crate::follow::all_positions(&host).await);
    let mut of_stream = stream_from(&host, "note-1", 5).await;
    assert_eq!(positions(&mut of_stream, 16).await, found[4..]);
}

async fn a_shutdown_ends_subscriptions(place: Place) {
    let host = host(&place, Options::default()).await;
    note(&host, "note-1", 3).await;
    let (mut waits, mut reads) = (log(&host, 0).await, log(&host, 0).await);
    until_caught_up(&mut waits).await;
    positions(&mut reads, 1).await;
    let waiting = tokio::spawn(async move { waits.next().await.is_none() });
    let other = host.clone();
    host.shutdown().await.unwrap();
    assert!(waiting.await.unwrap());
    assert!(reads.next().await.is_none());
    let refused = other
        .subscribe(Subscribe::log(Position(0), Filter::default()))
        .await;
    assert!(matches!(refused.err(), Some(Error::Stopped)));
}

async fn invalid_subscriptions_are_refused(place: Place) {
    let host = host(&place, Options::default()).await;
    let nothing = Filter {
        categories: Some(Vec::new()),
        ..Filter::default()
    };
    let without = Filter {
        without_archived: true,
        ..Filter::default()
    };
    for to in [
        Subscribe::log(Position(0), nothing),
        Subscribe::log(Position(0), without),
        Subscribe::stream(stream("note-1"), Version(0)),
    ] {
        let refused = host.subscribe(to).await.err();
        assert!(matches!(refused, Some(Error::Invalid(_))), "{refused:?}");
    }
    for name in ["", "a\nb", &"x".repeat(201)] {
        assert!(matches!(
            host.subscription(name).err(),
            Some(Error::Invalid(_))
        ));
    }
    assert_eq!(host.subscriptions(), 0);
}

async fn a_subscription_from_a_distant_position_waits(place: Place) {
    let host = host(&place, Options::default()).await;
    note(&host, "note-1", 2).await;
    let mut far = log(&host, u64::MAX).await;
    let mut of_stream = stream_from(&host, "note-1", u64::MAX).await;
    for subscription in [&mut far, &mut of_stream] {
        assert!(until_caught_up(subscription).await.0.is_empty());
    }
    let mut near = log(&host, 2).await;
    note(&host, "note-1", 2).await;
    positions(&mut near, 2).await;
    for mut subscription in [far, of_stream] {
        assert!(subscription.next().now_or_never().is_none());
    }
}

async fn a_new_subscription_works_after_a_time_without_subscriptions(place: Place) {
    let host = host(&place, Options::default()).await;
    for round in 1..=3 {
        let mut subscription = log(&host, 0).await;
        until_caught_up(&mut subscription).await;
        note(&host, "note-1", 1).await;
        positions(&mut subscription, 1).await;
        drop(subscription);
        note(&host, "note-1", 1).await;
        let mut later = log(&host, 0).await;
        assert_eq!(positions(&mut later, 2 * round).await.len(), 2 * round);
    }
}
