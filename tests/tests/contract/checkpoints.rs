//! Checkpoints: one owner at a time, and the position of the owner.

use std::time::Duration;

use futures::future::join_all;
use quipu::model::ExpectedVersion::Any;
use quipu::model::Position;
use quipu::store::{CheckpointStore, Claim};
use quipu_tests::{Place, build, on_every_store};

on_every_store! {
    a_new_name_starts_at_position_zero,
    a_name_that_has_an_owner_cannot_be_claimed,
    a_released_name_is_free,
    a_name_is_free_after_its_lease_expires,
    an_owner_may_renew_an_expired_lease_that_nobody_claimed,
    a_stale_token_moves_nothing,
    a_stale_token_releases_nothing,
    an_unknown_name_cannot_be_moved,
    names_are_independent,
    exactly_one_of_concurrent_claims_is_granted,
    a_checkpoint_never_moves_back,
    a_lease_can_be_renewed_without_moving_the_checkpoint,
    a_name_is_created_only_once,
    moving_a_name_takes_it_from_its_owner,
    a_name_that_is_recreated_accepts_no_earlier_token,
    names_are_listed_in_the_order_of_their_bytes,
    storing_a_checkpoint_does_not_block_the_writer,
    a_checkpoint_survives_a_restart,
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
        .is_some()
}

async fn a_new_name_starts_at_position_zero(place: Place) {
    let store = place.open().await.checkpoints;
    for name in ["reader", "", "é\"'%_", "Reader"] {
        assert_eq!(
            claim(&*store, name).await.unwrap().position,
            Position(0),
            "{name}"
        );
    }
}

async fn a_name_that_has_an_owner_cannot_be_claimed(place: Place) {
    let store = place.open().await.checkpoints;
    assert!(claim(&*store, "reader").await.is_some());
    for _ in 0..3 {
        assert_eq!(claim(&*store, "reader").await, None);
    }
}

async fn a_released_name_is_free(place: Place) {
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

async fn a_name_is_free_after_its_lease_expires(place: Place) {
    let store = place.open().await.checkpoints;
    let first = store.claim("reader", NONE).await.unwrap().unwrap();
    let second = claim(&*store, "reader").await.unwrap();
    assert!(second.token > first.token);
    assert_eq!(claim(&*store, "reader").await, None);
}

async fn an_owner_may_renew_an_expired_lease_that_nobody_claimed(place: Place) {
    let store = place.open().await.checkpoints;
    let first = store.claim("reader", NONE).await.unwrap().unwrap();
    // The lease has expired, but nobody else has claimed the name.
    assert!(advance(&*store, "reader", first.token, 7).await);
    assert_eq!(claim(&*store, "reader").await, None);
    let moved = store
        .advance("reader", first.token, Position(8), NONE)
        .await;
    assert_eq!(moved.unwrap(), Some(Position(8)));
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

async fn a_stale_token_releases_nothing(place: Place) {
    let store = place.open().await.checkpoints;
    let first = store.claim("reader", NONE).await.unwrap().unwrap();
    let second = claim(&*store, "reader").await.unwrap();
    store.release("reader", first.token).await.unwrap();
    assert_eq!(claim(&*store, "reader").await, None);
    store.release("reader", second.token).await.unwrap();
    assert!(claim(&*store, "reader").await.is_some());
}

async fn an_unknown_name_cannot_be_moved(place: Place) {
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

async fn exactly_one_of_concurrent_claims_is_granted(place: Place) {
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

async fn position(store: &dyn CheckpointStore, name: &str) -> Option<u64> {
    let found = store.checkpoint(name).await.unwrap();
    found.map(|found| found.position.0)
}

async fn a_checkpoint_never_moves_back(place: Place) {
    let store = place.open().await.checkpoints;
    let token = claim(&*store, "reader").await.unwrap().token;
    for (to, stored) in [(5, 5), (3, 5), (6, 6), (0, 6)] {
        assert!(advance(&*store, "reader", token, to).await);
        assert_eq!(position(&*store, "reader").await, Some(stored));
    }
}

async fn a_lease_can_be_renewed_without_moving_the_checkpoint(place: Place) {
    let store = place.open().await.checkpoints;
    let first = store.claim("reader", NONE).await.unwrap().unwrap();
    assert!(advance(&*store, "reader", first.token, 4).await);
    let renewed = store
        .advance("reader", first.token, Position(0), NONE)
        .await
        .unwrap();
    assert_eq!(renewed, Some(Position(4)));
    let held = store.checkpoint("reader").await.unwrap().unwrap();
    assert_eq!(held.held_for, None);
    let renewed = store
        .advance("reader", first.token, Position(0), LONG)
        .await
        .unwrap();
    assert_eq!(renewed, Some(Position(4)));
    let held = store.checkpoint("reader").await.unwrap().unwrap();
    let left = held.held_for.unwrap();
    assert!(left > LONG / 2 && left <= LONG, "{left:?}");
    assert_eq!(claim(&*store, "reader").await, None);
    for (name, stale) in [("reader", first.token + 1), ("nobody", 1)] {
        assert_eq!(
            store.advance(name, stale, Position(0), LONG).await.unwrap(),
            None
        );
    }
}

async fn a_name_is_created_only_once(place: Place) {
    let store = place.open().await.checkpoints;
    assert!(store.create("reader", Position(7)).await.unwrap());
    assert!(!store.create("reader", Position(8)).await.unwrap());
    assert_eq!(
        claim(&*store, "reader").await.unwrap().position,
        Position(7)
    );
    assert!(!store.create("reader", Position(9)).await.unwrap());
}

async fn moving_a_name_takes_it_from_its_owner(place: Place) {
    let store = place.open().await.checkpoints;
    assert!(!store.seek("reader", Position(1)).await.unwrap());
    let token = claim(&*store, "reader").await.unwrap().token;
    assert!(advance(&*store, "reader", token, 9).await);
    assert!(store.seek("reader", Position(2)).await.unwrap());
    assert!(!advance(&*store, "reader", token, 10).await);
    let next = claim(&*store, "reader").await.unwrap();
    assert!(next.token > token);
    assert_eq!(next.position, Position(2));
}

async fn a_name_that_is_recreated_accepts_no_earlier_token(place: Place) {
    let store = place.open().await.checkpoints;
    assert!(!store.forget("reader").await.unwrap());
    let mut last = 0;
    for _ in 0..10 {
        let token = claim(&*store, "reader").await.unwrap().token;
        assert!(token > last, "{token} after {last}");
        last = token;
        assert!(!store.forget("reader").await.unwrap());
        // Each move takes the name from its owner, whose token no later claim may have.
        for _ in 0..5 {
            assert!(store.seek("reader", Position(1)).await.unwrap());
            let token = claim(&*store, "reader").await.unwrap().token;
            assert!(token > last, "{token} after {last}");
            last = token;
        }
        store.release("reader", last).await.unwrap();
        assert!(store.forget("reader").await.unwrap());
        assert_eq!(position(&*store, "reader").await, None);
    }
    assert!(store.create("reader", Position(1)).await.unwrap());
    assert!(!advance(&*store, "reader", last, 5).await);
    assert!(claim(&*store, "reader").await.unwrap().token > last);
}

async fn names_are_listed_in_the_order_of_their_bytes(place: Place) {
    let store = place.open().await.checkpoints;
    for name in ["s/b", "s/B", "s/é", "s/", "s/a b", "t", "s0", "r/z"] {
        store.create(name, Position(1)).await.unwrap();
    }
    let listed = |after: &'static str, limit| {
        let store = store.clone();
        async move {
            let page = store.checkpoints((after, "s0"), limit).await.unwrap();
            page.into_iter().map(|it| it.name).collect::<Vec<_>>()
        }
    };
    assert_eq!(listed("s/", 100).await, ["s/B", "s/a b", "s/b", "s/é"]);
    assert_eq!(listed("s/B", 2).await, ["s/a b", "s/b"]);
    assert_eq!(listed("s0", 100).await, [""; 0]);
}

async fn storing_a_checkpoint_does_not_block_the_writer(place: Place) {
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

async fn a_checkpoint_survives_a_restart(place: Place) {
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
