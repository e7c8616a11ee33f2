//! Events that an operator drops are left out by every build of the projection.

use futures::stream;
use quipu::Host;
use quipu::model::{Lifecycle, OnError, Position};
use quipu::projection::{Action, Error, State, Status};
use quipu::store::{ParkedFilter, Role, Subject};
use quipu_tests::{Place, on_every_store};
use serde_json::json;

use super::parking::{broken, feed, healed};
use super::support::{
    NOTES, active, build_of, deploy, document, documents, export, host, note, settings, until,
    until_state,
};

on_every_store!(
    a_dropped_event_stays_dropped_in_a_rebuild,
    an_event_dropped_for_its_stream_is_left_out_with_all_its_parts,
    a_dropped_event_stays_dropped_when_the_projection_becomes_inline,
    a_dropped_event_stays_dropped_in_an_imported_copy,
    an_event_dropped_between_two_imports_is_dropped_in_the_copy,
    one_event_of_a_sequence_is_dropped_and_the_later_ones_count,
    dropping_a_parked_event_that_waits_for_another_keeps_the_first_parked,
    only_the_first_event_of_a_sequence_can_be_retried_by_position,
    a_retry_of_one_document_leaves_others_parked,
    the_parked_events_of_one_document_or_stream_are_listed,
    a_dropped_event_stays_dropped_after_a_restart,
);

mod of_two_hosts {
    use quipu_tests::{Place, rule};

    rule!(
        what_is_decided_on_one_host_reaches_the_owner_on_another,
        Place::postgres()
    );
}

fn dropping(subject: Subject) -> Action {
    Action::DropParked {
        subject: Some(subject),
        position: None,
        reason: "known to be wrong".to_owned(),
    }
}

/// Drops the events parked for the document `a`: two events.
async fn drop_a(host: &Host) {
    let subject = Subject::Document("a".into());
    host.control_projection(NOTES, dropping(subject))
        .await
        .unwrap();
}

async fn rebuild(host: &Host) {
    until_state(host, State::CaughtUp).await;
    let begun = active(host).await.started_at;
    host.control_projection(NOTES, Action::Rebuild { hold: false })
        .await
        .unwrap();
    until(host, "rebuilt", |status| {
        let build = build_of(status, Role::Active);
        build.is_some_and(|build| build.started_at != begun)
    })
    .await;
}

/// Checks that nothing is parked, and that two events of the document `a` are left out because of
/// the operator.
async fn check(host: &Host) {
    let status = active(host).await;
    assert_eq!((status.counts.parked, status.counts.skipped), (0, 2));
    let skipped = host.skipped(NOTES, Role::Active, None, 10).await.unwrap();
    for event in &skipped.events {
        assert_eq!(event.subject, Subject::Document("a".into()));
        assert_eq!(event.reason.as_deref(), Some("known to be wrong"));
    }
}

async fn a_dropped_event_stays_dropped_in_a_rebuild(place: Place) {
    let host = host(&place).await;
    feed(&host).await;
    drop_a(&host).await;
    note(&host, "note-4", &json!({"n": 7, "keys": ["a"]})).await;
    assert_eq!(document(&host, "a").await["sum"], 8);
    let before = documents(&host, NOTES).await;
    rebuild(&host).await;
    check(&host).await;
    assert_eq!(documents(&host, NOTES).await, before);
    // The drop also applies where the event could be folded.
    deploy(&host, &healed(), settings(Lifecycle::Async, OnError::Park)).await;
    rebuild(&host).await;
    check(&host).await;
    assert_eq!(documents(&host, NOTES).await, before);
    host.shutdown().await.unwrap();
}

async fn an_event_dropped_for_its_stream_is_left_out_with_all_its_parts(place: Place) {
    let host = host(&place).await;
    let park = settings(Lifecycle::Async, OnError::Park);
    deploy(&host, &broken(), park).await;
    let bad = json!({"keys": ["a", "b"], "bad": {"keys": "trap"}, "n": 100});
    let at = note(&host, "note-1", &bad).await;
    note(&host, "note-2", &json!({"n": 1, "keys": ["a"]})).await;
    assert_eq!(document(&host, "a").await["sum"], 1);
    let stream = Subject::Stream("note-1".into());
    host.control_projection(NOTES, dropping(stream.clone()))
        .await
        .unwrap();
    note(&host, "note-1", &json!({"n": 5, "keys": ["a"]})).await;
    assert_eq!(document(&host, "a").await["sum"], 6);
    deploy(&host, &healed(), park).await;
    rebuild(&host).await;
    assert_eq!(document(&host, "a").await["sum"], 6);
    assert_eq!(documents(&host, NOTES).await.len(), 1);
    let skipped = host.skipped(NOTES, Role::Active, None, 10).await.unwrap();
    let found: Vec<_> = skipped
        .events
        .iter()
        .map(|event| (event.subject.clone(), event.position))
        .collect();
    assert_eq!(found, [(stream, at)]);
    host.shutdown().await.unwrap();
}

async fn a_dropped_event_stays_dropped_when_the_projection_becomes_inline(place: Place) {
    let host = super::support::patient(&place).await;
    feed(&host).await;
    drop_a(&host).await;
    deploy(&host, &healed(), settings(Lifecycle::Inline, OnError::Park)).await;
    until_state(&host, State::Inline).await;
    let before = documents(&host, NOTES).await;
    let begun = active(&host).await.started_at;
    host.control_projection(NOTES, Action::Rebuild { hold: false })
        .await
        .unwrap();
    until(&host, "rebuilt inline", |status| {
        let build = build_of(status, Role::Active);
        build.is_some_and(|build| build.started_at != begun && build.state == State::Inline)
    })
    .await;
    check(&host).await;
    assert_eq!(documents(&host, NOTES).await, before);
    note(&host, "note-4", &json!({"n": 7, "keys": ["a"]})).await;
    assert_eq!(document(&host, "a").await["sum"], 8);
    host.shutdown().await.unwrap();
}

async fn import(copy: &Host, file: &[u8]) {
    let chunks = stream::iter([Ok::<_, std::io::Error>(file.to_vec().into())]);
    copy.import(chunks, &mut |_| {}).await.unwrap();
}

async fn a_dropped_event_stays_dropped_in_an_imported_copy(place: Place) {
    let host = host(&place).await;
    feed(&host).await;
    drop_a(&host).await;
    until_state(&host, State::CaughtUp).await;
    let file = export(&host).await;
    let other = place.another();
    let copy = super::support::host(&other).await;
    import(&copy, &file).await;
    until_state(&copy, State::CaughtUp).await;
    check(&copy).await;
    assert_eq!(documents(&copy, NOTES).await, documents(&host, NOTES).await);
    assert!(export(&copy).await == file, "the copy's file is another");
    for host in [host, copy] {
        host.shutdown().await.unwrap();
    }
}

async fn an_event_dropped_between_two_imports_is_dropped_in_the_copy(place: Place) {
    let host = host(&place).await;
    feed(&host).await;
    until_state(&host, State::CaughtUp).await;
    let other = place.another();
    let copy = super::support::host(&other).await;
    import(&copy, &export(&host).await).await;
    let is_parked = |status: &Status| {
        let build = build_of(status, Role::Active);
        build.is_some_and(|build| build.state == State::CaughtUp && build.counts.parked == 2)
    };
    until(&copy, "parked", is_parked).await;
    drop_a(&host).await;
    let file = export(&host).await;
    // The second import of the same file adds nothing.
    for _ in 0..2 {
        import(&copy, &file).await;
        until_state(&copy, State::CaughtUp).await;
        check(&copy).await;
    }
    note(&copy, "note-4", &json!({"n": 7, "keys": ["a"]})).await;
    assert_eq!(document(&copy, "a").await["sum"], 8);
    for host in [host, copy] {
        host.shutdown().await.unwrap();
    }
}

async fn a_dropped_event_stays_dropped_after_a_restart(place: Place) {
    let first = host(&place).await;
    feed(&first).await;
    drop_a(&first).await;
    first.shutdown().await.unwrap();
    let second = host(&place).await;
    let before = documents(&second, NOTES).await;
    rebuild(&second).await;
    check(&second).await;
    assert_eq!(documents(&second, NOTES).await, before);
    second.shutdown().await.unwrap();
}

fn of(key: &str) -> Subject {
    Subject::Document(key.into())
}

fn dropping_one(key: &str, position: Position) -> Action {
    Action::DropParked {
        subject: Some(of(key)),
        position: Some(position),
        reason: "boom".to_owned(),
    }
}

/// One event for a document; a bad one cannot be folded before the projection is fixed.
async fn put(host: &Host, key: &str, is_bad: bool) -> Position {
    let bad = match is_bad {
        true => json!({"apply": "trap"}),
        false => json!({}),
    };
    let body = json!({"n": 1, "keys": [key], "bad": bad});
    note(host, &format!("note-{key}"), &body).await
}

/// Appends `k`, then `boom`, then `k` twice: the last three are parked.
async fn boom(host: &Host) -> [Position; 3] {
    deploy(host, &broken(), settings(Lifecycle::Async, OnError::Park)).await;
    put(host, "k", false).await;
    let parked = [
        put(host, "k", true).await,
        put(host, "k", false).await,
        put(host, "k", false).await,
    ];
    assert_eq!(document(host, "k").await["count"], 1);
    parked
}

async fn until_parked(host: &Host, parked: u64) {
    until(host, "retried", |status| {
        let build = build_of(status, Role::Active);
        build.is_some_and(|build| build.counts.parked == parked)
    })
    .await;
}

async fn one_event_of_a_sequence_is_dropped_and_the_later_ones_count(place: Place) {
    let host = host(&place).await;
    let [bad, ..] = boom(&host).await;
    host.control_projection(NOTES, dropping_one("k", bad))
        .await
        .unwrap();
    until_parked(&host, 0).await;
    assert_eq!(document(&host, "k").await["count"], 3);
    assert_eq!(active(&host).await.counts.skipped, 1);
    let before = documents(&host, NOTES).await;
    rebuild(&host).await;
    assert_eq!(documents(&host, NOTES).await, before);
    let counts = active(&host).await.counts;
    assert_eq!((counts.parked, counts.skipped), (0, 1));
    let again = host.control_projection(NOTES, dropping_one("k", bad)).await;
    assert!(matches!(again, Err(Error::Refused { .. })), "{again:?}");
    host.shutdown().await.unwrap();
}

async fn dropping_a_parked_event_that_waits_for_another_keeps_the_first_parked(place: Place) {
    let host = host(&place).await;
    let [bad, second, third] = boom(&host).await;
    // Otherwise the first event would be skipped, which nobody requested.
    deploy(&host, &broken(), settings(Lifecycle::Async, OnError::Skip)).await;
    host.control_projection(NOTES, dropping_one("k", second))
        .await
        .unwrap();
    put(&host, "other", false).await;
    assert_eq!(document(&host, "other").await["count"], 1);
    let parked = host.parked(NOTES, Role::Active, None, 10).await.unwrap();
    let found: Vec<_> = parked.events.iter().map(|event| event.position).collect();
    assert_eq!(found, [bad, third]);
    host.control_projection(NOTES, Action::RetryParked)
        .await
        .unwrap();
    until_parked(&host, 0).await;
    assert_eq!(document(&host, "k").await["count"], 2);
    host.shutdown().await.unwrap();
}

async fn only_the_first_event_of_a_sequence_can_be_retried_by_position(place: Place) {
    let host = host(&place).await;
    let [bad, second, third] = boom(&host).await;
    deploy(&host, &healed(), settings(Lifecycle::Async, OnError::Park)).await;
    let retry = |key: &str, position| Action::RetryParkedOf {
        subject: of(key),
        position,
    };
    let refused = host
        .control_projection(NOTES, retry("k", Some(third)))
        .await;
    let refused = refused.unwrap_err().to_string();
    for position in [bad, second, third] {
        assert!(refused.contains(&position.to_string()), "{refused}");
    }
    for none in [retry("k", Some(Position(1))), retry("x", None)] {
        let refused = host
            .control_projection(NOTES, none)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("is parked for document"), "{refused}");
    }
    assert_eq!(active(&host).await.counts.parked, 3);
    host.control_projection(NOTES, retry("k", Some(bad)))
        .await
        .unwrap();
    until_parked(&host, 0).await;
    assert_eq!(document(&host, "k").await["count"], 4);
    host.shutdown().await.unwrap();
}

async fn a_retry_of_one_document_leaves_others_parked(place: Place) {
    let host = host(&place).await;
    boom(&host).await;
    put(&host, "l", true).await;
    put(&host, "l", false).await;
    assert_eq!(documents(&host, NOTES).await.len(), 1);
    deploy(&host, &broken(), settings(Lifecycle::Async, OnError::Skip)).await;
    let retry = Action::RetryParkedOf {
        subject: of("k"),
        position: None,
    };
    host.control_projection(NOTES, retry).await.unwrap();
    until_parked(&host, 2).await;
    assert_eq!(document(&host, "k").await["count"], 3);
    let parked = host.parked(NOTES, Role::Active, None, 10).await.unwrap();
    assert!(parked.events.iter().all(|event| event.subject == of("l")));
    host.shutdown().await.unwrap();
}

async fn the_parked_events_of_one_document_or_stream_are_listed(place: Place) {
    let host = host(&place).await;
    let positions = boom(&host).await;
    put(&host, "l", true).await;
    put(&host, "j", true).await;
    assert_eq!(document(&host, "k").await["count"], 1);
    let listed = |subject: Option<Subject>, position, after: Option<(Subject, Position)>, limit| {
        let host = host.clone();
        async move {
            let which = ParkedFilter { subject, position };
            let page = host.parked_of(NOTES, Role::Active, &which, after.as_ref(), limit);
            page.await
        }
    };
    let positions_of = |page: &quipu::projection::ParkedPage| -> Vec<Position> {
        page.events.iter().map(|event| event.position).collect()
    };
    let all = listed(Some(of("k")), None, None, 10).await.unwrap();
    assert_eq!(positions_of(&all), positions);
    assert!(all.next.is_none());
    let first = listed(Some(of("k")), None, None, 2).await.unwrap();
    assert_eq!(positions_of(&first), positions[..2]);
    let rest = listed(Some(of("k")), None, first.next, 2).await.unwrap();
    assert_eq!(positions_of(&rest), positions[2..]);
    let one = listed(Some(of("k")), Some(positions[1]), None, 10)
        .await
        .unwrap();
    assert_eq!(positions_of(&one), positions[1..2]);
    let none = listed(Some(of("l")), Some(positions[1]), None, 10)
        .await
        .unwrap();
    assert!(none.events.is_empty());
    let none = listed(Some(Subject::Stream("note-k".into())), None, None, 10).await;
    assert!(none.unwrap().events.is_empty());
    let wrong = listed(None, Some(positions[1]), None, 10).await;
    assert!(matches!(wrong, Err(Error::Invalid(_))), "{wrong:?}");
    host.shutdown().await.unwrap();
}

async fn what_is_decided_on_one_host_reaches_the_owner_on_another(place: Place) {
    let owner = host(&place).await;
    let [bad, ..] = boom(&owner).await;
    let other = host(&place).await;
    other
        .control_projection(NOTES, dropping_one("k", bad))
        .await
        .unwrap();
    until_parked(&other, 0).await;
    assert_eq!(document(&other, "k").await["count"], 3);
    let again = put(&owner, "l", true).await;
    put(&owner, "l", false).await;
    until_parked(&other, 2).await;
    deploy(&owner, &healed(), settings(Lifecycle::Async, OnError::Park)).await;
    let retry = Action::RetryParkedOf {
        subject: of("l"),
        position: Some(again),
    };
    other.control_projection(NOTES, retry).await.unwrap();
    until_parked(&other, 0).await;
    assert_eq!(document(&other, "l").await["count"], 2);
    owner.shutdown().await.unwrap();
    other.shutdown().await.unwrap();
}
