//! A rebuild that lacks documents or parks events does not become active by itself.

use std::time::Duration;

use quipu::Host;
use quipu::model::{Lifecycle, OnError, Position};
use quipu::projection::{Action, State};
use quipu::store::{Role, Subject};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, on_every_store};
use serde_json::json;

use super::support::{
    NOTES, active, build_of, deploy, document, documents, host, note, patient, settings, until,
    until_state,
};

on_every_store!(
    a_rebuild_that_parks_more_and_lost_documents_waits_for_the_operator,
    a_rebuild_becomes_active_once_a_retry_has_folded_the_parked_events,
    a_rebuild_becomes_active_once_the_parked_events_are_dropped,
    a_rebuild_that_skips_more_events_waits,
    a_rebuild_with_tombstones_in_place_of_documents_becomes_active,
    a_rebuild_of_an_inline_projection_waits_too,
    a_rebuild_of_an_inline_projection_with_parked_events_becomes_active_on_request,
    a_rebuild_that_waits_can_be_cancelled,
    a_rebuild_still_waits_after_a_restart,
);

mod of_two_hosts {
    use quipu_tests::{Place, rule};

    rule!(
        every_host_says_why_a_rebuild_waits_and_may_order_it_to_switch,
        Place::postgres()
    );
}

/// A version of the projection that ignores bad members, or does not.
fn version(version: u32, does: &str) -> Probe {
    let patch = if does == "heal" { 1 } else { 0 };
    probe("note")
        .event("noted", 1)
        .version(&format!("{version}.0.{patch}"))
        .projection(NOTES, version, json!({"keys": "body", "does": does}))
}

/// 22 events in 6 documents, which version 1 folds. Version 2 parks nine of them, and lacks three
/// documents. The events that it cannot fold are the first of these documents.
async fn feed(host: &Host, (lifecycle, on_error): (Lifecycle, OnError)) -> Vec<Position> {
    deploy(host, &version(1, "heal"), settings(lifecycle, on_error)).await;
    let mut bad = Vec::new();
    for document in 1..=6 {
        for n in 0..if document == 6 { 7 } else { 3 } {
            let is_bad = document <= 3 && n == 0;
            let how = if is_bad {
                json!({"apply": "trap"})
            } else {
                json!({})
            };
            let key = format!("d{document}");
            let body = json!({"n": 1, "keys": [key], "bad": how});
            let at = note(host, &format!("note-{document}"), &body).await;
            bad.extend(Some(at).filter(|_| is_bad));
        }
    }
    assert_eq!(documents(host, NOTES).await.len(), 6);
    deploy(host, &version(2, ""), settings(lifecycle, on_error)).await;
    bad
}

/// The reason that the rebuild shows while it waits.
async fn waits(host: &Host) -> String {
    let status = until(host, "waiting", |status| {
        let next = build_of(status, Role::Next);
        next.is_some_and(|next| next.state == State::Ready && next.waits.is_some())
    });
    let next = build_of(&status.await, Role::Next).unwrap();
    next.waits.unwrap().into()
}

/// Checks that version 1 stays active for a while.
async fn check_serves_on(host: &Host) {
    for n in 0..5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        note(host, "note-6", &json!({"n": 1, "keys": ["d6"]})).await;
        let count = document(host, "d6").await["count"].as_u64().unwrap();
        assert!(count > 7 + n);
        let status = active(host).await;
        assert_eq!((status.version, status.waits), (1, None));
    }
    assert_eq!(document(host, "d1").await["count"], 3);
}

async fn until_version_2(host: &Host) {
    let status = until(host, "taken over", |status| {
        build_of(status, Role::Active).is_some_and(|build| build.version == 2)
    });
    let active = build_of(&status.await, Role::Active).unwrap();
    assert_eq!(active.waits, None);
}

const PARK: (Lifecycle, OnError) = (Lifecycle::Async, OnError::Park);

async fn a_rebuild_that_parks_more_and_lost_documents_waits_for_the_operator(place: Place) {
    let host = host(&place).await;
    feed(&host, PARK).await;
    let text = waits(&host).await;
    for said in [
        "version 2 does not take over by itself",
        "parked 9 events, the active build 0",
        "3 of the active build's 6 documents: \"d1\", \"d2\", \"d3\"",
        "`quipu projection notes switch`",
        "`cancel`",
        "retry-parked`",
    ] {
        assert!(text.contains(said), "{text}");
    }
    check_serves_on(&host).await;
    let status = host
        .control_projection(NOTES, Action::Switch)
        .await
        .unwrap();
    assert_eq!(build_of(&status, Role::Active).unwrap().version, 2);
    assert_eq!(documents(&host, NOTES).await.len(), 3);
    // A confirmation is for one build: the next one waits, too.
    host.control_projection(NOTES, Action::RollBack)
        .await
        .unwrap();
    until_state(&host, State::CaughtUp).await;
    host.shutdown().await.unwrap();
}

async fn a_rebuild_becomes_active_once_a_retry_has_folded_the_parked_events(place: Place) {
    let host = host(&place).await;
    feed(&host, PARK).await;
    waits(&host).await;
    deploy(&host, &version(2, "heal"), settings(PARK.0, PARK.1)).await;
    host.control_projection(NOTES, Action::RetryParked)
        .await
        .unwrap();
    until_version_2(&host).await;
    assert_eq!(document(&host, "d1").await["count"], 3);
    assert_eq!(active(&host).await.counts.parked, 0);
    host.shutdown().await.unwrap();
}

async fn a_rebuild_becomes_active_once_the_parked_events_are_dropped(place: Place) {
    let host = host(&place).await;
    let bad = feed(&host, PARK).await;
    waits(&host).await;
    for (number, position) in (1..).zip(bad) {
        assert_eq!(active(&host).await.version, 1);
        let order = Action::DropParked {
            subject: Some(Subject::Document(format!("d{number}").into())),
            position: Some(position),
            reason: "a test".to_owned(),
        };
        host.control_projection(NOTES, order).await.unwrap();
    }
    until_version_2(&host).await;
    assert_eq!(document(&host, "d1").await["count"], 2);
    host.shutdown().await.unwrap();
}

async fn a_rebuild_that_skips_more_events_waits(place: Place) {
    let host = host(&place).await;
    feed(&host, (Lifecycle::Async, OnError::Skip)).await;
    let text = waits(&host).await;
    let said = "its policy skipped 3 events, in the active build 0. After";
    assert!(text.contains(said), "{text}");
    host.control_projection(NOTES, Action::Switch)
        .await
        .unwrap();
    until_version_2(&host).await;
    // The next rebuild skips as many, and becomes active.
    let begun = active(&host).await.started_at;
    host.control_projection(NOTES, Action::Rebuild { hold: false })
        .await
        .unwrap();
    until(&host, "rebuilt", |status| {
        let build = build_of(status, Role::Active);
        build.is_some_and(|build| build.started_at != begun)
    })
    .await;
    host.shutdown().await.unwrap();
}

async fn a_rebuild_with_tombstones_in_place_of_documents_becomes_active(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(1, ""), settings(PARK.0, PARK.1)).await;
    for key in ["a", "b"] {
        note(&host, "note-1", &json!({"n": 1, "keys": [key]})).await;
        note(&host, "note-1", &json!({"keys": [key], "delete": true})).await;
    }
    note(&host, "note-1", &json!({"n": 1, "keys": ["a"]})).await;
    documents(&host, NOTES).await;
    deploy(&host, &version(2, ""), settings(PARK.0, PARK.1)).await;
    until_version_2(&host).await;
    host.shutdown().await.unwrap();
}

async fn a_rebuild_of_an_inline_projection_waits_too(place: Place) {
    let host = patient(&place).await;
    feed(&host, (Lifecycle::Inline, OnError::Park)).await;
    let text = waits(&host).await;
    assert!(text.contains("parked 9 events"), "{text}");
    check_serves_on(&host).await;
    assert_eq!(active(&host).await.state, State::Inline);
    host.control_projection(NOTES, Action::Cancel)
        .await
        .unwrap();
    deploy(
        &host,
        &version(3, "heal"),
        settings(Lifecycle::Inline, OnError::Park),
    )
    .await;
    until(&host, "taken over", |status| {
        let build = build_of(status, Role::Active);
        build.is_some_and(|build| build.version == 3 && build.state == State::Inline)
    })
    .await;
    host.shutdown().await.unwrap();
}

async fn a_rebuild_of_an_inline_projection_with_parked_events_becomes_active_on_request(
    place: Place,
) {
    let host = patient(&place).await;
    let inline = (Lifecycle::Inline, OnError::Park);
    feed(&host, inline).await;
    waits(&host).await;
    let status = host
        .control_projection(NOTES, Action::Switch)
        .await
        .unwrap();
    let build = build_of(&status, Role::Active).unwrap();
    assert_eq!((build.version, build.counts.parked), (2, 9));
    assert_eq!(until_state(&host, State::CaughtUp).await.version, 2);
    note(&host, "note-6", &json!({"n": 1, "keys": ["d6"]})).await;
    assert_eq!(document(&host, "d6").await["count"], 8);
    // It becomes inline once nothing is parked any more.
    deploy(&host, &version(2, "heal"), settings(inline.0, inline.1)).await;
    host.control_projection(NOTES, Action::RetryParked)
        .await
        .unwrap();
    until_state(&host, State::Inline).await;
    assert_eq!(document(&host, "d1").await["count"], 3);
    host.shutdown().await.unwrap();
}

async fn a_rebuild_that_waits_can_be_cancelled(place: Place) {
    let host = host(&place).await;
    feed(&host, PARK).await;
    waits(&host).await;
    deploy(&host, &version(1, "heal"), settings(PARK.0, PARK.1)).await;
    until(&host, "cancelled", |status| {
        build_of(status, Role::Next).is_none()
    })
    .await;
    check_serves_on(&host).await;
    host.shutdown().await.unwrap();
}

async fn a_rebuild_still_waits_after_a_restart(place: Place) {
    let first = host(&place).await;
    feed(&first, PARK).await;
    let text = waits(&first).await;
    first.shutdown().await.unwrap();
    let second = host(&place).await;
    let status = second.projection(NOTES).await.unwrap();
    let next = build_of(&status, Role::Next).unwrap();
    assert_eq!(next.waits.as_deref(), Some(&*text));
    check_serves_on(&second).await;
    second
        .control_projection(NOTES, Action::Switch)
        .await
        .unwrap();
    until_version_2(&second).await;
    second.shutdown().await.unwrap();
}

async fn every_host_says_why_a_rebuild_waits_and_may_order_it_to_switch(place: Place) {
    let owner = host(&place).await;
    feed(&owner, PARK).await;
    let text = waits(&owner).await;
    let other = host(&place).await;
    assert_eq!(waits(&other).await, text);
    other
        .control_projection(NOTES, Action::Switch)
        .await
        .unwrap();
    until_version_2(&owner).await;
    until_version_2(&other).await;
    owner.shutdown().await.unwrap();
    other.shutdown().await.unwrap();
}
