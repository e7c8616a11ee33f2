//! Semantics 2: appending.

use futures::FutureExt;
use futures::future::join_all;
use quipu::engine::{Append, Error, Executed};
use quipu::model::ExpectedVersion::{Any, NoStream, StreamExists};
use quipu::model::{Body, ContentType, ExpectedVersion, Version};
use quipu_tests::{Place, build, examples, log, on_every_store};

on_every_store! {
    an_append_with_a_matching_expected_version_succeeds,
    an_append_with_a_wrong_expected_version_conflicts,
    expecting_version_zero_means_that_the_stream_must_not_exist,
    appends_without_an_expected_version_never_conflict,
    exactly_one_of_several_appends_at_one_version_succeeds,
    an_append_is_all_or_nothing,
    an_empty_append_checks_the_version_and_stores_nothing,
    data_and_metadata_are_stored_byte_for_byte,
    malformed_json_is_refused_before_it_reaches_the_store,
    a_category_with_a_decider_takes_raw_events_only_on_request,
    raw_events_in_a_category_with_a_decider_need_a_type_that_it_declares,
    a_category_without_a_decider_takes_any_event,
    streams_of_the_host_refuse_appends,
    acknowledged_events_survive_a_restart,
}

type Answer = Result<Executed, Error>;

/// Appends one event to a stream of three, and returns the answer and the new version.
async fn appended(place: &Place, to: &str, expected: ExpectedVersion) -> (Answer, u64) {
    let host = place.host().await;
    let three = build::append(build::events(3));
    host.append(&build::stream("note-1"), three).await.unwrap();
    let stream = build::stream(to);
    let answer = host
        .append(&stream, build::append_at(expected, build::events(1)))
        .await;
    let version = log::of(&host, &stream).await.len() as u64;
    host.shutdown().await.unwrap();
    (answer, version)
}

async fn an_append_with_a_matching_expected_version_succeeds(place: Place) {
    for (to, expected, version) in [
        ("note-1", Any, 4),
        ("note-1", StreamExists, 4),
        ("note-1", build::exact(3), 4),
        ("note-2", Any, 1),
        ("note-2", NoStream, 1),
        ("note-2", build::exact(0), 1),
    ] {
        let (answer, found) = appended(&place.another(), to, expected).await;
        let answer = answer.unwrap();
        assert_eq!((answer.version.0, found), (version, version), "{expected}");
        assert_eq!(answer.events[0].version.0, version);
        let position = answer.events.last().map(|event| event.position);
        assert_eq!((answer.position, answer.replayed), (position, false));
    }
}

/// Semantics 2.1.
async fn an_append_with_a_wrong_expected_version_conflicts(place: Place) {
    for (to, expected, version) in [
        ("note-1", NoStream, 3),
        ("note-1", build::exact(0), 3),
        ("note-1", build::exact(2), 3),
        ("note-1", build::exact(4), 3),
        ("note-2", StreamExists, 0),
        ("note-2", build::exact(1), 0),
    ] {
        let (answer, found) = appended(&place.another(), to, expected).await;
        check_refused(answer, to, expected, version);
        assert_eq!(found, version);
    }
}

fn check_refused(answer: Answer, to: &str, expectation: ExpectedVersion, at: u64) {
    match answer {
        Err(Error::WrongExpectedVersion {
            stream,
            expected,
            found,
        }) => {
            assert_eq!((stream.as_str(), expected, found.0), (to, expectation, at));
        }
        other => panic!("{to} {expectation}: {other:?}"),
    }
}

/// Semantics 2.1.
async fn expecting_version_zero_means_that_the_stream_must_not_exist(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    for expected in [build::exact(0), NoStream] {
        host.append(&stream, build::append_at(expected, vec![]))
            .await
            .unwrap();
    }
    host.append(&stream, build::append(build::events(1)))
        .await
        .unwrap();
    for expected in [build::exact(0), NoStream] {
        let answer = host
            .append(&stream, build::append_at(expected, vec![]))
            .await;
        check_refused(answer, "note-1", expected, 1);
    }
}

/// Semantics 2.2.
async fn appends_without_an_expected_version_never_conflict(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    host.append(&stream, build::append(build::events(1)))
        .await
        .unwrap();
    let appends = (0..200).map(|n| {
        let (host, stream) = (host.clone(), stream.clone());
        let expected = if n % 2 == 0 { Any } else { StreamExists };
        tokio::spawn(async move {
            let append = build::append_at(expected, build::events(1 + n % 3));
            host.append(&stream, append).await.unwrap()
        })
    });
    let mut versions = Vec::new();
    for appended in join_all(appends).await {
        versions.extend(appended.unwrap().events.iter().map(|event| event.version.0));
    }
    versions.sort_unstable();
    assert_eq!(
        versions,
        (2..=versions.len() as u64 + 1).collect::<Vec<_>>()
    );
    log::check(&log::whole(&host).await);
}

async fn exactly_one_of_several_appends_at_one_version_succeeds(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    for version in 0..10 {
        let appends = (0..20).map(|_| {
            let append = build::append_at(build::exact(version), build::events(1));
            host.append(&stream, append)
        });
        let answers = join_all(appends).await;
        assert_eq!(answers.iter().filter(|it| it.is_ok()).count(), 1);
        for refused in answers.into_iter().filter(Result::is_err) {
            check_refused(refused, "note-1", build::exact(version), version + 1);
        }
    }
}

/// Semantics 2.3.
async fn an_append_is_all_or_nothing(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    let mut events = build::events(5);
    events[4].tags = vec!["x:1".into(); 65];
    let answer = host.append(&stream, build::append(events)).await;
    assert!(matches!(answer, Err(Error::TooLarge(_))), "{answer:?}");
    assert!(log::of(&host, &stream).await.is_empty());

    let appended = host
        .append(&stream, build::append(build::events(5)))
        .await
        .unwrap();
    let versions: Vec<u64> = appended
        .events
        .iter()
        .map(|event| event.version.0)
        .collect();
    assert_eq!(versions, [1, 2, 3, 4, 5]);
}

/// Semantics 2.4.
async fn an_empty_append_checks_the_version_and_stores_nothing(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    let empty = |expected| Append {
        id: Some(quipu::model::CommandId::new("empty").unwrap()),
        ..build::append_at(expected, vec![])
    };
    let answer = host.append(&stream, empty(Any)).await.unwrap();
    assert_eq!((answer.version, answer.position), (Version::NONE, None));
    host.append(&stream, build::append(build::events(2)))
        .await
        .unwrap();
    for expected in [Any, StreamExists, build::exact(2)] {
        let answer = host.append(&stream, empty(expected)).await.unwrap();
        assert_eq!((answer.version.0, answer.events.len()), (2, 0));
    }
    for expected in [NoStream, build::exact(1)] {
        check_refused(
            host.append(&stream, empty(expected)).await,
            "note-1",
            expected,
            2,
        );
    }
    assert_eq!(log::whole(&host).await.len(), 2);
}

/// Semantics 2.8.
async fn data_and_metadata_are_stored_byte_for_byte(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-ünï-\u{1F980}");
    let every_byte: Vec<u8> = (0..=255).chain([0, 0]).collect();
    let binary =
        |name: &str, bytes: Vec<u8>| Body::new(ContentType::new(name).unwrap(), bytes).unwrap();
    let bodies = [
        Body::json(
            " { \"b\" : 1.0 , \"a\": \"\\u00e9 \u{0} é\", \"a\":2e400 }\n".replace('\0', ""),
        )
        .unwrap(),
        Body::json("null").unwrap(),
        binary("application/x-thing", every_byte.clone()),
        binary("application/x-thing", vec![]),
        binary("text/plain; charset=latin1", vec![0xff, 0xfe]),
        Body::json(format!("\"{}\"", "x".repeat(200_000))).unwrap(),
    ];
    let events: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(n, body)| {
            let mut event = build::event("notéd \"'%_", "{}");
            event.body = body.clone();
            event.schema_version = 1 + u32::try_from(n).unwrap();
            event.metadata = (n % 2 == 0).then(|| format!("{{ \"n\" :{n} }}").into());
            event.tags = (0..n).map(|tag| format!("é:{tag},\"").into()).collect();
            event
        })
        .collect();
    host.append(&stream, build::append(events.clone()))
        .await
        .unwrap();
    let recorded = log::of(&host, &stream).await;
    assert_eq!(recorded.len(), events.len());
    for (recorded, event) in recorded.iter().zip(&events) {
        assert_eq!(recorded.body, event.body);
        assert_eq!((recorded.id, &recorded.name), (event.id, &event.name));
        assert_eq!(recorded.schema_version, event.schema_version);
        assert_eq!(
            (&recorded.metadata, &recorded.tags),
            (&event.metadata, &event.tags)
        );
        assert_eq!(recorded.stream, stream);
    }
    assert_eq!(log::whole(&host).await, recorded);
}

/// Semantics 2.8.
async fn malformed_json_is_refused_before_it_reaches_the_store(place: Place) {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let host = place.host().await;
    let mut event = build::event("noted", "{}");
    event.body = Body::json(deep(128)).unwrap();
    host.append(&build::stream("note-1"), build::append(vec![event]))
        .await
        .unwrap();
    for bad in ["", "{", "{\"a\":}", "nul", "1 2", "\"\u{1}\"", &deep(129)] {
        assert!(Body::json(bad.to_owned()).is_err(), "{bad}");
    }
}

/// Semantics 2.9.
async fn a_category_with_a_decider_takes_raw_events_only_on_request(place: Place) {
    let host = place.bank().await;
    let stream = build::stream("account-1");
    let opened = || vec![build::event("opened", r#"{"owner":"ann"}"#)];
    let answer = host.append(&stream, build::append(opened())).await;
    assert_eq!(answer.map(|_| ()).unwrap_err().code(), "category-owned");
    host.append(&stream, build::foreign(opened()))
        .await
        .unwrap();
    let executed = host.execute(&stream, build::deposit(1)).await.unwrap();
    assert_eq!(executed.version.0, 2);
}

/// Semantics 2.9.
async fn raw_events_in_a_category_with_a_decider_need_a_type_that_it_declares(place: Place) {
    let host = place.bank().await;
    let stream = build::stream("account-1");
    let mut newer = build::event("opened", r#"{"owner":"ann"}"#);
    newer.schema_version = 2;
    let mut binary = build::event("opened", "{}");
    binary.body = Body::new(ContentType::new("a/b").unwrap(), vec![1]).unwrap();
    for bad in [build::event("unheard-of", "{}"), newer, binary] {
        let name = format!("{bad:?}");
        let answer = host.append(&stream, build::foreign(vec![bad])).await;
        assert_eq!(
            answer.map(|_| ()).unwrap_err().code(),
            "bad-request",
            "{name}"
        );
    }
    assert!(log::of(&host, &stream).await.is_empty());
}

/// Semantics 2.9.
async fn a_category_without_a_decider_takes_any_event(place: Place) {
    let host = place.bank().await;
    for name in ["accounts-1", "note", "-", "Account-1", "x y-1"] {
        let stream = build::stream(name);
        host.append(&stream, build::append(build::events(1)))
            .await
            .unwrap();
        assert_eq!(log::of(&host, &stream).await.len(), 1, "{name}");
    }
}

async fn streams_of_the_host_refuse_appends(place: Place) {
    let host = place.host().await;
    let answer = host
        .append(&build::stream("$streams"), build::append(build::events(1)))
        .await;
    assert_eq!(answer.map(|_| ()).unwrap_err().code(), "bad-request");
    let answer = host
        .execute(&build::stream("$x-1"), build::deposit(1))
        .await;
    assert_eq!(answer.map(|_| ()).unwrap_err().code(), "bad-request");
}

/// Semantics 2.5.
async fn acknowledged_events_survive_a_restart(place: Place) {
    let account = build::stream("account-1");
    for round in 0..3 {
        let host = place.host().await;
        if round == 0 {
            examples::deploy(&host, examples::account()).await;
            host.execute(&account, build::open_account()).await.unwrap();
        }
        let before = log::whole(&host).await;
        assert_eq!(before.len(), 1 + 3 * round);
        let executed = host.execute(&account, build::deposit(1)).await.unwrap();
        let raw = host
            .append(&build::stream("note-1"), build::append(build::events(2)))
            .await
            .unwrap();
        assert_eq!(executed.version.0 as usize, 2 + round);
        assert_eq!(raw.version.0 as usize, 2 * (round + 1));
        let after = log::whole(&host).await;
        assert_eq!(after[..before.len()], before);
        if round == 1 {
            // The same without a clean shutdown.
            drop(host);
            reopened(&place).await;
        } else {
            host.shutdown().await.unwrap();
        }
    }
}

/// Waits until the store can be opened: a dropped host closes it on its own threads.
async fn reopened(place: &Place) {
    loop {
        match place.try_open().now_or_never() {
            Some(Err(quipu::store::Error::InUse(_))) => tokio::task::yield_now().await,
            _ => return,
        }
    }
}
