//! A store is a schema, made once, and checked ever after.

use quipu::store::{self, Error, StoreUrl};
use quipu_tests::{Place, build, log};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_begin_at_once_make_one_store() {
    let place = Place::postgres();
    let opening = (0..6).map(|_| place.try_open());
    let stores: Vec<_> = futures::future::join_all(opening).await;
    let secrets: Vec<_> = stores
        .into_iter()
        .map(|store| store.unwrap().secret)
        .collect();
    assert!(secrets.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_schema_is_refused_until_it_is_migrated() {
    let place = Place::postgres();
    let stream = build::stream("note-1");
    let host = place.host().await;
    host.append(&stream, build::append(build::events(3)))
        .await
        .unwrap();
    host.shutdown().await.unwrap();
    place
        .tamper("DELETE FROM _sqlx_migrations WHERE version = 2; DROP TABLE checkpoints")
        .await;
    let error = place.try_open().await.err().unwrap();
    assert!(
        matches!(error, Error::TooOld { found: 1, known: 2 }),
        "{error}"
    );
    assert!(error.to_string().contains("quipu migrate"), "{error}");

    let url: StoreUrl = place.url().parse().unwrap();
    let migrated = store::migrate(&url).await.unwrap();
    assert_eq!((migrated.from, migrated.to), (1, 2));
    assert_eq!(log::whole(&place.host().await).await.len(), 3);
    let again = store::migrate(&url).await.unwrap();
    assert_eq!((again.from, again.to), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused() {
    let place = Place::postgres();
    place.host().await.shutdown().await.unwrap();
    place
        .tamper("UPDATE _sqlx_migrations SET version = 99 WHERE version = 2")
        .await;
    let error = place.try_open().await.err().unwrap();
    assert!(matches!(error, Error::TooNew { found: 99, .. }), "{error}");
    let url: StoreUrl = place.url().parse().unwrap();
    assert!(matches!(
        store::migrate(&url).await,
        Err(Error::TooNew { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_schemas_of_one_database_are_two_stores() {
    let (one, other) = (Place::postgres(), Place::postgres());
    let stream = build::stream("note-1");
    let (here, there) = (one.host().await, other.host().await);
    here.append(&stream, build::append(build::events(3)))
        .await
        .unwrap();
    assert!(log::whole(&there).await.is_empty());
    there
        .append(&stream, build::append(build::events(1)))
        .await
        .unwrap();
    assert_eq!(log::whole(&here).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_an_error_without_the_password() {
    let url: StoreUrl = "postgres://ann:secret@127.0.0.1:1/bank".parse().unwrap();
    let error = store::open(&url).await.err().unwrap();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}
