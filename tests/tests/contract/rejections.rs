//! Semantics 5.4: the latest rejections are stored, without delaying the command.

use std::sync::Arc;
use std::time::Duration;

use quipu::engine::{self, Error};
use quipu::model::{Body, ContentType, Digest, Version};
use quipu::store::{DETAILS_BYTES_MAX, Direction, Rejected, RejectionFilter, Store};
use quipu_tests::{Place, build, examples, on_every_store};

on_every_store! {
    a_rejection_is_stored_with_its_command_version_and_plan,
    the_latest_rejections_of_each_category_are_kept,
    a_limit_of_zero_keeps_no_rejections,
    rejections_are_paged_in_both_directions,
    rejections_of_one_stream_are_read,
    a_rejection_that_is_too_large_is_not_stored,
    rejections_are_written_in_the_background,
    details_are_stored_byte_for_byte,
    details_that_are_too_large_are_omitted,
    rejections_survive_a_restart,
}

async fn a_rejection_is_stored_with_its_command_version_and_plan(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    host.execute(&account, build::deposit(5)).await.unwrap();
    let mut withdraw = build::command_as("w-1", "withdraw", r#"{"amount":7}"#);
    withdraw.context.principal = Some("ann".into());
    let answer = host.execute(&account, withdraw).await;
    let Err(Error::Rejected { rejection, module }) = answer else {
        panic!("{answer:?}");
    };
    // Accepted commands and errors are not listed.
    host.execute(&account, build::withdraw(5)).await.unwrap();
    let wrong = build::command("no-such", "{}");
    host.execute(&account, wrong).await.unwrap_err();
    let rejections = host
        .rejections(RejectionFilter::All, None, 100)
        .await
        .unwrap();
    let [one] = &rejections[..] else {
        panic!("{rejections:?}");
    };
    assert_eq!((&one.stream, one.version), (&account, Version(2)));
    assert_eq!((one.plan, one.module), (host.plan().number, module));
    assert_eq!(
        (&one.code, &one.message),
        (&rejection.code, &rejection.message)
    );
    assert!(one.details.is_some());
    assert_eq!(one.details, rejection.details);
    let command = &one.command;
    assert_eq!(
        (command.id.as_str(), command.name.as_str()),
        ("w-1", "withdraw")
    );
    assert_eq!(command.body.as_json().unwrap(), r#"{"amount":7}"#);
    assert_ne!(command.seed, [0; 4]);
    assert_eq!(command.context.principal.as_deref(), Some("ann"));
    // A retry is decided from scratch, and is a rejection of its own.
    let withdraw = build::command_as("w-1", "withdraw", r#"{"amount":7}"#);
    host.execute(&account, withdraw).await.unwrap_err();
    let rejections = host
        .rejections(RejectionFilter::Category("account"), None, 100)
        .await
        .unwrap();
    let versions: Vec<u64> = rejections.iter().map(|one| one.version.0).collect();
    assert_eq!(versions, [3, 2]);
    assert!(rejections[0].id > rejections[1].id);
    assert_eq!(
        host.rejections(RejectionFilter::Category("loan"), None, 100)
            .await
            .unwrap(),
        []
    );
}

fn rejected(stream: &str, version: u64) -> Rejected {
    Rejected {
        id: 0,
        stream: build::stream(stream),
        version: Version(version),
        plan: 3,
        module: Digest([9; 32]),
        command: Arc::new(build::record(&format!("c-{version}"))),
        code: "no".to_owned(),
        message: "é \"'".to_owned(),
        details: None,
    }
}

async fn versions(store: &Store, filter: RejectionFilter<'_>) -> Vec<u64> {
    let read = store
        .rejections
        .read(filter, i64::MAX as u64, Direction::Backward, 10);
    read.await
        .unwrap()
        .iter()
        .map(|one| one.version.0)
        .collect()
}

async fn the_latest_rejections_of_each_category_are_kept(place: Place) {
    let store = place.open().await;
    let keep = |range: std::ops::Range<u64>, stream: &'static str| {
        let rejected: Vec<Rejected> = range.map(|n| rejected(stream, n)).collect();
        let store = &store;
        async move { store.rejections.keep(&rejected, 5).await.unwrap() }
    };
    keep(0..3, "note-1").await;
    keep(100..107, "other-1").await;
    keep(3..6, "note-2").await;
    assert_eq!(
        versions(&store, RejectionFilter::Category("note")).await,
        [5, 4, 3, 2, 1]
    );
    assert_eq!(
        versions(&store, RejectionFilter::Category("other")).await,
        [106, 105, 104, 103, 102]
    );
    assert_eq!(versions(&store, RejectionFilter::All).await.len(), 10);
    let read = store
        .rejections
        .read(RejectionFilter::Category("note"), 0, Direction::Forward, 1)
        .await;
    let expected = Rejected {
        id: read.as_ref().unwrap()[0].id,
        ..rejected("note-1", 1)
    };
    assert_eq!(read.unwrap(), [expected]);
}

async fn rejections_are_paged_in_both_directions(place: Place) {
    let store = place.open().await;
    let all: Vec<Rejected> = (1..=7).map(|n| rejected("note-1", n)).collect();
    store.rejections.keep(&all, 100).await.unwrap();
    for (direction, mut from, expected) in [
        (Direction::Forward, 0, vec![1, 2, 3, 4, 5, 6, 7]),
        (
            Direction::Backward,
            i64::MAX as u64,
            vec![7, 6, 5, 4, 3, 2, 1],
        ),
    ] {
        let mut read = Vec::new();
        loop {
            let filter = RejectionFilter::Category("note");
            let page = store.rejections.read(filter, from, direction, 3);
            let page = page.await.unwrap();
            let Some(last) = page.last() else { break };
            from = last.id;
            read.extend(page.iter().map(|one| one.version.0));
        }
        assert_eq!(read, expected, "{direction:?}");
    }
}

async fn rejections_of_one_stream_are_read(place: Place) {
    let store = place.open().await;
    // Similar ids, also that of a stream whose id is the category.
    let streams = ["note-1", "note-12", "note", "Note-1", "other-1"];
    let all: Vec<Rejected> = (1..=20)
        .flat_map(|n| streams.map(|stream| rejected(stream, n)))
        .collect();
    store.rejections.keep(&all, 100).await.unwrap();
    for name in streams {
        let stream = build::stream(name);
        let filter = RejectionFilter::Stream(&stream);
        for (direction, mut from, mut expected) in [
            (Direction::Forward, 0, (1..=20).collect::<Vec<u64>>()),
            (
                Direction::Backward,
                i64::MAX as u64,
                (1..=20).rev().collect(),
            ),
        ] {
            while !expected.is_empty() {
                let page = store.rejections.read(filter, from, direction, 3).await;
                let page = page.unwrap();
                from = page.last().unwrap().id;
                assert!(page.iter().all(|one| one.stream == stream), "{page:?}");
                let found: Vec<u64> = page.iter().map(|one| one.version.0).collect();
                let rest = expected.split_off(found.len());
                assert_eq!(found, expected, "{name} {direction:?}");
                expected = rest;
            }
            let page = store.rejections.read(filter, from, direction, 3).await;
            assert_eq!(page.unwrap(), []);
        }
    }
    let missing = build::stream("note-3");
    let none = versions(&store, RejectionFilter::Stream(&missing)).await;
    assert!(none.is_empty(), "{none:?}");
}

async fn a_limit_of_zero_keeps_no_rejections(place: Place) {
    let options = engine::Options {
        rejections_max: 0,
        ..engine::Options::default()
    };
    let host = place.builder().engine(options).build().await.unwrap();
    examples::deploy(&host, examples::account()).await;
    let account = build::stream("account-1");
    host.execute(&account, build::withdraw(1))
        .await
        .unwrap_err();
    assert_eq!(
        host.rejections(RejectionFilter::All, None, 10)
            .await
            .unwrap(),
        []
    );
}

async fn a_rejection_that_is_too_large_is_not_stored(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    for bytes in [60 << 10, 70 << 10] {
        let space = " ".repeat(bytes);
        let text = format!(r#"{{"amount":{space}1}}"#);
        let withdraw = build::command("withdraw", &text);
        let answer = host.execute(&account, withdraw).await;
        assert!(matches!(answer, Err(Error::Rejected { .. })), "{answer:?}");
    }
    let rejections = host
        .rejections(RejectionFilter::All, None, 10)
        .await
        .unwrap();
    assert_eq!(rejections.len(), 1);
    assert!(rejections[0].command.body.len() < 64 << 10);
}

async fn rejections_are_written_in_the_background(place: Place) {
    let store = place.open().await;
    let rejections = Arc::clone(&store.rejections);
    let host = place.builder().opened_store(store).build().await.unwrap();
    examples::deploy(&host, examples::account()).await;
    let account = build::stream("account-1");
    host.execute(&account, build::withdraw(1))
        .await
        .unwrap_err();
    // This reads the store directly, because a read through the host would write them.
    let mut waited = 0;
    while rejections
        .read(RejectionFilter::All, 0, Direction::Forward, 1)
        .await
        .unwrap()
        .is_empty()
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
        waited += 1;
        assert!(waited < 400, "they were never written");
    }
}

async fn details_are_stored_byte_for_byte(place: Place) {
    let store = place.open().await;
    let binary = ContentType::new("application/x-thing").unwrap();
    let details = [
        None,
        Some(Body::json(r#"{"a": "\u0000", "b": 1.00}"#).unwrap()),
        Some(Body::new(binary.clone(), vec![0, 255, 10]).unwrap()),
        Some(Body::new(binary, Vec::new()).unwrap()),
        Some(Body::json("null").unwrap()),
    ];
    let with = |(n, details): (u64, &Option<Body>)| Rejected {
        details: details.clone(),
        ..rejected("note-1", n)
    };
    let all: Vec<Rejected> = (1..).zip(&details).map(with).collect();
    store.rejections.keep(&all, 100).await.unwrap();
    let read = store
        .rejections
        .read(RejectionFilter::All, 0, Direction::Forward, 10)
        .await;
    let read: Vec<_> = read.unwrap().into_iter().map(|one| one.details).collect();
    assert_eq!(read, details);
}

async fn details_that_are_too_large_are_omitted(place: Place) {
    let body = |bytes: usize| Body::json(format!("\"{}\"", "x".repeat(bytes - 2))).unwrap();
    let (most, more) = (body(DETAILS_BYTES_MAX), body(DETAILS_BYTES_MAX + 1));
    let expected = [&most, &more].map(|details| Rejected::details_to_store(Some(details)));
    assert_eq!(expected, [Some(most), None]);
    let store = place.open().await;
    let all: Vec<Rejected> = (1..)
        .zip(expected.clone())
        .map(|(n, details)| Rejected {
            details,
            ..rejected("note-1", n)
        })
        .collect();
    store.rejections.keep(&all, 100).await.unwrap();
    let read = store
        .rejections
        .read(RejectionFilter::All, 0, Direction::Forward, 10)
        .await;
    let read: Vec<_> = read.unwrap().into_iter().map(|one| one.details).collect();
    assert_eq!(read, expected);
}

async fn rejections_survive_a_restart(place: Place) {
    let host = place.bank().await;
    let account = build::stream("account-1");
    host.execute(&account, build::withdraw(1))
        .await
        .unwrap_err();
    let rejections = host
        .rejections(RejectionFilter::All, None, 10)
        .await
        .unwrap();
    host.execute(&account, build::withdraw(2))
        .await
        .unwrap_err();
    host.shutdown().await.unwrap();
    let host = place.host().await;
    let there = host
        .rejections(RejectionFilter::All, None, 10)
        .await
        .unwrap();
    assert_eq!((there.len(), &there[1..]), (2, &rejections[..]));
}
