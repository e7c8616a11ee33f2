//! A client that appends can read the resulting change.

use quipu::model::{Lifecycle, OnError};
use quipu_tests::probe::probe;
use quipu_tests::{Place, on_every_store};
use serde_json::{Value, json};

use super::support::{NOTES, after, deploy, note, patient, settings};

on_every_store!(
    a_thousand_asynchronous_reads_see_the_appended_events,
    a_thousand_inline_reads_see_the_appended_events,
);

const READS: u64 = 1_000;

async fn check(place: &Place, lifecycle: Lifecycle) {
    let host = patient(place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({}));
    deploy(&host, &probe, settings(lifecycle, OnError::Stop)).await;
    for n in 0..READS {
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

async fn a_thousand_asynchronous_reads_see_the_appended_events(place: Place) {
    check(&place, Lifecycle::Async).await;
}

async fn a_thousand_inline_reads_see_the_appended_events(place: Place) {
    check(&place, Lifecycle::Inline).await;
}
