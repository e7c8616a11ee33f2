//! Semantics 11.1: archiving streams, and restoring them.

use quipu::Host;
use quipu::engine::Error;
use quipu::model::ExpectedVersion::Any;
use quipu::model::{Context, Position, RecordedEvent, StreamId, Version};
use quipu::store::{Outcome, Store};
use quipu_tests::build::{append, append_as, append_at, events, given};
use quipu_tests::{Place, build, log, on_every_store};

on_every_store! {
    an_archived_stream_refuses_appends,
    an_archived_stream_refuses_commands,
    the_archived_error_takes_precedence_over_a_version_conflict,
    an_append_to_several_streams_fails_if_one_is_archived,
    a_known_id_still_gets_its_first_outcome,
    archiving_keeps_the_version_and_is_recorded_in_another_stream,
    archiving_is_idempotent,
    a_restored_stream_takes_appends,
    archiving_removes_no_event_from_the_log_or_the_stream,
    a_stream_that_does_not_exist_cannot_be_archived,
    streams_of_the_host_cannot_be_archived,
    items_of_a_batch_see_the_earlier_marks_of_the_batch,
    an_archived_mark_survives_a_restart,
}

/// A host with an archived stream of 3 events, and another stream.
async fn archived(place: &Place) -> (Host, StreamId) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    for (to, count) in [("note-1", 3), ("note-2", 1)] {
        host.append(&build::stream(to), append(events(count)))
            .await
            .unwrap();
    }
    archive(&host, &stream).await.unwrap();
    (host, stream)
}

async fn archive(host: &Host, stream: &StreamId) -> Option<Position> {
    host.archive(stream, Context::default()).await.unwrap()
}

async fn restore(host: &Host, stream: &StreamId) -> Option<Position> {
    host.restore(stream, Context::default()).await.unwrap()
}

/// The events that record archiving and restoring.
async fn records(host: &Host) -> Vec<RecordedEvent> {
    log::of(host, &build::stream("$streams")).await
}

async fn an_archived_stream_refuses_appends(place: Place) {
    let (host, stream) = archived(&place).await;
    let before = log::whole(&host).await;
    for append in [
        append(events(1)),
        append_as("a", events(2)),
        append(vec![given(1, "1")]),
    ] {
        match host.append(&stream, append).await {
            Err(error @ Error::Archived(_)) => {
                assert_eq!(error.code(), "stream-archived");
                assert!(error.to_string().contains("note-1"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(log::whole(&host).await, before);
    let other = host
        .append(&build::stream("note-2"), append(events(1)))
        .await;
    assert_eq!(other.unwrap().version.0, 2);
}

async fn an_archived_stream_refuses_commands(place: Place) {
    let host = place.bank().await;
    let (account, other) = (build::stream("account-1"), build::stream("account-2"));
    for account in [&account, &other] {
        host.execute(account, build::open_account()).await.unwrap();
        host.execute(account, build::deposit(5)).await.unwrap();
    }
    archive(&host, &account).await.unwrap();
    let before = log::whole(&host).await;
    // A command that would be accepted, one that would be rejected, and one without an id.
    for command in [build::deposit(1), build::withdraw(9).with_id("a").unwrap()] {
        let answer = host.execute(&account, command).await;
        assert_eq!(answer.unwrap_err().code(), "stream-archived");
    }
    assert_eq!(log::whole(&host).await, before);
    host.execute(&other, build::deposit(1)).await.unwrap();

    restore(&host, &account).await.unwrap();
    let executed = host.execute(&account, build::withdraw(5)).await.unwrap();
    assert_eq!(executed.version.0, 3);
}

/// Semantics 2.7.
async fn the_archived_error_takes_precedence_over_a_version_conflict(place: Place) {
    let (host, stream) = archived(&place).await;
    for expected in [build::exact(3), build::exact(7)] {
        let answer = host.append(&stream, append_at(expected, events(1))).await;
        assert_eq!(answer.map(|_| ()).unwrap_err().code(), "stream-archived");
    }
}

async fn an_append_to_several_streams_fails_if_one_is_archived(place: Place) {
    let (host, _) = archived(&place).await;
    let before = log::whole(&host).await;
    for place in 0..2 {
        let mut parts = vec![("note-2", Any, events(1))];
        parts.insert(place, ("note-1", Any, events(1)));
        let answer = host.append_all(build::append_all(parts)).await;
        assert_eq!(answer.map(|_| ()).unwrap_err().code(), "stream-archived");
    }
    assert_eq!(log::whole(&host).await, before);
}

/// Semantics 2.7.
async fn a_known_id_still_gets_its_first_outcome(place: Place) {
    let host = place.bank().await;
    let (account, note) = (build::stream("account-1"), build::stream("note-1"));
    let open = || build::open_account().with_id("open").unwrap();
    let executed = host.execute(&account, open()).await.unwrap();
    let keyed = host.append(&note, append_as("a", events(2))).await.unwrap();
    let given_ids = || append(vec![given(1, "1"), given(2, "2")]);
    let named = host.append(&note, given_ids()).await.unwrap();
    for stream in [&account, &note] {
        archive(&host, stream).await.unwrap();
    }
    let head = host.log_head().await.unwrap();
    for (again, first) in [
        (host.execute(&account, open()).await, executed),
        (host.append(&note, append_as("a", events(2))).await, keyed),
        (host.append(&note, given_ids()).await, named),
    ] {
        let again = again.unwrap();
        assert!(again.replayed);
        assert_eq!(
            (again.version, again.position),
            (first.version, first.position)
        );
    }
    // A wrong use of an id is still reported.
    let part = host.append(&note, append(vec![given(2, "2")])).await;
    assert_eq!(part.map(|_| ()).unwrap_err().code(), "partial-duplicate");
    let other = host.append(&note, append(vec![given(2, "3")])).await;
    assert_eq!(
        other.map(|_| ()).unwrap_err().code(),
        "idempotency-key-reused"
    );
    assert_eq!(host.log_head().await.unwrap(), head);
}

async fn archiving_keeps_the_version_and_is_recorded_in_another_stream(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-ünï \"1\"");
    host.append(&stream, append(events(3))).await.unwrap();
    let context = Context {
        principal: Some("ann".into()),
        ..Context::default()
    };
    let position = host.archive(&stream, context).await.unwrap();
    let records = records(&host).await;
    assert_eq!(records.len(), 1);
    assert_eq!(
        (Some(records[0].position), records[0].version.0),
        (position, 1)
    );
    assert_eq!(records[0].name.as_str(), "archived");
    assert_eq!(records[0].commit.principal.as_deref(), Some("ann"));
    let body: serde_json::Value = serde_json::from_slice(records[0].body.bytes()).unwrap();
    assert_eq!(body["stream"], stream.as_str());
    assert_eq!(log::of(&host, &stream).await.len(), 3);
    assert_eq!(host.log_head().await.unwrap(), records[0].position);
}

async fn archiving_is_idempotent(place: Place) {
    let (host, stream) = archived(&place).await;
    for _ in 0..3 {
        assert_eq!(archive(&host, &stream).await, None);
    }
    assert_eq!(records(&host).await.len(), 1);
    assert!(restore(&host, &stream).await.is_some());
    for _ in 0..3 {
        assert_eq!(restore(&host, &stream).await, None);
    }
    let names: Vec<_> = records(&host)
        .await
        .iter()
        .map(|it| it.name.to_string())
        .collect();
    assert_eq!(names, ["archived", "restored"]);
    assert_eq!(restore(&host, &build::stream("note-2")).await, None);
    assert_eq!(records(&host).await.len(), 2);
}

async fn a_restored_stream_takes_appends(place: Place) {
    let (host, stream) = archived(&place).await;
    for round in 0..3 {
        assert!(restore(&host, &stream).await.is_some());
        let expected = build::exact(3 + round);
        let answer = host.append(&stream, append_at(expected, events(1))).await;
        assert_eq!(answer.unwrap().version.0, 4 + round);
        assert!(archive(&host, &stream).await.is_some());
        let answer = host.append(&stream, append(events(1))).await;
        assert_eq!(answer.map(|_| ()).unwrap_err().code(), "stream-archived");
    }
    log::check(&log::whole(&host).await);
}

async fn archiving_removes_no_event_from_the_log_or_the_stream(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    host.append(&stream, append(events(3))).await.unwrap();
    let before = log::whole(&host).await;
    archive(&host, &stream).await.unwrap();
    let after = log::whole(&host).await;
    assert_eq!(after[..3], before[..]);
    assert_eq!(log::of(&host, &stream).await, before);
    let page = host
        .read_stream(&stream, Version(2), Default::default(), 1)
        .await;
    assert_eq!(page.unwrap().events, before[1..2]);
    assert_eq!(
        host.event(before[2].position).await.unwrap().as_ref(),
        before.get(2)
    );
}

async fn a_stream_that_does_not_exist_cannot_be_archived(place: Place) {
    let (host, _) = archived(&place).await;
    let nowhere = build::stream("nowhere-1");
    for answer in [
        host.archive(&nowhere, Context::default()).await,
        host.restore(&nowhere, Context::default()).await,
    ] {
        assert_eq!(answer.unwrap_err().code(), "stream-not-found");
    }
    assert_eq!(records(&host).await.len(), 1);
}

async fn streams_of_the_host_cannot_be_archived(place: Place) {
    let (host, _) = archived(&place).await;
    let streams = build::stream("$streams");
    let answer = host.archive(&streams, Context::default()).await;
    assert_eq!(answer.unwrap_err().code(), "bad-request");
}

async fn commit(store: &mut Store, items: &[quipu::store::Item]) -> Vec<Outcome> {
    store.writer.commit(items, None).await.unwrap()
}

async fn items_of_a_batch_see_the_earlier_marks_of_the_batch(place: Place) {
    let mut store = place.open().await;
    let noted = || build::noted("note-1", Any, 1);
    let items = [
        build::mark("note-1", true),
        noted(),
        build::mark("note-1", true),
        noted(),
        build::mark("note-1", false),
        noted(),
        build::mark("note-1", true),
        build::mark("note-1", true),
        build::check("note-1", Some(2), None),
    ];
    let shape = |outcomes: &[Outcome]| {
        let shape = outcomes.iter().map(|outcome| match outcome {
            Outcome::NoStream(_) => "none",
            Outcome::Appended(_) => "appended",
            Outcome::Archived(_) => "archived",
            Outcome::Marked(Some(_)) => "marked",
            Outcome::Marked(None) => "unchanged",
            // The answer depends on a stream that is not archived.
            Outcome::RunDead => "dead",
            other => panic!("{other:?}"),
        });
        shape.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        shape(&commit(&mut store, &items).await),
        "none appended marked archived marked appended marked unchanged dead"
    );
    let head = store
        .reader
        .head(&build::stream("note-1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((head.version.0, head.archived), (2, true));
    let load = store
        .reader
        .load(&build::stream("note-1"), Version(0), 9)
        .await
        .unwrap();
    assert!(load.head.unwrap().archived);
    let last = [noted(), build::mark("note-1", false), noted()];
    assert_eq!(
        shape(&commit(&mut store, &last).await),
        "archived marked appended"
    );
    let head = store
        .reader
        .head(&build::stream("note-1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((head.version.0, head.archived), (3, false));
}

async fn an_archived_mark_survives_a_restart(place: Place) {
    let (host, stream) = archived(&place).await;
    host.shutdown().await.unwrap();
    let host = place.host().await;
    assert_eq!(archive(&host, &stream).await, None);
    let answer = host.append(&stream, append(events(1))).await;
    assert_eq!(answer.map(|_| ()).unwrap_err().code(), "stream-archived");
    assert!(restore(&host, &stream).await.is_some());
    host.shutdown().await.unwrap();
    let host = place.host().await;
    host.append(&stream, append(events(1))).await.unwrap();
    assert_eq!(records(&host).await.len(), 2);
}
