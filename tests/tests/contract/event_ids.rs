//! Semantics 3.6: the ids that callers give to events.

use futures::future::join_all;
use quipu::Host;
use quipu::engine::{Append, Error, Executed};
use quipu::model::ExpectedVersion::{Any, NoStream, StreamExists};
use quipu::model::{Body, ContentType, EventId, NewEvent, StreamId};
use quipu::store::{Item, Outcome};
use quipu_tests::build::{append, append_at, given};
use quipu_tests::{Place, build, examples, log, on_every_store};

on_every_store! {
    events_sent_a_second_time_return_the_first_outcome,
    the_first_outcome_is_returned_for_every_expected_version,
    an_append_of_one_event_is_repeated_by_that_event,
    an_id_with_different_content_is_refused,
    repeating_part_of_an_append_is_a_partial_duplicate,
    known_and_new_events_together_are_a_partial_duplicate,
    events_of_two_appends_are_a_partial_duplicate,
    an_append_with_ids_for_only_some_events_is_never_a_repetition,
    an_id_that_occurs_twice_in_an_append_is_refused,
    the_same_id_in_another_stream_is_a_different_event,
    ids_generated_by_the_host_are_never_recognized,
    concurrent_copies_have_one_effect,
    copies_in_one_batch_have_one_effect,
    a_command_id_takes_precedence_over_event_ids,
    known_ids_are_found_after_a_decider_is_deployed,
    a_repeated_append_to_several_streams_returns_the_first_outcomes,
    the_first_outcome_is_returned_after_a_restart,
}

fn three() -> Vec<NewEvent> {
    vec![given(1, "1"), given(2, "2"), given(3, "3")]
}

/// A host with three events that have ids, and one event before and one after them.
async fn noted(place: &Place) -> (Host, StreamId, Executed) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    host.append(&stream, append(build::events(1)))
        .await
        .unwrap();
    let first = host.append(&stream, append(three())).await.unwrap();
    assert!(!first.replayed);
    host.append(&stream, append(build::events(1)))
        .await
        .unwrap();
    (host, stream, first)
}

/// Sends a copy and expects the first outcome, and nothing new in the log.
async fn check_replay(host: &Host, stream: &StreamId, copy: Append, first: &Executed) {
    let head = host.log_head().await.unwrap();
    let context = format!("{copy:?}");
    let again = host.append(stream, copy).await.unwrap();
    check_same(&again, first, &context);
    assert_eq!(host.log_head().await.unwrap(), head, "{context}");
}

fn check_same(again: &Executed, first: &Executed, context: &str) {
    assert!(again.replayed, "{context}");
    let seen = |it: &Executed| {
        let events = it.events.iter();
        let events = events.map(|it| (it.id, it.name.clone(), it.version, it.position));
        (it.version, it.position, events.collect::<Vec<_>>())
    };
    assert_eq!(seen(again), seen(first), "{context}");
    let bodies = again.events.iter().zip(&first.events);
    assert!(
        bodies.into_iter().all(|(a, b)| a.body == b.body),
        "{context}"
    );
}

/// Sends an append and expects that it is refused with this code, and stores nothing.
async fn check_refused(host: &Host, stream: &StreamId, events: Vec<NewEvent>, code: &str) -> Error {
    let head = host.log_head().await.unwrap();
    let context = format!("{events:?}");
    let error = host.append(stream, append(events)).await.map(|_| ());
    let error = error.unwrap_err();
    assert_eq!(error.code(), code, "{context}");
    assert_eq!(host.log_head().await.unwrap(), head, "{context}");
    error
}

async fn events_sent_a_second_time_return_the_first_outcome(place: Place) {
    let (host, stream, first) = noted(&place).await;
    for _ in 0..3 {
        check_replay(&host, &stream, append(three()), &first).await;
    }
}

async fn the_first_outcome_is_returned_for_every_expected_version(place: Place) {
    let (host, stream, first) = noted(&place).await;
    for expected in [
        NoStream,
        StreamExists,
        build::exact(1),
        build::exact(4),
        build::exact(99),
    ] {
        check_replay(&host, &stream, append_at(expected, three()), &first).await;
    }
}

async fn an_append_of_one_event_is_repeated_by_that_event(place: Place) {
    let (host, stream, _) = noted(&place).await;
    let one = || append(vec![given(9, "9")]);
    let first = host.append(&stream, one()).await.unwrap();
    check_replay(&host, &stream, one(), &first).await;
}

async fn an_id_with_different_content_is_refused(place: Place) {
    let (host, stream, first) = noted(&place).await;
    let other_type = NewEvent {
        name: build::event("other", "{}").name,
        ..given(2, "2")
    };
    let binary = NewEvent {
        body: Body::new(ContentType::new("text/plain").unwrap(), "2").unwrap(),
        ..given(2, "2")
    };
    for other in [given(2, "3"), given(2, "2 "), other_type, binary] {
        let several = vec![given(1, "1"), other.clone(), given(3, "3")];
        for events in [vec![other.clone()], vec![given(8, "8"), other], several] {
            let error = check_refused(&host, &stream, events, "idempotency-key-reused").await;
            assert!(
                matches!(&error, Error::EventIdReused { stream: of, id }
                    if *of == stream && *id == EventId::from_u128(2)),
                "{error}"
            );
        }
    }
    check_replay(&host, &stream, append(three()), &first).await;
}

async fn repeating_part_of_an_append_is_a_partial_duplicate(place: Place) {
    let (host, stream, first) = noted(&place).await;
    let [one, two, three_] = <[NewEvent; 3]>::try_from(three()).unwrap();
    for part in [
        vec![one.clone()],
        vec![three_.clone()],
        vec![one.clone(), two.clone()],
        vec![two.clone(), three_.clone()],
        vec![one.clone(), three_.clone()],
        vec![three_, two, one],
    ] {
        let first = part[0].id;
        let error = check_refused(&host, &stream, part, "partial-duplicate").await;
        assert!(
            matches!(&error, Error::PartialDuplicate { stream: of, id }
                if *of == stream && *id == first),
            "{error}"
        );
    }
    check_replay(&host, &stream, append(three()), &first).await;
}

async fn known_and_new_events_together_are_a_partial_duplicate(place: Place) {
    let (host, stream, first) = noted(&place).await;
    let [one, two, three_] = <[NewEvent; 3]>::try_from(three()).unwrap();
    let new = || given(7, "7");
    let unnamed = || build::event("noted", "7");
    for mixed in [
        vec![one.clone(), two.clone(), three_.clone(), new()],
        vec![new(), one.clone(), two.clone(), three_.clone()],
        vec![one.clone(), new(), three_.clone()],
        vec![one.clone(), two.clone(), three_.clone(), unnamed()],
        vec![unnamed(), two],
    ] {
        check_refused(&host, &stream, mixed, "partial-duplicate").await;
    }
    host.append(&stream, append(vec![new()])).await.unwrap();
    check_replay(&host, &stream, append(three()), &first).await;
}

async fn events_of_two_appends_are_a_partial_duplicate(place: Place) {
    let (host, stream, _) = noted(&place).await;
    let later = || vec![given(4, "4"), given(5, "5")];
    host.append(&stream, append(later())).await.unwrap();
    let both = [three(), later()].concat();
    check_refused(&host, &stream, both, "partial-duplicate").await;
}

async fn an_append_with_ids_for_only_some_events_is_never_a_repetition(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    let mixed = || vec![given(1, "1"), build::event("noted", "2")];
    let first = host.append(&stream, append(mixed())).await.unwrap();
    check_refused(&host, &stream, mixed(), "partial-duplicate").await;
    check_refused(&host, &stream, vec![given(1, "1")], "partial-duplicate").await;
    // The same with the id that the host chose for the other event.
    let id = first.events[1].id.as_u128();
    let whole = vec![given(1, "1"), given(id, "2")];
    let again = host.append(&stream, append(whole)).await.unwrap();
    check_same(&again, &first, "with both ids");
}

async fn an_id_that_occurs_twice_in_an_append_is_refused(place: Place) {
    let (host, stream, first) = noted(&place).await;
    for id in [1, 9] {
        let twice = vec![given(id, "1"), given(8, "8"), given(id, "1")];
        let error = check_refused(&host, &stream, twice, "duplicate-in-append").await;
        assert!(
            matches!(&error, Error::DuplicateInAppend { stream: of, id: twice }
                if *of == stream && *twice == EventId::from_u128(id)),
            "{error}"
        );
    }
    check_replay(&host, &stream, append(three()), &first).await;
}

async fn the_same_id_in_another_stream_is_a_different_event(place: Place) {
    let (host, stream, first) = noted(&place).await;
    let other = build::stream("note-2");
    let elsewhere = host.append(&other, append(three())).await.unwrap();
    assert!(!elsewhere.replayed);
    assert_ne!(elsewhere.position, first.position);
    check_replay(&host, &other, append(three()), &elsewhere).await;
    check_replay(&host, &stream, append(three()), &first).await;
    // The same within one append.
    let both = build::append_all(vec![
        ("a-1", Any, vec![given(1, "\"a\"")]),
        ("b-1", Any, vec![given(1, "\"b\"")]),
    ]);
    host.append_all(both).await.unwrap();
}

async fn ids_generated_by_the_host_are_never_recognized(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    let events = build::events(2);
    for times in 1..=2 {
        let appended = host.append(&stream, append(events.clone())).await.unwrap();
        assert_eq!((appended.version.0, appended.replayed), (2 * times, false));
    }
    let id = events[0].id.as_u128();
    let given = vec![given(id, "{\"n\":1}")];
    assert!(!host.append(&stream, append(given)).await.unwrap().replayed);
}

async fn concurrent_copies_have_one_effect(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    for round in 0..20_u128 {
        let copies = (0..30).map(|n| {
            let (host, stream) = (host.clone(), stream.clone());
            let events = (1..=3).map(|n| given(round * 100 + n, "{}")).collect();
            let expected = if n % 2 == 0 {
                Any
            } else {
                build::exact(round as u64 * 3)
            };
            let copy = append_at(expected, events);
            tokio::spawn(async move { host.append(&stream, copy).await.unwrap() })
        });
        let copies = join_all(copies).await.into_iter().map(Result::unwrap);
        let copies: Vec<Executed> = copies.collect();
        let (first, others): (Vec<_>, Vec<_>) = copies.iter().partition(|it| !it.replayed);
        assert_eq!(first.len(), 1);
        for other in others {
            check_same(other, first[0], "a copy");
        }
    }
    assert_eq!(log::of(&host, &stream).await.len(), 60);
}

async fn copies_in_one_batch_have_one_effect(place: Place) {
    let mut store = place.open().await;
    let copy = |events: Vec<NewEvent>| {
        let commit = build::commit(None, events);
        build::item(None, vec![build::write("note-1", Any, commit)])
    };
    let copies = [
        copy(three()),
        copy(three()),
        copy(vec![given(2, "2")]),
        copy(vec![given(3, "\"other\"")]),
        copy(vec![given(4, "4")]),
    ];
    let outcomes = store.writer.commit(&copies, None).await.unwrap();
    let context = format!("{outcomes:?}");
    let [first, second, part, other, new] = <[Outcome; 5]>::try_from(outcomes).unwrap();
    let Outcome::Appended(first) = first else {
        panic!("{context}")
    };
    for later in [second, part, other] {
        assert!(matches!(later, Outcome::Again), "{context}");
    }
    assert!(matches!(new, Outcome::Appended(_)), "{context}");
    let outcomes = store.writer.commit(&copies[1..4], None).await.unwrap();
    let context = format!("{outcomes:?}");
    let [second, part, other] = <[Outcome; 3]>::try_from(outcomes).unwrap();
    let Outcome::Repeated(known) = second else {
        panic!("{context}")
    };
    let known = known[0].as_ref().unwrap();
    assert!(known.record.is_none());
    let positions: Vec<_> = known.events.iter().map(|event| event.position).collect();
    assert_eq!(positions, first[0].positions);
    assert!(matches!(part, Outcome::PartialDuplicate(..)), "{context}");
    assert!(matches!(other, Outcome::EventIdReused(..)), "{context}");
}

async fn a_command_id_takes_precedence_over_event_ids(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    let under = |id: &str, events: Vec<NewEvent>| build::append_as(id, events);
    let first = host.append(&stream, under("a", three())).await.unwrap();
    host.append(&stream, append(build::events(1)))
        .await
        .unwrap();
    // The same request; without its id; with the ids that the host gave its events; under another
    // id.
    check_replay(&host, &stream, under("a", three()), &first).await;
    check_replay(&host, &stream, append(three()), &first).await;
    let unnamed = ["1", "2", "3"].map(|json| build::event("noted", json));
    check_replay(&host, &stream, under("a", unnamed.to_vec()), &first).await;
    check_replay(&host, &stream, under("b", three()), &first).await;
    // A different request under its id, whether its events are new or known.
    for other in [vec![given(9, "9")], vec![given(1, "1")]] {
        let answer = host.append(&stream, under("a", other)).await;
        let error = answer.map(|_| ()).unwrap_err();
        assert!(
            matches!(error, Error::IdempotencyKeyReused { .. }),
            "{error}"
        );
    }
    // An id that was sent only with a repetition is not recorded.
    let new = host.append(&stream, under("b", vec![given(9, "9")])).await;
    assert!(!new.unwrap().replayed);
}

async fn known_ids_are_found_after_a_decider_is_deployed(place: Place) {
    let host = place.host().await;
    let stream = build::stream("account-1");
    let opened = |id| NewEvent {
        name: build::event("opened", "{}").name,
        ..given(id, r#"{"owner":"ann"}"#)
    };
    let first = host.append(&stream, append(vec![opened(1)])).await.unwrap();
    examples::deploy(&host, examples::account()).await;
    check_replay(&host, &stream, append(vec![opened(1)]), &first).await;
    check_refused(&host, &stream, vec![opened(2)], "category-owned").await;
    let known = vec![opened(2), opened(1)];
    check_refused(&host, &stream, known, "partial-duplicate").await;
}

async fn a_repeated_append_to_several_streams_returns_the_first_outcomes(place: Place) {
    let host = place.host().await;
    host.append(&build::stream("c-1"), append(build::events(2)))
        .await
        .unwrap();
    let both = || {
        build::append_all(vec![
            ("a-1", NoStream, three()),
            ("c-1", build::exact(2), vec![]),
            ("b-1", NoStream, vec![given(1, "\"b\"")]),
        ])
    };
    let first = host.append_all(both()).await.unwrap();
    let head = host.log_head().await.unwrap();
    let again = host.append_all(both()).await.unwrap();
    check_same(&again[0], &first[0], "a-1");
    check_same(&again[2], &first[2], "b-1");
    assert_eq!((again[1].version.0, again[1].events.len()), (2, 0));

    let mut part = both();
    part.streams[2].events = vec![given(2, "\"new\"")];
    let error = host.append_all(part).await.map(|_| ()).unwrap_err();
    assert_eq!(error.code(), "partial-duplicate");
    let mut other = both();
    other.streams[2].events = vec![given(1, "\"other\"")];
    let error = host.append_all(other).await.map(|_| ()).unwrap_err();
    assert_eq!(error.code(), "idempotency-key-reused");
    assert_eq!(host.log_head().await.unwrap(), head);
}

async fn the_first_outcome_is_returned_after_a_restart(place: Place) {
    let (host, stream, first) = noted(&place).await;
    host.shutdown().await.unwrap();
    let host = place.host().await;
    check_replay(&host, &stream, append_at(NoStream, three()), &first).await;
    check_refused(&host, &stream, vec![given(2, "2")], "partial-duplicate").await;
    let other = vec![given(3, "2")];
    check_refused(&host, &stream, other, "idempotency-key-reused").await;
    host.shutdown().await.unwrap();

    // The same if it is the writer's first batch.
    let mut store = place.open().await;
    let commit = build::commit(None, three());
    let item: Item = build::item(None, vec![build::write("note-1", Any, commit)]);
    let outcomes = store.writer.commit(&[item], None).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Repeated(_)), "{outcomes:?}");
}
