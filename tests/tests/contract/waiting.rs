//! Semantics 9.6: rebuilds that wait because they lack something.

use quipu::model::{Position, Timestamp};
use quipu::store::{
    Build, BuildBatch, DocumentStore, FailedEvent, ParkedDocument, ParkedHeads, Role, Subject,
};
use quipu_tests::documents::{batch, begin, claim, document, keep, moved};
use quipu_tests::{Place, on_every_store};

on_every_store!(
    a_build_shows_why_it_waits_until_an_operator_confirms,
    documents_without_a_row_in_another_build_are_lost,
    parked_events_are_reported_per_document_and_in_total,
);

async fn of_role(store: &dyn DocumentStore, name: &str, role: Role) -> Option<Build> {
    let builds = store.projection(name).await.unwrap().unwrap().builds;
    builds.into_iter().find(|build| build.role == role)
}

async fn a_build_shows_why_it_waits_until_an_operator_confirms(place: Place) {
    let store = place.open().await.documents;
    begin(&*store, "a", Role::Active).await;
    let active = of_role(&*store, "a", Role::Active).await.unwrap().id;
    let build = begin(&*store, "a", Role::Next).await.id;
    let token = claim(&*store, build).await.token;
    let waiting = BuildBatch {
        waits: Some("3 documents".into()),
        ..moved(1)
    };
    let found = async || of_role(&*store, "a", Role::Next).await.unwrap();
    keep(&*store, build, token, &waiting).await;
    assert_eq!(found().await.waits.as_deref(), Some("3 documents"));
    keep(&*store, build, token, &moved(1)).await;
    assert_eq!(found().await.waits, None);
    keep(&*store, build, token, &waiting).await;
    assert!(!found().await.is_confirmed);
    assert!(!store.confirm(active).await.unwrap());
    assert!(store.confirm(build).await.unwrap());
    let confirmed = found().await;
    assert!(confirmed.is_confirmed && confirmed.waits.is_none());
    // When the build becomes active, both are cleared.
    keep(&*store, build, token, &waiting).await;
    assert!(store.switch("a", build, None).await.unwrap());
    let switched = of_role(&*store, "a", Role::Active).await.unwrap();
    assert_eq!(switched.id, build);
    assert!(!switched.is_confirmed && switched.waits.is_none());
    assert!(store.drop_build("a", Role::Previous).await.unwrap());
    assert!(!store.confirm(active).await.unwrap());
}

async fn documents_without_a_row_in_another_build_are_lost(place: Place) {
    let store = place.open().await.documents;
    let active = begin(&*store, "a", Role::Active).await.id;
    let token = claim(&*store, active).await.token;
    let writes = |build| {
        let keys = (0..30).map(|n| format!("k{n:02}"));
        let write = |(n, key): (u64, String)| {
            let json = if n == 29 { None } else { Some("{}") };
            document(build, &key, json, n + 1)
        };
        (0..).zip(keys).map(write).collect::<Vec<_>>()
    };
    keep(&*store, active, token, &batch(writes(active))).await;
    let next = begin(&*store, "a", Role::Next).await.id;
    let token = claim(&*store, next).await.token;
    let lost = async |up_to| store.lost(active, next, up_to).await.unwrap();
    let all = lost(None).await;
    assert_eq!((all.count, all.keys.len()), (29, 10));
    assert_eq!((&*all.keys[0], &*all.keys[9]), ("k00", "k09"));
    assert_eq!(lost(Some(12)).await.count, 12);
    // A document that only the other build has is not lost; a tombstone counts as a row.
    let mut others = vec![document(next, "other", Some("{}"), 1)];
    others.push(document(next, "k00", None, 2));
    others.extend(writes(next).into_iter().skip(3));
    keep(&*store, next, token, &batch(others)).await;
    let some = lost(None).await;
    let keys: Vec<_> = some.keys.iter().map(|key| &**key).collect();
    assert_eq!((some.count, keys), (2, vec!["k01", "k02"]));
    assert_eq!(store.lost(next, next, None).await.unwrap().count, 0);
}

async fn parked_events_are_reported_per_document_and_in_total(place: Place) {
    let store = place.open().await.documents;
    let build = begin(&*store, "a", Role::Active).await.id;
    let token = claim(&*store, build).await.token;
    let has_parked = async || {
        of_role(&*store, "a", Role::Active)
            .await
            .unwrap()
            .has_parked
    };
    let heads = async || store.parked_heads(build).await.unwrap();
    assert!(!has_parked().await);
    assert_eq!(heads().await, ParkedHeads::default());
    let waiting = |subject, position, error: Option<&str>| FailedEvent {
        subject,
        position: Position(position),
        at: Timestamp(1),
        error: error.map(Into::into),
        attempts: 1,
        reason: None,
    };
    let of = |key: &str| Subject::Document(key.into());
    let parked = BuildBatch {
        parked: vec![
            waiting(of("k"), 5, None),
            waiting(of("k"), 4, Some("why")),
            waiting(of("kk"), 3, None),
            waiting(Subject::Stream("k".into()), 2, None),
        ],
        ..moved(5)
    };
    keep(&*store, build, token, &parked).await;
    assert!(has_parked().await);
    let expected = ParkedHeads {
        subjects: 3,
        documents: Some(Position(3)),
        streams: Some(Position(2)),
    };
    assert_eq!(heads().await, expected);
    let of_k = store.parked_for(build, "k").await.unwrap();
    let expected = ParkedDocument {
        events: 2,
        first_position: Position(4),
        error: Some("why".into()),
    };
    assert_eq!(of_k, Some(expected));
    for none in ["", "j", "kkk"] {
        assert_eq!(store.parked_for(build, none).await.unwrap(), None);
    }
}
