//! Changes made by hand in either database: each is named, by a host and without one.

use std::collections::BTreeMap;

use quipu::Host;
use quipu::deploy::ProjectionChanges;
use quipu::model::{Digest, Lifecycle, SettingsChange, Timestamp};
use quipu::projection::{Freshness, WAIT_MAX};
use quipu::proof::{Scope, Verified, verify_stored};
use quipu::store::{self, AuditEntry};
use quipu::{Demand, Deploy};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, build, examples, on_every_store};
use serde_json::json;

use super::again;

on_every_store! {
    every_change_by_hand_is_named,
    documents_have_digests_from_their_first_build_on,
    documents_of_an_older_program_are_counted,
    stored_bytes_are_checked_while_a_host_runs,
}

/// A document for each key that a body names.
fn keyed() -> Probe {
    probe("paper")
        .event("noted", 1)
        .projection("papers", 1, json!({"keys": "body"}))
}

/// A host with an account at version 5 and its snapshot, a module that is not active any more, a
/// note, documents a, b and c, and three audit records.
async fn filled(place: &Place, lifecycle: Lifecycle) -> Host {
    let host = place.host().await;
    examples::deploy(&host, again(examples::account(), 1)).await;
    examples::deploy(&host, examples::account()).await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    for amount in 1..=4 {
        let id = format!("deposit-{amount}");
        let command = build::command_as(&id, "deposit", &format!("{{\"amount\":{amount}}}"));
        host.execute(&account, command).await.unwrap();
    }
    host.snapshot(&account).await.unwrap();
    let note = build::stream("note-1");
    host.append(&note, build::append(build::events(1)))
        .await
        .unwrap();
    let module = host.upload(keyed().component()).await.unwrap();
    let changes = BTreeMap::from([(
        "papers".to_owned(),
        SettingsChange {
            lifecycle: Some(lifecycle),
            ..SettingsChange::default()
        },
    )]);
    let changes = ProjectionChanges {
        changes,
        ..ProjectionChanges::default()
    };
    let deploy = Deploy::new(module.module.digest()).preflight(Demand::Skip);
    host.deploy(deploy.projections(changes)).await.unwrap();
    let paper = build::stream("paper-1");
    for n in 1..=3 {
        let body = json!({"n": n, "keys": ["a", "b", "c"]}).to_string();
        let events = vec![build::event("noted", &body)];
        host.append(&paper, build::foreign(events)).await.unwrap();
    }
    let after = host.log_head().await.unwrap();
    let freshness = Freshness {
        after,
        wait: WAIT_MAX,
    };
    host.view("papers", "c", freshness).await.unwrap();
    for operation in ["deploy", "truncate_stream", "archive_stream"] {
        let entry = AuditEntry {
            at: Timestamp(0),
            principal: Some("ann".into()),
            origin: None,
            operation: operation.into(),
            object: "/v1/x".into(),
            result: "done".into(),
            reason: None,
        };
        host.audit().record(entry, None).await.unwrap();
    }
    host
}

fn only_digests() -> Scope {
    Scope {
        only_digests: true,
        ..Scope::default()
    }
}

async fn offline(place: &Place) -> Verified {
    let bytes = store::open_bytes(&place.url().parse().unwrap()).await;
    let bytes = bytes.unwrap();
    verify_stored(&bytes, &only_digests(), &mut |_| {})
        .await
        .unwrap()
}

/// The names of everything that was found.
fn names(verified: &Verified) -> Vec<String> {
    let findings = verified.findings.iter().map(|it| it.name.to_string());
    let documents = verified.documents.iter().map(|it| it.name.to_string());
    let names: Vec<String> = findings.chain(documents).collect();
    assert_eq!(names.len() as u64, verified.found(), "{verified:?}");
    names
}

/// What a change is found by.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Digests,
    Projections,
}

/// Statements in the forms of SQLite and PostgreSQL, and the beginning of the finding's name.
const CHANGES: [(&str, &str, By, &str); 11] = [
    (
        r#"UPDATE events SET data = CAST('{"amount":3}' AS BLOB) WHERE command_id = 'deposit-2'"#,
        r#"UPDATE events SET data = convert_to('{"amount":3}', 'UTF8') WHERE command_id = 'deposit-2'"#,
        By::Digests,
        "digest:account-1@3",
    ),
    (
        "DELETE FROM events WHERE command_id = 'deposit-2'",
        "DELETE FROM events WHERE command_id = 'deposit-2'",
        By::Digests,
        "digest:account-1@3",
    ),
    (
        "INSERT INTO events (position, stream_id, version, type_id, event_id, recorded_at, \
             commit_offset, data, commit_size, plan) \
         SELECT (SELECT max(position) + 1 FROM events), stream_id, 2, type_id, zeroblob(16), \
             recorded_at, 0, data, 1, plan \
         FROM events WHERE stream_id = (SELECT stream_id FROM streams WHERE name = 'note-1')",
        "INSERT INTO events (position, stream_id, version, type_id, event_id, recorded_at, \
             commit_offset, data, commit_size, plan) \
         SELECT nextval('positions'), stream_id, 2, type_id, \
             '00000000-0000-0000-0000-000000000000', recorded_at, 0, data, 1, plan \
         FROM events WHERE stream_id = (SELECT stream_id FROM streams WHERE name = 'note-1'); \
         UPDATE streams SET version = 2, digest = NULL WHERE name = 'note-1'",
        By::Digests,
        "digest:note-1@2",
    ),
    (
        "UPDATE modules SET bytes = (SELECT m.bytes FROM modules AS m \
             ORDER BY m.module_id DESC LIMIT 1) \
         WHERE module_id = (SELECT min(module_id) FROM modules)",
        "UPDATE modules SET bytes = (SELECT m.bytes FROM modules AS m \
             ORDER BY m.module_id DESC LIMIT 1) \
         WHERE module_id = (SELECT min(module_id) FROM modules)",
        By::Digests,
        "stored-module:",
    ),
    (
        "UPDATE documents SET document = replace(document, '3', '4') WHERE key = 'b'",
        "UPDATE documents SET document = replace(document, '3', '4') WHERE key = 'b'",
        By::Digests,
        "document:papers/changed/b",
    ),
    (
        "INSERT INTO documents (build, key, document, change) \
         SELECT build, 'x', '{}', 3 FROM documents WHERE key = 'b'",
        "INSERT INTO documents (build, key, document, change) \
         SELECT build, 'x', '{}', 3 FROM documents WHERE key = 'b'",
        By::Digests,
        "document:papers/changed/x",
    ),
    (
        "UPDATE documents SET document = (SELECT d.document || ' ' FROM documents AS d \
             WHERE d.key = 'a'), digest = (SELECT d.digest FROM documents AS d WHERE d.key = 'a') \
         WHERE key = 'b'",
        "UPDATE documents SET document = (SELECT d.document || ' ' FROM documents AS d \
             WHERE d.key = 'a'), digest = (SELECT d.digest FROM documents AS d WHERE d.key = 'a') \
         WHERE key = 'b'",
        By::Digests,
        "document:papers/changed/b",
    ),
    (
        "DELETE FROM documents WHERE key = 'b'",
        "DELETE FROM documents WHERE key = 'b'",
        By::Projections,
        "document:papers/only-folded/b",
    ),
    (
        "UPDATE snapshots SET taken_at = taken_at + 1",
        "UPDATE snapshots SET taken_at = taken_at + 1",
        By::Digests,
        "snapshot:account-1@5#",
    ),
    (
        "UPDATE audit SET principal = 'bob' WHERE number = 2",
        "UPDATE audit SET principal = 'bob' WHERE number = 2",
        By::Digests,
        "audit:2",
    ),
    (
        "DELETE FROM audit WHERE number = 2",
        "DELETE FROM audit WHERE number = 2",
        By::Digests,
        "audit:2",
    ),
];

async fn every_change_by_hand_is_named(place: Place) {
    for (number, (sqlite, postgres, by, expected)) in CHANGES.into_iter().enumerate() {
        let place = place.another();
        let lifecycle = match number % 2 {
            0 => Lifecycle::Async,
            _ => Lifecycle::Inline,
        };
        let host = filled(&place, lifecycle).await;
        host.shutdown().await.unwrap();
        let sound = offline(&place).await;
        assert!(sound.is_sound(), "{sound:?}");
        assert_eq!((sound.digests.documents, sound.digests.audit), (3, 3));
        let is_sqlite = place.url().starts_with("sqlite");
        place
            .tamper(if is_sqlite { sqlite } else { postgres })
            .await;
        if by == By::Digests {
            let found = names(&offline(&place).await);
            let is_named = found.iter().any(|name| name.starts_with(expected));
            assert!(is_named, "{sqlite}: {found:?}");
        }
        let host = place.host().await;
        let scope = match by {
            By::Digests => Scope::default(),
            By::Projections => Scope {
                projections: true,
                ..Scope::default()
            },
        };
        let verified = host.verify(&scope, &mut |_| {}).await.unwrap();
        let found = names(&verified);
        let is_named = found.iter().any(|name| name.starts_with(expected));
        assert!(is_named, "{sqlite}: {found:?}");
        // An operator can acknowledge it.
        for name in found {
            host.acknowledge(&name, "known", None).await.unwrap();
        }
        let verified = host.verify(&scope, &mut |_| {}).await.unwrap();
        assert!(verified.is_sound(), "{sqlite}: {verified:?}");
        host.shutdown().await.unwrap();
    }
}

async fn documents_have_digests_from_their_first_build_on(place: Place) {
    for lifecycle in [Lifecycle::Async, Lifecycle::Inline] {
        let place = place.another();
        let host = filled(&place, lifecycle).await;
        let paper = build::stream("paper-2");
        // Documents that change, are deleted, and appear.
        for body in [
            json!({"keys": ["a", "d"]}),
            json!({"keys": ["b"], "delete": true}),
            json!({"keys": ["b", "c"]}),
        ] {
            let events = vec![build::event("noted", &body.to_string())];
            host.append(&paper, build::foreign(events)).await.unwrap();
        }
        let after = host.log_head().await.unwrap();
        let freshness = Freshness {
            after,
            wait: WAIT_MAX,
        };
        host.view("papers", "c", freshness).await.unwrap();
        let found = host.verify(&only_digests(), &mut |_| {}).await.unwrap();
        assert!(found.is_sound(), "{found:?}");
        let digests = found.digests;
        assert_eq!((digests.documents, digests.unproved_documents), (4, 0));
        // Folded documents are not checked a second time by their digests.
        let scope = Scope {
            projections: true,
            ..Scope::default()
        };
        let folded = host.verify(&scope, &mut |_| {}).await.unwrap();
        assert!(folded.is_sound(), "{folded:?}");
        assert_eq!(folded.digests.documents, 0);
        host.shutdown().await.unwrap();
    }
}

async fn documents_of_an_older_program_are_counted(place: Place) {
    let host = filled(&place, Lifecycle::Async).await;
    host.shutdown().await.unwrap();
    place
        .tamper("UPDATE documents SET digest = NULL; UPDATE builds SET has_digests = (1 = 0)")
        .await;
    let found = offline(&place).await;
    assert!(found.is_sound(), "{found:?}");
    let digests = found.digests;
    assert_eq!((digests.documents, digests.unproved_documents), (0, 3));
    // A document has a digest once it changes.
    let host = place.host().await;
    let events = vec![build::event("noted", r#"{"keys":["a"]}"#)];
    let paper = build::stream("paper-1");
    host.append(&paper, build::foreign(events)).await.unwrap();
    let after = host.log_head().await.unwrap();
    let freshness = Freshness {
        after,
        wait: WAIT_MAX,
    };
    host.view("papers", "a", freshness).await.unwrap();
    let found = host.verify(&only_digests(), &mut |_| {}).await.unwrap();
    assert!(found.is_sound(), "{found:?}");
    let digests = found.digests;
    assert_eq!((digests.documents, digests.unproved_documents), (1, 2));
}

async fn stored_bytes_are_checked_while_a_host_runs(place: Place) {
    let host = filled(&place, Lifecycle::Async).await;
    let account = build::stream("account-1");
    let appending = async {
        for _ in 0..50 {
            host.execute(&account, build::deposit(1)).await.unwrap();
        }
    };
    let checking = async {
        for _ in 0..5 {
            let found = offline(&place).await;
            assert!(found.is_sound(), "{found:?}");
        }
    };
    tokio::join!(appending, checking);
    let found = offline(&place).await;
    assert_eq!(found.events, 59);
    let module: Digest = host.deployments().await.unwrap()[0].digest;
    assert!(host.module(module).await.is_ok());
}
