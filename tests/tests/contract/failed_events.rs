//! Semantics 9.5: parked events, and skipped and dropped events.

use std::sync::Arc;

use quipu::model::{Position, Timestamp};
use quipu::store::{
    BatchOutcome, BuildBatch, BuildId, DocumentStore, DroppedEvent, FailedEvent, ParkedFilter,
    Role, Steer, Subject,
};
use quipu_tests::documents::{LONG, begin, claim, keep, moved};
use quipu_tests::{Place, on_every_store};

on_every_store! {
    parked_events_are_returned_as_they_were_stored,
    parked_events_are_ordered_by_subject_and_position,
    skipped_events_are_ordered_by_position_and_subject,
    a_parked_event_can_get_another_error,
    an_event_can_be_unparked,
    dropped_events_are_left_out_permanently,
    dropping_events_ends_the_leases_of_all_builds_of_the_projection,
    dropped_events_are_remembered_until_the_last_build_is_removed,
    a_retry_is_requested_until_it_is_done,
    events_parked_only_because_of_a_dropped_event_are_retried,
    builds_do_not_share_parked_events,
    parked_events_survive_a_restart,
}

fn of_document(key: &str) -> Subject {
    Subject::Document(Arc::from(key))
}

fn of_stream(id: &str) -> Subject {
    Subject::Stream(Arc::from(id))
}

fn waiting(subject: Subject, position: u64) -> FailedEvent {
    FailedEvent {
        subject,
        position: Position(position),
        at: Timestamp(50),
        error: None,
        attempts: 1,
        reason: None,
    }
}

fn left_out(subject: Subject, position: u64) -> FailedEvent {
    FailedEvent {
        reason: Some("policy".into()),
        ..waiting(subject, position)
    }
}

fn park(parked: &[FailedEvent]) -> BuildBatch {
    BuildBatch {
        parked: parked.to_vec(),
        ..moved(1)
    }
}

fn skip(skipped: &[FailedEvent]) -> BuildBatch {
    BuildBatch {
        skipped: skipped.to_vec(),
        ..moved(1)
    }
}

/// A build with an owner.
async fn owned(store: &dyn DocumentStore, name: &str) -> (BuildId, u64) {
    let build = begin(store, name, Role::Active).await.id;
    (build, claim(store, build).await.token)
}

async fn parked(store: &dyn DocumentStore, build: BuildId) -> Vec<FailedEvent> {
    store.parked(build, None, 1_000).await.unwrap()
}

async fn skipped(store: &dyn DocumentStore, build: BuildId) -> Vec<FailedEvent> {
    store.skipped(build, None, 1_000).await.unwrap()
}

/// Some subjects in order.
fn subjects() -> [Subject; 7] {
    [
        of_document("A"),
        of_document("a"),
        of_document("a'\"\\b"),
        of_document("\u{1F600}"),
        of_stream("A-1"),
        of_stream("a"),
        of_stream("a-\u{e9}"),
    ]
}

async fn parked_events_are_returned_as_they_were_stored(place: Place) {
    let store = place.open().await.documents;
    let (build, token) = owned(&*store, "a").await;
    let one = FailedEvent {
        at: Timestamp(1 << 50),
        error: Some("it \"failed\"\n\\ \u{1F600}".into()),
        attempts: u32::MAX,
        ..waiting(of_document("k"), 1 << 50)
    };
    let two = waiting(of_stream("s-1"), 0);
    keep(&*store, build, token, &park(&[two.clone(), one.clone()])).await;
    assert_eq!(parked(&*store, build).await, [one.clone(), two.clone()]);
    assert!(skipped(&*store, build).await.is_empty());
    let reason = Some("an 'operator' \u{e9}".into());
    let one = FailedEvent { reason, ..one };
    keep(&*store, build, token, &skip(&[one.clone(), two.clone()])).await;
    assert_eq!(skipped(&*store, build).await, [two, one]);
    let counts = store.counts(build).await.unwrap();
    assert_eq!((counts.parked, counts.skipped), (2, 2));
    // A guest may report any text.
    let nul = FailedEvent {
        error: Some("a\0b".into()),
        ..waiting(of_document("nul"), 1)
    };
    keep(&*store, build, token, &park(&[nul])).await;
    assert_eq!(parked(&*store, build).await.len(), 3);
}

async fn parked_events_are_ordered_by_subject_and_position(place: Place) {
    let store = place.open().await.documents;
    let (build, token) = owned(&*store, "a").await;
    let mut all = Vec::new();
    for subject in subjects() {
        all.extend([2, 9, 10].map(|at| waiting(subject.clone(), at)));
    }
    let shuffled: Vec<_> = all.iter().rev().cloned().collect();
    keep(&*store, build, token, &park(&shuffled)).await;
    for limit in [1, 2, 5, 21, 22] {
        let (mut after, mut paged) = (None, Vec::new());
        loop {
            let page = store.parked(build, after.as_ref(), limit).await.unwrap();
            let Some(last) = page.last() else { break };
            assert!(page.len() <= limit);
            after = Some((last.subject.clone(), last.position));
            paged.extend(page);
        }
        assert_eq!(paged, all);
    }
    assert!(store.parked(build, None, 0).await.unwrap().is_empty());
    let between = Some((of_document("\u{1F600}"), Position(u64::MAX >> 1)));
    let rest = store.parked(build, between.as_ref(), 100).await.unwrap();
    assert_eq!(rest, all[12..]);
}

async fn skipped_events_are_ordered_by_position_and_subject(place: Place) {
    let store = place.open().await.documents;
    let (build, token) = owned(&*store, "a").await;
    let mut all = Vec::new();
    for at in [2, 9, 10] {
        all.extend(subjects().map(|subject| left_out(subject, at)));
    }
    let shuffled: Vec<_> = all.iter().rev().cloned().collect();
    keep(&*store, build, token, &skip(&shuffled)).await;
    for limit in [1, 2, 5, 21, 22] {
        let (mut after, mut paged) = (None, Vec::new());
        loop {
            let page = store.skipped(build, after.as_ref(), limit).await.unwrap();
            let Some(last) = page.last() else { break };
            assert!(page.len() <= limit);
            after = Some((last.subject.clone(), last.position));
            paged.extend(page);
        }
        assert_eq!(paged, all);
    }
}

async fn a_parked_event_can_get_another_error(place: Place) {
    let store = place.open().await.documents;
    let (build, token) = owned(&*store, "a").await;
    let first = waiting(of_document("k"), 3);
    keep(&*store, build, token, &park(std::slice::from_ref(&first))).await;
    let again = FailedEvent {
        at: Timestamp(60),
        error: Some("another".into()),
        attempts: 2,
        ..first
    };
    keep(&*store, build, token, &park(std::slice::from_ref(&again))).await;
    assert_eq!(parked(&*store, build).await, [again]);
}

async fn an_event_can_be_unparked(place: Place) {
    let store = place.open().await.documents;
    let (build, token) = owned(&*store, "a").await;
    let all = subjects().map(|subject| waiting(subject, 4));
    keep(&*store, build, token, &park(&all)).await;
    let batch = BuildBatch {
        unparked: vec![
            (all[1].subject.clone(), Position(4)),
            (all[2].subject.clone(), Position(5)),
            (of_stream("A"), Position(4)),
            (all[4].subject.clone(), Position(4)),
        ],
        ..moved(2)
    };
    keep(&*store, build, token, &batch).await;
    let left = [0, 2, 3, 5, 6].map(|at: usize| all[at].clone());
    assert_eq!(parked(&*store, build).await, left);
}

async fn dropped_events_are_left_out_permanently(place: Place) {
    let store = place.open().await.documents;
    let (build, token) = owned(&*store, "a").await;
    let failed = FailedEvent {
        error: Some("why".into()),
        attempts: 3,
        ..waiting(of_document("k"), 3)
    };
    let others = [
        waiting(of_document("k"), 5),
        waiting(of_document("l"), 4),
        waiting(of_stream("k"), 6),
    ];
    keep(&*store, build, token, &park(std::slice::from_ref(&failed))).await;
    keep(&*store, build, token, &park(&others)).await;
    let at = Timestamp(99);
    let drop = |subject: Option<Subject>| {
        let store = store.clone();
        async move {
            let which = ParkedFilter {
                subject,
                position: None,
            };
            let dropped = store.drop_parked("a", &which, "it's of no use", at);
            dropped.await.unwrap()
        }
    };
    assert_eq!(drop(Some(of_document("none"))).await, 0);
    assert_eq!(drop(Some(of_document("k"))).await, 2);
    let dropped = |event: &FailedEvent| FailedEvent {
        at,
        reason: Some("it's of no use".into()),
        ..event.clone()
    };
    assert_eq!(
        skipped(&*store, build).await,
        [dropped(&failed), dropped(&others[0])]
    );
    assert_eq!(parked(&*store, build).await, others[1..]);
    assert_eq!(drop(None).await, 2);
    assert_eq!(drop(None).await, 0);
    let counts = store.counts(build).await.unwrap();
    assert_eq!((counts.parked, counts.skipped), (0, 4));
}

async fn dropping_events_ends_the_leases_of_all_builds_of_the_projection(place: Place) {
    let store = place.open().await.documents;
    let (build, token) = owned(&*store, "a").await;
    keep(
        &*store,
        build,
        token,
        &park(&[waiting(of_document("k"), 3)]),
    )
    .await;
    let next = begin(&*store, "a", Role::Next).await.id;
    let others = claim(&*store, next).await.token;
    let (all, reason, at) = (ParkedFilter::default(), "no use", Timestamp(9));
    assert_eq!(store.drop_parked("a", &all, reason, at).await.unwrap(), 1);
    // Nothing was parked in this build, but it has to leave out the same events.
    let outcome = store.keep(next, others, &moved(5), LONG).await.unwrap();
    assert_eq!(outcome, BatchOutcome::Lost);
    let outcome = store.keep(build, token, &moved(5), LONG).await.unwrap();
    assert_eq!(outcome, BatchOutcome::Lost);
    let token = claim(&*store, build).await.token;
    // There is nothing to drop, so no lease ends.
    assert_eq!(store.drop_parked("a", &all, reason, at).await.unwrap(), 0);
    keep(&*store, build, token, &moved(5)).await;
}

async fn dropped_events_are_remembered_until_the_last_build_is_removed(place: Place) {
    let store = place.open().await.documents;
    let events = [
        waiting(of_stream("s"), 3),
        waiting(of_document("k"), 4),
        waiting(of_document("l"), 4),
        waiting(of_document("k"), 5),
    ];
    for role in [Role::Active, Role::Next] {
        let build = begin(&*store, "a", role).await.id;
        let token = claim(&*store, build).await.token;
        keep(&*store, build, token, &park(&events)).await;
    }
    let (other, token) = owned(&*store, "b").await;
    keep(&*store, other, token, &park(&events)).await;
    let at = Timestamp(9);
    for (subject, position, expected) in [
        (Some(of_document("k")), Some(6), 0),
        (Some(of_document("k")), Some(5), 2),
        (None, Some(4), 4),
        (None, None, 2),
    ] {
        let which = ParkedFilter {
            subject,
            position: position.map(Position),
        };
        let dropped = store.drop_parked("a", &which, "no use", at).await.unwrap();
        assert_eq!(dropped, expected, "{which:?}");
    }
    let mut dropped: Vec<DroppedEvent> = Vec::new();
    loop {
        let last = dropped.last();
        let after = last.map(|last| (last.subject.clone(), last.position));
        let page = store.dropped("a", after.as_ref(), 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        dropped.extend(page);
    }
    let expected = events.each_ref().map(|event| DroppedEvent {
        subject: event.subject.clone(),
        position: event.position,
        at,
        reason: "no use".into(),
    });
    assert_eq!(dropped, expected);
    assert!(store.dropped("b", None, 10).await.unwrap().is_empty());
    assert!(store.drop_build("a", Role::Next).await.unwrap());
    assert_eq!(store.dropped("a", None, 10).await.unwrap(), expected);
    assert!(store.drop_build("a", Role::Active).await.unwrap());
    assert!(store.dropped("a", None, 10).await.unwrap().is_empty());
}

async fn a_retry_is_requested_until_it_is_done(place: Place) {
    let store = place.open().await.documents;
    let (build, token) = owned(&*store, "a").await;
    let events = [
        waiting(of_document("k"), 3),
        waiting(of_document("k"), 5),
        waiting(of_document("l"), 4),
        waiting(of_stream("k"), 6),
    ];
    keep(&*store, build, token, &park(&events)).await;
    let retries = |limit| store.retries(build, limit);
    assert!(retries(10).await.unwrap().is_empty());
    let k = of_document("k");
    assert_eq!(store.retry_parked("a", Some(&k)).await.unwrap(), 1);
    assert_eq!(retries(10).await.unwrap(), [(k.clone(), 1)]);
    let none = of_document("none");
    assert_eq!(store.retry_parked("a", Some(&none)).await.unwrap(), 0);
    store.steer("a", Steer::Retry).await.unwrap();
    let all = [
        (of_stream("k"), 3),
        (of_document("k"), 3),
        (of_document("l"), 3),
    ];
    assert_eq!(retries(10).await.unwrap().len(), 3);
    assert_eq!(retries(1).await.unwrap(), all[..1]);
    // Completing an earlier request leaves the latest request open.
    let done = |retried: &[(Subject, u64)]| BuildBatch {
        retried: retried.to_vec(),
        ..moved(1)
    };
    keep(
        &*store,
        build,
        token,
        &done(&[(k.clone(), 1), (of_stream("k"), 3)]),
    )
    .await;
    let left = retries(10).await.unwrap();
    assert!(
        left.contains(&(k.clone(), 3)) && left.len() == 2,
        "{left:?}"
    );
    keep(&*store, build, token, &done(&all)).await;
    assert!(retries(10).await.unwrap().is_empty());
}

async fn events_parked_only_because_of_a_dropped_event_are_retried(place: Place) {
    let store = place.open().await.documents;
    let (build, token) = owned(&*store, "a").await;
    let events = [
        waiting(of_document("k"), 3),
        waiting(of_document("k"), 5),
        waiting(of_document("k"), 7),
        waiting(of_document("l"), 2),
        waiting(of_document("l"), 5),
    ];
    keep(&*store, build, token, &park(&events)).await;
    let drop = async |key: &str, position| {
        let which = ParkedFilter {
            subject: Some(of_document(key)),
            position: Some(Position(position)),
        };
        let dropped = store.drop_parked("a", &which, "no use", Timestamp(9));
        assert_eq!(dropped.await.unwrap(), 1);
        let retries = store.retries(build, 10).await.unwrap();
        retries
            .into_iter()
            .map(|(subject, _)| subject)
            .collect::<Vec<_>>()
    };
    assert!(drop("k", 5).await.is_empty());
    assert!(drop("l", 5).await.is_empty());
    assert_eq!(drop("k", 3).await, [of_document("k")]);
    // No parked events are left.
    assert_eq!(drop("l", 2).await, [of_document("k")]);
}

async fn builds_do_not_share_parked_events(place: Place) {
    let store = place.open().await.documents;
    let (one, first) = owned(&*store, "one").await;
    let (two, second) = owned(&*store, "two").await;
    let event = waiting(of_document("k"), 3);
    for (build, token) in [(one, first), (two, second)] {
        keep(&*store, build, token, &park(std::slice::from_ref(&event))).await;
        keep(&*store, build, token, &skip(&[left_out(of_stream("s"), 3)])).await;
    }
    store.steer("one", Steer::Retry).await.unwrap();
    assert_eq!(
        store
            .drop_parked("one", &ParkedFilter::default(), "no use", Timestamp(9))
            .await
            .unwrap(),
        1
    );
    assert_eq!(parked(&*store, two).await, [event]);
    assert!(store.drop_build("one", Role::Active).await.unwrap());
    while store.sweep().await.unwrap() {}
    assert!(skipped(&*store, one).await.is_empty());
    assert_eq!(skipped(&*store, two).await.len(), 1);
}

async fn parked_events_survive_a_restart(place: Place) {
    let store = place.open().await;
    let (build, token) = owned(&*store.documents, "a").await;
    let event = waiting(of_document("k"), 3);
    keep(
        &*store.documents,
        build,
        token,
        &park(std::slice::from_ref(&event)),
    )
    .await;
    store.writer.close().await.unwrap();
    let store = place.open().await.documents;
    assert_eq!(parked(&*store, build).await, [event]);
}
