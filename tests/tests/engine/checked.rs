//! Reads that compare events with the digests of their commits.

use quipu::Host;
use quipu::engine::Options;
use quipu::model::{Position, StreamId, Version};
use quipu::store::{self, Direction, Filter};
use quipu_tests::{Place, build, digests, examples, on_every_store, seed};
use rand::Rng;

on_every_store! {
    a_read_of_a_changed_event_names_its_stream_and_version,
    every_page_of_a_sound_store_is_read,
    events_without_a_digest_are_read_where_they_may_be,
}

async fn checking(place: &Place) -> Host {
    let engine = Options {
        check_reads: true,
        deadline: std::time::Duration::from_secs(30),
        ..Options::default()
    };
    place.builder().engine(engine).build().await.unwrap()
}

async fn read(
    host: &Host,
    stream: &StreamId,
    from: u64,
    direction: Direction,
    limit: usize,
) -> Result<Vec<u64>, String> {
    let page = host.read_stream(stream, Version(from), direction, limit);
    let page = page.await.map_err(|error| error.to_string())?;
    Ok(page.events.iter().map(|event| event.version.0).collect())
}

async fn a_read_of_a_changed_event_names_its_stream_and_version(place: Place) {
    let host = place.bank().await;
    for id in ["account-1", "account-2"] {
        let account = build::stream(id);
        host.execute(&account, build::open_account()).await.unwrap();
        for n in 1..=4 {
            let command = build::command_as(&format!("{id}-{n}"), "deposit", r#"{"amount":5}"#);
            host.execute(&account, command).await.unwrap();
        }
    }
    host.shutdown().await.unwrap();
    let is_sqlite = place.url().starts_with("sqlite");
    place
        .tamper(match is_sqlite {
            true => {
                r#"UPDATE events SET data = CAST('{"amount":6}' AS BLOB) WHERE command_id = 'account-1-2'"#
            }
            false => {
                r#"UPDATE events SET data = convert_to('{"amount":6}', 'UTF8') WHERE command_id = 'account-1-2'"#
            }
        })
        .await;
    let (changed, other) = (build::stream("account-1"), build::stream("account-2"));
    let named = |error: String| {
        assert!(error.contains("the store is damaged"), "{error}");
        let place = "stream account-1, version 3: its commit does not have its digest";
        assert!(error.contains(place), "{error}");
    };
    // A host that does not check believes it.
    let host = place.host().await;
    host.execute(&changed, build::deposit(1)).await.unwrap();
    assert_eq!(
        read(&host, &changed, 1, Direction::Forward, 99).await,
        Ok((1..=6).collect())
    );
    host.shutdown().await.unwrap();

    let host = checking(&place).await;
    let refused = host.execute(&changed, build::deposit(1)).await.unwrap_err();
    assert_eq!(refused.code(), "store-damaged");
    named(refused.to_string());
    named(
        read(&host, &changed, 1, Direction::Forward, 99)
            .await
            .unwrap_err(),
    );
    named(
        read(&host, &changed, 6, Direction::Backward, 99)
            .await
            .unwrap_err(),
    );
    let everything = Filter::default();
    let log = host.read_log(Position(0), Direction::Forward, 99, &everything);
    named(log.await.unwrap_err().to_string());
    // What was not changed is read, in the same stream and elsewhere.
    assert_eq!(
        read(&host, &changed, 1, Direction::Forward, 2).await,
        Ok(vec![1, 2])
    );
    assert_eq!(
        read(&host, &changed, 4, Direction::Forward, 9).await,
        Ok(vec![4, 5, 6])
    );
    host.execute(&other, build::deposit(1)).await.unwrap();
    assert_eq!(
        read(&host, &other, 1, Direction::Forward, 99).await,
        Ok((1..=6).collect())
    );
}

/// Streams with commits of one to four events; some are truncated or archived.
async fn filled(host: &Host, random: &mut impl Rng) -> Vec<(StreamId, u64)> {
    let mut streams = Vec::new();
    for number in 1..=4 {
        let stream = build::stream(&format!("note-{number}"));
        let mut version = 0;
        for _ in 0..random.random_range(1..=8) {
            let count = random.random_range(1..=4);
            let events = build::append(build::events(count));
            host.append(&stream, events).await.unwrap();
            version += count as u64;
        }
        streams.push((stream, version));
    }
    let parts = streams.iter().map(|(stream, _)| {
        let any = quipu::model::ExpectedVersion::Any;
        (stream.as_str(), any, build::events(2))
    });
    let parts = build::append_all(parts.collect());
    host.append_all(parts).await.unwrap();
    for (_, version) in &mut streams {
        *version += 2;
    }
    streams
}

async fn check_pages(host: &Host, streams: &[(StreamId, u64)], random: &mut impl Rng) {
    for _ in 0..60 {
        let (stream, version) = &streams[random.random_range(0..streams.len())];
        let from = random.random_range(1..=*version);
        let limit = random.random_range(1..=9);
        let direction = match random.random_bool(0.5) {
            true => Direction::Forward,
            false => Direction::Backward,
        };
        let versions = read(host, stream, from, direction, limit).await.unwrap();
        assert!(!versions.is_empty(), "{stream} {from} {limit}");
        let head = host.log_head().await.unwrap();
        let after = Position(random.random_range(0..=head.0));
        let filter = Filter {
            prefix: Some(stream.as_str().into()),
            ..Filter::default()
        };
        for filter in [&filter, &Filter::default()] {
            let page = host.read_log(after, direction, limit, filter);
            page.await.unwrap();
        }
    }
}

async fn every_page_of_a_sound_store_is_read(place: Place) {
    for seed in seed::seeds(2) {
        let mut random = seed::random(seed);
        let place = place.another();
        let host = checking(&place).await;
        let streams = filled(&host, &mut random).await;
        check_pages(&host, &streams, &mut random).await;
        host.shutdown().await.unwrap();
        let host = checking(&place).await;
        check_pages(&host, &streams, &mut random).await;
        host.shutdown().await.unwrap();
    }
}

async fn events_without_a_digest_are_read_where_they_may_be(place: Place) {
    for seed in seed::seeds(1) {
        let mut random = seed::random(seed);
        let place = place.another();
        let host = place.host().await;
        examples::deploy(&host, examples::account()).await;
        let streams = filled(&host, &mut random).await;
        host.shutdown().await.unwrap();
        digests::forget(&place).await;
        let host = checking(&place).await;
        check_pages(&host, &streams, &mut random).await;
        // Chains begin after what has none.
        for (stream, _) in &streams {
            let events = build::append(build::events(3));
            host.append(stream, events).await.unwrap();
        }
        check_pages(&host, &streams, &mut random).await;
        host.shutdown().await.unwrap();
        // The beginnings stay when digests are added before them.
        let store = place.open().await;
        let (reader, digests) = (&*store.reader, &*store.digests);
        let proving = store::prove(reader, digests, &mut |_| {}).await.unwrap();
        assert!(proving.added > 0 && proving.wrong == 0, "{proving:?}");
        store.writer.close().await.unwrap();
        let host = checking(&place).await;
        check_pages(&host, &streams, &mut random).await;
        host.shutdown().await.unwrap();
        // From then on, none may be absent.
        place
            .tamper("UPDATE events SET commit_digest = NULL WHERE version = 1")
            .await;
        let host = checking(&place).await;
        let (stream, _) = &streams[0];
        let error = read(&host, stream, 1, Direction::Forward, 1).await;
        let error = error.unwrap_err();
        assert!(error.contains("has no digest"), "{error}");
        host.shutdown().await.unwrap();
    }
}
