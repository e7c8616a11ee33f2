//! A digest that was saved elsewhere shows what a store does not show by itself.

use quipu::Host;
use quipu::model::{Position, Timestamp};
use quipu::store::{self, AuditEntry};
use quipu_tests::{Place, build, digests, on_every_store};

use super::verified;

on_every_store!(
    a_saved_digest_shows_what_was_removed_at_the_end_of_the_audit,
    a_saved_digest_shows_an_audit_that_was_written_from_scratch,
    a_saved_export_shows_digests_that_were_computed_from_a_changed_commit_on,
    a_saved_export_shows_that_a_whole_stream_was_removed,
);

mod files {
    quipu_tests::on_sqlite!(a_saved_export_shows_that_the_newest_events_were_removed);
    use super::a_saved_export_shows_that_the_newest_events_were_removed;
}

async fn record(host: &Host, operation: &str) {
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

/// The digest of the last of five records, of which none is out of order.
async fn saved(host: &Host) -> [u8; 32] {
    let checked = host.audit().verify().await.unwrap();
    assert_eq!((checked.records, checked.broken), (5, None));
    checked.digest
}

/// A store with five records; returns the digest of the last of them.
async fn recorded(place: &Place) -> [u8; 32] {
    let host = place.host().await;
    for operation in ["upload", "activate", "create_token", "truncate", "archive"] {
        record(&host, operation).await;
    }
    let digest = saved(&host).await;
    host.shutdown().await.unwrap();
    digest
}

async fn a_saved_digest_shows_what_was_removed_at_the_end_of_the_audit(place: Place) {
    let before = recorded(&place).await;
    place.tamper("DELETE FROM audit WHERE number = 5").await;
    let host = place.host().await;
    // By itself the rest is in order.
    let checked = host.audit().verify().await.unwrap();
    assert_eq!((checked.records, checked.broken), (4, None));
    assert!(host.audit().records(4, 1).await.unwrap().is_empty());
    // Another record in its place has another digest.
    record(&host, "pause").await;
    assert_ne!(saved(&host).await, before);
    let record = &host.audit().records(4, 1).await.unwrap()[0];
    assert_ne!(record.digest, before);
}

async fn a_saved_digest_shows_an_audit_that_was_written_from_scratch(place: Place) {
    let before = recorded(&place).await;
    place.tamper("DELETE FROM audit").await;
    // With the same operations but one.
    let host = place.host().await;
    for operation in ["upload", "activate", "create_token", "truncate", "restore"] {
        record(&host, operation).await;
    }
    assert_ne!(saved(&host).await, before);
}

/// A host with a stream of three commits, and the digests that an export of it has.
async fn noted(place: &Place) -> (Host, Vec<String>) {
    let host = place.host().await;
    let note = build::stream("note-1");
    for _ in 0..3 {
        let append = build::append(build::events(1));
        host.append(&note, append).await.unwrap();
    }
    let digests = exported(&host).await;
    assert_eq!(digests.len(), 3);
    (host, digests)
}

/// The digests of all commits, in their order.
async fn exported(host: &Host) -> Vec<String> {
    let mut export = host.export(Position(0)).await.unwrap();
    let mut file = Vec::new();
    while let Some(chunk) = export.next().await.unwrap() {
        file.extend_from_slice(&chunk);
    }
    let file = String::from_utf8(file).unwrap();
    let found = file.split(",\"digest\":\"").skip(1);
    found.map(|rest| rest[..64].to_owned()).collect()
}

async fn a_saved_export_shows_digests_that_were_computed_from_a_changed_commit_on(place: Place) {
    const SQLITE: &str = r#"UPDATE events SET data = CAST('{"n":9}' AS BLOB) WHERE version = 2"#;
    const POSTGRES: &str =
        r#"UPDATE events SET data = convert_to('{"n":9}', 'UTF8') WHERE version = 2"#;
    let (host, before) = noted(&place).await;
    host.shutdown().await.unwrap();
    let is_sqlite = place.url().starts_with("sqlite");
    place
        .tamper(if is_sqlite { SQLITE } else { POSTGRES })
        .await;
    // Whoever may write to the database can let every digest be computed a second time.
    digests::forget(&place).await;
    let store = place.open().await;
    let proving = store::prove(&*store.reader, &*store.digests, &mut |_| {}).await;
    assert_eq!(proving.unwrap().added, 3);
    store.writer.close().await.unwrap();
    let host = place.host().await;
    let verified = verified(&host).await;
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!((verified.digests.proved, verified.digests.unproved), (3, 0));
    let after = exported(&host).await;
    let differs: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a != b).collect();
    assert_eq!(differs, [false, true, true]);
}

async fn a_saved_export_shows_that_the_newest_events_were_removed(place: Place) {
    let (host, before) = noted(&place).await;
    host.shutdown().await.unwrap();
    place.tamper("DELETE FROM events WHERE version = 3").await;
    let host = place.host().await;
    let verified = verified(&host).await;
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!(exported(&host).await, before[..2]);
    // Another event in its place has another digest.
    let append = build::append(build::events(1));
    let note = build::stream("note-1");
    host.append(&note, append).await.unwrap();
    let after = exported(&host).await;
    assert_eq!(after[..2], before[..2]);
    assert_ne!(after[2], before[2]);
}

async fn a_saved_export_shows_that_a_whole_stream_was_removed(place: Place) {
    let (host, _) = noted(&place).await;
    let append = build::append(build::events(1));
    host.append(&build::stream("note-2"), append).await.unwrap();
    let before = exported(&host).await;
    host.shutdown().await.unwrap();
    const REMOVE: &str = "DELETE FROM events WHERE stream_id = \
            (SELECT stream_id FROM streams WHERE name = 'note-1'); \
        DELETE FROM streams WHERE name = 'note-1'";
    place.tamper(REMOVE).await;
    let host = place.host().await;
    let verified = verified(&host).await;
    // PostgreSQL leaves positions out by itself, SQLite does not.
    let is_sqlite = place.url().starts_with("sqlite");
    assert_eq!(verified.is_sound(), !is_sqlite, "{verified:?}");
    if !is_sqlite {
        assert_eq!(exported(&host).await, before[3..]);
    }
    host.shutdown().await.unwrap();
}
