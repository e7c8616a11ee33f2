//! Semantics 9.5: the handling of events that cannot be folded.

use quipu::model::{Lifecycle, OnError};
use quipu::projection::{Action, State};
use quipu::store::{Role, Subject};
use quipu_tests::probe::probe;
use quipu_tests::{Place, on_every_store};
use serde_json::{Value, json};

use super::support::{
    NOTES, active, deploy, document, documents, host, note, settings, until_state,
};

on_every_store!(
    a_projection_stops_before_an_event_that_it_cannot_fold,
    a_stopped_projection_stays_stopped,
    a_new_module_continues_where_the_old_one_stopped,
    skipping_leaves_one_event_out_of_one_document,
    every_kind_of_fault_is_reported,
    other_projections_continue_when_one_stops,
    a_paused_projection_waits_until_it_is_resumed,
);

fn bad(what: &str, how: &str) -> Value {
    json!({"n": 100, "bad": {(what): how}})
}

async fn a_projection_stops_before_an_event_that_it_cannot_fold(place: Place) {
    let host = host(&place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"keys": "one"}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    let at = note(&host, "note-2", &bad("apply", "bad-event")).await;
    note(&host, "note-3", &json!({"n": 1})).await;
    let build = until_state(&host, State::Stopped).await;
    let trouble = build.trouble.unwrap();
    assert!(trouble.is_stopped);
    assert_eq!(trouble.position, Some(at));
    assert_eq!(trouble.stream.as_deref(), Some("note-2"));
    assert_eq!(trouble.document.as_deref(), Some("all"));
    assert_eq!(trouble.attempts, 2);
    assert!(build.position < at);
    let view = host.view(NOTES, "all", quipu::projection::Freshness::default());
    let document: Value = serde_json::from_str(&view.await.unwrap().document).unwrap();
    assert_eq!(document["count"], 1);
    host.shutdown().await.unwrap();
}

async fn a_new_module_continues_where_the_old_one_stopped(place: Place) {
    let host = host(&place).await;
    let broken = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"keys": "one"}));
    deploy(&host, &broken, settings(Lifecycle::Async, OnError::Stop)).await;
    for n in 0..3 {
        note(&host, "note-1", &json!({"n": n})).await;
    }
    note(&host, "note-1", &bad("apply", "trap")).await;
    until_state(&host, State::Stopped).await;
    host.control_projection(NOTES, Action::Resume)
        .await
        .unwrap();
    until_state(&host, State::Stopped).await;
    let healed = probe("note").event("noted", 1).version("1.0.1").projection(
        NOTES,
        1,
        json!({"keys": "one", "does": "heal"}),
    );
    deploy(&host, &healed, settings(Lifecycle::Async, OnError::Stop)).await;
    let document = document(&host, "all").await;
    assert_eq!(
        (&document["count"], &document["sum"]),
        (&json!(4), &json!(103))
    );
    assert!(active(&host).await.trouble.is_none());
    host.shutdown().await.unwrap();
}

async fn skipping_leaves_one_event_out_of_one_document(place: Place) {
    let host = host(&place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"keys": "body"}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Skip)).await;
    note(&host, "note-1", &json!({"n": 1, "keys": ["a", "b"]})).await;
    let body = json!({"n": 10, "keys": ["a", "b"], "bad": {"apply": "bad-event", "key": "a"}});
    let at = note(&host, "note-1", &body).await;
    let nobodys = note(&host, "note-2", &bad("keys", "bad-event")).await;
    note(&host, "note-1", &json!({"n": 2, "keys": ["a", "b"]})).await;
    assert_eq!(document(&host, "a").await["sum"], 3);
    assert_eq!(document(&host, "b").await["sum"], 13);
    let skipped = host.skipped(NOTES, Role::Active, None, 10).await.unwrap();
    let pairs: Vec<_> = skipped
        .events
        .iter()
        .map(|it| (it.subject.clone(), it.position))
        .collect();
    assert_eq!(
        pairs,
        [
            (Subject::Document("a".into()), at),
            (Subject::Stream("note-2".into()), nobodys),
        ]
    );
    assert!(skipped.events[0].error.is_some() && skipped.events[0].reason.is_some());
    host.shutdown().await.unwrap();
}

async fn every_kind_of_fault_is_reported(place: Place) {
    let host = host(&place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Skip)).await;
    let kinds = [
        (bad("apply", "trap"), "trap"),
        (bad("apply", "bad-event"), "bad"),
        (bad("apply", "internal"), "internal"),
        (bad("apply", "loop"), "out-of-fuel"),
        (bad("keys", "trap"), "trap"),
        (json!({"large": 2_000_000}), "output-too-large"),
    ];
    for (number, (body, _)) in kinds.iter().enumerate() {
        note(&host, &format!("note-{number}"), &json!({"n": 1})).await;
        note(&host, &format!("note-{number}"), body).await;
    }
    let documents = documents(&host, NOTES).await;
    assert_eq!(documents.len(), kinds.len());
    for document in documents.values() {
        assert!(document.contains("\"count\":1,"), "{document}");
    }
    let skipped = host.skipped(NOTES, Role::Active, None, 100).await.unwrap();
    let errors: Vec<&str> = skipped
        .events
        .iter()
        .map(|it| it.error.as_deref().unwrap())
        .collect();
    assert_eq!(errors.len(), kinds.len());
    for ((_, kind), error) in kinds.iter().zip(errors) {
        assert!(error.contains(kind), "{kind}: {error}");
    }
    host.shutdown().await.unwrap();
}

async fn other_projections_continue_when_one_stops(place: Place) {
    let host = host(&place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"does": "fail"}))
        .projection("healthy", 1, json!({"keys": "one"}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    for _ in 0..20 {
        note(&host, "note-1", &json!({"n": 1})).await;
    }
    until_state(&host, State::Stopped).await;
    let healthy = documents(&host, "healthy").await;
    assert!(healthy["all"].contains("\"count\":20,"), "{healthy:?}");
    host.shutdown().await.unwrap();
}

async fn a_paused_projection_waits_until_it_is_resumed(place: Place) {
    let host = host(&place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"keys": "one"}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    assert_eq!(document(&host, "all").await["count"], 1);
    host.control_projection(NOTES, Action::Pause).await.unwrap();
    super::support::until(&host, "given back", |status| {
        status.builds.iter().all(|build| !build.is_owned)
    })
    .await;
    let at = note(&host, "note-1", &json!({"n": 1})).await;
    let stale = quipu::projection::Freshness {
        after: at,
        wait: std::time::Duration::from_millis(100),
    };
    let stale = host.view(NOTES, "all", stale).await;
    assert!(
        matches!(stale, Err(quipu::projection::Error::NotFresh { .. })),
        "{stale:?}"
    );
    let status = host.projection(NOTES).await.unwrap();
    assert!(status.is_paused && status.builds[0].state == State::Paused);
    host.control_projection(NOTES, Action::Resume)
        .await
        .unwrap();
    assert_eq!(document(&host, "all").await["count"], 2);
    host.shutdown().await.unwrap();
}

async fn a_stopped_projection_stays_stopped(place: Place) {
    let host = host(&place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"keys": "one"}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    note(&host, "note-1", &bad("apply", "bad-event")).await;
    let first = until_state(&host, State::Stopped).await.trouble.unwrap();
    for _ in 0..20 {
        note(&host, "note-2", &json!({"n": 1})).await;
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        let build = active(&host).await;
        assert_eq!(build.state, State::Stopped);
        assert_eq!(build.trouble.as_ref(), Some(&first));
    }
    host.shutdown().await.unwrap();
}
