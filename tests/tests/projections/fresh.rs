//! A client that appends can read the resulting change.

use quipu::model::{Lifecycle, OnError};
use quipu_tests::probe::probe;
use quipu_tests::seed::is_long;
use quipu_tests::{Place, on_every_store};
use serde_json::{Value, json};

use super::support::{NOTES, after, deploy, note, patient, settings};

on_every_store!(
    every_asynchronous_read_sees_the_appended_events,
    every_inline_read_sees_the_appended_events,
);

/// A thousand in the long run.
fn reads() -> u64 {
    if is_long() { 1_000 } else { 250 }
}

async fn check(place: &Place, lifecycle: Lifecycle) {
    let host = patient(place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({}));
    deploy(&host, &probe, settings(lifecycle, OnError::Stop)).await;
    for n in 0..reads() {
        let stream = format!("note-{}", n % 10);
        let at = note(&host, &stream, &json!({"n": 1})).await;
        let view = host.view(NOTES, &stream, after(at)).await.unwrap();
        let document: Value = serde_json::from_str(&view.document).unwrap();
        assert_eq!(document["last"], at.0, "append {n}");
        assert_eq!(document["count"], n / 10 + 1, "append {n}");
        assert!(view.position >= at);
    }
    host.shutdown().await.unwrap();
}

async fn every_asynchronous_read_sees_the_appended_events(place: Place) {
    check(&place, Lifecycle::Async).await;
}

async fn every_inline_read_sees_the_appended_events(place: Place) {
    check(&place, Lifecycle::Inline).await;
}
