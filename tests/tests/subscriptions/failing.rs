use futures::{FutureExt, StreamExt};
use quipu::Host;
use quipu::store::Error as StoreError;
use quipu::subscribe::Error;
use quipu_tests::Place;

use crate::follow::{log, note, positions, small, until_caught_up};
use crate::watched::Watch;

async fn watched() -> (Host, Watch) {
    let place = Place::memory();
    let (store, watch) = Watch::before(place.open().await);
    let builder = place.builder().opened_store(store).subscriptions(small());
    (builder.build().await.unwrap(), watch)
}

fn unavailable() -> StoreError {
    StoreError::Unavailable("for a while".to_owned())
}

#[tokio::test]
async fn subscriptions_wait_for_an_unavailable_store() {
    let (host, watch) = watched().await;
    let mut subscription = log(&host, 0).await;
    until_caught_up(&mut subscription).await;
    watch.fail(Some(unavailable()));
    note(&host, "note-1", 2).await;
    let before = watch.reads();
    quipu_tests::clock::until(|| watch.reads() > before + 1).await;
    assert!(subscription.next().now_or_never().is_none());
    watch.fail(None);
    assert_eq!(positions(&mut subscription, 2).await, [1, 2]);
}

#[tokio::test]
async fn a_damaged_store_ends_waiting_subscriptions_with_an_error() {
    let (host, watch) = watched().await;
    let mut subscription = log(&host, 0).await;
    until_caught_up(&mut subscription).await;
    watch.fail(Some(StoreError::Damaged("a page".to_owned())));
    note(&host, "note-1", 2).await;
    assert!(matches!(
        subscription.next().await,
        Some(Err(Error::Store(StoreError::Damaged(_))))
    ));
    assert!(subscription.next().await.is_none());
    watch.fail(None);
    let mut again = log(&host, 0).await;
    assert_eq!(positions(&mut again, 2).await, [1, 2]);
}

#[tokio::test]
async fn a_page_that_cannot_be_read_ends_only_the_subscription_that_reads_it() {
    let (host, watch) = watched().await;
    note(&host, "note-1", 2).await;
    let mut waits = log(&host, 2).await;
    until_caught_up(&mut waits).await;
    let mut subscription = log(&host, 0).await;
    watch.fail(Some(unavailable()));
    assert!(matches!(
        subscription.next().await,
        Some(Err(Error::Store(StoreError::Unavailable(_))))
    ));
    assert!(subscription.next().await.is_none());
    watch.fail(None);
    note(&host, "note-1", 1).await;
    assert_eq!(positions(&mut waits, 1).await, [3]);
}
