//! Events that an operator drops: every build of the projection leaves them out.

use quipu::Host;
use quipu::model::{Lifecycle, OnError};
use quipu::projection::{Order, State};
use quipu::store::{Role, Subject};
use quipu_tests::{Place, on_every_store};
use serde_json::json;

use super::parking::{broken, feed, healed};
use super::support::{
    NOTES, active, build_of, deploy, document, documents, host, kept, note, until, until_state,
};

on_every_store!(
    a_dropped_event_stays_dropped_in_a_rebuild,
    an_event_dropped_for_its_stream_is_left_out_whole,
    a_dropped_event_stays_dropped_when_the_projection_becomes_inline;
    a_dropped_event_stays_dropped_after_a_restart,
);

fn dropping(subject: Subject) -> Order {
    Order::DropParked {
        subject: Some(subject),
        reason: "known to be wrong".to_owned(),
    }
}

/// Drops what is parked for the document `a`: two events.
async fn drop_a(host: &Host) {
    let subject = Subject::Document("a".into());
    host.order(NOTES, dropping(subject)).await.unwrap();
}

async fn rebuild(host: &Host) {
    until_state(host, State::CaughtUp).await;
    let begun = active(host).await.started_at;
    host.order(NOTES, Order::Rebuild { hold: false })
        .await
        .unwrap();
    until(host, "rebuilt", |status| {
        let build = build_of(status, Role::Active);
        build.is_some_and(|build| build.started_at != begun)
    })
    .await;
}

/// Nothing is parked, and two events of the document `a` are left out by the operator.
async fn check(host: &Host) {
    let status = active(host).await;
    assert_eq!((status.counts.parked, status.counts.skipped), (0, 2));
    let skipped = host.skipped(NOTES, Role::Active, None, 10).await.unwrap();
    for event in &skipped.events {
        assert_eq!(event.subject, Subject::Document("a".into()));
        assert_eq!(event.reason.as_deref(), Some("known to be wrong"));
    }
}

async fn a_dropped_event_stays_dropped_in_a_rebuild(place: Place) {
    let host = host(&place).await;
    feed(&host).await;
    drop_a(&host).await;
    note(&host, "note-4", &json!({"n": 7, "keys": ["a"]})).await;
    assert_eq!(document(&host, "a").await["sum"], 8);
    let before = documents(&host, NOTES).await;
    rebuild(&host).await;
    check(&host).await;
    assert_eq!(documents(&host, NOTES).await, before);
    // The decision also holds where the event could be folded.
    deploy(&host, &healed(), kept(Lifecycle::Async, OnError::Park)).await;
    rebuild(&host).await;
    check(&host).await;
    assert_eq!(documents(&host, NOTES).await, before);
    host.shutdown().await.unwrap();
}

async fn an_event_dropped_for_its_stream_is_left_out_whole(place: Place) {
    let host = host(&place).await;
    let park = kept(Lifecycle::Async, OnError::Park);
    deploy(&host, &broken(), park).await;
    let bad = json!({"keys": ["a", "b"], "bad": {"keys": "trap"}, "n": 100});
    let at = note(&host, "note-1", &bad).await;
    note(&host, "note-2", &json!({"n": 1, "keys": ["a"]})).await;
    assert_eq!(document(&host, "a").await["sum"], 1);
    let stream = Subject::Stream("note-1".into());
    host.order(NOTES, dropping(stream.clone())).await.unwrap();
    note(&host, "note-1", &json!({"n": 5, "keys": ["a"]})).await;
    assert_eq!(document(&host, "a").await["sum"], 6);
    deploy(&host, &healed(), park).await;
    rebuild(&host).await;
    assert_eq!(document(&host, "a").await["sum"], 6);
    assert_eq!(documents(&host, NOTES).await.len(), 1);
    let skipped = host.skipped(NOTES, Role::Active, None, 10).await.unwrap();
    let found: Vec<_> = skipped
        .events
        .iter()
        .map(|event| (event.subject.clone(), event.position))
        .collect();
    assert_eq!(found, [(stream, at)]);
    host.shutdown().await.unwrap();
}

async fn a_dropped_event_stays_dropped_when_the_projection_becomes_inline(place: Place) {
    let host = super::support::patient(&place).await;
    feed(&host).await;
    drop_a(&host).await;
    deploy(&host, &healed(), kept(Lifecycle::Inline, OnError::Park)).await;
    until_state(&host, State::Inline).await;
    let before = documents(&host, NOTES).await;
    let begun = active(&host).await.started_at;
    host.order(NOTES, Order::Rebuild { hold: false })
        .await
        .unwrap();
    until(&host, "rebuilt inline", |status| {
        let build = build_of(status, Role::Active);
        build.is_some_and(|build| build.started_at != begun && build.state == State::Inline)
    })
    .await;
    check(&host).await;
    assert_eq!(documents(&host, NOTES).await, before);
    note(&host, "note-4", &json!({"n": 7, "keys": ["a"]})).await;
    assert_eq!(document(&host, "a").await["sum"], 8);
    host.shutdown().await.unwrap();
}

async fn a_dropped_event_stays_dropped_after_a_restart(place: Place) {
    let first = host(&place).await;
    feed(&first).await;
    drop_a(&first).await;
    first.shutdown().await.unwrap();
    let second = host(&place).await;
    let before = documents(&second, NOTES).await;
    rebuild(&second).await;
    check(&second).await;
    assert_eq!(documents(&second, NOTES).await, before);
    second.shutdown().await.unwrap();
}
