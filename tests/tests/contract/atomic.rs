//! Semantics 2.10: appends to several streams.

use futures::future::join_all;
use quipu::Host;
use quipu::engine::{AppendAll, Error, Executed};
use quipu::model::ExpectedVersion::{Any, NoStream, StreamExists};
use quipu::model::{CommandId, ExpectedVersion};
use quipu_tests::build::events;
use quipu_tests::{Place, build, log, on_every_store};

on_every_store! {
    streams_are_written_and_checked_together,
    if_one_stream_conflicts_nothing_is_written,
    of_concurrent_appends_that_check_each_others_streams_one_wins,
    concurrent_appends_to_the_same_streams_never_interleave,
    repeating_the_whole_append_under_its_key_returns_the_first_outcome,
    reusing_a_key_for_another_append_is_refused,
    a_copy_to_only_one_of_the_streams_is_a_different_request,
    a_stream_may_occur_only_once_in_an_append,
    the_number_of_streams_per_append_is_bounded,
    an_append_must_name_a_stream,
    an_append_to_several_streams_survives_a_restart,
}

/// A host on which `a-1` is at version 2 and `b-1` at version 1.
async fn begun(place: &Place) -> Host {
    let host = place.host().await;
    let begin = build::append_all(vec![("a-1", Any, events(2)), ("b-1", Any, events(1))]);
    host.append_all(begin).await.unwrap();
    host
}

fn under(id: &str, append: AppendAll) -> AppendAll {
    AppendAll {
        id: Some(CommandId::new(id).unwrap()),
        ..append
    }
}

async fn versions(host: &Host, streams: &[&str]) -> Vec<usize> {
    let mut versions = Vec::new();
    for stream in streams {
        versions.push(log::of(host, &build::stream(stream)).await.len());
    }
    versions
}

async fn streams_are_written_and_checked_together(place: Place) {
    let host = begun(&place).await;
    let before = host.log_head().await.unwrap();
    let append = build::append_all(vec![
        ("new-1", NoStream, events(3)),
        ("b-1", build::exact(1), vec![]),
        ("a-1", StreamExists, events(1)),
        ("none-1", NoStream, vec![]),
    ]);
    let answers = host.append_all(append).await.unwrap();
    let seen: Vec<_> = answers
        .iter()
        .map(|it| {
            (
                it.stream.as_str(),
                it.version.0,
                it.events.len(),
                it.replayed,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("new-1", 3, 3, false),
            ("b-1", 1, 0, false),
            ("a-1", 3, 1, false),
            ("none-1", 0, 0, false),
        ]
    );
    let log = log::whole(&host).await;
    let new: Vec<_> = log.iter().filter(|it| it.position > before).collect();
    let order: Vec<_> = new
        .iter()
        .map(|it| (it.stream.as_str(), it.version.0))
        .collect();
    assert_eq!(
        order,
        [("new-1", 1), ("new-1", 2), ("new-1", 3), ("a-1", 3)]
    );
    let answered = answers.iter().flat_map(|it| &it.events);
    assert!(
        answered
            .map(|it| it.position)
            .eq(new.iter().map(|it| it.position))
    );
    assert_eq!(answers[0].position, Some(new[2].position));
    assert!(new.iter().all(|it| it.recorded_at == new[0].recorded_at));
    log::check(&log);
}

async fn if_one_stream_conflicts_nothing_is_written(place: Place) {
    let host = begun(&place).await;
    host.archive(&build::stream("b-1"), Default::default())
        .await
        .unwrap();
    let before = log::whole(&host).await;
    let cases: [(&str, ExpectedVersion, usize, u64); 5] = [
        ("a-1", build::exact(1), 1, 2),
        ("a-1", NoStream, 0, 2),
        ("new-1", StreamExists, 1, 0),
        ("new-1", build::exact(1), 0, 0),
        ("a-1", build::exact(3), 2, 2),
    ];
    for (to, expected, count, found) in cases {
        for place in 0..3 {
            let mut parts = vec![("x-1", Any, events(2)), ("y-1", NoStream, events(1))];
            parts.insert(place, (to, expected, events(count)));
            match host.append_all(build::append_all(parts)).await {
                Err(Error::WrongExpectedVersion {
                    stream,
                    expected: expectation,
                    found: at,
                }) => assert_eq!((stream.as_str(), expectation, at.0), (to, expected, found)),
                other => panic!("{to} {expected}: {other:?}"),
            }
        }
    }
    let parts = vec![("x-1", Any, events(2)), ("b-1", Any, events(1))];
    let error = host.append_all(build::append_all(parts)).await;
    assert_eq!(error.map(|_| ()).unwrap_err().code(), "stream-archived");
    assert_eq!(log::whole(&host).await, before);
}

async fn of_concurrent_appends_that_check_each_others_streams_one_wins(place: Place) {
    let host = place.host().await;
    for round in 0..40 {
        let names = [format!("left-{round}"), format!("right-{round}")];
        let racers = (0..16).map(|racer| {
            let (own, other) = (&names[racer % 2], &names[(racer + 1) % 2]);
            let append = build::append_all(vec![
                (own, NoStream, events(1 + racer % 3)),
                (other, NoStream, vec![]),
            ]);
            let host = host.clone();
            tokio::spawn(async move { host.append_all(append).await })
        });
        let answers: Vec<_> = join_all(racers)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let won: Vec<_> = answers.iter().flatten().collect();
        assert_eq!(won.len(), 1, "round {round}");
        for refused in answers.iter().filter_map(|it| it.as_ref().err()) {
            assert_eq!(refused.code(), "wrong-expected-version", "{refused}");
        }
        let found = versions(&host, &[&names[0], &names[1]]).await;
        assert_eq!(found.iter().filter(|it| **it == 0).count(), 1, "{found:?}");
        assert_eq!(found.iter().sum::<usize>(), won[0][0].events.len());
    }
}

async fn concurrent_appends_to_the_same_streams_never_interleave(place: Place) {
    let host = place.host().await;
    let racers = (0..16).map(|racer: usize| {
        let host = host.clone();
        tokio::spawn(async move {
            for n in 0..20 {
                let event = build::event("noted", &format!("\"{racer}-{n}\""));
                // One append names them in one order, the other in the opposite order.
                let mut streams = ["left-1", "right-1"];
                streams.rotate_left(racer % 2);
                let parts = streams.map(|it| (it, Any, vec![event.clone()]));
                host.append_all(build::append_all(parts.to_vec()))
                    .await
                    .unwrap();
            }
        })
    });
    for racer in join_all(racers).await {
        racer.unwrap();
    }
    let bodies = |events: Vec<quipu::model::RecordedEvent>| {
        events.into_iter().map(|it| it.body).collect::<Vec<_>>()
    };
    let left = bodies(log::of(&host, &build::stream("left-1")).await);
    let right = bodies(log::of(&host, &build::stream("right-1")).await);
    assert_eq!(left.len(), 320);
    assert_eq!(left, right);
}

fn transfer() -> AppendAll {
    let parts = vec![
        ("a-1", build::exact(2), events(2)),
        ("new-1", NoStream, events(1)),
        ("b-1", build::exact(1), vec![]),
    ];
    under("transfer", build::append_all(parts))
}

async fn check_replay(host: &Host, copy: AppendAll, first: &[Executed]) {
    let head = host.log_head().await.unwrap();
    let again = host.append_all(copy).await.unwrap();
    assert_eq!(host.log_head().await.unwrap(), head);
    let ids = |it: &Executed| it.events.iter().map(|it| it.id).collect::<Vec<_>>();
    for (again, first) in again.iter().zip(first).take(2) {
        assert!(again.replayed);
        assert_eq!(
            (again.version, again.position),
            (first.version, first.position)
        );
        assert_eq!(ids(again), ids(first));
    }
    assert_eq!(again.len(), 3);
    assert!(again[2].replayed && again[2].events.is_empty());
}

async fn repeating_the_whole_append_under_its_key_returns_the_first_outcome(place: Place) {
    let host = begun(&place).await;
    let first = host.append_all(transfer()).await.unwrap();
    check_replay(&host, transfer(), &first).await;
    // All streams have other versions by now.
    let more = vec![
        ("a-1", Any, events(1)),
        ("b-1", Any, events(1)),
        ("new-1", Any, events(1)),
    ];
    host.append_all(build::append_all(more)).await.unwrap();
    check_replay(&host, transfer(), &first).await;
    let answers = host.append_all(transfer()).await.unwrap();
    // Streams that were only checked are reported with their current version.
    assert_eq!(answers[2].version.0, 2);
}

async fn reusing_a_key_for_another_append_is_refused(place: Place) {
    let host = begun(&place).await;
    let first = host.append_all(transfer()).await.unwrap();
    let head = host.log_head().await.unwrap();
    let (mut other_event, mut other_stream, mut fewer) = (transfer(), transfer(), transfer());
    other_event.streams[1].events = vec![build::event("noted", "\"other\"")];
    other_stream.streams[1].stream = build::stream("other-1");
    fewer.streams.truncate(1);
    let mut moved = transfer();
    let last = moved.streams[0].events.pop();
    moved.streams[1].events.extend(last);
    for other in [other_event, other_stream, fewer, moved] {
        let context = format!("{other:?}");
        let answer = host.append_all(other).await;
        let code = answer.map(|_| ()).unwrap_err().code();
        assert_eq!(code, "idempotency-key-reused", "{context}");
    }
    assert_eq!(host.log_head().await.unwrap(), head);
    check_replay(&host, transfer(), &first).await;
}

async fn a_copy_to_only_one_of_the_streams_is_a_different_request(place: Place) {
    let host = begun(&place).await;
    host.append_all(transfer()).await.unwrap();
    for (stream, count) in [("a-1", 2), ("new-1", 1)] {
        let single = build::append_as("transfer", events(count));
        let answer = host.append(&build::stream(stream), single).await;
        assert_eq!(
            answer.map(|_| ()).unwrap_err().code(),
            "idempotency-key-reused"
        );
    }
    // The key was not recorded in streams that were only checked.
    let single = build::append_as("transfer", events(1));
    let answer = host.append(&build::stream("b-1"), single).await.unwrap();
    assert!(!answer.replayed);
}

async fn a_stream_may_occur_only_once_in_an_append(place: Place) {
    let host = begun(&place).await;
    for (first, second) in [(1, 1), (0, 1), (0, 0)] {
        let twice = build::append_all(vec![
            ("a-1", Any, events(first)),
            ("x-1", Any, events(1)),
            ("a-1", Any, events(second)),
        ]);
        let answer = host.append_all(twice).await;
        assert_eq!(answer.map(|_| ()).unwrap_err().code(), "bad-request");
    }
    assert_eq!(versions(&host, &["a-1", "x-1"]).await, [2, 0]);
}

async fn the_number_of_streams_per_append_is_bounded(place: Place) {
    let host = place.host().await;
    let names: Vec<_> = (0..1_001).map(|n| format!("note-{n}")).collect();
    let of = |count: usize, events_each: usize| {
        let parts = names[..count].iter().map(|name| {
            let expected = NoStream;
            (name.as_str(), expected, events(events_each))
        });
        build::append_all(parts.collect())
    };
    for each in [0, 1] {
        let answer = host.append_all(of(1_001, each)).await;
        assert_eq!(answer.map(|_| ()).unwrap_err().code(), "too-large");
    }
    assert_eq!(log::whole(&host).await.len(), 0);
    assert_eq!(host.append_all(of(1_000, 0)).await.unwrap().len(), 1_000);
    assert_eq!(host.append_all(of(1_000, 1)).await.unwrap().len(), 1_000);
    assert_eq!(log::check(&log::whole(&host).await).len(), 1_000);
}

async fn an_append_must_name_a_stream(place: Place) {
    let host = place.host().await;
    let answer = host.append_all(AppendAll::default()).await;
    assert_eq!(answer.map(|_| ()).unwrap_err().code(), "bad-request");
}

async fn an_append_to_several_streams_survives_a_restart(place: Place) {
    let host = begun(&place).await;
    let first = host.append_all(transfer()).await.unwrap();
    let before = log::whole(&host).await;
    host.shutdown().await.unwrap();
    let host = place.host().await;
    assert_eq!(log::whole(&host).await, before);
    check_replay(&host, transfer(), &first).await;
}
