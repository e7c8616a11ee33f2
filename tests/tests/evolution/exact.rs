//! Semantics 7.3 and 7.5: states are compared by every digit of their numbers.

use std::sync::Arc;

use quipu::Host;
use quipu::engine::Policy;
use quipu::fold::Agreement;
use quipu::model::{Body, StreamId, Version};
use quipu::proof::{Kind, Scope};
use quipu::store::{SnapshotStore, StoredSnapshot};
use quipu_tests::coin::{coin, coin_that_loses};
use quipu_tests::{Place, build, examples, on_every_store};

use crate::support::{engine, until};

on_every_store!(
    a_snapshot_that_differs_in_the_last_of_32_digits_is_not_trusted,
    a_snapshot_that_is_wrong_in_the_20th_digit_is_found,
    a_snapshot_with_another_spelling_of_the_same_number_agrees,
);

const WEI: &str = "1000000000000000000000000000001";

fn purse() -> StreamId {
    build::stream("coin-1")
}

async fn deposit(host: &Host, times: usize) {
    for _ in 0..times {
        let command = build::command("deposit", &format!("{{\"wei\":{WEI}}}"));
        host.execute(&purse(), command).await.unwrap();
    }
}

async fn a_snapshot_that_differs_in_the_last_of_32_digits_is_not_trusted(place: Place) {
    let host = engine(&place, Policy::Every(5)).build().await.unwrap();
    examples::deploy(&host, coin()).await;
    for taken in 1..=2 {
        deposit(&host, 5).await;
        until("a snapshot", || host.snapshot_counts().taken == taken).await;
    }
    deposit(&host, 2).await;
    examples::deploy(&host, coin_that_loses(1)).await;
    let deployments = host.deployments().await.unwrap();
    assert!(
        deployments.iter().all(|it| it.trusted.is_empty()),
        "{deployments:?}"
    );
    let check = |at_least: &str| build::command("check", &format!("{{\"at_least\":{at_least}}}"));
    let answer = host
        .execute(&purse(), check("12000000000000000000000000000005"))
        .await;
    assert_eq!(answer.unwrap_err().code(), "rejected");
    host.execute(&purse(), check("12000000000000000000000000000000"))
        .await
        .unwrap();
    let verified = host.verify(&Scope::default(), &mut |_| {}).await.unwrap();
    // The second version decided on a state of its own.
    assert!(verified.is_sound(), "{:?}", verified.findings);
}

/// A host with ten deposits and a snapshot of them whose number was replaced.
async fn planted(place: &Place, from: &str, to: &str) -> Host {
    let store = place.open().await;
    let snapshots = Arc::clone(&store.snapshots);
    let host = Host::builder().opened_store(store).build().await.unwrap();
    examples::deploy(&host, coin()).await;
    deposit(&host, 10).await;
    let taken = host.snapshot(&purse()).await.unwrap().snapshot;
    let state = std::str::from_utf8(&taken.data).unwrap();
    assert!(state.contains(from), "{state}");
    let body = Body::json(state.replace(from, to)).unwrap();
    let (version, form) = (taken.version, taken.state_schema_version);
    let planted = StoredSnapshot::new(&purse(), version, form, &body, taken.fold, taken.taken_at);
    overwrite(&*snapshots, &planted).await;
    host
}

/// Replaces a snapshot by one of the same version. A snapshot of another fold is always stored, so
/// one is stored in between.
async fn overwrite(store: &dyn SnapshotStore, snapshot: &StoredSnapshot) {
    let passing = StoredSnapshot {
        fold: quipu::model::Digest([0; 32]),
        version: Version(1),
        ..snapshot.clone()
    };
    assert!(store.keep(&purse(), &passing).await.unwrap());
    assert!(store.keep(&purse(), snapshot).await.unwrap());
}

async fn agreement(host: &Host) -> Agreement {
    let mut checked = host.check_snapshots("coin", 10).await.unwrap();
    assert_eq!(checked.len(), 1);
    checked.remove(0).found.agreement
}

async fn a_snapshot_that_is_wrong_in_the_20th_digit_is_found(place: Place) {
    let (from, to) = (
        "10000000000000000000000000000010",
        "10000000000000000001000000000010",
    );
    let host = planted(&place, from, to).await;
    assert_eq!(agreement(&host).await, Agreement::Differs);
    let verified = host.verify(&Scope::default(), &mut |_| {}).await.unwrap();
    let found = verified.found.get(&Kind::Snapshot);
    assert_eq!(found, Some(&1), "{:?}", verified.findings);
    let taken = host.snapshot(&purse()).await.unwrap();
    assert_eq!(taken.found[0].agreement, Agreement::Differs);
    assert_eq!(agreement(&host).await, Agreement::Agrees);
}

async fn a_snapshot_with_another_spelling_of_the_same_number_agrees(place: Place) {
    let host = planted(&place, "\"wei\":", " \"\\u0077ei\" : ").await;
    assert_eq!(agreement(&host).await, Agreement::Agrees);
    let verified = host.verify(&Scope::default(), &mut |_| {}).await.unwrap();
    assert!(verified.is_sound(), "{:?}", verified.findings);
}
