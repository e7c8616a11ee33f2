//! Helpers for tests of subscriptions.

use std::sync::Arc;

use futures::StreamExt;
use quipu::Host;
use quipu::model::{Position, RecordedEvent, Version};
use quipu::store::{Direction, Filter};
use quipu::subscribe::{Message, Options, Place, Subscribe, Subscription};
use quipu_tests::PATIENCE;
use quipu_tests::build::{append, events, stream};

/// Limits that are reached soon.
pub fn small() -> Options {
    Options {
        ring_events_max: 8,
        page_events_max: 3,
        ..Options::default()
    }
}

/// A host with these limits.
pub async fn host(place: &quipu_tests::Place, options: Options) -> Host {
    place
        .builder()
        .subscriptions(options)
        .build()
        .await
        .unwrap()
}

/// Appends this number of events to a stream.
pub async fn note(host: &Host, to: &str, count: usize) {
    host.append(&stream(to), append(events(count)))
        .await
        .unwrap();
}

pub async fn log(host: &Host, after: u64) -> Subscription {
    subscribe(host, Subscribe::log(Position(after), Filter::default())).await
}

pub async fn stream_from(host: &Host, id: &str, from: u64) -> Subscription {
    subscribe(host, Subscribe::stream(stream(id), Version(from))).await
}

pub async fn subscribe(host: &Host, to: Subscribe) -> Subscription {
    host.subscribe(to).await.unwrap()
}

/// The next message of a subscription.
pub async fn next(subscription: &mut Subscription) -> Message {
    let next = tokio::time::timeout(PATIENCE, subscription.next());
    next.await.expect("nothing came").unwrap().unwrap()
}

/// Positions of the next events.
pub async fn positions(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    let mut found = Vec::new();
    let finding = async {
        while found.len() < count {
            if let Message::Event(event) = next(subscription).await {
                found.push(event.position.0);
            }
        }
    };
    // Heartbeats arrive all the time.
    let in_time = tokio::time::timeout(PATIENCE, finding).await;
    assert!(in_time.is_ok(), "of {count} events only {found:?} came");
    found
}

/// The events until the subscription has caught up, and its place then.
pub async fn until_caught_up(subscription: &mut Subscription) -> (Vec<u64>, Place) {
    let mut found = Vec::new();
    loop {
        match next(subscription).await {
            Message::Event(event) => found.push(event.position.0),
            Message::CaughtUp(place) => return (found, place),
            Message::Heartbeat(_) => {}
        }
    }
}

/// Every event of the log after a position that passes the filter.
pub async fn read(host: &Host, mut after: Position, filter: &Filter) -> Vec<Arc<RecordedEvent>> {
    let mut all = Vec::new();
    loop {
        let page = host.read_log(after, Direction::Forward, 1_000, filter);
        let page = page.await.unwrap();
        all.extend(page.events.into_iter().map(Arc::new));
        match page.next {
            Some(next) => after = next,
            None => return all,
        }
    }
}

/// The positions of all events.
pub async fn all_positions(host: &Host) -> Vec<u64> {
    let all = read(host, Position(0), &Filter::default()).await;
    all.iter().map(|event| event.position.0).collect()
}
