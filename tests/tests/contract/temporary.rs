//! A `memory:` store: SQLite in a temporary folder. It gives the guarantees of every SQLite
//! store, which the other files of this folder test, and has a few rules of its own.

use quipu::model::ExpectedVersion::Any;
use quipu::store::{self, Direction, Filter, Migrated, Outcome, StoreUrl};
use quipu_tests::{Place, build, log};

#[tokio::test]
async fn a_temporary_store_keeps_its_events_until_it_is_closed() {
    let place = Place::memory();
    let mut store = place.open().await;
    let appends = ["note-1", "note-2"].map(|stream| build::noted(stream, Any, 3));
    let outcomes = store.writer.commit(&appends, None).await.unwrap();
    assert!(matches!(
        outcomes[..],
        [Outcome::Appended(_), Outcome::Appended(_)]
    ));
    let all = Filter::default();
    let found = log::read(&*store.reader, Direction::Forward, 1_000, &all).await;
    assert_eq!(found.len(), 6);
    store.writer.close().await.unwrap();
    store.reader.log_head().await.unwrap_err();
    let store = place.open().await;
    assert_eq!(store.reader.log_head().await.unwrap().0, 0);
}

#[tokio::test]
async fn two_temporary_stores_share_nothing() {
    let place = Place::memory();
    let (mut one, other) = (place.open().await, place.open().await);
    let append = [build::noted("note-1", Any, 1)];
    one.writer.commit(&append, None).await.unwrap();
    assert_eq!(one.reader.log_head().await.unwrap().0, 1);
    assert_eq!(other.reader.log_head().await.unwrap().0, 0);
    assert_ne!(one.secret, other.secret);
}

/// A projection that outlives the writer goes on reading.
#[tokio::test]
async fn a_temporary_store_is_read_while_a_part_of_it_is_in_use() {
    let mut store = Place::memory().open().await;
    let append = [build::noted("note-1", Any, 2)];
    store.writer.commit(&append, None).await.unwrap();
    let reader = store.reader.clone();
    drop(store);
    let heads = (0..16).map(|_| reader.log_head());
    for head in futures::future::join_all(heads).await {
        assert_eq!(head.unwrap().0, 2);
    }
}

#[tokio::test]
async fn there_is_nothing_to_migrate_and_no_way_in_next_to_its_host() {
    let migrated = store::migrate(&StoreUrl::Memory).await.unwrap();
    assert_eq!(migrated, Migrated { from: 0, to: 0 });
    let error = store::open_reading(&StoreUrl::Memory).await.err().unwrap();
    assert!(error.to_string().contains("--url"), "{error}");
}
