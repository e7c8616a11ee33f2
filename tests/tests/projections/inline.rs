//! Documents that are folded in the transactions of appends.

use std::collections::BTreeSet;

use futures::StreamExt;
use quipu::engine::{Append, AppendAll, Error, StreamAppend};
use quipu::model::{Command, Lifecycle, OnError, SettingsChange};
use quipu::projection::{Action, Change, ChangePlace, Freshness, State};
use quipu::store::{Role, Subject};
use quipu::{Host, engine};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{PATIENCE, Place, build, on_every_store};
use serde_json::{Value, json};

use super::parking;
use super::support::{
    NOTES, active, build_of, builder, deploy, documents, host, note, quick, settings, switch_to,
    try_note, until, until_state,
};

on_every_store!(
    a_document_is_readable_with_its_event,
    an_append_that_cannot_be_folded_stores_nothing,
    one_bad_append_does_not_affect_others,
    a_known_id_is_not_folded_a_second_time,
    an_asynchronous_projection_becomes_inline_with_its_documents,
    followers_miss_no_change_when_a_build_with_retried_events_becomes_inline,
    a_detached_projection_continues_asynchronously,
    a_rebuild_of_an_inline_projection_becomes_active_and_inline,
    a_roll_back_of_an_inline_projection_is_inline,
    a_projection_that_keeps_failing_refuses_appends_immediately_and_recovers,
    a_fold_that_never_ends_fails_only_its_own_append,
    inline_asynchronous_and_rebuilt_documents_are_equal,
    a_replaced_component_without_the_projection_orphans_its_build,
    an_inline_projection_survives_a_restart,
);

fn all(version: u32) -> Probe {
    let one = json!({"keys": if version == 1 { "one" } else { "stream" }});
    probe("note")
        .event("noted", 1)
        .version(&format!("{version}.0.0"))
        .projection(NOTES, version, one)
}

fn inline() -> SettingsChange {
    settings(Lifecycle::Inline, OnError::Stop)
}

/// The current document, without waiting for anything.
async fn at_once(host: &Host, key: &str) -> Value {
    let view = host.view(NOTES, key, Freshness::default()).await.unwrap();
    serde_json::from_str(&view.document).unwrap()
}

async fn a_document_is_readable_with_its_event(place: Place) {
    let host = host(&place).await;
    deploy(&host, &all(1), inline()).await;
    until_state(&host, State::Inline).await;
    for n in 1..=20 {
        let position = note(&host, &format!("note-{}", n % 3), &json!({"n": n})).await;
        let document = at_once(&host, "all").await;
        assert_eq!(
            (&document["count"], &document["last"]),
            (&json!(n), &json!(position.0))
        );
    }
    let noted = Command::new(
        "note",
        json!([["noted", {"n": 5}], ["noted", {"n": 6}]]).to_string(),
    );
    host.execute(&build::stream("note-7"), noted.unwrap())
        .await
        .unwrap();
    assert_eq!(at_once(&host, "all").await["count"], 22);
    assert_eq!(active(&host).await.counts.documents, 1);
    host.shutdown().await.unwrap();
}

async fn an_append_that_cannot_be_folded_stores_nothing(place: Place) {
    let host = host(&place).await;
    deploy(&host, &all(1), inline()).await;
    until_state(&host, State::Inline).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    let head = host.log_head().await.unwrap();
    for how in ["trap", "bad-event", "internal"] {
        for what in ["apply", "keys"] {
            let failed = try_note(&host, "note-1", &json!({"bad": {(what): how}})).await;
            let failed = failed.unwrap_err();
            assert!(matches!(failed, Error::Unprojected(_)), "{failed:?}");
            assert!(failed.to_string().contains(NOTES), "{failed}");
            note(&host, "note-2", &json!({"n": 1})).await;
        }
    }
    let document = at_once(&host, "all").await;
    assert_eq!(document["count"], 7);
    let stream = build::stream("note-1");
    let state = host.read_stream(
        &stream,
        quipu::model::Version(1),
        quipu::store::Direction::Forward,
        10,
    );
    assert_eq!(state.await.unwrap().version.0, 1);
    assert!(host.log_head().await.unwrap() > head);
    host.shutdown().await.unwrap();
}

async fn one_bad_append_does_not_affect_others(place: Place) {
    let host = host(&place).await;
    deploy(&host, &all(1), inline()).await;
    until_state(&host, State::Inline).await;
    let appends = (0..40).map(|n| {
        let host = host.clone();
        let is_bad = n == 17;
        let body = match is_bad {
            true => json!({"bad": {"apply": "bad-event"}}),
            false => json!({"n": 1}),
        };
        async move {
            (
                is_bad,
                try_note(&host, &format!("note-{n}"), &body).await.is_err(),
            )
        }
    });
    for (is_bad, failed) in futures::future::join_all(appends).await {
        assert_eq!(is_bad, failed);
    }
    let document = at_once(&host, "all").await;
    assert_eq!(document["count"], 39);
    let both = |body: &Value| AppendAll {
        streams: ["note-a", "note-b"]
            .map(|stream| StreamAppend {
                stream: build::stream(stream),
                expected_version: quipu::model::ExpectedVersion::Any,
                events: vec![build::event("noted", &body.to_string())],
            })
            .into(),
        into_owned_category: true,
        ..AppendAll::default()
    };
    host.append_all(both(&json!({"n": 1}))).await.unwrap();
    let failed = host
        .append_all(both(&json!({"bad": {"apply": "trap"}})))
        .await;
    assert!(failed.is_err());
    assert_eq!(at_once(&host, "all").await["count"], 41);
    host.shutdown().await.unwrap();
}

async fn a_known_id_is_not_folded_a_second_time(place: Place) {
    let host = host(&place).await;
    deploy(&host, &all(1), inline()).await;
    until_state(&host, State::Inline).await;
    for round in 0..3 {
        let append = Append {
            events: vec![build::event("noted", r#"{"n":4}"#)],
            id: Some(quipu::model::CommandId::new("once").unwrap()),
            into_owned_category: true,
            ..Append::default()
        };
        let appended: engine::Executed =
            host.append(&build::stream("note-1"), append).await.unwrap();
        assert_eq!(appended.replayed, round > 0);
    }
    assert_eq!(at_once(&host, "all").await["sum"], 4);
    host.shutdown().await.unwrap();
}

async fn an_asynchronous_projection_becomes_inline_with_its_documents(place: Place) {
    let host = host(&place).await;
    for n in 1..=30 {
        note(&host, "other-1", &json!({"n": n})).await;
    }
    deploy(&host, &all(1), settings(Lifecycle::Async, OnError::Stop)).await;
    let appending = async {
        for _ in 0..200 {
            note(&host, "note-1", &json!({"n": 1})).await;
        }
    };
    let turning = async {
        deploy(&host, &all(1), inline()).await;
        until_state(&host, State::Inline).await;
    };
    tokio::join!(appending, turning);
    assert_eq!(at_once(&host, "all").await["count"], 200);
    host.shutdown().await.unwrap();
}

/// Changes of retried events have greater numbers than the position of the log's end.
async fn followers_miss_no_change_when_a_build_with_retried_events_becomes_inline(place: Place) {
    let host = host(&place).await;
    let park = settings(Lifecycle::Async, OnError::Park);
    deploy(&host, &parking::broken(), park).await;
    for n in 0..8 {
        let key = format!("k{n}");
        let bad = json!({"n": 1, "keys": [key], "bad": {"apply": "bad-event", "key": key}});
        note(&host, "note-1", &bad).await;
    }
    note(&host, "note-1", &json!({"n": 1, "keys": ["z"]})).await;
    until(&host, "parked", |it| it.builds[0].counts.parked == 8).await;
    deploy(&host, &parking::healed(), park).await;
    for n in 0..8 {
        let retry = Action::RetryParkedOf {
            subject: Subject::Document(format!("k{n}").into()),
            position: None,
        };
        host.control_projection(NOTES, retry).await.unwrap();
        until(&host, "retried", |it| it.builds[0].counts.parked == 7 - n).await;
    }
    let head = host.log_head().await.unwrap();
    let (known, at) = follow(&host, None, 9).await;
    assert_eq!(known.len(), 9);
    assert!(at.change > head.0, "{at:?}, head {head}");

    // While appends go on, so that some events are folded when the build becomes inline.
    let appending = async {
        for n in 0..20 {
            note(&host, "note-2", &json!({"n": 1, "keys": [format!("d{n}")]})).await;
        }
    };
    let turning = async {
        deploy(&host, &parking::healed(), inline()).await;
        until_state(&host, State::Inline).await;
    };
    tokio::join!(appending, turning);
    let (known, at) = follow(&host, Some(at), 20).await;
    assert_eq!(known.len(), 20);
    note(&host, "note-1", &json!({"n": 5, "keys": ["k1"]})).await;
    let (known, at) = follow(&host, Some(at), 1).await;
    assert!(known.contains("k1"), "{known:?}");
    // A new follower sees it, too, before anything else happens.
    let (known, _) = follow(&host, None, 29).await;
    assert_eq!(known.len(), 29);

    host.control_projection(NOTES, Action::Detach)
        .await
        .unwrap();
    note(&host, "note-1", &json!({"n": 5, "keys": ["k2"]})).await;
    let (known, _) = follow(&host, Some(at), 1).await;
    assert!(known.contains("k2"), "{known:?}");
    host.shutdown().await.unwrap();
}

/// The keys of the next documents that a follower sees, and its place after them.
async fn follow(
    host: &Host,
    after: Option<ChangePlace>,
    documents: usize,
) -> (BTreeSet<String>, ChangePlace) {
    let mut changes = host.changes(NOTES, after).await.unwrap();
    let (mut keys, mut place) = (BTreeSet::new(), None);
    while keys.len() < documents {
        let next = tokio::time::timeout(PATIENCE, changes.next()).await;
        let next = next.expect("the follower waits for a change");
        if let Some(Ok(Change::Document { key, at, .. })) = next {
            keys.insert(key.to_string());
            place = Some(at);
        }
    }
    (keys, place.unwrap())
}

async fn a_detached_projection_continues_asynchronously(place: Place) {
    let host = host(&place).await;
    deploy(&host, &all(1), inline()).await;
    until_state(&host, State::Inline).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    let appending = async {
        for _ in 0..100 {
            note(&host, "note-1", &json!({"n": 1})).await;
        }
    };
    let (_, status) = tokio::join!(appending, host.control_projection(NOTES, Action::Detach));
    assert_eq!(status.unwrap().settings.lifecycle, Lifecycle::Async);
    assert_eq!(super::support::document(&host, "all").await["count"], 101);
    note(&host, "note-1", &json!({"bad": {"apply": "trap"}})).await;
    until_state(&host, State::Stopped).await;
    host.shutdown().await.unwrap();
}

async fn a_rebuild_of_an_inline_projection_becomes_active_and_inline(place: Place) {
    let host = host(&place).await;
    deploy(&host, &all(1), inline()).await;
    until_state(&host, State::Inline).await;
    let appending = async {
        for n in 0..150 {
            note(&host, &format!("note-{}", n % 5), &json!({"n": 1})).await;
        }
    };
    let rebuilding = async {
        deploy(&host, &all(2), inline()).await;
        switch_to(&host, 2).await;
        until_state(&host, State::Inline).await;
    };
    tokio::join!(appending, rebuilding);
    let documents = documents(&host, NOTES).await;
    assert_eq!(documents.len(), 5);
    for document in documents.values() {
        assert!(document.contains("\"count\":30,"), "{document}");
    }
    host.shutdown().await.unwrap();
}

async fn a_roll_back_of_an_inline_projection_is_inline(place: Place) {
    let host = host(&place).await;
    deploy(&host, &all(1), inline()).await;
    until_state(&host, State::Inline).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    deploy(&host, &all(2), inline()).await;
    switch_to(&host, 2).await;
    note(&host, "note-1", &json!({"n": 2})).await;
    host.control_projection(NOTES, Action::RollBack)
        .await
        .unwrap();
    let status = until(&host, "inline again", |status| {
        build_of(status, Role::Active).is_some_and(|it| it.state == State::Inline)
    });
    assert_eq!(build_of(&status.await, Role::Active).unwrap().version, 1);
    note(&host, "note-1", &json!({"n": 4})).await;
    assert_eq!(at_once(&host, "all").await["sum"], 7);
    host.shutdown().await.unwrap();
}

/// Semantics 9.9.
async fn a_projection_that_keeps_failing_refuses_appends_immediately_and_recovers(place: Place) {
    let host = host(&place).await;
    deploy(&host, &all(1), inline()).await;
    until_state(&host, State::Inline).await;
    for n in 0..5 {
        let bad = json!({"bad": {"apply": "internal"}});
        let failed = try_note(&host, &format!("note-{n}"), &bad)
            .await
            .unwrap_err();
        assert!(
            matches!(&failed, Error::Unprojected(it) if !it.is_failing),
            "{failed:?}"
        );
    }
    let failed = try_note(&host, "note-1", &json!({"n": 1}))
        .await
        .unwrap_err();
    assert!(
        matches!(&failed, Error::Unprojected(it) if it.is_failing),
        "{failed:?}"
    );
    assert_eq!(active(&host).await.state, State::Failing);
    for n in 0..20 {
        note(&host, &format!("other-{n}"), &json!({"n": 1})).await;
    }
    host.control_projection(NOTES, Action::Resume)
        .await
        .unwrap();
    note(&host, "note-1", &json!({"n": 1})).await;
    assert_eq!(at_once(&host, "all").await["count"], 1);
    host.shutdown().await.unwrap();
}

async fn a_fold_that_never_ends_fails_only_its_own_append(place: Place) {
    let host = host(&place).await;
    deploy(&host, &all(1), inline()).await;
    until_state(&host, State::Inline).await;
    let never = json!({"bad": {"apply": "loop"}});
    let looping = try_note(&host, "note-1", &never);
    let others = async {
        for n in 0..20 {
            note(&host, &format!("note-2{n}"), &json!({"n": 1})).await;
        }
    };
    let (failed, ()) = tokio::join!(looping, others);
    assert!(matches!(failed, Err(Error::Unprojected(_))), "{failed:?}");
    assert_eq!(at_once(&host, "all").await["count"], 20);
    host.shutdown().await.unwrap();
}

/// Semantics 9.1 and 9.2.
async fn inline_asynchronous_and_rebuilt_documents_are_equal(place: Place) {
    let host = builder(&place).build().await.unwrap();
    let other = json!({"keys": "body"});
    let probe = probe("note")
        .event("first", 1)
        .event("second", 1)
        .event("noted", 3)
        .step("note", ("noted", 1), &[("first", 1), ("second", 1)])
        .step("note", ("noted", 2), &[("noted", 3)])
        .projection(NOTES, 1, other.clone())
        .projection("async", 1, other);
    deploy(&host, &probe, inline()).await;
    until_state(&host, State::Inline).await;
    for n in 0..60_u32 {
        let body = json!({"n": n, "keys": [format!("k{}", n % 4), format!("j{}", n % 3)]});
        let body = match n % 7 {
            0 => json!({"n": n, "keys": ["k0"], "delete": true}),
            _ => body,
        };
        let event = quipu::model::NewEvent {
            schema_version: 3,
            ..build::event("noted", &body.to_string())
        };
        let append = Append {
            events: vec![event],
            into_owned_category: true,
            ..Append::default()
        };
        let stream = build::stream(&format!("note-{}", n % 5));
        host.append(&stream, append).await.unwrap();
    }
    let inline = documents(&host, NOTES).await;
    assert_eq!(documents(&host, "async").await, inline);
    host.control_projection(NOTES, Action::Rebuild { hold: false })
        .await
        .unwrap();
    until(&host, "rebuilt", |status| {
        build_of(status, Role::Previous).is_some() && build_of(status, Role::Next).is_none()
    })
    .await;
    assert_eq!(documents(&host, NOTES).await, inline);
    host.shutdown().await.unwrap();
}

async fn a_replaced_component_without_the_projection_orphans_its_build(place: Place) {
    let host = builder(&place).projections(quick()).build().await.unwrap();
    deploy(&host, &all(1), inline()).await;
    until_state(&host, State::Inline).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    let without = probe("note").event("noted", 1).version("3.0.0");
    quipu_tests::examples::deploy(&host, without.component()).await;
    note(&host, "note-1", &json!({"bad": {"apply": "trap"}})).await;
    let status = host.projection(NOTES).await.unwrap();
    assert!(status.deployed.is_none());
    assert_eq!(status.builds[0].state, State::Orphaned);
    host.control_projection(NOTES, Action::Drop).await.unwrap();
    assert!(host.projections().await.unwrap().is_empty());
    host.shutdown().await.unwrap();
}

async fn an_inline_projection_survives_a_restart(place: Place) {
    let first = host(&place).await;
    deploy(&first, &all(1), inline()).await;
    until_state(&first, State::Inline).await;
    note(&first, "note-1", &json!({"n": 1})).await;
    first.shutdown().await.unwrap();
    let second = host(&place).await;
    note(&second, "note-1", &json!({"n": 1})).await;
    assert_eq!(at_once(&second, "all").await["count"], 2);
    second.shutdown().await.unwrap();
}
