//! Checkpoints: one owner at a time, and how far it has come.

use std::time::Duration;

use futures::future::join_all;
use quipu::model::ExpectedVersion::Any;
use quipu::model::Position;
use quipu::store::{CheckpointStore, Claim};
use quipu_tests::{Place, build, on_every_store};

on_every_store! {
    a_name_begins_at_the_beginning,
    a_name_that_is_held_is_refused,
    a_name_that_was_given_back_is_free,
    a_time_that_is_over_frees_the_name,
    an_owner_may_hold_on,
    a_stale_token_moves_nothing,
    a_stale_token_gives_nothing_back,
    an_unknown_name_is_moved_by_nobody,
    names_are_independent,
    of_claims_that_race_one_is_granted,
    a_checkpoint_does_not_hold_the_writer;
        a_checkpoint_is_kept_beyond_a_restart,
}

const LONG: Duration = Duration::from_secs(3_600);
const NONE: Duration = Duration::ZERO;

async fn claim(store: &dyn CheckpointStore, name: &str) -> Option<Claim> {
    store.claim(name, LONG).await.unwrap()
}

async fn advance(store: &dyn CheckpointStore, name: &str, token: u64, to: u64) -> bool {
    store
        .advance(name, token, Position(to), LONG)
        .await
        .unwrap()
}

async fn a_name_begins_at_the_beginning(place: Place) {
    let store = place.open().await.checkpoints;
    for name in ["reader", "", "é\"'%_", "Reader"] {
        assert_eq!(
            claim(&*store, name).await.unwrap().position,
            Position(0),
            "{name}"
        );
    }
}

async fn a_name_that_is_held_is_refused(place: Place) {
    let store = place.open().await.checkpoints;
    assert!(claim(&*store, "reader").await.is_some());
    for _ in 0..3 {
        assert_eq!(claim(&*store, "reader").await, None);
    }
}

async fn a_name_that_was_given_back_is_free(place: Place) {
    let store = place.open().await.checkpoints;
    let mut last = 0;
    for position in 1..=3 {
        let claim = claim(&*store, "reader").await.unwrap();
        assert!(claim.token > last, "{claim:?} after {last}");
        assert_eq!(claim.position.0, position - 1);
        last = claim.token;
        assert!(advance(&*store, "reader", claim.token, position).await);
        store.release("reader", claim.token).await.unwrap();
    }
}

async fn a_time_that_is_over_frees_the_name(place: Place) {
    let store = place.open().await.checkpoints;
    let first = store.claim("reader", NONE).await.unwrap().unwrap();
    let second = claim(&*store, "reader").await.unwrap();
    assert!(second.token > first.token);
    assert_eq!(claim(&*store, "reader").await, None);
}

async fn an_owner_may_hold_on(place: Place) {
    let store = place.open().await.checkpoints;
    let first = store.claim("reader", NONE).await.unwrap().unwrap();
    // Its time is over, but nobody else has come.
    assert!(advance(&*store, "reader", first.token, 7).await);
    assert_eq!(claim(&*store, "reader").await, None);
    let moved = store
        .advance("reader", first.token, Position(8), NONE)
        .await;
    assert!(moved.unwrap());
    assert_eq!(
        claim(&*store, "reader").await.unwrap().position,
        Position(8)
    );
}

async fn a_stale_token_moves_nothing(place: Place) {
    let store = place.open().await.checkpoints;
    let first = store.claim("reader", NONE).await.unwrap().unwrap();
    let second = claim(&*store, "reader").await.unwrap();
    for stale in [first.token, 0, second.token + 1, u64::MAX] {
        assert!(!advance(&*store, "reader", stale, 99).await, "{stale}");
    }
    assert!(advance(&*store, "reader", second.token, 5).await);
    store.release("reader", second.token).await.unwrap();
    assert_eq!(
        claim(&*store, "reader").await.unwrap().position,
        Position(5)
    );
}

async fn a_stale_token_gives_nothing_back(place: Place) {
    let store = place.open().await.checkpoints;
    let first = store.claim("reader", NONE).await.unwrap().unwrap();
    let second = claim(&*store, "reader").await.unwrap();
    store.release("reader", first.token).await.unwrap();
    assert_eq!(claim(&*store, "reader").await, None);
    store.release("reader", second.token).await.unwrap();
    assert!(claim(&*store, "reader").await.is_some());
}

async fn an_unknown_name_is_moved_by_nobody(place: Place) {
    let store = place.open().await.checkpoints;
    assert!(!advance(&*store, "nobody", 1, 5).await);
    store.release("nobody", 1).await.unwrap();
    assert_eq!(
        claim(&*store, "nobody").await.unwrap().position,
        Position(0)
    );
}

async fn names_are_independent(place: Place) {
    let store = place.open().await.checkpoints;
    let first = claim(&*store, "a").await.unwrap();
    let second = claim(&*store, "b").await.unwrap();
    assert!(advance(&*store, "a", first.token, 3).await);
    store.release("a", first.token).await.unwrap();
    assert_eq!(claim(&*store, "b").await, None);
    assert!(advance(&*store, "b", second.token, 9).await);
    assert_eq!(claim(&*store, "a").await.unwrap().position, Position(3));
}

async fn of_claims_that_race_one_is_granted(place: Place) {
    let store = place.open().await.checkpoints;
    for round in 0..20 {
        let name = format!("reader-{}", round % 2);
        let claims = join_all((0..16).map(|_| {
            let (store, name) = (store.clone(), name.clone());
            tokio::spawn(async move { store.claim(&name, LONG).await.unwrap() })
        }));
        let granted: Vec<Claim> = claims
            .await
            .into_iter()
            .filter_map(Result::unwrap)
            .collect();
        assert_eq!(granted.len(), 1, "{granted:?}");
        store.release(&name, granted[0].token).await.unwrap();
    }
}

async fn a_checkpoint_does_not_hold_the_writer(place: Place) {
    let mut store = place.open().await;
    let checkpoints = store.checkpoints.clone();
    let moving = tokio::spawn(async move {
        let token = checkpoints
            .claim("reader", LONG)
            .await
            .unwrap()
            .unwrap()
            .token;
        for position in 1..=200 {
            assert!(advance(&*checkpoints, "reader", token, position).await);
        }
    });
    for _ in 0..200 {
        let items = [build::noted("note-1", Any, 1)];
        store.writer.commit(&items, None).await.unwrap();
    }
    moving.await.unwrap();
    let head = store.reader.head(&build::stream("note-1")).await.unwrap();
    assert_eq!(head.unwrap().version.0, 200);
}

async fn a_checkpoint_is_kept_beyond_a_restart(place: Place) {
    let mut last = 0;
    for position in 1..=3 {
        let store = place.open().await;
        let claim = claim(&*store.checkpoints, "reader").await.unwrap();
        assert_eq!(claim.position.0, (position - 1) * 10);
        assert!(claim.token > last, "{claim:?} after {last}");
        last = claim.token;
        assert!(advance(&*store.checkpoints, "reader", last, position * 10).await);
        store.checkpoints.release("reader", last).await.unwrap();
        store.writer.close().await.unwrap();
    }
}
