//! Verifying documents: a fold from the first event equals the stored documents.

use quipu::Host;
use quipu::model::{Lifecycle, Mismatch, OnError, Position, SettingsChange};
use quipu::projection::{Action, Options, State};
use quipu::proof::{DocumentFinding, Kind, Scope, Verified, Weight};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, build, on_every_store};
use serde_json::json;

use super::support::{NOTES, active, deploy, host, note, now, quick, settings, until, until_state};

on_every_store!(
    a_store_without_projections_is_sound,
    asynchronous_documents_are_sound_during_appends,
    inline_documents_are_sound_during_appends,
    documents_that_do_not_fit_into_memory_are_folded_in_parts,
    skipped_events_are_not_findings,
    parked_events_are_left_out,
    dropped_events_are_not_findings,
    a_live_projection_has_nothing_to_compare,
    documents_that_can_no_longer_be_folded_are_found,
    a_changed_document_is_found_and_named,
    a_missing_document_and_an_extra_one_are_found,
    an_acknowledged_document_does_not_fail_a_run,
);

/// A document for each key that a body names.
fn keyed() -> Probe {
    probe("note")
        .event("noted", 1)
        .projection(NOTES, 1, json!({"keys": "body"}))
}

fn as_async() -> SettingsChange {
    settings(Lifecycle::Async, OnError::Stop)
}

async fn verified(host: &Host) -> Verified {
    let scope = Scope {
        projections: true,
        ..Scope::default()
    };
    host.verify(&scope, &mut |_| {}).await.unwrap()
}

/// The same for one projection: the numbers of documents that are equal, different, and left out.
async fn tally(host: &Host) -> (u64, u64, u64) {
    let found = verified(host).await;
    let [tally] = &found.projections[..] else {
        panic!("{found:?}");
    };
    assert_eq!(&*tally.projection, NOTES);
    assert!(tally.is_complete);
    assert_eq!(tally.different, found.open(), "{found:?}");
    (tally.same, tally.different, tally.parked)
}

/// Each document with a mismatch.
fn mismatches(found: &Verified) -> Vec<(&str, Mismatch)> {
    let documents = found.documents.iter();
    let mut mismatches: Vec<_> = documents.map(|it| (&*it.key, it.mismatch)).collect();
    mismatches.sort_unstable();
    mismatches
}

async fn a_store_without_projections_is_sound(place: Place) {
    let host = host(&place).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    let found = verified(&host).await;
    assert!(found.is_sound() && found.projections.is_empty());
}

/// Verifies repeatedly while events arrive, some of which delete documents.
async fn check_while_appends_go_on(host: &Host) {
    let appending = async {
        for n in 0..400_u32 {
            let keys = [format!("k{}", n % 7), format!("j{}", n % 50), "all".into()];
            let body = match n % 11 {
                0 => json!({"keys": [keys[0], keys[1]], "delete": true}),
                _ => json!({"n": n, "keys": keys}),
            };
            note(host, &format!("note-{}", n % 5), &body).await;
        }
    };
    let checks = async {
        for _ in 0..12 {
            let found = verified(host).await;
            assert!(found.is_sound(), "{found:?}");
            assert!(found.projections.iter().all(|tally| tally.is_complete));
        }
    };
    tokio::join!(appending, checks);
    host.view(NOTES, "all", now(host).await).await.unwrap();
    let documents = active(host).await.counts.documents;
    assert_eq!(tally(host).await, (documents, 0, 0));
    assert!(documents > 40);
}

async fn asynchronous_documents_are_sound_during_appends(place: Place) {
    let host = host(&place).await;
    deploy(&host, &keyed(), as_async()).await;
    check_while_appends_go_on(&host).await;
    host.shutdown().await.unwrap();
}

async fn inline_documents_are_sound_during_appends(place: Place) {
    let host = super::support::patient(&place).await;
    deploy(&host, &keyed(), settings(Lifecycle::Inline, OnError::Stop)).await;
    until_state(&host, State::Inline).await;
    check_while_appends_go_on(&host).await;
    host.shutdown().await.unwrap();
}

async fn documents_that_do_not_fit_into_memory_are_folded_in_parts(place: Place) {
    let options = Options {
        verify_bytes: 4_000,
        page_events: 50,
        ..quick()
    };
    let host = place.builder().projections(options).build().await.unwrap();
    deploy(&host, &keyed(), as_async()).await;
    for n in 0..300_u32 {
        let keys = [format!("k{n}"), format!("j{}", n % 40)];
        note(&host, "note-1", &json!({"n": n, "keys": keys})).await;
    }
    host.view(NOTES, "k299", now(&host).await).await.unwrap();
    let mut last = Vec::new();
    let scope = Scope {
        projections: true,
        ..Scope::default()
    };
    let mut report = |progress: quipu::proof::Progress| last.push(progress.position);
    let found = host.verify(&scope, &mut report).await.unwrap();
    assert!(found.is_sound(), "{found:?}");
    assert_eq!(found.projections[0].same, 340);
    // The log was read once for each part.
    let head = host.log_head().await.unwrap();
    let passes = last.iter().filter(|position| **position == head).count();
    assert!(passes > 10, "{passes}");
    host.shutdown().await.unwrap();
}

/// Two documents, one of which cannot fold the second event.
async fn feed(host: &Host, on_error: OnError) {
    deploy(host, &keyed(), settings(Lifecycle::Async, on_error)).await;
    note(host, "note-1", &json!({"n": 1, "keys": ["a", "b"]})).await;
    let bad = json!({"apply": "bad-event", "key": "a"});
    note(
        host,
        "note-1",
        &json!({"n": 10, "keys": ["a", "b"], "bad": bad}),
    )
    .await;
    note(host, "note-2", &json!({"n": 2, "keys": ["a", "b"]})).await;
    // Without keys, the event affects its stream.
    let bad = json!({"keys": "trap"});
    note(host, "note-3", &json!({"keys": ["b"], "bad": bad})).await;
    note(host, "note-3", &json!({"n": 5, "keys": ["c"]})).await;
    note(host, "note-4", &json!({"n": 7, "keys": ["b"]})).await;
    until_state(host, State::CaughtUp).await;
}

async fn skipped_events_are_not_findings(place: Place) {
    let host = host(&place).await;
    feed(&host, OnError::Skip).await;
    assert_eq!(active(&host).await.counts.skipped, 2);
    assert_eq!(tally(&host).await, (3, 0, 0));
    host.shutdown().await.unwrap();
}

async fn parked_events_are_left_out(place: Place) {
    let host = host(&place).await;
    feed(&host, OnError::Park).await;
    // Document a, and stream note-3, whose events would create c.
    assert_eq!(tally(&host).await, (1, 0, 2));
    host.shutdown().await.unwrap();
}

async fn dropped_events_are_not_findings(place: Place) {
    let host = host(&place).await;
    feed(&host, OnError::Park).await;
    let order = Action::DropParked {
        position: None,
        subject: None,
        reason: "known".to_owned(),
    };
    host.control_projection(NOTES, order).await.unwrap();
    note(&host, "note-3", &json!({"n": 6, "keys": ["a", "c"]})).await;
    host.view(NOTES, "c", now(&host).await).await.unwrap();
    assert_eq!(tally(&host).await, (3, 0, 0));
    host.shutdown().await.unwrap();
}

async fn a_live_projection_has_nothing_to_compare(place: Place) {
    let host = host(&place).await;
    deploy(&host, &keyed(), settings(Lifecycle::Live, OnError::Stop)).await;
    note(&host, "note-1", &json!({"n": 1, "keys": ["a"]})).await;
    let found = verified(&host).await;
    assert!(found.is_sound() && found.projections.is_empty());
}

async fn documents_that_can_no_longer_be_folded_are_found(place: Place) {
    let host = host(&place).await;
    let healing = json!({"keys": "body", "does": "heal"});
    let healing = probe("note")
        .event("noted", 1)
        .version("0.9.0")
        .projection(NOTES, 1, healing);
    deploy(&host, &healing, as_async()).await;
    let bad = json!({"apply": "bad-event", "key": "a"});
    note(&host, "note-1", &json!({"keys": ["a", "b"], "bad": bad})).await;
    let bad = json!({"keys": "internal"});
    for _ in 0..2 {
        note(&host, "note-2", &json!({"keys": ["c"], "bad": bad})).await;
    }
    host.view(NOTES, "c", now(&host).await).await.unwrap();
    assert_eq!(tally(&host).await, (3, 0, 0));
    deploy(&host, &keyed(), as_async()).await;
    until(&host, "handed over", |status| {
        let digest = status.deployed.as_ref().map(|it| it.module);
        status.builds.iter().any(|it| Some(it.module) == digest)
    })
    .await;
    let found = verified(&host).await;
    assert_eq!(
        mismatches(&found),
        [
            ("a", Mismatch::Unfoldable),
            ("c", Mismatch::OnlyStored),
            ("note-2", Mismatch::Unreadable)
        ]
    );
    let a = found.documents.iter().find(|it| &*it.key == "a").unwrap();
    assert_eq!(a.name.as_str(), "document:notes/unfoldable/a");
    assert_eq!(a.position, Position(1));
    assert!(
        a.text.starts_with("stream note-1, position 1: "),
        "{}",
        a.text
    );
    host.shutdown().await.unwrap();
}

/// A host with documents a, b and c, with this lifecycle.
async fn filled(place: &Place, lifecycle: Lifecycle) -> Host {
    let host = super::support::patient(place).await;
    deploy(&host, &keyed(), settings(lifecycle, OnError::Stop)).await;
    if lifecycle == Lifecycle::Inline {
        until_state(&host, State::Inline).await;
    }
    for n in 1..=20 {
        note(&host, "note-1", &json!({"n": n, "keys": ["a", "b", "c"]})).await;
    }
    host.view(NOTES, "c", now(&host).await).await.unwrap();
    assert_eq!(tally(&host).await, (3, 0, 0));
    host
}

async fn tampered(place: &Place, host: Host, sql: &'static str) -> Host {
    host.shutdown().await.unwrap();
    place.tamper(sql).await;
    super::support::patient(place).await
}

fn only(found: &Verified) -> &DocumentFinding {
    assert_eq!((found.found(), found.documents.len()), (1, 1), "{found:?}");
    &found.documents[0]
}

const CHANGE: &str = r#"UPDATE documents SET document = replace(document, '"count":20', '"count":19') WHERE key = 'b'"#;

async fn a_changed_document_is_found_and_named(place: Place) {
    for lifecycle in [Lifecycle::Async, Lifecycle::Inline] {
        let place = place.another();
        let host = filled(&place, lifecycle).await;
        let host = tampered(&place, host, CHANGE).await;
        let found = verified(&host).await;
        assert!(!found.is_sound());
        let document = only(&found);
        assert_eq!(document.name.as_str(), "document:notes/different/b");
        assert_eq!(
            (&*document.projection, &*document.key, document.weight),
            (NOTES, "b", Weight::Open)
        );
        let lines: Vec<&str> = document.text.lines().collect();
        assert!(lines[0].starts_with("- {\"count\":19,"), "{lines:?}");
        assert!(lines[1].starts_with("+ {\"count\":20,"), "{lines:?}");
        assert_eq!(found.found[&Kind::Document], 1);
        assert_eq!(tally(&host).await, (2, 1, 0));
        host.shutdown().await.unwrap();
    }
}

async fn a_missing_document_and_an_extra_one_are_found(place: Place) {
    let host = filled(&place, Lifecycle::Async).await;
    const OTHERS: &str = "DELETE FROM documents WHERE key = 'a'; \
        INSERT INTO documents (build, key, document, change) \
            SELECT build, 'x', '{}', 3 FROM documents WHERE key = 'b'; \
        INSERT INTO documents (build, key, document, change) \
            SELECT build, 'y', '{}', 9999 FROM documents WHERE key = 'b'; \
        UPDATE documents SET document = NULL WHERE key = 'c'";
    let host = tampered(&place, host, OTHERS).await;
    let found = verified(&host).await;
    assert_eq!(
        mismatches(&found),
        [
            ("a", Mismatch::OnlyFolded),
            ("c", Mismatch::OnlyFolded),
            ("x", Mismatch::OnlyStored),
            ("y", Mismatch::OnlyStored)
        ]
    );
    let names: Vec<&str> = found.documents.iter().map(|it| it.name.as_str()).collect();
    assert!(names.contains(&"document:notes/only-folded/a"), "{names:?}");
    assert!(names.contains(&"document:notes/only-stored/x"), "{names:?}");
    // Later events do not change the findings.
    let stream = build::stream("note-2");
    for _ in 0..3 {
        note(&host, stream.as_str(), &json!({"n": 1, "keys": ["b"]})).await;
    }
    host.view(NOTES, "b", now(&host).await).await.unwrap();
    assert_eq!(tally(&host).await, (1, 4, 0));
    host.shutdown().await.unwrap();
}

async fn an_acknowledged_document_does_not_fail_a_run(place: Place) {
    let host = filled(&place, Lifecycle::Inline).await;
    let host = tampered(&place, host, CHANGE).await;
    let other = "document:notes/only-stored/b";
    host.acknowledge(other, "known", None).await.unwrap();
    assert!(!verified(&host).await.is_sound());
    let name = "document:notes/different/b";
    host.acknowledge(name, "known", None).await.unwrap();
    let found = verified(&host).await;
    assert!(found.is_sound(), "{found:?}");
    assert_eq!(only(&found).weight, Weight::Acknowledged);
    assert_eq!(
        (found.acknowledged(), found.projections[0].different),
        (1, 1)
    );
    host.shutdown().await.unwrap();
}
