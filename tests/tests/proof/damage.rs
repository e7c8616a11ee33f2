//! Changes made directly in the database are found and located.

use bytes::Bytes;
use futures::stream;
use quipu::Host;
use quipu::model::{Body, Position, Timestamp, Version};
use quipu::proof::Kind;
use quipu::store::StoredSnapshot;
use quipu_tests::{Place, build, examples, on_every_store};

use super::{again, decisions, only, others, verified};

on_every_store! {
    an_imported_history_is_sound,
    a_changed_byte_of_an_event_is_found,
    a_commit_of_another_module_is_found,
    a_commit_under_a_plan_that_does_not_exist_is_found,
    a_missing_version_is_found,
    events_that_cannot_be_folded_are_found,
    a_snapshot_of_a_different_state_is_found,
}

/// A host with an account of six events, each from its own command.
async fn filled(place: &Place) -> Host {
    let host = place.host().await;
    examples::deploy(&host, again(examples::account(), 1)).await;
    examples::deploy(&host, examples::account()).await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    for amount in 1..=4 {
        host.execute(&account, build::deposit(amount))
            .await
            .unwrap();
    }
    host.execute(&account, build::withdraw(3)).await.unwrap();
    host
}

/// The same, after a statement in the forms of SQLite and of PostgreSQL.
async fn tampered(place: &Place, sqlite: &'static str, postgres: &'static str) -> Host {
    let host = filled(place).await;
    assert!(verified(&host).await.is_sound());
    host.shutdown().await.unwrap();
    let is_sqlite = place.url().starts_with("sqlite");
    place
        .tamper(if is_sqlite { sqlite } else { postgres })
        .await;
    place.host().await
}

async fn a_changed_byte_of_an_event_is_found(place: Place) {
    let host = tampered(
        &place,
        r#"UPDATE events SET data = CAST('{"amount":7}' AS BLOB) WHERE version = 3"#,
        r#"UPDATE events SET data = convert_to('{"amount":7}', 'UTF8') WHERE version = 3"#,
    )
    .await;
    let verified = verified(&host).await;
    let found = only(&verified);
    assert_eq!((found.kind, found.version), (Kind::Decision, Version(3)));
    assert_eq!(
        found.text,
        "- deposited 1 {\"amount\":7}\n+ deposited 1 {\"amount\":2}"
    );
    let event = host.event(found.position).await.unwrap().unwrap();
    assert_eq!(event.version, Version(3));
    assert_eq!(found.module, event.commit.module);
    assert_eq!(found.command.as_ref().unwrap().1.as_str(), "deposit");
    assert_eq!(decisions(&verified), (5, 1));
}

async fn a_commit_of_another_module_is_found(place: Place) {
    const SWAP: &str = "UPDATE events SET module_id = (SELECT min(module_id) + max(module_id) \
        FROM modules) - module_id WHERE version = 4";
    let host = tampered(&place, SWAP, SWAP).await;
    let verified = verified(&host).await;
    let found = only(&verified);
    assert_eq!((found.kind, found.version), (Kind::Module, Version(4)));
    assert!(found.text.contains("under plan 2 module"), "{}", found.text);
}

async fn a_commit_under_a_plan_that_does_not_exist_is_found(place: Place) {
    const SWAP: &str = "UPDATE events SET plan = 9 WHERE version = 5";
    let host = tampered(&place, SWAP, SWAP).await;
    let verified = verified(&host).await;
    let found = only(&verified);
    assert_eq!((found.kind, found.version), (Kind::Module, Version(5)));
    assert_eq!(found.text, "it names plan 9; the last one is 2");
}

async fn a_missing_version_is_found(place: Place) {
    const MOVE: &str = "UPDATE events SET version = 8 WHERE version = 6";
    let host = tampered(&place, MOVE, MOVE).await;
    let verified = verified(&host).await;
    let found = only(&verified);
    assert_eq!((found.kind, found.version), (Kind::Order, Version(8)));
    assert_eq!(found.text, "version 8 follows, where 6 should");
}

async fn events_that_cannot_be_folded_are_found(place: Place) {
    let host = tampered(
        &place,
        "UPDATE events SET data = CAST('[]' AS BLOB) WHERE version = 2",
        "UPDATE events SET data = convert_to('[]', 'UTF8') WHERE version = 2",
    )
    .await;
    let verified = verified(&host).await;
    let kinds: Vec<_> = others(&verified)
        .iter()
        .map(|found| (found.kind, found.version.0))
        .collect();
    assert_eq!(
        kinds,
        [(Kind::Decision, 2), (Kind::Fold, 2)],
        "{verified:?}"
    );
    let undecided: u64 = verified
        .commands
        .values()
        .map(|tally| tally.undecided)
        .sum();
    assert_eq!(undecided, 4);
}

async fn a_snapshot_of_a_different_state_is_found(place: Place) {
    let host = filled(&place).await;
    let account = build::stream("account-1");
    let taken = host.snapshot(&account).await.unwrap().snapshot;
    let sound = verified(&host).await;
    assert_eq!((sound.found(), sound.snapshots.agree), (0, 1));
    host.shutdown().await.unwrap();
    let store = place.open().await;
    let text = String::from_utf8(taken.data.to_vec()).unwrap();
    let other = Body::json(text.replace('7', "8")).unwrap();
    assert_ne!(other.bytes(), &taken.data, "{text}");
    let (version, form) = (taken.version, taken.state_schema_version);
    let wrong = StoredSnapshot::new(&account, version, form, &other, taken.fold, Timestamp(9));
    assert!(store.snapshots.keep(&account, &wrong).await.unwrap());
    store.writer.close().await.unwrap();
    let host = place.host().await;
    let verified = verified(&host).await;
    let found = only(&verified);
    assert_eq!((found.kind, found.version), (Kind::Snapshot, version));
    assert_eq!(found.position, Position(0));
    assert_eq!(verified.snapshots.differ, 1);
}

async fn an_imported_history_is_sound(place: Place) {
    let host = filled(&place).await;
    let mut export = host.export(Position(0)).await.unwrap();
    let mut file = Vec::new();
    while let Some(chunk) = export.next().await.unwrap() {
        file.push(Ok::<Bytes, String>(chunk));
    }
    host.shutdown().await.unwrap();
    let place = place.another();
    let host = place.host().await;
    host.import(stream::iter(file), &mut |_| {}).await.unwrap();
    let verified = verified(&host).await;
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!(decisions(&verified), (6, 0));
}
