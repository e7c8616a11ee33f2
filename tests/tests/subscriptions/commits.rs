use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quipu::model::Position;
use quipu::store::Filter;
use quipu::subscribe::{Committed, Message, Options, Place, Subscribe};
use quipu::upcast::Form;
use quipu_tests::clock::until;
use quipu_tests::{Place as Store, on_every_store};
use tokio::sync::Semaphore;

use crate::follow::{host, next, note, read, small, subscribe, until_caught_up};

on_every_store! {
    a_handler_gets_every_commit_once_and_completely,
    a_handler_that_lags_is_notified_of_missed_events_and_blocks_nobody,
    a_handler_that_panics_is_called_for_later_commits_and_a_stopped_one_is_not,
}

type Deliveries = Arc<Mutex<Vec<Committed>>>;

fn events(deliveries: &Deliveries) -> usize {
    let deliveries = deliveries.lock().unwrap();
    let count = |it: &Committed| match it {
        Committed::Events(events) => events.len(),
        Committed::Missed(events) => *events as usize,
        Committed::Unreadable(events, _) => events.len(),
    };
    deliveries.iter().map(count).sum()
}

/// Semantics 4.5.
async fn a_handler_gets_every_commit_once_and_completely(store: Store) {
    let host = host(&store, Options::default()).await;
    note(&host, "note-1", 3).await;
    let before = host.log_head().await.unwrap();
    let deliveries = Deliveries::default();
    let sink = Arc::clone(&deliveries);
    host.on_commit(Form::Lifted, move |committed| {
        sink.lock().unwrap().push(committed);
        async {}
    })
    .await
    .unwrap();
    // More events than a page of the log.
    let sizes = [1usize, 7, 1_000, 1, 999, 2];
    let total: usize = sizes.iter().sum();
    for (index, size) in sizes.iter().enumerate() {
        note(&host, &format!("note-{}", index % 2), *size).await;
    }
    until(|| events(&deliveries) >= total).await;
    let deliveries = std::mem::take(&mut *deliveries.lock().unwrap());
    let commits: Vec<_> = deliveries
        .into_iter()
        .map(|committed| match committed {
            Committed::Events(events) => events,
            other => panic!("expected events, found {other:?}"),
        })
        .collect();
    assert_eq!(commits.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
    let all = read(&host, before, &Default::default()).await;
    assert_eq!(commits.concat(), all);
}

async fn a_handler_that_lags_is_notified_of_missed_events_and_blocks_nobody(store: Store) {
    let host = host(&store, small()).await;
    let (deliveries, gate) = (Deliveries::default(), Arc::new(Semaphore::new(0)));
    let (sink, waits) = (Arc::clone(&deliveries), Arc::clone(&gate));
    host.on_commit(Form::Lifted, move |committed| {
        sink.lock().unwrap().push(committed);
        let waits = Arc::clone(&waits);
        async move { waits.acquire().await.unwrap().forget() }
    })
    .await
    .unwrap();
    note(&host, "note-1", 1).await;
    until(|| events(&deliveries) == 1).await;
    let nothing = Filter {
        prefix: Some("other".into()),
        ..Filter::default()
    };
    let to = Subscribe::log(Position(0), nothing).heartbeat(Duration::from_millis(1));
    let mut waits = subscribe(&host, to).await;
    until_caught_up(&mut waits).await;
    // The handler is blocked, and commits continue.
    for _ in 0..20 {
        note(&host, "note-1", 3).await;
    }
    // A waiting subscription is notified of the end of the ring.
    let end = Message::Heartbeat(Place::Log(host.log_head().await.unwrap()));
    while next(&mut waits).await != end {}
    assert_eq!(deliveries.lock().unwrap().len(), 1);
    gate.add_permits(Semaphore::MAX_PERMITS / 2);
    until(|| events(&deliveries) >= 61).await;
    assert_eq!(events(&deliveries), 61);
    let deliveries = deliveries.lock().unwrap();
    assert_eq!(deliveries[1], Committed::Missed(54));
    for committed in &deliveries[2..] {
        assert!(matches!(committed, Committed::Events(events) if events.len() == 3));
    }
}

async fn a_handler_that_panics_is_called_for_later_commits_and_a_stopped_one_is_not(store: Store) {
    let host = host(&store, small()).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&calls);
    let handler = move |_| {
        let call = counts.fetch_add(1, Ordering::SeqCst);
        assert!(call > 0, "the first call panics, as it should");
        async {}
    };
    let registered = host.on_commit(Form::Lifted, handler).await.unwrap();
    note(&host, "note-1", 1).await;
    until(|| calls.load(Ordering::SeqCst) == 1).await;
    note(&host, "note-1", 1).await;
    until(|| calls.load(Ordering::SeqCst) == 2).await;
    registered.stop();
    until(|| host.subscriptions() == 0).await;
    note(&host, "note-1", 1).await;
    let mut other = crate::follow::log(&host, 0).await;
    crate::follow::positions(&mut other, 3).await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}
