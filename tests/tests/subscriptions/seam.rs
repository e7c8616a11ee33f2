use std::time::Duration;

use quipu::model::{Position, Version};
use quipu::store::Filter;
use quipu::subscribe::{Message, Options, Place, Subscribe};
use quipu_tests::build::stream;
use quipu_tests::clock::until;
use quipu_tests::{Place as Store, on_every_store};

use crate::follow::{next, note, positions, subscribe, until_caught_up};
use crate::watched::Watch;

on_every_store! {
    events_committed_while_a_page_is_read_are_delivered_after_it,
}

fn other() -> Filter {
    Filter {
        prefix: Some("other".into()),
        ..Filter::default()
    }
}

/// A page is read, then events are committed and enter the ring, and then the page is passed on.
async fn events_committed_while_a_page_is_read_are_delivered_after_it(store: Store) {
    let notes = Filter {
        prefix: Some("note".into()),
        ..Filter::default()
    };
    for to in [
        Subscribe::stream(stream("note-1"), Version(1)),
        Subscribe::log(Position(0), notes),
    ] {
        let store = store.another();
        let (opened, watch) = Watch::before(store.open().await);
        let builder = store.builder().opened_store(opened);
        let builder = builder.subscriptions(Options::default());
        let host = builder.build().await.unwrap();
        note(&host, "note-1", 2).await;
        // A waiting subscription is notified of the end of the ring.
        let to_nothing = Subscribe::log(Position(0), other()).heartbeat(Duration::from_millis(1));
        let mut waits = subscribe(&host, to_nothing).await;
        until_caught_up(&mut waits).await;

        let gate = watch.hold();
        let mut subscription = subscribe(&host, to).await;
        let reading = tokio::spawn(async move { positions(&mut subscription, 5).await });
        until(|| watch.held() == 1).await;
        note(&host, "note-1", 3).await;
        let end = Message::Heartbeat(Place::Log(host.log_head().await.unwrap()));
        while next(&mut waits).await != end {}
        gate.add_permits(100);
        let all = crate::follow::all_positions(&host).await;
        assert_eq!(reading.await.unwrap(), all);
    }
}
