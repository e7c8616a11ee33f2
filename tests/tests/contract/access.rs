//! Tokens and the audit.

use std::sync::Arc;

use quipu::access::{Grant, NewToken, Role, Tokens};
use quipu::model::{ManualClock, Timestamp};
use quipu::store::{AuditEntry, AuditRecord, StoredToken};
use quipu_tests::{Place, on_every_store};

on_every_store! {
    a_token_is_stored_until_it_is_revoked,
    a_valid_token_keeps_its_name_to_itself,
    of_tokens_of_one_name_the_valid_one_is_revoked,
    the_last_use_only_moves_forward,
    audit_records_are_chained_and_paged,
    an_operation_that_began_is_recorded_once,
    tokens_and_audit_survive_a_restart,
    records_of_many_writers_have_no_gap,
}

fn token(id: &str, name: &str) -> StoredToken {
    StoredToken {
        id: id.into(),
        name: name.into(),
        hash: [7; 32],
        grant: r#"{"role":"viewer"}"#.into(),
        created_at: Timestamp(1_700_000_000_000_001),
        created_by: Some("ann é".into()),
        expires_at: Some(Timestamp(1_900_000_000_000_000)),
        revoked_at: None,
        used_at: None,
    }
}

fn entry(object: &str) -> AuditEntry {
    AuditEntry {
        at: Timestamp(1_700_000_000_000_002),
        principal: Some("ann é".into()),
        origin: None,
        operation: "activate".into(),
        object: object.into(),
        result: "done".into(),
        reason: Some("it is \"due\"; 'so'".into()),
    }
}

/// A digest that shows from what it was made.
fn digest(before: &[u8; 32], number: u64, _: &AuditEntry) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[0] = before[0] + 1;
    digest[1] = u8::try_from(number).unwrap_or(u8::MAX);
    digest
}

async fn a_token_is_stored_until_it_is_revoked(place: Place) {
    let store = place.open().await;
    let tokens = &store.tokens;
    assert_eq!(tokens.tokens().await.unwrap(), []);
    let one = token("a1", "shop");
    assert!(tokens.add(&one).await.unwrap());
    assert_eq!(tokens.tokens().await.unwrap(), std::slice::from_ref(&one));
    assert!(!tokens.revoke("a2", Timestamp(5)).await.unwrap());
    assert!(tokens.revoke("a1", Timestamp(5)).await.unwrap());
    assert!(!tokens.revoke("a1", Timestamp(6)).await.unwrap());
    let revoked = StoredToken {
        revoked_at: Some(Timestamp(5)),
        ..one
    };
    assert_eq!(tokens.tokens().await.unwrap(), [revoked]);
}

async fn a_valid_token_keeps_its_name_to_itself(place: Place) {
    let store = place.open().await;
    let tokens = &store.tokens;
    assert!(tokens.add(&token("a1", "shop")).await.unwrap());
    assert!(!tokens.add(&token("a1", "other")).await.unwrap());
    assert!(!tokens.add(&token("a2", "shop")).await.unwrap());
    assert!(tokens.revoke("a1", Timestamp(5)).await.unwrap());
    assert!(tokens.add(&token("a2", "shop")).await.unwrap());
    // A token that has expired leaves its name to others.
    let later = StoredToken {
        created_at: Timestamp(1_900_000_000_000_000),
        expires_at: None,
        ..token("a3", "shop")
    };
    assert!(tokens.add(&later).await.unwrap());
    assert!(
        !tokens
            .add(&StoredToken {
                id: "a4".into(),
                ..later
            })
            .await
            .unwrap()
    );
    let ids = tokens.tokens().await.unwrap();
    let ids: Vec<_> = ids.iter().map(|token| &*token.id).collect();
    assert_eq!(ids, ["a1", "a2", "a3"]);
}

async fn of_tokens_of_one_name_the_valid_one_is_revoked(place: Place) {
    let store = place.open().await;
    let clock = Arc::new(ManualClock::default());
    let tokens = Tokens::new(Arc::clone(&store.tokens), clock.clone());
    let create = async |name: &str, expires_at: Option<u64>| {
        let new = NewToken {
            name: name.to_owned(),
            grant: Grant::of(Role::Viewer),
            expires_at: expires_at.map(Timestamp),
            by: None,
        };
        tokens.create(new).await.unwrap().0.stored.id
    };
    let revoke = async |id_or_name: &str| {
        let revoked = tokens.revoke(id_or_name).await;
        revoked.ok().map(|revoked| revoked.stored.id)
    };
    clock.set(Timestamp(1_000));
    let first = create("shop", None).await;
    assert_eq!(revoke("shop").await, Some(first.clone()));
    // The name is used a second time, and a third time after that token has expired.
    let second = create("shop", Some(2_000)).await;
    clock.set(Timestamp(2_000));
    let third = create("shop", Some(9_000)).await;
    assert_eq!(revoke("shop").await, Some(third));
    // Without a valid one it is the newest that has expired, and never one that was revoked.
    clock.set(Timestamp(3_000));
    let fourth = create("shop", Some(4_000)).await;
    clock.set(Timestamp(4_000));
    assert_eq!(revoke("shop").await, Some(fourth));
    assert_eq!(revoke("shop").await, Some(second));
    assert_eq!(revoke("shop").await, None);
    assert_eq!(revoke(&*first).await, None);
    // An id comes before a name.
    let fifth = create("shop", None).await;
    let called_so = create(&*fifth, None).await;
    assert_eq!(revoke(&*fifth).await, Some(fifth.clone()));
    assert_eq!(revoke(&*fifth).await, Some(called_so));
}

async fn the_last_use_only_moves_forward(place: Place) {
    let store = place.open().await;
    let tokens = &store.tokens;
    assert!(tokens.add(&token("a1", "shop")).await.unwrap());
    for (at, stored) in [(5, 5), (4, 5), (9, 9)] {
        tokens.used("a1", Timestamp(at)).await.unwrap();
        let found = tokens.tokens().await.unwrap();
        assert_eq!(found[0].used_at, Some(Timestamp(stored)));
    }
}

async fn audit_records_are_chained_and_paged(place: Place) {
    let store = place.open().await;
    let audit = &store.audit;
    assert_eq!(audit.last().await.unwrap(), 0);
    assert_eq!(audit.records(0, 10).await.unwrap(), []);
    for object in ["one", "two", "three"] {
        audit.append(&entry(object), None, digest).await.unwrap();
    }
    assert_eq!(audit.last().await.unwrap(), 3);
    let record = |number: u64, object: &str| AuditRecord {
        number,
        entry: entry(object),
        digest: {
            let before = [u8::try_from(number - 1).unwrap(); 32];
            digest(&before, number, &entry(object))
        },
    };
    let page = audit.records(0, 2).await.unwrap();
    assert_eq!(page, [record(1, "one"), record(2, "two")]);
    assert_eq!(audit.records(2, 2).await.unwrap(), [record(3, "three")]);
}

async fn an_operation_that_began_is_recorded_once(place: Place) {
    let store = place.open().await;
    let audit = &store.audit;
    let at = |at| AuditEntry {
        at: Timestamp(at),
        ..entry("one")
    };
    let first = audit.begin(&at(5)).await.unwrap();
    let second = audit.begin(&at(6)).await.unwrap();
    let ids = async |before| {
        let begun = audit.begun(Timestamp(before)).await.unwrap();
        let ids = begun.iter().map(|begun| begun.id);
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(5).await, [0; 0]);
    assert_eq!(ids(6).await, [first]);
    assert_eq!(ids(u64::MAX).await, [first, second]);
    let begun = audit.begun(Timestamp(6)).await.unwrap();
    let entry = AuditEntry {
        result: "".into(),
        ..at(5)
    };
    assert_eq!(begun[0].entry, entry);
    audit.append(&at(7), Some(first), digest).await.unwrap();
    assert!(!audit.settle(&at(7), first, digest).await.unwrap());
    assert!(audit.settle(&at(8), second, digest).await.unwrap());
    assert!(!audit.settle(&at(8), second, digest).await.unwrap());
    assert_eq!(ids(u64::MAX).await, [0; 0]);
    let records = audit.records(0, 10).await.unwrap();
    assert_eq!(records.len(), 2);
    // Ids are not used a second time, so nobody ends what another began.
    let third = audit.begin(&at(9)).await.unwrap();
    assert!(third > second, "{third}");
    audit.withdraw(third).await.unwrap();
    assert_eq!(ids(u64::MAX).await, [0; 0]);
    assert_eq!(audit.last().await.unwrap(), 2);
}

async fn tokens_and_audit_survive_a_restart(place: Place) {
    let store = place.open().await;
    assert!(store.tokens.add(&token("a1", "shop")).await.unwrap());
    store
        .audit
        .append(&entry("one"), None, digest)
        .await
        .unwrap();
    store.writer.close().await.unwrap();
    let store = place.open().await;
    assert_eq!(store.tokens.tokens().await.unwrap(), [token("a1", "shop")]);
    assert_eq!(store.audit.last().await.unwrap(), 1);
    store
        .audit
        .append(&entry("two"), None, digest)
        .await
        .unwrap();
    let records = store.audit.records(0, 10).await.unwrap();
    assert_eq!(records[1].digest[0], 2);
}

async fn records_of_many_writers_have_no_gap(place: Place) {
    const EACH: u64 = 10;
    let store = place.open().await;
    let writing = (0..4).map(|_| {
        let audit = store.audit.clone();
        tokio::spawn(async move {
            for _ in 0..EACH {
                audit.append(&entry("one"), None, digest).await.unwrap();
            }
        })
    });
    for writing in writing.collect::<Vec<_>>() {
        writing.await.unwrap();
    }
    let records = store.audit.records(0, 1_000).await.unwrap();
    let numbers: Vec<_> = records.iter().map(|record| record.number).collect();
    let expected: Vec<_> = (1..=4 * EACH).collect();
    assert_eq!(numbers, expected);
    let chained: Vec<_> = records
        .iter()
        .map(|record| u64::from(record.digest[0]))
        .collect();
    assert_eq!(chained, expected);
}
