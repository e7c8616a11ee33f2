//! Semantics 9.5: events that are parked until a fix, in order, while other documents continue.

use quipu::model::{Lifecycle, OnError};
use quipu::projection::{Action, Freshness, Options, State};
use quipu::store::{Role, SKIPPED_BY_POLICY, Subject};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{PATIENCE, Place, on_every_store};
use serde_json::json;

use super::support::{
    self, NOTES, active, deploy, deploy_held, document, documents, host, note, now, quick,
    settings, until, until_state,
};

on_every_store!(
    events_of_a_parked_document_wait_in_order_while_others_continue,
    events_whose_keys_fail_are_parked_by_stream,
    parked_events_are_folded_after_a_fix_as_if_nothing_had_failed,
    parked_events_can_be_dropped_with_a_reason,
    a_retry_that_fails_leaves_everything_parked,
    a_retry_under_the_policy_skip_skips_events_that_fail,
    events_parked_for_a_document_stay_in_order_when_lifting_fails,
    a_build_with_too_many_parked_events_stops_with_the_reason,
    parked_events_survive_a_restart,
);

pub fn broken() -> Probe {
    probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"keys": "body"}))
}

pub fn healed() -> Probe {
    let other = json!({"keys": "body", "does": "heal"});
    probe("note")
        .event("noted", 1)
        .version("1.0.1")
        .projection(NOTES, 1, other)
}

pub async fn feed(host: &quipu::Host) {
    let park = settings(Lifecycle::Async, OnError::Park);
    deploy(host, &broken(), park).await;
    note(host, "note-1", &json!({"n": 1, "keys": ["a", "b"]})).await;
    let bad = json!({"apply": "bad-event", "key": "a"});
    note(
        host,
        "note-1",
        &json!({"n": 10, "keys": ["a", "b"], "bad": bad}),
    )
    .await;
    note(host, "note-2", &json!({"n": 2, "keys": ["a", "c"]})).await;
    note(host, "note-3", &json!({"n": 3, "keys": ["b"]})).await;
    host.view(NOTES, "b", now(host).await).await.unwrap();
}

async fn events_of_a_parked_document_wait_in_order_while_others_continue(place: Place) {
    let host = host(&place).await;
    feed(&host).await;
    assert_eq!(document(&host, "a").await["sum"], 1);
    assert_eq!(document(&host, "b").await["sum"], 14);
    assert_eq!(document(&host, "c").await["sum"], 2);
    let parked = host.parked(NOTES, Role::Active, None, 10).await.unwrap();
    assert_eq!(parked.events.len(), 2);
    let subject = Subject::Document("a".into());
    assert!(parked.events.iter().all(|it| it.subject == subject));
    assert!(parked.events[0].error.is_some() && parked.events[1].error.is_none());
    assert_eq!(active(&host).await.counts.parked, 2);
    host.shutdown().await.unwrap();
}

async fn events_whose_keys_fail_are_parked_by_stream(place: Place) {
    let host = host(&place).await;
    let park = settings(Lifecycle::Async, OnError::Park);
    deploy(&host, &broken(), park).await;
    note(
        &host,
        "note-1",
        &json!({"keys": ["a"], "bad": {"keys": "trap"}}),
    )
    .await;
    note(&host, "note-1", &json!({"n": 5, "keys": ["a"]})).await;
    note(&host, "note-2", &json!({"n": 1, "keys": ["a"]})).await;
    assert_eq!(document(&host, "a").await["sum"], 1);
    let parked = host.parked(NOTES, Role::Active, None, 10).await.unwrap();
    let stream = Subject::Stream("note-1".into());
    assert_eq!(parked.events.len(), 2);
    assert!(parked.events.iter().all(|it| it.subject == stream));
    deploy(&host, &healed(), park).await;
    host.control_projection(NOTES, Action::RetryParked)
        .await
        .unwrap();
    until(&host, "retried", |it| it.builds[0].counts.parked == 0).await;
    assert_eq!(document(&host, "a").await["sum"], 6);
    host.shutdown().await.unwrap();
}

async fn parked_events_are_folded_after_a_fix_as_if_nothing_had_failed(place: Place) {
    let host = host(&place).await;
    feed(&host).await;
    deploy(&host, &healed(), settings(Lifecycle::Async, OnError::Park)).await;
    host.control_projection(NOTES, Action::RetryParked)
        .await
        .unwrap();
    until(&host, "retried", |it| it.builds[0].counts.parked == 0).await;
    let retried = documents(&host, NOTES).await;
    host.control_projection(NOTES, Action::Rebuild { hold: false })
        .await
        .unwrap();
    until(&host, "rebuilt", |it| {
        it.builds.iter().any(|build| build.role == Role::Previous)
    })
    .await;
    assert_eq!(documents(&host, NOTES).await, retried);
    host.shutdown().await.unwrap();
}

async fn parked_events_can_be_dropped_with_a_reason(place: Place) {
    let host = host(&place).await;
    feed(&host).await;
    let order = Action::DropParked {
        subject: Some(Subject::Document("a".into())),
        position: None,
        reason: "known to be wrong".to_owned(),
    };
    let status = host.control_projection(NOTES, order.clone()).await.unwrap();
    assert_eq!(status.builds[0].counts.parked, 0);
    assert_eq!(status.builds[0].counts.skipped, 2);
    let again = host.control_projection(NOTES, order).await;
    assert!(again.is_err(), "{again:?}");
    note(&host, "note-4", &json!({"n": 7, "keys": ["a"]})).await;
    assert_eq!(document(&host, "a").await["sum"], 8);
    let skipped = host.skipped(NOTES, Role::Active, None, 10).await.unwrap();
    let reason = skipped.events[0].reason.as_deref();
    assert_eq!(reason, Some("known to be wrong"));
    host.shutdown().await.unwrap();
}

async fn a_retry_that_fails_leaves_everything_parked(place: Place) {
    let host = host(&place).await;
    feed(&host).await;
    host.control_projection(NOTES, Action::RetryParked)
        .await
        .unwrap();
    note(&host, "note-3", &json!({"n": 4, "keys": ["b", "a"]})).await;
    assert_eq!(document(&host, "b").await["sum"], 18);
    assert_eq!(document(&host, "a").await["sum"], 1);
    assert_eq!(active(&host).await.counts.parked, 3);
    host.shutdown().await.unwrap();
}

async fn a_retry_under_the_policy_skip_skips_events_that_fail(place: Place) {
    let host = host(&place).await;
    feed(&host).await;
    deploy(&host, &broken(), settings(Lifecycle::Async, OnError::Skip)).await;
    host.control_projection(NOTES, Action::RetryParked)
        .await
        .unwrap();
    let status = until(&host, "retried", |it| it.builds[0].counts.parked == 0).await;
    assert_eq!(status.builds[0].counts.skipped, 1);
    assert_eq!(document(&host, "a").await["sum"], 3);
    let skipped = host.skipped(NOTES, Role::Active, None, 10).await.unwrap();
    let event = &skipped.events[0];
    assert_eq!(event.subject, Subject::Document("a".into()));
    assert_eq!(event.reason.as_deref(), Some(SKIPPED_BY_POLICY));
    assert!(event.error.is_some(), "{event:?}");
    host.shutdown().await.unwrap();
}

async fn events_parked_for_a_document_stay_in_order_when_lifting_fails(place: Place) {
    let host = host(&place).await;
    feed(&host).await;
    let park = settings(Lifecycle::Async, OnError::Park);
    let lifting = |does: &str, version: &str, heals: &str| {
        probe("note")
            .event("noted", 2)
            .version(version)
            .step_that("note", ("noted", 1), &[("noted", 2)], does)
            .projection(NOTES, 1, json!({"keys": "body", "does": heals}))
    };
    // The steps make the build stale: it continues, and the rebuild from scratch waits.
    deploy_held(&host, &lifting("bad-event", "2.0.0", ""), park).await;
    host.control_projection(NOTES, Action::RetryParked)
        .await
        .unwrap();
    let subject = Subject::Document("a".into());
    until_parked(&host, |events| {
        events.len() == 2
            && events.iter().all(|it| it.subject == subject)
            && events[0]
                .error
                .as_deref()
                .is_some_and(|it| it.contains("can't be lifted"))
    })
    .await;
    assert_eq!(stale_sum(&host).await, 1);
    deploy_held(&host, &lifting("lift", "2.0.1", "heal"), park).await;
    host.control_projection(NOTES, Action::RetryParked)
        .await
        .unwrap();
    until(&host, "retried", |it| it.builds[0].counts.parked == 0).await;
    assert_eq!(stale_sum(&host).await, 13);
    host.shutdown().await.unwrap();
}

/// The sum of the document `a`, however stale it is.
async fn stale_sum(host: &quipu::Host) -> i64 {
    let view = host.view(NOTES, "a", Freshness::default()).await.unwrap();
    let document: serde_json::Value = serde_json::from_str(&view.document).unwrap();
    document["sum"].as_i64().unwrap()
}

/// Waits until the parked events satisfy this condition.
async fn until_parked(host: &quipu::Host, is_so: impl Fn(&[quipu::store::FailedEvent]) -> bool) {
    let mut last = Vec::new();
    let begun = std::time::Instant::now();
    while begun.elapsed() < PATIENCE {
        last = host
            .parked(NOTES, Role::Active, None, 10)
            .await
            .unwrap()
            .events;
        if is_so(&last) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("never: {last:?}");
}

async fn a_build_with_too_many_parked_events_stops_with_the_reason(place: Place) {
    let options = Options {
        parked_max: 3,
        ..quick()
    };
    let host = place.builder().projections(options).build().await.unwrap();
    feed(&host).await;
    for _ in 0..5 {
        note(&host, "note-2", &json!({"n": 1, "keys": ["a"]})).await;
    }
    let trouble = until_state(&host, State::Stopped).await.trouble.unwrap();
    assert!(trouble.error.contains("at most 3 may"), "{trouble:?}");
    let order = Action::DropParked {
        subject: None,
        position: None,
        reason: "a test".to_owned(),
    };
    host.control_projection(NOTES, order).await.unwrap();
    host.control_projection(NOTES, Action::Resume)
        .await
        .unwrap();
    let after = note(&host, "note-2", &json!({"n": 100, "keys": ["a"]})).await;
    let view = host.view(NOTES, "a", support::after(after)).await.unwrap();
    let document: serde_json::Value = serde_json::from_str(&view.document).unwrap();
    let skipped = host.skipped(NOTES, Role::Active, None, 100).await.unwrap();
    // Each event is in the document, or was left out: none twice, and none is lost.
    let counted = document["count"].as_u64().unwrap() + skipped.events.len() as u64;
    assert_eq!(counted, 9, "{document} {skipped:?}");
    host.shutdown().await.unwrap();
}

async fn parked_events_survive_a_restart(place: Place) {
    let first = host(&place).await;
    feed(&first).await;
    first.shutdown().await.unwrap();
    let second = host(&place).await;
    note(&second, "note-3", &json!({"n": 4, "keys": ["a"]})).await;
    assert_eq!(document(&second, "a").await["sum"], 1);
    assert_eq!(active(&second).await.counts.parked, 3);
    deploy(
        &second,
        &healed(),
        settings(Lifecycle::Async, OnError::Park),
    )
    .await;
    second
        .control_projection(NOTES, Action::RetryParked)
        .await
        .unwrap();
    until(&second, "retried", |it| it.builds[0].counts.parked == 0).await;
    assert_eq!(document(&second, "a").await["sum"], 17);
    second.shutdown().await.unwrap();
}
