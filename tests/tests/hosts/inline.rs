//! Inline projections that receive events from several hosts.

use quipu::model::ExpectedVersion::Any;
use quipu::model::{Digest, Timestamp};
use quipu::store::{Outcome, Role, Store};
use quipu_tests::counting::{ALL, Counting, all, counts, stored};
use quipu_tests::{Place, build, log};

const COMMITS: u64 = 500;

/// Appends one by one, alternating between two streams of this host and the stream of all hosts.
async fn feed(mut store: Store, name: char, counting: Counting) -> Store {
    for n in 0..COMMITS {
        let items = [
            build::noted(&format!("note-{name}{}", n % 2), Any, 1),
            build::noted("note-both", Any, 1),
        ];
        let outcomes = store.writer.commit(&items, Some(&counting)).await.unwrap();
        let is_appended = |outcome: &Outcome| matches!(outcome, Outcome::Appended(_));
        assert!(outcomes.iter().all(is_appended), "{outcomes:?}");
    }
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_updated_by_two_hosts_counts_each_event_once_and_in_order() {
    let place = Place::postgres();
    let (here, there) = (place.open().await, place.open().await);
    let begun = here.documents.begin(
        "counting",
        Role::Active,
        1,
        Digest([1; 32]),
        (Timestamp(1), 1),
    );
    let build = begun.await.unwrap().unwrap().id;
    let here = tokio::spawn(feed(here, 'a', Counting::new(build, |_| true)));
    let there = tokio::spawn(feed(there, 'b', Counting::new(build, |_| true)));
    let (here, there) = (here.await.unwrap(), there.await.unwrap());
    let events = all(&*there.reader).await;
    log::check(&events);
    let documents = stored(&*here.documents, build).await;
    assert_eq!(documents[ALL].0.events, 4 * COMMITS);
    assert_eq!(documents, counts(Default::default(), &events));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_update_documents_in_different_orders_do_not_deadlock() {
    let place = Place::postgres();
    let stores = [place.open().await, place.open().await, place.open().await];
    let begun = stores[0].documents.begin(
        "counting",
        Role::Active,
        1,
        Digest([1; 32]),
        (Timestamp(1), 1),
    );
    let build = begun.await.unwrap().unwrap().id;
    let feeding = stores.into_iter().enumerate().map(|(host, mut store)| {
        tokio::spawn(async move {
            let counting = Counting::new(build, |_| true);
            for n in 0..60 {
                let items: Vec<_> = (0..8)
                    .map(|m| {
                        let to = (n * 5 + m * (host + 3)) % 11;
                        build::noted(&format!("note-{to}"), Any, 1 + m % 2)
                    })
                    .collect();
                store.writer.commit(&items, Some(&counting)).await.unwrap();
            }
            store
        })
    });
    let mut stores = futures::future::join_all(feeding).await;
    let store = stores.pop().unwrap().unwrap();
    let events = all(&*store.reader).await;
    log::check(&events);
    assert_eq!(events.len(), 3 * 60 * 12);
    let documents = stored(&*store.documents, build).await;
    assert_eq!(documents, counts(Default::default(), &events));
}
