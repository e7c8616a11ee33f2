//! Semantics 9.4 and 9.6: builds of projections: their owners, and the build that answers reads.

use std::time::Duration;

use futures::future::join_all;
use quipu::model::ExpectedVersion::Any;
use quipu::model::{Digest, Position, Timestamp};
use quipu::store::{
    BatchOutcome, Build, BuildBatch, BuildId, DocumentStore, Role, Steer, StoredProjection,
};
use quipu_tests::documents::{
    LONG, batch, begin, changed, claim, document, entry, filled, json, keep, moved,
};
use quipu_tests::{Place, build, on_every_store};

on_every_store! {
    a_new_build_starts_at_position_zero,
    a_projection_has_at_most_one_build_per_role,
    a_new_projection_needs_a_valid_name,
    projections_are_listed_in_the_order_of_their_names,
    hosts_that_start_at_the_same_time_create_one_build,
    a_build_has_at_most_one_owner,
    claiming_a_build_returns_its_checkpoint,
    a_build_is_free_after_its_lease_expires,
    an_owner_may_renew_an_expired_lease_that_nobody_claimed,
    an_owner_that_was_replaced_cannot_write,
    storing_a_batch_renews_the_lease,
    a_checkpoint_never_moves_back,
    a_build_that_does_not_exist_cannot_be_claimed_or_changed,
    an_owner_receives_the_requests_of_the_operator,
    an_error_is_stored_until_it_is_cleared,
    handing_a_build_to_another_module_ends_the_lease_of_its_owner,
    the_next_build_becomes_active,
    a_build_that_lags_cannot_become_active,
    the_next_build_becomes_active_if_there_is_no_active_build,
    a_roll_back_swaps_the_active_and_the_previous_build,
    an_owner_keeps_its_build_when_it_becomes_active,
    the_owner_of_a_dropped_build_loses_it,
    the_data_of_dropped_builds_is_swept,
    a_sweep_is_done_in_parts,
    builds_and_appends_do_not_block_each_other,
    builds_survive_a_restart,
    an_inline_build_can_only_be_changed_by_the_writer_of_events,
}

async fn projection(store: &dyn DocumentStore, name: &str) -> StoredProjection {
    store.projection(name).await.unwrap().unwrap()
}

async fn of_role(store: &dyn DocumentStore, name: &str, role: Role) -> Option<Build> {
    let builds = projection(store, name).await.builds;
    builds.into_iter().find(|build| build.role == role)
}

/// The builds that are active, next and previous.
async fn roles(store: &dyn DocumentStore, name: &str) -> [Option<BuildId>; 3] {
    let builds = projection(store, name).await.builds;
    [Role::Active, Role::Next, Role::Previous].map(|role| {
        let mut of_role = builds.iter().filter(|build| build.role == role);
        let found = of_role.next().map(|build| build.id);
        assert!(of_role.next().is_none(), "{builds:?}");
        found
    })
}

async fn a_new_build_starts_at_position_zero(place: Place) {
    let store = place.open().await.documents;
    assert!(store.projection("sums").await.unwrap().is_none());
    assert!(store.projections().await.unwrap().is_empty());
    let module = Digest([9; 32]);
    let begun = store.begin("sums", Role::Active, u32::MAX, module, (Timestamp(77), 1));
    let begun = begun.await.unwrap().unwrap();
    let found = projection(&*store, "sums").await;
    assert_eq!(*found.name, *"sums");
    assert!(!found.is_paused && !found.is_held);
    assert_eq!((found.retries, found.builds.len()), (0, 1));
    for build in [&begun, &found.builds[0]] {
        assert_eq!((build.id, build.role), (begun.id, Role::Active));
        assert_eq!((build.version, build.module), (u32::MAX, module));
        assert_eq!((build.position, build.changes), (Position(0), 0));
        assert_eq!(build.started_at, Timestamp(77));
        assert!(!build.is_inline && !build.is_owned);
        assert_eq!((&build.trouble, &build.comparison), (&None, &None));
    }
}

async fn a_projection_has_at_most_one_build_per_role(place: Place) {
    let store = place.open().await.documents;
    let mut begun = Vec::new();
    for name in ["a", "b"] {
        for role in [Role::Active, Role::Next, Role::Previous] {
            begun.push(begin(&*store, name, role).await.id);
            let again = store.begin(name, role, 2, Digest([8; 32]), (Timestamp(9), 1));
            assert!(again.await.unwrap().is_none());
        }
    }
    let made: std::collections::HashSet<_> = begun.iter().copied().collect();
    assert_eq!(made.len(), 6);
    assert_eq!(
        roles(&*store, "b").await,
        [3, 4, 5].map(|at| Some(begun[at]))
    );
}

async fn a_new_projection_needs_a_valid_name(place: Place) {
    let store = place.open().await.documents;
    for wrong in ["", "A", "a b", "a\"b", "a'b", "é", &"a".repeat(49)] {
        let begun = store.begin(wrong, Role::Active, 1, Digest([1; 32]), (Timestamp(1), 1));
        assert!(begun.await.is_err(), "{wrong}");
    }
    assert!(store.projections().await.unwrap().is_empty());
    for right in ["a", "a-1_b", &"z".repeat(48), "select", "order-by"] {
        begin(&*store, right, Role::Active).await;
    }
}

async fn projections_are_listed_in_the_order_of_their_names(place: Place) {
    let store = place.open().await.documents;
    for name in ["b", "a-b", "a_b", "ab", "a1"] {
        begin(&*store, name, Role::Active).await;
    }
    store.steer("aa", Steer::Retry).await.unwrap();
    begin(&*store, "b", Role::Next).await;
    let listed = store.projections().await.unwrap();
    let names: Vec<_> = listed
        .iter()
        .map(|it| (&*it.name, it.builds.len()))
        .collect();
    let expected = [
        ("a-b", 1),
        ("a1", 1),
        ("a_b", 1),
        ("aa", 0),
        ("ab", 1),
        ("b", 2),
    ];
    assert_eq!(names, expected);
}

async fn hosts_that_start_at_the_same_time_create_one_build(place: Place) {
    let store = place.open().await.documents;
    for name in ["a", "b", "c"] {
        let all = join_all((0..12).map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let begun = store.begin(name, Role::Active, 1, Digest([1; 32]), (Timestamp(1), 1));
                begun.await.unwrap()
            })
        }));
        let begun = all.await.into_iter().filter_map(Result::unwrap).count();
        assert_eq!(begun, 1);
    }
}

async fn a_build_has_at_most_one_owner(place: Place) {
    let store = place.open().await.documents;
    let (one, two) = (
        begin(&*store, "a", Role::Active).await.id,
        begin(&*store, "a", Role::Next).await.id,
    );
    let mut last = 0;
    for _ in 0..3 {
        let all = join_all((0..8).map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.claim(one, LONG).await.unwrap() })
        }));
        let claims: Vec<_> = all.await.into_iter().filter_map(Result::unwrap).collect();
        assert_eq!(claims.len(), 1, "{claims:?}");
        assert!(claims[0].token > last);
        last = claims[0].token;
        assert!(of_role(&*store, "a", Role::Active).await.unwrap().is_owned);
        assert!(!of_role(&*store, "a", Role::Next).await.unwrap().is_owned);
        // Releasing with another token has no effect.
        store.release(one, last - 1).await.unwrap();
        store.release(two, last).await.unwrap();
        assert_eq!(store.claim(one, LONG).await.unwrap(), None);
        store.release(one, last).await.unwrap();
        assert!(!of_role(&*store, "a", Role::Active).await.unwrap().is_owned);
    }
    assert!(store.claim(two, LONG).await.unwrap().is_some());
}

async fn claiming_a_build_returns_its_checkpoint(place: Place) {
    let store = place.open().await.documents;
    let build = begin(&*store, "a", Role::Active).await.id;
    let first = claim(&*store, build).await;
    assert_eq!((first.position, first.changes), (Position(0), 0));
    let batch = BuildBatch {
        position: Position(8),
        changes: 12,
        ..BuildBatch::default()
    };
    keep(&*store, build, first.token, &batch).await;
    store.release(build, first.token).await.unwrap();
    let second = claim(&*store, build).await;
    assert_eq!((second.position, second.changes), (Position(8), 12));
    let found = of_role(&*store, "a", Role::Active).await.unwrap();
    assert_eq!((found.position, found.changes), (Position(8), 12));
}

async fn a_build_is_free_after_its_lease_expires(place: Place) {
    let store = place.open().await.documents;
    let build = begin(&*store, "a", Role::Active).await.id;
    let first = store.claim(build, Duration::ZERO).await.unwrap().unwrap();
    assert!(!of_role(&*store, "a", Role::Active).await.unwrap().is_owned);
    let second = claim(&*store, build).await;
    assert!(second.token > first.token);
    assert_eq!(store.claim(build, LONG).await.unwrap(), None);
}

async fn an_owner_may_renew_an_expired_lease_that_nobody_claimed(place: Place) {
    let store = place.open().await.documents;
    let build = begin(&*store, "a", Role::Active).await.id;
    let first = store.claim(build, Duration::ZERO).await.unwrap().unwrap();
    // The lease has expired, but nobody else has claimed the build.
    keep(&*store, build, first.token, &moved(3)).await;
    assert_eq!(store.claim(build, LONG).await.unwrap(), None);
}

async fn an_owner_that_was_replaced_cannot_write(place: Place) {
    let store = place.open().await.documents;
    let build = begin(&*store, "a", Role::Active).await.id;
    let first = store.claim(build, Duration::ZERO).await.unwrap().unwrap();
    let second = claim(&*store, build).await;
    let late = batch(vec![document(build, "k", Some("1"), 9)]);
    for stale in [first.token, 0, second.token + 1, u64::MAX] {
        let outcome = store.keep(build, stale, &late, LONG).await.unwrap();
        assert_eq!(outcome, BatchOutcome::Lost, "{stale}");
    }
    assert_eq!(json(&*store, build, "k").await, None);
    let found = of_role(&*store, "a", Role::Active).await.unwrap();
    assert_eq!(found.position, Position(0));
    let batch = batch(vec![document(build, "k", Some("2"), 3)]);
    keep(&*store, build, second.token, &batch).await;
    assert_eq!(json(&*store, build, "k").await.unwrap(), "2");
}

async fn storing_a_batch_renews_the_lease(place: Place) {
    let store = place.open().await.documents;
    let build = begin(&*store, "a", Role::Active).await.id;
    let owner = claim(&*store, build).await;
    let batch = moved(1);
    let outcome = store.keep(build, owner.token, &batch, Duration::ZERO);
    assert!(matches!(outcome.await.unwrap(), BatchOutcome::Done { .. }));
    assert!(!of_role(&*store, "a", Role::Active).await.unwrap().is_owned);
    keep(&*store, build, owner.token, &moved(2)).await;
    assert!(of_role(&*store, "a", Role::Active).await.unwrap().is_owned);
}

async fn a_checkpoint_never_moves_back(place: Place) {
    let store = place.open().await.documents;
    let build = begin(&*store, "a", Role::Active).await.id;
    let token = claim(&*store, build).await.token;
    for (to, expected) in [(5, 5), (3, 5), (0, 5), (6, 6)] {
        keep(&*store, build, token, &moved(to)).await;
        let found = of_role(&*store, "a", Role::Active).await.unwrap();
        assert_eq!((found.position.0, found.changes), (expected, expected));
    }
}

async fn a_build_that_does_not_exist_cannot_be_claimed_or_changed(place: Place) {
    let store = place.open().await.documents;
    let nobody = BuildId(999);
    assert_eq!(store.claim(nobody, LONG).await.unwrap(), None);
    let outcome = store.keep(nobody, 0, &moved(1), LONG).await.unwrap();
    assert_eq!(outcome, BatchOutcome::Lost);
    store.release(nobody, 1).await.unwrap();
    store.hand_over(nobody, Digest([1; 32])).await.unwrap();
    assert!(!store.switch("none", nobody, None).await.unwrap());
    assert!(!store.roll_back("none").await.unwrap());
    assert!(!store.drop_build("none", Role::Next).await.unwrap());
    assert!(!store.sweep().await.unwrap());
    assert!(store.projections().await.unwrap().is_empty());
}

async fn an_owner_receives_the_requests_of_the_operator(place: Place) {
    let store = place.open().await.documents;
    let build = begin(&*store, "a", Role::Active).await.id;
    let token = claim(&*store, build).await.token;
    let mut at = 0;
    for (steer, expected) in [
        (None, (0, false, false)),
        (Some(Steer::Retry), (1, false, false)),
        (Some(Steer::Paused(true)), (1, true, false)),
        (Some(Steer::Held(true)), (1, true, true)),
        (Some(Steer::Retry), (2, true, true)),
        (Some(Steer::Resume), (2, true, true)),
        (Some(Steer::Paused(false)), (2, false, true)),
        (Some(Steer::Held(false)), (2, false, false)),
    ] {
        if let Some(steer) = steer {
            store.steer("a", steer).await.unwrap();
            store.steer("b", Steer::Retry).await.unwrap();
        }
        at += 1;
        let outcome = store.keep(build, token, &moved(at), LONG).await.unwrap();
        let (retries, is_paused, _) = expected;
        assert_eq!(outcome, BatchOutcome::Done { retries, is_paused });
        let found = projection(&*store, "a").await;
        assert_eq!((found.retries, found.is_paused, found.is_held), expected);
    }
}

async fn an_error_is_stored_until_it_is_cleared(place: Place) {
    let store = place.open().await.documents;
    let build = begin(&*store, "a", Role::Active).await.id;
    let other = begin(&*store, "b", Role::Active).await.id;
    let trouble = "{\"why\":\"a 'guest' \u{1F600}\"}";
    for steer in [
        None,
        Some(Steer::Paused(true)),
        Some(Steer::Paused(false)),
        Some(Steer::Resume),
    ] {
        for build in [build, other] {
            let token = claim(&*store, build).await.token;
            let stopped = BuildBatch {
                trouble: Some(trouble.into()),
                ..moved(1)
            };
            keep(&*store, build, token, &stopped).await;
            if steer.is_none() {
                // An owner that continues clears it by storing a batch without it.
                keep(&*store, build, token, &moved(1)).await;
            }
            store.release(build, token).await.unwrap();
        }
        if let Some(steer) = steer {
            for harmless in [Steer::Retry, Steer::Held(true)] {
                store.steer("a", harmless).await.unwrap();
                let found = of_role(&*store, "a", Role::Active).await.unwrap();
                assert_eq!(found.trouble.as_deref(), Some(trouble));
            }
            store.steer("a", steer).await.unwrap();
            let found = of_role(&*store, "b", Role::Active).await.unwrap();
            assert_eq!(found.trouble.as_deref(), Some(trouble));
        }
        let found = of_role(&*store, "a", Role::Active).await.unwrap();
        assert_eq!(found.trouble, None);
    }
}

async fn handing_a_build_to_another_module_ends_the_lease_of_its_owner(place: Place) {
    let store = place.open().await.documents;
    let build = begin(&*store, "a", Role::Active).await.id;
    let owner = claim(&*store, build).await;
    let stopped = BuildBatch {
        trouble: Some("it stopped".into()),
        ..moved(4)
    };
    keep(&*store, build, owner.token, &stopped).await;
    store.hand_over(build, Digest([3; 32])).await.unwrap();
    let outcome = store
        .keep(build, owner.token, &moved(5), LONG)
        .await
        .unwrap();
    assert_eq!(outcome, BatchOutcome::Lost);
    let found = of_role(&*store, "a", Role::Active).await.unwrap();
    assert_eq!((found.module, found.trouble), (Digest([3; 32]), None));
    assert!(!found.is_owned);
    let next = claim(&*store, build).await;
    assert!(next.token > owner.token);
    assert_eq!((next.position, next.module), (Position(4), Digest([3; 32])));
}

/// A projection with an active build at 3 and a next one at a position.
async fn rebuilding(store: &dyn DocumentStore, next_at: u64) -> [BuildId; 2] {
    let mut builds = Vec::new();
    for (role, at) in [(Role::Active, 3), (Role::Next, next_at)] {
        let build = begin(store, "a", role).await.id;
        let token = claim(store, build).await.token;
        let text = format!("\"{}\"", build.0);
        let mut batch = batch(vec![document(build, "k", Some(&text), at)]);
        batch.position = Position(at);
        keep(store, build, token, &batch).await;
        store.release(build, token).await.unwrap();
        builds.push(build);
    }
    [builds[0], builds[1]]
}

async fn the_next_build_becomes_active(place: Place) {
    let store = place.open().await.documents;
    let [old, new] = rebuilding(&*store, 3).await;
    for wrong in [old, BuildId(new.0 + 1)] {
        assert!(!store.switch("a", wrong, None).await.unwrap());
    }
    assert!(!store.switch("b", new, None).await.unwrap());
    assert_eq!(roles(&*store, "a").await, [Some(old), Some(new), None]);
    assert!(store.switch("a", new, Some("{\"same\":1}")).await.unwrap());
    assert_eq!(roles(&*store, "a").await, [Some(new), None, Some(old)]);
    let active = of_role(&*store, "a", Role::Active).await.unwrap();
    assert_eq!(active.comparison.as_deref(), Some("{\"same\":1}"));
    assert!(!store.switch("a", new, None).await.unwrap());
    // The build that follows replaces the previous one.
    let newest = begin(&*store, "a", Role::Next).await.id;
    let token = claim(&*store, newest).await.token;
    keep(&*store, newest, token, &moved(7)).await;
    assert!(store.switch("a", newest, None).await.unwrap());
    assert_eq!(roles(&*store, "a").await, [Some(newest), None, Some(new)]);
    while store.sweep().await.unwrap() {}
    assert_eq!(json(&*store, old, "k").await, None);
    assert!(json(&*store, new, "k").await.is_some());
}

async fn a_build_that_lags_cannot_become_active(place: Place) {
    let store = place.open().await.documents;
    let [old, new] = rebuilding(&*store, 2).await;
    assert!(!store.switch("a", new, None).await.unwrap());
    assert_eq!(roles(&*store, "a").await, [Some(old), Some(new), None]);
    let token = claim(&*store, new).await.token;
    keep(&*store, new, token, &moved(3)).await;
    assert!(store.switch("a", new, None).await.unwrap());
}

async fn the_next_build_becomes_active_if_there_is_no_active_build(place: Place) {
    let store = place.open().await.documents;
    let [_, new] = rebuilding(&*store, 2).await;
    assert!(store.drop_build("a", Role::Active).await.unwrap());
    assert!(store.switch("a", new, None).await.unwrap());
    assert_eq!(roles(&*store, "a").await, [Some(new), None, None]);
}

async fn a_roll_back_swaps_the_active_and_the_previous_build(place: Place) {
    let store = place.open().await.documents;
    let [old, new] = rebuilding(&*store, 3).await;
    assert!(!store.roll_back("a").await.unwrap());
    assert!(store.switch("a", new, None).await.unwrap());
    assert!(store.roll_back("a").await.unwrap());
    assert_eq!(roles(&*store, "a").await, [Some(old), None, Some(new)]);
    assert!(store.roll_back("a").await.unwrap());
    assert_eq!(roles(&*store, "a").await, [Some(new), None, Some(old)]);
    assert!(store.drop_build("a", Role::Active).await.unwrap());
    assert!(store.roll_back("a").await.unwrap());
    assert_eq!(roles(&*store, "a").await, [Some(old), None, None]);
}

async fn an_owner_keeps_its_build_when_it_becomes_active(place: Place) {
    let store = place.open().await.documents;
    let [old, new] = rebuilding(&*store, 3).await;
    let tokens = (
        claim(&*store, old).await.token,
        claim(&*store, new).await.token,
    );
    assert!(store.switch("a", new, None).await.unwrap());
    keep(&*store, old, tokens.0, &moved(8)).await;
    keep(&*store, new, tokens.1, &moved(9)).await;
    assert!(store.roll_back("a").await.unwrap());
    keep(&*store, old, tokens.0, &moved(10)).await;
}

async fn the_owner_of_a_dropped_build_loses_it(place: Place) {
    let store = place.open().await.documents;
    let [old, new] = rebuilding(&*store, 3).await;
    let token = claim(&*store, new).await.token;
    assert!(store.drop_build("a", Role::Next).await.unwrap());
    assert!(!store.drop_build("a", Role::Next).await.unwrap());
    assert!(!store.drop_build("a", Role::Previous).await.unwrap());
    let outcome = store.keep(new, token, &moved(9), LONG).await.unwrap();
    assert_eq!(outcome, BatchOutcome::Lost);
    store.release(new, token).await.unwrap();
    assert_eq!(store.claim(new, LONG).await.unwrap(), None);
    assert_eq!(roles(&*store, "a").await, [Some(old), None, None]);
    // The role is free, and the number of the build is not used again.
    while store.sweep().await.unwrap() {}
    let again = begin(&*store, "a", Role::Next).await;
    assert!(again.id > new, "{again:?}");
    assert_eq!(again.position, Position(0));
}

async fn the_data_of_dropped_builds_is_swept(place: Place) {
    let store = place.open().await.documents;
    let with_entry = |key: &str, change| {
        let mut write = document(BuildId(0), key, Some("{}"), change);
        write.added.push(entry(0, b"v"));
        write
    };
    let writes = [with_entry("a", 1), with_entry("b", 2)];
    let (current, gone) = (
        filled(&*store, "current", &writes).await,
        filled(&*store, "gone", &writes).await,
    );
    assert!(store.drop_build("gone", Role::Active).await.unwrap());
    while store.sweep().await.unwrap() {}
    assert!(!store.sweep().await.unwrap());
    assert_eq!(store.counts(gone).await.unwrap().documents, 0);
    assert_eq!(store.counts(current).await.unwrap().documents, 2);
    for (build, expected) in [(current, 2), (gone, 0)] {
        for index in [None, Some(0)] {
            let scan = quipu::store::Scan {
                index,
                limit: 9,
                ..Default::default()
            };
            assert_eq!(store.scan(build, &scan).await.unwrap().len(), expected);
        }
        let changed = changed(&*store, build, 0, 9).await;
        assert_eq!(changed.len(), expected);
    }
}

async fn a_sweep_is_done_in_parts(place: Place) {
    let store = place.open().await.documents;
    let writes: Vec<_> = (1..=3_000)
        .map(|n| {
            let mut write = document(BuildId(0), &format!("k{n}"), Some("{}"), n);
            write.added.push(entry(1, &n.to_be_bytes()));
            write
        })
        .collect();
    let other = filled(&*store, "other", &writes[..10]).await;
    for name in ["a", "b"] {
        filled(&*store, name, &writes).await;
        assert!(store.drop_build(name, Role::Active).await.unwrap());
    }
    let mut calls = 1;
    while store.sweep().await.unwrap() {
        calls += 1;
    }
    assert_eq!(calls, 8);
    assert_eq!(store.counts(other).await.unwrap().documents, 10);
}

async fn builds_and_appends_do_not_block_each_other(place: Place) {
    let mut store = place.open().await;
    let documents = store.documents.clone();
    let folding = tokio::spawn(async move {
        let build = begin(&*documents, "a", Role::Active).await.id;
        let token = claim(&*documents, build).await.token;
        for round in 1..=40 {
            let writes = (0..100).map(|n| document(build, &format!("k{n}"), Some("{}"), round));
            keep(&*documents, build, token, &batch(writes.collect())).await;
            begin(&*documents, &format!("other-{round}"), Role::Active).await;
        }
    });
    for _ in 0..100 {
        let items = [build::noted("note-1", Any, 1)];
        store.writer.commit(&items, None).await.unwrap();
    }
    folding.await.unwrap();
    let head = store.reader.head(&build::stream("note-1")).await.unwrap();
    assert_eq!(head.unwrap().version.0, 100);
}

async fn builds_survive_a_restart(place: Place) {
    let store = place.open().await;
    let [old, new] = rebuilding(&*store.documents, 3).await;
    assert!(store.documents.switch("a", new, None).await.unwrap());
    let token = claim(&*store.documents, new).await.token;
    store.documents.steer("a", Steer::Held(true)).await.unwrap();
    if !place.url().starts_with("sqlite:") {
        // With a SQLite file the lease is void, because no other host can be alive.
        store.documents.release(new, token).await.unwrap();
    }
    store.writer.close().await.unwrap();
    let store = place.open().await;
    assert_eq!(
        roles(&*store.documents, "a").await,
        [Some(new), None, Some(old)]
    );
    assert!(projection(&*store.documents, "a").await.is_held);
    assert!(claim(&*store.documents, new).await.token > token);
    assert!(json(&*store.documents, new, "k").await.is_some());
}

async fn an_inline_build_can_only_be_changed_by_the_writer_of_events(place: Place) {
    let store = place.open().await;
    let [old, new] = rebuilding(&*store.documents, 3).await;
    let token = claim(&*store.documents, old).await.token;
    store.writer.close().await.unwrap();
    place
        .tamper("UPDATE builds SET is_inline = (1 = 1), held_until = NULL WHERE role = 'active'")
        .await;
    let store = place.open().await.documents;
    assert!(of_role(&*store, "a", Role::Active).await.unwrap().is_inline);
    assert_eq!(store.claim(old, LONG).await.unwrap(), None);
    let outcome = store.keep(old, token, &moved(9), LONG).await.unwrap();
    assert_eq!(outcome, BatchOutcome::Lost);
    assert!(!store.switch("a", new, None).await.unwrap());
    assert!(!store.drop_build("a", Role::Active).await.unwrap());
    assert!(store.drop_build("a", Role::Next).await.unwrap());
}
