//! Asynchronous documents: each event counts once, whatever happens.

use std::time::Duration;

use quipu::model::{Lifecycle, OnError, Position};
use quipu::projection::{Error, Options, State};
use quipu_tests::probe::probe;
use quipu_tests::{Place, build, on_every_store};
use serde_json::json;

use super::support::{
    NOTES, after, deploy, document, documents, host, note, now, quick, settings, until_state,
};

on_every_store!(
    each_document_folds_its_events_in_order,
    events_before_the_deployment_are_folded_too,
    an_event_can_change_many_documents_or_none,
    a_deleted_document_is_gone_and_can_be_created_a_second_time,
    the_checkpoint_moves_over_events_that_are_not_folded,
    commits_wake_a_projection_that_would_not_check_for_an_hour,
    events_of_the_host_are_folded_by_projections_that_subscribe_to_them,
    an_archived_stream_is_folded_like_any_other,
    an_append_is_seen_by_a_read_that_asks_for_its_position,
    a_live_projection_stores_nothing_and_folds_one_stream_on_demand,
    a_split_event_is_never_divided_between_batches,
    documents_survive_a_restart,
);

/// Semantics 9.2.
async fn each_document_folds_its_events_in_order(place: Place) {
    let host = host(&place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    for n in 1..=40 {
        let stream = format!("note-{}", n % 4);
        note(&host, &stream, &json!({"n": n})).await;
    }
    for stream in 0..4 {
        let mine = (1..=40).filter(|n| n % 4 == stream);
        let document = document(&host, &format!("note-{stream}")).await;
        assert_eq!(document["count"], 10);
        assert_eq!(document["sum"], mine.clone().sum::<u64>());
        let seen = mine.map(|n| json!(format!("noted@1 0 {{\"n\":{n}}}")));
        assert_eq!(document["seen"], json!(seen.collect::<Vec<_>>()));
    }
    host.shutdown().await.unwrap();
}

async fn events_before_the_deployment_are_folded_too(place: Place) {
    let host = host(&place).await;
    for n in 1..=30 {
        note(&host, &format!("note-{n}"), &json!({"n": n})).await;
    }
    let all = json!({"keys": "one", "sources": [{"category": ""}]});
    let probe = probe("other").projection(NOTES, 1, all);
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    until_state(&host, State::CaughtUp).await;
    let document = document(&host, "all").await;
    assert_eq!(
        (&document["count"], &document["sum"]),
        (&json!(30), &json!(465))
    );
    host.shutdown().await.unwrap();
}

async fn an_event_can_change_many_documents_or_none(place: Place) {
    let host = host(&place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"keys": "body"}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    note(&host, "note-1", &json!({"n": 1, "keys": ["a", "b", "c"]})).await;
    note(&host, "note-2", &json!({"n": 2, "keys": []})).await;
    note(&host, "note-3", &json!({"n": 3, "keys": ["c"]})).await;
    let sums: Vec<u64> = documents(&host, NOTES)
        .await
        .values()
        .map(|document| {
            let document: serde_json::Value = serde_json::from_str(document).unwrap();
            document["sum"].as_u64().unwrap()
        })
        .collect();
    assert_eq!(sums, [1, 1, 4]);
    host.shutdown().await.unwrap();
}

async fn a_deleted_document_is_gone_and_can_be_created_a_second_time(place: Place) {
    let host = host(&place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    note(&host, "note-1", &json!({"delete": true})).await;
    let gone = host.view(NOTES, "note-1", now(&host).await).await;
    assert!(matches!(gone, Err(Error::NoDocument { .. })), "{gone:?}");
    assert!(documents(&host, NOTES).await.is_empty());
    note(&host, "note-1", &json!({"n": 7})).await;
    assert_eq!(document(&host, "note-1").await["sum"], 7);
    host.shutdown().await.unwrap();
}

/// Semantics 9.3.
async fn the_checkpoint_moves_over_events_that_are_not_folded(place: Place) {
    let host = host(&place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    let mut last = Position(0);
    for _ in 0..20 {
        last = note(&host, "other-1", &json!({"n": 1})).await;
    }
    let missing = host.view(NOTES, "other-1", after(last)).await;
    assert!(
        matches!(missing, Err(Error::NoDocument { .. })),
        "{missing:?}"
    );
    let build = until_state(&host, State::CaughtUp).await;
    assert!(build.position >= last);
    host.shutdown().await.unwrap();
}

/// Semantics 9.8.
async fn commits_wake_a_projection_that_would_not_check_for_an_hour(place: Place) {
    let options = Options {
        poll: Duration::from_hours(1),
        page_events: 10,
        ..quick()
    };
    let host = place.builder().projections(options).build().await.unwrap();
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    for n in 1..=5 {
        let last = note(&host, "note-1", &json!({"n": n})).await;
        host.view(NOTES, "note-1", after(last)).await.unwrap();
    }
    // One commit of more than three full pages.
    let events = (0..35).map(|n| build::event("noted", &json!({"n": n}).to_string()));
    let append = build::foreign(events.collect());
    let appended = host.append(&build::stream("note-2"), append).await.unwrap();
    let last = appended.position.unwrap();
    host.view(NOTES, "note-2", after(last)).await.unwrap();
    assert_eq!(document(&host, "note-2").await["count"], 35);
    host.shutdown().await.unwrap();
}

async fn events_of_the_host_are_folded_by_projections_that_subscribe_to_them(place: Place) {
    let host = host(&place).await;
    let named = json!({"sources": [{"category": "$streams"}], "keys": "one"});
    let every = json!({"sources": [{"category": ""}], "keys": "one"});
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, named)
        .projection("others", 1, every);
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    let stream = build::stream("note-1");
    host.archive(&stream, quipu::model::Context::default())
        .await
        .unwrap();
    assert_eq!(document(&host, "all").await["count"], 1);
    let others = documents(&host, "others").await;
    assert!(others["all"].contains("\"count\":1,"), "{others:?}");
    host.shutdown().await.unwrap();
}

async fn an_archived_stream_is_folded_like_any_other(place: Place) {
    let host = host(&place).await;
    let context = quipu::model::Context::default();
    for n in 1..=3 {
        note(&host, "note-1", &json!({"n": n})).await;
    }
    let stream = build::stream("note-1");
    host.archive(&stream, context).await.unwrap();
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    until_state(&host, State::CaughtUp).await;
    assert_eq!(document(&host, "note-1").await["sum"], 6);
    host.shutdown().await.unwrap();
}

async fn an_append_is_seen_by_a_read_that_asks_for_its_position(place: Place) {
    let host = host(&place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"keys": "one"}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    for n in 1..=200 {
        let position = note(&host, &format!("note-{n}"), &json!({"n": 1})).await;
        let view = host.view(NOTES, "all", after(position)).await.unwrap();
        let document: serde_json::Value = serde_json::from_str(&view.document).unwrap();
        assert_eq!(document["count"], n);
        assert!(view.position >= position);
    }
    host.shutdown().await.unwrap();
}

/// Semantics 9.1.
async fn a_live_projection_stores_nothing_and_folds_one_stream_on_demand(place: Place) {
    let host = host(&place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"keys": "body"}));
    deploy(&host, &probe, settings(Lifecycle::Live, OnError::Stop)).await;
    note(&host, "note-1", &json!({"n": 1, "keys": ["a", "b"]})).await;
    note(&host, "note-2", &json!({"n": 5, "keys": ["a"]})).await;
    note(&host, "note-1", &json!({"n": 2, "keys": ["a"]})).await;
    let live = host.live(NOTES, &build::stream("note-1")).await.unwrap();
    let sums: Vec<(String, serde_json::Value)> = live
        .documents
        .iter()
        .map(|(key, document)| {
            let document: serde_json::Value = serde_json::from_str(document).unwrap();
            (key.to_string(), document["sum"].clone())
        })
        .collect();
    assert_eq!(sums, [("a".into(), json!(3)), ("b".into(), json!(1))]);
    assert_eq!(live.version.0, 2);
    let stored = host.view(NOTES, "a", after(Position(0))).await;
    assert!(matches!(stored, Err(Error::IsLive(_))), "{stored:?}");
    let nothing = host.live(NOTES, &build::stream("note-9")).await;
    assert!(
        matches!(nothing, Err(Error::StreamNotFound(_))),
        "{nothing:?}"
    );
    host.shutdown().await.unwrap();
}

async fn a_split_event_is_never_divided_between_batches(place: Place) {
    let options = Options {
        page_events: 3,
        ..quick()
    };
    let host = place.builder().projections(options).build().await.unwrap();
    for n in 1..=20 {
        note(&host, "note-1", &json!({"n": n})).await;
    }
    let probe = probe("note")
        .event("first", 1)
        .event("second", 1)
        .step("note", ("noted", 1), &[("first", 1), ("second", 1)])
        .projection(NOTES, 1, json!({}));
    deploy(&host, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    until_state(&host, State::CaughtUp).await;
    let document = document(&host, "note-1").await;
    assert_eq!(document["count"], 40);
    let seen = document["seen"].as_array().unwrap();
    for (place, text) in seen.iter().enumerate() {
        let (name, part) = [("first", 0), ("second", 1)][place % 2];
        let text = text.as_str().unwrap();
        assert!(text.starts_with(&format!("{name}@1 {part} ")), "{text}");
    }
    host.shutdown().await.unwrap();
}

async fn documents_survive_a_restart(place: Place) {
    let first = host(&place).await;
    let probe = probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"keys": "one"}));
    deploy(&first, &probe, settings(Lifecycle::Async, OnError::Stop)).await;
    for _ in 0..10 {
        note(&first, "note-1", &json!({"n": 1})).await;
    }
    let before = documents(&first, NOTES).await;
    first.shutdown().await.unwrap();
    let second = host(&place).await;
    assert_eq!(documents(&second, NOTES).await, before);
    note(&second, "note-1", &json!({"n": 1})).await;
    assert_eq!(document(&second, "all").await["count"], 11);
    second.shutdown().await.unwrap();
}
