//! Unused modules are pruned; those in the history never are.

use std::time::Duration;

use quipu::Host;
use quipu::model::{Digest, Timestamp};
use quipu_tests::probe::probe;
use quipu_tests::{Place, build, examples, guest, on_every_store};
use serde_json::json;

on_every_store! {
    modules_that_were_never_activated_are_pruned,
    recent_uploads_are_not_pruned,
    a_pruned_module_can_be_uploaded_a_second_time,
    a_repeated_upload_counts_as_recent,
    the_history_can_be_verified_after_a_prune,
}

const NOW: Duration = Duration::ZERO;

async fn upload(host: &Host, component: Vec<u8>) -> Digest {
    host.upload(component).await.unwrap().module.digest()
}

async fn pruned(host: &Host, older_than: Duration, for_real: bool) -> Vec<Digest> {
    let pruned = host.prune(older_than, for_real).await.unwrap();
    pruned.iter().map(|module| module.digest).collect()
}

async fn digests(host: &Host) -> Vec<Digest> {
    let modules = host.modules().await.unwrap();
    modules.iter().map(|module| module.digest).collect()
}

async fn modules_that_were_never_activated_are_pruned(place: Place) {
    let host = place.host().await;
    let account = examples::deploy(&host, examples::account()).await;
    let candidates = [
        upload(&host, probe("note").event("noted", 1).component()).await,
        upload(
            &host,
            probe("note")
                .event("noted", 1)
                .decides("reject")
                .component(),
        )
        .await,
    ];
    assert_eq!(pruned(&host, NOW, false).await, candidates);
    assert_eq!(digests(&host).await.len(), 3);
    assert_eq!(pruned(&host, NOW, true).await, candidates);
    assert_eq!(digests(&host).await, [account]);
    assert_eq!(pruned(&host, NOW, true).await, []);
    let answer = host.activate(candidates[0], None).await.unwrap_err();
    assert!(answer.to_string().contains("upload it first"), "{answer}");
    // The active module is still stored.
    assert!(host.module_bytes(account).await.is_ok());
}

async fn recent_uploads_are_not_pruned(place: Place) {
    let host = place.host().await;
    let skeleton = upload(&host, guest::component("skeleton")).await;
    let hour = Duration::from_secs(3_600);
    assert_eq!(pruned(&host, hour, true).await, []);
    assert_eq!(pruned(&host, Duration::MAX, true).await, []);
    assert_eq!(digests(&host).await, [skeleton]);
}

async fn a_pruned_module_can_be_uploaded_a_second_time(place: Place) {
    let host = place.host().await;
    let skeleton = upload(&host, guest::component("skeleton")).await;
    assert_eq!(pruned(&host, NOW, true).await, [skeleton]);
    assert_eq!(upload(&host, guest::component("skeleton")).await, skeleton);
    host.activate(skeleton, None).await.unwrap();
    let probe = build::stream("probe-1");
    host.execute(&probe, build::command("go", "{}"))
        .await
        .unwrap();
}

/// Semantics 10.6.
async fn the_history_can_be_verified_after_a_prune(place: Place) {
    let host = place.host().await;
    let decider = |version: &str| probe("note").event("noted", 1).version(version);
    let note = build::stream("note-1");
    let mut expected = Vec::new();
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        expected.push(examples::deploy(&host, decider(version).component()).await);
        let events = json!([["noted", {"by": version}]]);
        let command = build::command("note", &events.to_string());
        host.execute(&note, command).await.unwrap();
    }
    let never = upload(&host, decider("4.0.0").component()).await;
    assert_eq!(pruned(&host, NOW, true).await, [never]);
    assert_eq!(digests(&host).await, expected);
    let scope = quipu::proof::Scope::default();
    let verified = host.verify(&scope, &mut |_| {}).await.unwrap();
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!(verified.events, 3);
}

async fn a_repeated_upload_counts_as_recent(place: Place) {
    let store = place.open().await;
    let modules = store.modules.clone();
    let bytes = guest::component("skeleton");
    let digest = Digest::of(&bytes);
    modules.put(digest, &bytes, Timestamp(1)).await.unwrap();
    let host = place.builder().opened_store(store).build().await.unwrap();
    let day = Duration::from_secs(86_400);
    assert_eq!(pruned(&host, day, false).await, [digest]);
    upload(&host, bytes.clone()).await;
    assert_eq!(pruned(&host, day, true).await, []);
    // A module in the history keeps its upload time.
    host.activate(digest, None).await.unwrap();
    let before = host.modules().await.unwrap();
    upload(&host, bytes).await;
    assert_eq!(host.modules().await.unwrap(), before);
}
