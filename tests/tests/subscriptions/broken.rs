//! Events that an upcaster cannot read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use quipu::Host;
use quipu::model::{Position, RecordedEvent, Version};
use quipu::store::Filter;
use quipu::subscribe::{Committed, Error, Message, Options, Place, Subscribe, Subscription};
use quipu::upcast::Form;
use quipu_tests::build::{append, event, stream};
use quipu_tests::clock::until;
use quipu_tests::{PATIENCE, Place as Store, examples, on_every_store};

use crate::follow::{host, small, subscribe};
use crate::lifted::{names, record, types};
use crate::upcaster::{READABLE_MAX, Step, mended, upcaster};

on_every_store! {
    a_subscription_ends_with_an_error_after_the_last_liftable_event,
    a_waiting_subscription_ends_when_an_unliftable_event_is_committed,
    a_subscription_that_filters_out_the_event_does_not_end,
    a_named_subscription_waits_until_the_upcaster_is_fixed,
}

const STEPS: &[Step] = &[
    Step("order", ("paid", 1), &[("paid", 2), ("booked", 1)]),
    Step("other", ("paid", 1), &[("paid", 2)]),
];

/// Appends an event that makes the upcaster trap.
pub async fn record_unreadable(host: &Host, to: &str, name: &str) {
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(READABLE_MAX));
    let one = append(vec![event(name, &long)]);
    host.append(&stream(to), one).await.unwrap();
}

/// The messages before the end, and the error at the end.
async fn until_the_end(subscription: &mut Subscription) -> (Vec<Arc<RecordedEvent>>, Error) {
    let mut all = Vec::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, subscription.next());
        match next
            .await
            .expect("no message arrived")
            .expect("an error at the end")
        {
            Ok(Message::Event(event)) => all.push(event),
            Ok(_) => {}
            Err(error) => {
                assert!(subscription.next().await.is_none());
                return (all, error);
            }
        }
    }
}

fn check(error: &Error, at: u64) {
    let Error::Unreadable(unreadable) = error else {
        panic!("{error}")
    };
    assert_eq!(unreadable.stream, stream("order-1"));
    assert_eq!(unreadable.version, Version(at));
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("stream order-1: version {at}: ")),
        "{text}"
    );
    assert!(text.contains("deploy an upcaster"), "{text}");
}

async fn a_subscription_ends_with_an_error_after_the_last_liftable_event(store: Store) {
    for options in [small(), Options::default()] {
        let store = store.another();
        let host = host(&store, options).await;
        // This one follows the log, so that the others can start in the ring.
        let _follows = crate::follow::log(&host, 0).await;
        examples::deploy(&host, upcaster("orders", STEPS)).await;
        record(&host, "order-1", &["paid", "noted"]).await;
        record(&host, "other-1", &["paid", "noted"]).await;
        record(&host, "order-1", &["paid"]).await;
        record_unreadable(&host, "order-1", "paid").await;
        record_unreadable(&host, "other-1", "paid").await;
        record(&host, "order-1", &["noted"]).await;
        let log = Subscribe::log(Position(0), Filter::default());
        let mut all = subscribe(&host, log.clone()).await;
        let (delivery, error) = until_the_end(&mut all).await;
        let in_log = ["paid", "booked", "noted", "paid", "noted", "paid", "booked"];
        assert_eq!(names(&delivery), in_log);
        check(&error, 4);
        assert_eq!(all.place(), Place::Log(delivery[6].position));
        let of_stream = Subscribe::stream(stream("order-1"), Version(1));
        let mut one = subscribe(&host, of_stream.clone()).await;
        let (delivery, error) = until_the_end(&mut one).await;
        assert_eq!(
            names(&delivery),
            ["paid", "booked", "noted", "paid", "booked"]
        );
        check(&error, 4);
        assert_eq!(one.place(), Place::Stream(Version(3)));
        for (to, count) in [(log.as_stored(), 8), (of_stream.as_stored(), 5)] {
            let mut stored = subscribe(&host, to).await;
            crate::follow::positions(&mut stored, count).await;
        }
    }
}

async fn a_waiting_subscription_ends_when_an_unliftable_event_is_committed(store: Store) {
    let host = host(&store, small()).await;
    examples::deploy(&host, upcaster("orders", STEPS)).await;
    let mut log = crate::follow::log(&host, 0).await;
    let mut one = crate::follow::stream_from(&host, "order-1", 1).await;
    for subscription in [&mut log, &mut one] {
        crate::follow::until_caught_up(subscription).await;
    }
    let (failures, commits) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
    let (sink, counts) = (Arc::clone(&failures), Arc::clone(&commits));
    host.on_commit(Form::Lifted, move |committed| {
        match committed {
            Committed::Unreadable(events, why) => sink.lock().unwrap().push((events, why)),
            _ => *counts.lock().unwrap() += 1,
        }
        async {}
    })
    .await
    .unwrap();
    record(&host, "order-1", &["paid"]).await;
    record_unreadable(&host, "order-1", "paid").await;
    record(&host, "order-1", &["paid"]).await;
    for subscription in [&mut log, &mut one] {
        let (delivery, error) = until_the_end(subscription).await;
        assert_eq!(names(&delivery), ["paid", "booked"]);
        check(&error, 2);
    }
    until(|| *commits.lock().unwrap() == 2).await;
    let failures = failures.lock().unwrap();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].0[0].schema_version, 1);
    assert_eq!(failures[0].1.version, Version(2));
}

async fn a_subscription_that_filters_out_the_event_does_not_end(store: Store) {
    for options in [small(), Options::default()] {
        let store = store.another();
        let host = host(&store, options).await;
        examples::deploy(&host, upcaster("orders", STEPS)).await;
        let to = Subscribe::log(Position(0), types(&["booked", "noted"]));
        let prefix = Filter {
            prefix: Some("order".into()),
            ..types(&["paid"])
        };
        let mut waits = subscribe(&host, to.clone()).await;
        record_unreadable(&host, "other-1", "paid").await;
        record(&host, "order-1", &["noted", "paid"]).await;
        record_unreadable(&host, "other-1", "paid").await;
        record(&host, "order-1", &["noted"]).await;
        for _ in 0..2 {
            let mut begins = subscribe(&host, to.clone()).await;
            crate::follow::positions(&mut begins, 3).await;
        }
        crate::follow::positions(&mut waits, 3).await;
        let mut begins = subscribe(&host, Subscribe::log(Position(0), prefix)).await;
        crate::follow::positions(&mut begins, 2).await;
    }
}

async fn a_named_subscription_waits_until_the_upcaster_is_fixed(store: Store) {
    let host = host(&store, small()).await;
    examples::deploy(&host, upcaster("orders", STEPS)).await;
    record(&host, "order-1", &["noted", "paid"]).await;
    record_unreadable(&host, "order-1", "paid").await;
    record(&host, "order-1", &["noted", "paid"]).await;
    let (deliveries, quickly) = (Arc::new(Mutex::new(Vec::new())), Duration::from_millis(1));
    let sink = Arc::clone(&deliveries);
    let mailer = host.subscription("mailer").unwrap().retry(quickly, quickly);
    let running = tokio::spawn(mailer.run(async move |events: &[Arc<RecordedEvent>]| {
        assert!(events.last().unwrap().is_last_part());
        let versions = events.iter().map(|it| (it.version.0, it.name.to_string()));
        sink.lock().unwrap().extend(versions);
        Ok::<_, String>(())
    }));
    until(|| deliveries.lock().unwrap().len() == 3).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(deliveries.lock().unwrap().len(), 3);
    examples::deploy(&host, mended("orders", STEPS)).await;
    until(|| deliveries.lock().unwrap().len() == 8).await;
    record(&host, "order-1", &["noted"]).await;
    until(|| deliveries.lock().unwrap().len() == 9).await;
    let versions: Vec<u64> = deliveries.lock().unwrap().iter().map(|it| it.0).collect();
    assert_eq!(versions, [1, 2, 2, 3, 3, 4, 5, 5, 6]);
    host.shutdown().await.unwrap();
    running.await.unwrap().unwrap();
}
