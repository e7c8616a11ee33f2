//! A read reports that it is not as fresh as requested, and immediately if waiting is of no use.

use std::time::{Duration, Instant};

use quipu::Host;
use quipu::model::{Lifecycle, OnError, Position};
use quipu::projection::{Action, Error, Freshness, NotFreshReason, Query, State, WAIT_MAX};
use quipu::store::Subject;
use quipu_tests::{Place, on_every_store};
use serde_json::json;

use super::parking::{broken, healed};
use super::support::{
    NOTES, active, after, deploy, document, host, note, settings, until, until_state,
};

on_every_store!(
    a_document_reports_that_events_are_parked_for_it,
    an_event_parked_for_its_stream_may_affect_any_document,
    a_read_does_not_wait_for_a_build_that_has_stopped,
    a_read_does_not_wait_for_a_projection_that_is_paused,
    a_read_waits_for_a_projection_that_lags,
);

fn all() -> Query {
    Query {
        limit: 10,
        ..Query::default()
    }
}

/// The position of a read and why it is not fresher, in less than half of the time that it may
/// wait.
async fn at_once<T: std::fmt::Debug>(
    reading: impl Future<Output = Result<T, Error>>,
) -> (Position, NotFreshReason) {
    let begun_at = Instant::now();
    let answer = reading.await;
    assert!(begun_at.elapsed() < WAIT_MAX / 2);
    match answer {
        Err(Error::NotFresh {
            position, reason, ..
        }) => (position, reason),
        other => panic!("{other:?}"),
    }
}

async fn put(host: &Host, key: &str, bad: serde_json::Value) -> Position {
    let body = json!({"n": 1, "keys": [key], "bad": bad});
    note(host, &format!("note-{key}"), &body).await
}

fn bad() -> serde_json::Value {
    json!({"apply": "trap"})
}

async fn a_document_reports_that_events_are_parked_for_it(place: Place) {
    let host = host(&place).await;
    deploy(&host, &broken(), settings(Lifecycle::Async, OnError::Park)).await;
    let first = put(&host, "k", json!({})).await;
    let boom = put(&host, "k", bad()).await;
    let last = put(&host, "k", json!({})).await;
    let gone = put(&host, "gone", bad()).await;
    let other = put(&host, "other", json!({})).await;
    let view = host.view(NOTES, "other", after(other)).await.unwrap();
    assert_eq!(view.parked, None);
    for place in [boom, last, other] {
        let (position, reason) = at_once(host.view(NOTES, "k", after(place))).await;
        assert_eq!(reason, NotFreshReason::Parked);
        assert_eq!(position.0, boom.0 - 1);
        let query = all();
        let reading = host.views(NOTES, &query, after(place));
        assert_eq!(at_once(reading).await, (position, reason));
    }
    for fresh in [Freshness::default(), after(first)] {
        let view = host.view(NOTES, "k", fresh).await.unwrap();
        let parked = view.parked.unwrap();
        assert_eq!((parked.events, parked.first_position), (2, boom));
        assert!(parked.error.unwrap().contains("trap"));
        let page = host.views(NOTES, &all(), fresh).await.unwrap();
        assert_eq!((page.documents.len(), page.parked), (2, 2));
    }
    let none = host.view(NOTES, "gone", Freshness::default()).await;
    let none = none.unwrap_err().to_string();
    let said = format!("1 event is parked for it, the first at position {gone}");
    assert!(none.contains(&said), "{none}");
    deploy(&host, &healed(), settings(Lifecycle::Async, OnError::Park)).await;
    host.control_projection(NOTES, Action::RetryParked)
        .await
        .unwrap();
    until(&host, "retried", |it| it.builds[0].counts.parked == 0).await;
    let view = host.view(NOTES, "k", after(other)).await.unwrap();
    assert!(view.parked.is_none() && view.position >= other);
    let page = host.views(NOTES, &all(), after(other)).await.unwrap();
    assert_eq!((page.documents.len(), page.parked), (3, 0));
    host.shutdown().await.unwrap();
}

async fn an_event_parked_for_its_stream_may_affect_any_document(place: Place) {
    let host = host(&place).await;
    deploy(&host, &broken(), settings(Lifecycle::Async, OnError::Park)).await;
    let first = put(&host, "k", json!({})).await;
    let boom = put(&host, "other", json!({"keys": "trap"})).await;
    let last = put(&host, "k", json!({})).await;
    assert_eq!(document(&host, "k").await["count"], 2);
    let (position, reason) = at_once(host.view(NOTES, "k", after(last))).await;
    assert_eq!((position.0, reason), (boom.0 - 1, NotFreshReason::Parked));
    let view = host.view(NOTES, "k", after(first)).await.unwrap();
    assert_eq!(view.parked, None);
    let order = Action::DropParked {
        subject: Some(Subject::Stream("note-other".into())),
        position: None,
        reason: "a test".to_owned(),
    };
    host.control_projection(NOTES, order).await.unwrap();
    host.view(NOTES, "k", after(last)).await.unwrap();
    host.shutdown().await.unwrap();
}

async fn a_read_does_not_wait_for_a_build_that_has_stopped(place: Place) {
    let host = host(&place).await;
    deploy(&host, &broken(), settings(Lifecycle::Async, OnError::Stop)).await;
    put(&host, "k", json!({})).await;
    let boom = put(&host, "k", bad()).await;
    until_state(&host, State::Stopped).await;
    let reached = active(&host).await.position;
    for reading in [
        at_once(host.view(NOTES, "k", after(boom))).await,
        at_once(host.views(NOTES, &all(), after(boom))).await,
    ] {
        assert_eq!(reading, (reached, NotFreshReason::Stopped));
    }
    host.view(NOTES, "k", after(reached)).await.unwrap();
    // The deployed module continues the build, so waiting is useful.
    deploy(&host, &healed(), settings(Lifecycle::Async, OnError::Stop)).await;
    host.view(NOTES, "k", after(boom)).await.unwrap();
    host.shutdown().await.unwrap();
}

async fn a_read_does_not_wait_for_a_projection_that_is_paused(place: Place) {
    let host = host(&place).await;
    deploy(&host, &broken(), settings(Lifecycle::Async, OnError::Stop)).await;
    let first = put(&host, "k", json!({})).await;
    host.view(NOTES, "k", after(first)).await.unwrap();
    host.control_projection(NOTES, Action::Pause).await.unwrap();
    until(&host, "given back", |status| {
        status.builds.iter().all(|build| !build.is_owned)
    })
    .await;
    let last = put(&host, "k", json!({})).await;
    let (position, reason) = at_once(host.view(NOTES, "k", after(last))).await;
    assert_eq!(reason, NotFreshReason::Paused);
    assert!(position >= first && position < last);
    host.control_projection(NOTES, Action::Resume)
        .await
        .unwrap();
    host.view(NOTES, "k", after(last)).await.unwrap();
    host.shutdown().await.unwrap();
}

async fn a_read_waits_for_a_projection_that_lags(place: Place) {
    let host = host(&place).await;
    deploy(&host, &broken(), settings(Lifecycle::Async, OnError::Stop)).await;
    let first = put(&host, "k", json!({})).await;
    let fresh = Freshness {
        after: Position(first.0 + 100),
        wait: Duration::from_millis(100),
    };
    let begun_at = Instant::now();
    let (_, reason) = at_once(host.view(NOTES, "k", fresh)).await;
    assert_eq!(reason, NotFreshReason::Lagging);
    assert!(begun_at.elapsed() >= fresh.wait);
    host.shutdown().await.unwrap();
}
