//! Semantics 10.7: what was changed, removed or inserted in the database is named, because stored
//! bytes prove themselves.

use bytes::Bytes;
use futures::stream;
use quipu::Host;
use quipu::model::{Context, ExpectedVersion, Position};
use quipu::proof::{Kind, LOG, Scope, Verified};
use quipu::store::{self, AddedDigest};
use quipu::transfer::Export;
use quipu_tests::{Place, build, digests, examples, on_every_store};

use super::{again, verified};

on_every_store! {
    every_commit_has_its_digest,
    a_changed_column_of_any_kind_is_named,
    a_changed_digest_is_named,
    an_inserted_event_is_named,
    a_removed_event_is_named,
    a_removed_last_event_is_named,
    a_commit_that_lost_its_digest_is_named,
    a_swapped_module_is_named_and_not_loaded,
    an_edited_snapshot_is_named,
    older_commits_are_counted_and_can_be_proved,
    an_interrupted_proof_continues,
    proving_passes_over_what_was_changed,
    an_export_carries_the_digests,
    a_changed_export_is_refused,
    an_export_without_digests_is_imported_as_unproved,
    damaged_data_of_a_raw_event_are_named_and_not_imported,
}

const ONLY_DIGESTS: Scope = Scope {
    category: None,
    sample: None,
    events: None,
    time: None,
    projections: false,
    only_digests: true,
};

/// The check of digests only.
async fn checked(host: &Host) -> Verified {
    host.verify(&ONLY_DIGESTS, &mut |_| {}).await.unwrap()
}

/// The findings: kind, stream and version.
fn found(verified: &Verified) -> Vec<(Kind, String, u64)> {
    let findings = verified.findings.iter();
    let found = findings.map(|it| (it.kind, it.stream.to_string(), it.version.0));
    found.collect()
}

fn digest(stream: &str, version: u64) -> (Kind, String, u64) {
    (Kind::Digest, stream.to_owned(), version)
}

/// A host with an account at version 6, of which each event has its own command, a note with a
/// commit of three events at versions 2 to 4, and another note at version 1.
async fn filled(place: &Place) -> Host {
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
    host.execute(&account, build::withdraw(3)).await.unwrap();
    let note = build::stream("note-1");
    for events in [vec![build::tagged(&["a", "b"])], build::events(3)] {
        host.append(&note, build::append(events)).await.unwrap();
    }
    let other = build::stream("note-2");
    host.append(&other, build::append_as("n", build::events(1)))
        .await
        .unwrap();
    host
}

/// The same, after statements in the forms of SQLite and of PostgreSQL.
async fn tampered(place: &Place, sqlite: &'static str, postgres: &'static str) -> Host {
    filled(place).await.shutdown().await.unwrap();
    let is_sqlite = place.url().starts_with("sqlite");
    place
        .tamper(if is_sqlite { sqlite } else { postgres })
        .await;
    place.host().await
}

async fn every_commit_has_its_digest(place: Place) {
    let host = filled(&place).await;
    // The chain continues after a restart, and over commits of several streams.
    host.shutdown().await.unwrap();
    let host = place.host().await;
    let parts = vec![
        ("note-1", ExpectedVersion::Any, build::events(2)),
        ("note-3", ExpectedVersion::Any, build::events(1)),
    ];
    host.append_all(build::append_all(parts)).await.unwrap();
    host.archive(&build::stream("note-2"), Context::default())
        .await
        .unwrap();
    for verified in [checked(&host).await, verified(&host).await] {
        assert!(verified.is_sound(), "{verified:?}");
        assert_eq!(verified.digests.unproved, 0);
        assert!(verified.digests.proved >= 11, "{verified:?}");
        assert_eq!(verified.digests.modules, 2);
    }
    // Only streams of one category.
    let scope = Scope {
        category: Some("account".to_owned()),
        ..ONLY_DIGESTS
    };
    let account = host.verify(&scope, &mut |_| {}).await.unwrap();
    assert_eq!((account.digests.proved, account.events), (6, 6));
}

/// Statements that change one column of the commit at the version of a stream, in both forms.
const CHANGES: [(&str, &str, &str, u64); 14] = [
    (
        r#"UPDATE events SET data = CAST('{"amount":3}' AS BLOB) WHERE version = 3 AND command_id IS NOT NULL"#,
        r#"UPDATE events SET data = convert_to('{"amount":3}', 'UTF8') WHERE version = 3 AND command_id IS NOT NULL"#,
        "account-1",
        3,
    ),
    (
        "UPDATE events SET metadata = x'7b7d' WHERE version = 3 AND command_id IS NOT NULL",
        r"UPDATE events SET metadata = '\x7b7d' WHERE version = 3 AND command_id IS NOT NULL",
        "account-1",
        3,
    ),
    (
        "UPDATE events SET recorded_at = recorded_at + 1 WHERE command_id = 'deposit-1'",
        "UPDATE events SET recorded_at = recorded_at + 1 WHERE command_id = 'deposit-1'",
        "account-1",
        2,
    ),
    (
        "UPDATE events SET event_id = zeroblob(16) WHERE command_id = 'deposit-1'",
        "UPDATE events SET event_id = '00000000-0000-0000-0000-000000000000' WHERE command_id = 'deposit-1'",
        "account-1",
        2,
    ),
    (
        "UPDATE events SET event_id_given = 1 WHERE command_id = 'deposit-1'",
        "UPDATE events SET event_id_given = true WHERE command_id = 'deposit-1'",
        "account-1",
        2,
    ),
    (
        "UPDATE events SET command_id = 'deposit-9' WHERE command_id = 'deposit-1'",
        "UPDATE events SET command_id = 'deposit-9' WHERE command_id = 'deposit-1'",
        "account-1",
        2,
    ),
    (
        "UPDATE events SET command = CAST(command || x'00' AS BLOB) WHERE command_id = 'deposit-1'",
        r"UPDATE events SET command = command || '\x00' WHERE command_id = 'deposit-1'",
        "account-1",
        2,
    ),
    (
        "UPDATE events SET fuel = fuel + 1 WHERE command_id = 'deposit-1'",
        "UPDATE events SET fuel = fuel + 1 WHERE command_id = 'deposit-1'",
        "account-1",
        2,
    ),
    (
        "UPDATE events SET plan = 1 WHERE command_id = 'deposit-1'",
        "UPDATE events SET plan = 1 WHERE command_id = 'deposit-1'",
        "account-1",
        2,
    ),
    (
        "UPDATE events SET module_id = (SELECT min(module_id) + max(module_id) FROM modules) - module_id WHERE command_id = 'deposit-1'",
        "UPDATE events SET module_id = (SELECT min(module_id) + max(module_id) FROM modules) - module_id WHERE command_id = 'deposit-1'",
        "account-1",
        2,
    ),
    (
        r#"UPDATE events SET tags = '["ab"]' WHERE tags IS NOT NULL"#,
        "UPDATE events SET tags = ARRAY['ab'] WHERE tags IS NOT NULL",
        "note-1",
        1,
    ),
    (
        "UPDATE event_types SET schema_version = 7 WHERE name = 'withdrawn'",
        "UPDATE event_types SET schema_version = 7 WHERE name = 'withdrawn'",
        "account-1",
        6,
    ),
    (
        "UPDATE event_types SET name = 'withdrawm' WHERE name = 'withdrawn'",
        "UPDATE event_types SET name = 'withdrawm' WHERE name = 'withdrawn'",
        "account-1",
        6,
    ),
    (
        "UPDATE streams SET name = 'note-9' WHERE name = 'note-2'",
        "UPDATE streams SET name = 'note-9' WHERE name = 'note-2'",
        "note-9",
        1,
    ),
];

async fn a_changed_column_of_any_kind_is_named(place: Place) {
    for (sqlite, postgres, stream, version) in CHANGES {
        let place = place.another();
        let host = tampered(&place, sqlite, postgres).await;
        let verified = checked(&host).await;
        assert_eq!(
            found(&verified),
            [digest(stream, version)],
            "{sqlite}: {verified:?}"
        );
        let finding = &verified.findings[0];
        assert!(finding.text.contains("it was changed"), "{finding:?}");
        assert_eq!(finding.name.as_str(), format!("digest:{stream}@{version}"));
        host.shutdown().await.unwrap();
    }
}

async fn a_changed_digest_is_named(place: Place) {
    let host = tampered(
        &place,
        "UPDATE events SET commit_digest = zeroblob(32) WHERE command_id = 'deposit-1'",
        r"UPDATE events SET commit_digest = decode(repeat('00', 32), 'hex') WHERE command_id = 'deposit-1'",
    )
    .await;
    let verified = checked(&host).await;
    assert_eq!(found(&verified), [digest("account-1", 2)], "{verified:?}");
}

async fn an_inserted_event_is_named(place: Place) {
    // At the end of the log, as a commit of its own.
    let host = tampered(
        &place,
        "INSERT INTO events (position, stream_id, version, type_id, event_id, recorded_at, \
             commit_offset, data, commit_size, plan) \
         SELECT 12, stream_id, 2, type_id, zeroblob(16), recorded_at, 0, data, 1, plan \
         FROM events WHERE position = 11",
        "INSERT INTO events (position, stream_id, version, type_id, event_id, recorded_at, \
             commit_offset, data, commit_size, plan) \
         SELECT nextval('positions'), stream_id, 2, type_id, \
             '00000000-0000-0000-0000-000000000000', recorded_at, 0, data, 1, plan \
         FROM events ORDER BY position DESC LIMIT 1; \
         UPDATE streams SET version = 2, digest = NULL WHERE name = 'note-2'",
    )
    .await;
    let verified = checked(&host).await;
    assert_eq!(found(&verified), [digest("note-2", 2)], "{verified:?}");
    let text = &verified.findings[0].text;
    assert!(text.contains("it was inserted"), "{text}");
    // What the host appends after it does not hide it.
    let note = build::stream("note-2");
    host.append(&note, build::append(build::events(1)))
        .await
        .unwrap();
    assert_eq!(found(&checked(&host).await), [digest("note-2", 2)]);
}

async fn a_removed_event_is_named(place: Place) {
    const REMOVE: &str = "DELETE FROM events WHERE command_id = 'deposit-2'";
    let host = tampered(&place, REMOVE, REMOVE).await;
    for verified in [checked(&host).await, verified(&host).await] {
        let found = found(&verified);
        assert!(found.contains(&digest("account-1", 3)), "{verified:?}");
        let texts = verified.findings.iter().map(|it| it.text.as_str());
        let texts: Vec<_> = texts.collect();
        let text = "version 3 is missing: its event was removed";
        assert!(texts.contains(&text), "{texts:?}");
        if place.url().starts_with("sqlite") {
            assert!(found.contains(&digest(LOG, 3)), "{verified:?}");
        }
    }
    // Of a commit of several events.
    let place = place.another();
    const PART: &str = "DELETE FROM events WHERE commit_offset = 2";
    let host = tampered(&place, PART, PART).await;
    let verified = checked(&host).await;
    assert!(
        found(&verified).contains(&digest("note-1", 2)),
        "{verified:?}"
    );
}

async fn a_removed_last_event_is_named(place: Place) {
    const REMOVE: &str = "DELETE FROM events WHERE command_id IS NULL AND version = 6";
    let host = tampered(&place, REMOVE, REMOVE).await;
    let verified = checked(&host).await;
    let expected = match place.url().starts_with("sqlite") {
        // Nothing of the stream follows it, but its position is missing.
        true => digest(LOG, 6),
        false => digest("account-1", 6),
    };
    assert_eq!(found(&verified), [expected], "{verified:?}");
}

async fn a_commit_that_lost_its_digest_is_named(place: Place) {
    const LOSE: &str = "UPDATE events SET commit_digest = NULL WHERE command_id = 'deposit-1'";
    let host = tampered(&place, LOSE, LOSE).await;
    let verified = checked(&host).await;
    assert_eq!(found(&verified), [digest("account-1", 2)], "{verified:?}");
    assert_eq!(verified.digests.unproved, 0);
}

async fn a_swapped_module_is_named_and_not_loaded(place: Place) {
    // The first module is not active any more; the host starts without it.
    const SWAP: &str = "UPDATE modules SET bytes = (SELECT m.bytes FROM modules AS m \
        ORDER BY m.module_id DESC LIMIT 1) \
        WHERE module_id = (SELECT min(module_id) FROM modules)";
    let host = tampered(&place, SWAP, SWAP).await;
    let first = host.deployments().await.unwrap()[0].digest;
    for verified in [checked(&host).await, verified(&host).await] {
        assert_eq!(verified.findings.len(), 1, "{verified:?}");
        let finding = &verified.findings[0];
        assert_eq!(finding.kind, Kind::StoredModule);
        assert_eq!(finding.name.as_str(), format!("stored-module:{first}"));
        assert_eq!(verified.digests.modules, 1);
    }
    let refused = host.module(first).await.unwrap_err();
    assert!(
        refused.to_string().contains("they were changed"),
        "{refused}"
    );
    host.shutdown().await.unwrap();
    // A host does not start with other bytes in place of an active module.
    const ACTIVE: &str = "UPDATE modules SET bytes = digest \
        WHERE module_id = (SELECT max(module_id) FROM modules)";
    place.tamper(ACTIVE).await;
    let refused = place.builder().build().await.err().unwrap().to_string();
    assert!(refused.contains("they were changed"), "{refused}");
}

async fn an_edited_snapshot_is_named(place: Place) {
    let host = filled(&place).await;
    let account = build::stream("account-1");
    host.snapshot(&account).await.unwrap();
    let sound = checked(&host).await;
    assert!(
        sound.is_sound() && sound.digests.snapshots == 1,
        "{sound:?}"
    );
    host.shutdown().await.unwrap();
    place
        .tamper("UPDATE snapshots SET taken_at = taken_at + 1")
        .await;
    let host = place.host().await;
    let verified = checked(&host).await;
    assert_eq!(
        found(&verified),
        [(Kind::Snapshot, "account-1".to_owned(), 6)],
        "{verified:?}"
    );
}

/// A host with the same events, on a store of a time before digests.
async fn forgotten(place: &Place) -> Host {
    filled(place).await.shutdown().await.unwrap();
    digests::forget(place).await;
    place.host().await
}

async fn prove(place: &Place) -> store::Proving {
    let store = place.open().await;
    let (reader, digests) = (&*store.reader, &*store.digests);
    let mut reports = 0;
    let proving = store::prove(reader, digests, &mut |_| reports += 1)
        .await
        .unwrap();
    assert!(reports > 0);
    store.writer.close().await.unwrap();
    proving
}

async fn older_commits_are_counted_and_can_be_proved(place: Place) {
    let host = forgotten(&place).await;
    let verified = checked(&host).await;
    assert!(verified.is_sound(), "{verified:?}");
    let older = verified.digests.unproved;
    assert_eq!((verified.digests.proved, older), (0, 9));
    // What is appended from now on has digests, in a chain of its own.
    let account = build::stream("account-1");
    for amount in 1..=2 {
        host.execute(&account, build::deposit(amount))
            .await
            .unwrap();
    }
    let verified = checked(&host).await;
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!(
        (verified.digests.proved, verified.digests.unproved),
        (2, older)
    );
    host.shutdown().await.unwrap();
    let proving = prove(&place).await;
    assert_eq!(
        (proving.added, proving.present, proving.wrong),
        (older, 2, 0)
    );
    assert_eq!(prove(&place).await.added, 0);
    let host = place.host().await;
    host.execute(&account, build::deposit(3)).await.unwrap();
    let note = build::stream("note-1");
    host.append(&note, build::append(build::events(2)))
        .await
        .unwrap();
    let verified = checked(&host).await;
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!(
        (verified.digests.proved, verified.digests.unproved),
        (older + 4, 0)
    );
    host.shutdown().await.unwrap();
    // A digest that is absent counts as removed from then on.
    place
        .tamper("UPDATE events SET commit_digest = NULL WHERE command_id = 'deposit-1'")
        .await;
    let host = place.host().await;
    assert_eq!(found(&checked(&host).await), [digest("account-1", 2)]);
}

async fn an_interrupted_proof_continues(place: Place) {
    forgotten(&place).await.shutdown().await.unwrap();
    // The first digests of an earlier run.
    let store = place.open().await;
    let rows = store
        .digests
        .rows(Position(0), Position(u64::MAX >> 1), 100)
        .await
        .unwrap();
    let marks = store.digests.marks().await.unwrap();
    let mut follower = store::Follower::new(marks);
    let mut steps = rows.into_iter().flat_map(|row| follower.take(row, true));
    let Some(store::Step::Unproved(Some(first))) = steps.next() else {
        panic!("the first commit has a digest");
    };
    let first: AddedDigest = first;
    assert_eq!((&*first.stream, first.last_version), ("account-1", 1));
    store.digests.add(&[first]).await.unwrap();
    store.writer.close().await.unwrap();
    let proving = prove(&place).await;
    assert_eq!((proving.added, proving.present), (8, 1));
    let host = place.host().await;
    let verified = checked(&host).await;
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!((verified.digests.proved, verified.digests.unproved), (9, 0));
}

async fn proving_passes_over_what_was_changed(place: Place) {
    const REMOVE: &str = "DELETE FROM events WHERE command_id = 'deposit-2'";
    forgotten(&place).await.shutdown().await.unwrap();
    place.tamper(REMOVE).await;
    let proving = prove(&place).await;
    assert!(proving.wrong > 0, "{proving:?}");
    // It still counts as unproved, and the finding stays.
    let host = place.host().await;
    let verified = checked(&host).await;
    assert!(
        found(&verified).contains(&digest("account-1", 3)),
        "{verified:?}"
    );
}

async fn exported(host: &Host) -> String {
    whole(host.export(Position(0)).await.unwrap()).await
}

async fn whole(mut export: Export) -> String {
    let mut file = Vec::new();
    while let Some(chunk) = export.next().await.unwrap() {
        file.extend_from_slice(&chunk);
    }
    String::from_utf8(file).unwrap()
}

async fn import(host: &Host, file: String) -> Result<(), String> {
    let chunks = vec![Ok::<Bytes, String>(file.into())];
    let imported = host.import(stream::iter(chunks), &mut |_| {}).await;
    imported.map(|_| ()).map_err(|failed| failed.to_string())
}

/// Exports carry the same digests between all kinds of stores.
async fn an_export_carries_the_digests(place: Place) {
    let file = exported(&filled(&place).await).await;
    assert_eq!(file.matches("\"digest\":\"").count(), 9);
    for place in [Place::sqlite(), Place::postgres()] {
        let host = place.host().await;
        import(&host, file.clone()).await.unwrap();
        assert_eq!(exported(&host).await, file);
        let account = build::stream("account-1");
        host.execute(&account, build::deposit(1)).await.unwrap();
        let verified = checked(&host).await;
        assert!(verified.is_sound(), "{verified:?}");
        assert_eq!(
            (verified.digests.proved, verified.digests.unproved),
            (10, 0)
        );
        host.shutdown().await.unwrap();
    }
}

async fn a_changed_export_is_refused(place: Place) {
    let file = exported(&filled(&place).await).await;
    let deposited = r#""data":{"amount":2}}"#;
    // The last occurrence is the event; the command precedes it.
    let (before, after) = file.rsplit_once(deposited).unwrap();
    let changed = format!(r#"{before}"data":{{"amount":9}}}}{after}"#);
    let place = place.another();
    let host = place.host().await;
    let refused = import(&host, changed).await.unwrap_err();
    assert!(refused.contains("stream account-1, version 3"), "{refused}");
    assert!(refused.contains("does not have its digest"), "{refused}");
    // What precedes it is there, and the import can be continued.
    assert_eq!(host.log_head().await.unwrap(), Position(2));
    import(&host, file.clone()).await.unwrap();
    assert_eq!(exported(&host).await, file);
}

async fn an_export_without_digests_is_imported_as_unproved(place: Place) {
    let file = digests::without(&exported(&filled(&place).await).await);
    let place = place.another();
    let host = place.host().await;
    import(&host, file.clone()).await.unwrap();
    assert_eq!(exported(&host).await, file);
    let verified = checked(&host).await;
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!((verified.digests.proved, verified.digests.unproved), (0, 9));
    host.shutdown().await.unwrap();
    assert_eq!(prove(&place).await.added, 9);
}

/// Data that nobody decided: half a JSON object, bytes that are not UTF-8, and another number.
async fn damaged_data_of_a_raw_event_are_named_and_not_imported(place: Place) {
    for (sqlite, postgres) in [
        (
            "UPDATE events SET data = x'7b' \
             WHERE stream_id = (SELECT stream_id FROM streams WHERE name = 'note-2')",
            "UPDATE events SET data = '\\x7b' \
             WHERE stream_id = (SELECT stream_id FROM streams WHERE name = 'note-2')",
        ),
        (
            "UPDATE events SET data = x'ff' \
             WHERE stream_id = (SELECT stream_id FROM streams WHERE name = 'note-2')",
            "UPDATE events SET data = '\\xff' \
             WHERE stream_id = (SELECT stream_id FROM streams WHERE name = 'note-2')",
        ),
        (
            "UPDATE events SET data = x'37' \
             WHERE stream_id = (SELECT stream_id FROM streams WHERE name = 'note-2')",
            "UPDATE events SET data = '\\x37' \
             WHERE stream_id = (SELECT stream_id FROM streams WHERE name = 'note-2')",
        ),
    ] {
        let place = place.another();
        let host = tampered(&place, sqlite, postgres).await;
        assert_eq!(found(&checked(&host).await), [digest("note-2", 1)]);
        let mut export = host.export(Position(0)).await.unwrap();
        let why = loop {
            match export.next().await {
                Ok(chunk) => assert!(chunk.is_some(), "a changed commit was exported"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(
            why.contains("position 11, stream note-2, version 1"),
            "{why}"
        );
        let file = whole(host.export(Position(0)).await.unwrap().unchecked()).await;
        host.shutdown().await.unwrap();
        let other = place.another();
        let host = other.host().await;
        import(&host, file).await.unwrap_err();
        // It is the last event of eleven.
        assert_eq!(host.log_head().await.unwrap(), Position(10));
        host.shutdown().await.unwrap();
    }
}
