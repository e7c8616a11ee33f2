//! Semantics 4: reading.

use std::sync::Arc;

use bytes::Bytes;
use quipu::Host;
use quipu::engine::Error;
use quipu::model::ExpectedVersion::Any;
use quipu::model::{Body, ContentType, Context, Name, Position, RecordedEvent, Version};
use quipu::store::Direction::{Backward, Forward};
use quipu::store::{Direction, Filter, LOG_PAGE_MAX, Outcome, STREAM_PAGE_MAX, Versions};
use quipu::upcast::Form;
use quipu_tests::{Place, build, examples, log, on_every_store};

on_every_store! {
    a_missing_stream_has_its_own_error,
    limits_of_zero_are_refused,
    a_stream_is_read_from_a_version_in_both_directions,
    a_bound_ends_a_read_of_a_stream_in_both_directions,
    the_page_after_the_last_event_is_empty,
    a_place_after_the_end_is_refused,
    paging_a_stream_never_skips_or_repeats,
    paging_the_log_never_skips_or_repeats,
    an_event_is_the_same_in_a_long_page_and_in_a_page_of_one,
    a_filter_selects_by_category_type_and_prefix,
    an_empty_filter_is_refused,
    pages_are_bounded,
    a_reader_misses_nothing_while_others_write,
    an_event_is_found_by_its_position,
}

/// Semantics 4.1.
async fn a_missing_stream_has_its_own_error(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    let answer = host.read_stream(&stream, Version(1), Forward, 10).await;
    assert_eq!(answer.unwrap_err().code(), "stream-not-found");
    host.append(&stream, build::append(build::events(1)))
        .await
        .unwrap();
    let page = host
        .read_stream(&stream, Version(2), Forward, 10)
        .await
        .unwrap();
    assert_eq!(
        (page.events.len(), page.version, page.next),
        (0, Version(1), None)
    );
}

/// Semantics 4.1.
async fn limits_of_zero_are_refused(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    let all = Filter::default();
    for answer in [
        host.read_stream(&stream, Version(0), Forward, 1)
            .await
            .map(|_| ()),
        host.read_stream(&stream, Version(1), Forward, 0)
            .await
            .map(|_| ()),
        host.read_log(Position(0), Forward, 0, &all)
            .await
            .map(|_| ()),
    ] {
        assert_eq!(answer.unwrap_err().code(), "bad-request");
    }
}

/// A host with 10 events in a stream and, between them, 5 in another.
async fn filled(place: &Place) -> Host {
    let host = place.host().await;
    for n in 0..5 {
        for (stream, count) in [("note-1", 2), ("other-1", 1)] {
            let mut events = build::events(count);
            events[0].name = Name::new(&format!("type-{}", n % 2)).unwrap();
            host.append(&build::stream(stream), build::append(events))
                .await
                .unwrap();
        }
    }
    host
}

/// Semantics 4.1.
async fn a_stream_is_read_from_a_version_in_both_directions(place: Place) {
    let host = filled(&place).await;
    let stream = build::stream("note-1");
    for (from, direction, limit, versions, next) in [
        (1, Forward, 3, vec![1, 2, 3], Some(4)),
        (4, Forward, 100, vec![4, 5, 6, 7, 8, 9, 10], None),
        (8, Forward, 3, vec![8, 9, 10], None),
        (10, Backward, 3, vec![10, 9, 8], Some(7)),
        (u64::MAX, Backward, 2, vec![10, 9], Some(8)),
        (2, Backward, 100, vec![2, 1], None),
        (1, Backward, 1, vec![1], None),
    ] {
        let page = host
            .read_stream(&stream, Version(from), direction, limit)
            .await
            .unwrap();
        let found: Vec<u64> = page.events.iter().map(|event| event.version.0).collect();
        assert_eq!(found, versions, "{from} {direction:?} {limit}");
        assert_eq!((page.next.map(|it| it.0), page.version.0), (next, 10));
    }
}

async fn a_bound_ends_a_read_of_a_stream_in_both_directions(place: Place) {
    let host = filled(&place).await;
    let stream = build::stream("note-1");
    for (from, to, direction, limit, versions, next) in [
        (1, 3, Forward, 100, vec![1, 2, 3], None),
        (1, 3, Forward, 2, vec![1, 2], Some(3)),
        (1, 3, Forward, 3, vec![1, 2, 3], None),
        (3, 3, Forward, 100, vec![3], None),
        (4, 3, Forward, 100, vec![], None),
        (1, 0, Forward, 100, vec![], None),
        (9, 100, Forward, 100, vec![9, 10], None),
        (9, u64::MAX, Forward, 100, vec![9, 10], None),
        (1, u64::MAX, Forward, 1, vec![1], Some(2)),
        (u64::MAX, 3, Backward, 100, vec![3, 2, 1], None),
        (u64::MAX, 3, Backward, 2, vec![3, 2], Some(1)),
        (2, 3, Backward, 100, vec![2, 1], None),
        (u64::MAX, 0, Backward, 100, vec![], None),
        (u64::MAX, u64::MAX, Backward, 1, vec![10], Some(9)),
    ] {
        let range = Versions {
            from: Version(from),
            to: Some(Version(to)),
            direction,
        };
        let page = host.read_stream(&stream, range.from, range.direction, limit);
        let page = page.to(range.to).form(Form::Stored);
        let page = page.await.unwrap();
        let found: Vec<u64> = page.events.iter().map(|event| event.version.0).collect();
        assert_eq!(found, versions, "{range:?} {limit}");
        assert_eq!((page.next.map(|it| it.0), page.version.0), (next, 10));
    }
    let none = Versions {
        from: Version(1),
        to: Some(Version(1)),
        direction: Forward,
    };
    let missing = build::stream("note-2");
    let answer = host
        .read_stream(&missing, none.from, none.direction, 1)
        .to(none.to)
        .await;
    assert_eq!(answer.unwrap_err().code(), "stream-not-found");
}

/// Semantics 4.4.
async fn the_page_after_the_last_event_is_empty(place: Place) {
    let host = filled(&place).await;
    let head = host.log_head().await.unwrap();
    let (stream, all) = (build::stream("note-1"), Filter::default());
    let page = host.read_stream(&stream, Version(11), Forward, 5).await;
    let page = page.unwrap();
    assert_eq!((page.events.len(), page.next), (0, None));
    let page = host.read_log(head, Forward, 5, &all).await.unwrap();
    assert_eq!((page.events.len(), page.next, page.head), (0, None, head));
    // A bound that does not exist yet is one that the read does not reach.
    let read = host.read_stream(&stream, Version(11), Forward, 5);
    let page = read.to(Version(u64::MAX)).form(Form::Stored).await;
    assert_eq!(page.unwrap().events.len(), 0);
    let later = Filter {
        to: Some(Position(u64::MAX)),
        ..Filter::default()
    };
    let page = host.read_log(head, Forward, 5, &later).await.unwrap();
    assert_eq!(page.events.len(), 0);
}

/// The reader has read another history, and would miss the next events.
/// Semantics 4.4.
async fn a_place_after_the_end_is_refused(place: Place) {
    let host = filled(&place).await;
    let head = host.log_head().await.unwrap();
    let (stream, all) = (build::stream("note-1"), Filter::default());
    let categories = Filter {
        categories: Some(vec!["note".into()]),
        ..Filter::default()
    };
    for ahead in [1, 1_000, u64::MAX / 2, u64::MAX] {
        let from = Version(ahead.saturating_add(11));
        let refused = host.read_stream(&stream, from, Forward, 5).await;
        check_ahead(
            refused,
            "of stream note-1 does not exist, the last one is 10",
        );
        let after = Position(ahead.saturating_add(head.0));
        for filter in [&all, &categories] {
            let refused = host.read_log(after, Forward, 5, filter).await;
            check_ahead(refused, &format!("does not exist, the last one is {head}"));
        }
        let never = host.decided_by(quipu::model::Digest([1; 32]), after, 5);
        check_ahead(never.await, "position");
        let export = host.export(after).await.err().expect("an error");
        assert_eq!(export.code(), "bad-request");
        assert!(export.to_string().contains("does not exist"), "{export}");
        // Backward everything before the place is read.
        let page = host.read_stream(&stream, from, Backward, 5).await;
        assert_eq!(page.unwrap().events.len(), 5);
        let page = host.read_log(after, Backward, 5, &all).await.unwrap();
        assert_eq!(page.events.len(), 5);
    }
    let missing = build::stream("note-2");
    let answer = host.read_stream(&missing, Version(9), Forward, 5).await;
    assert_eq!(answer.unwrap_err().code(), "stream-not-found");
}

fn check_ahead<T>(answer: Result<T, Error>, said: &str) {
    let error = answer.err().expect("an error");
    assert_eq!(error.code(), "bad-request");
    assert!(error.to_string().contains(said), "{error}");
}

/// Semantics 4.4.
async fn paging_a_stream_never_skips_or_repeats(place: Place) {
    let host = filled(&place).await;
    let stream = build::stream("note-1");
    for limit in 1..=11 {
        for direction in [Forward, Backward] {
            let (mut versions, mut from) = (Vec::new(), Some(Version(u64::MAX)));
            if direction == Forward {
                from = Some(Version(1));
            }
            while let Some(at) = from {
                let page = host
                    .read_stream(&stream, at, direction, limit)
                    .await
                    .unwrap();
                assert!(page.events.len() <= limit);
                versions.extend(page.events.iter().map(|event| event.version.0));
                from = page.next;
            }
            check_order(versions, direction, &(1..=10).collect::<Vec<_>>());
        }
    }
}

fn check_order(mut found: Vec<u64>, direction: Direction, expected: &[u64]) {
    if direction == Backward {
        found.reverse();
    }
    assert_eq!(found, expected, "{direction:?}");
}

/// Semantics 4.4.
async fn paging_the_log_never_skips_or_repeats(place: Place) {
    let (mut store, mut all) = (place.open().await, Vec::new());
    for n in 0..5 {
        let items = [
            build::noted("note-1", Any, 2),
            build::noted(&format!("other-{n}"), Any, 1),
        ];
        for outcome in store.writer.commit(&items, None).await.unwrap() {
            let Outcome::Appended(appended) = outcome else {
                panic!("{outcome:?}")
            };
            all.extend(appended[0].positions.iter().map(|position| position.0));
        }
    }
    for limit in [1, 2, 3, 7, 14, 15, 16, 1_000] {
        for direction in [Forward, Backward] {
            let events = log::read(&*store.reader, direction, limit, &Filter::default()).await;
            let positions = events.iter().map(|event| event.position.0).collect();
            check_order(positions, direction, &all);
        }
    }
}

fn categories(names: &[&str]) -> Filter {
    Filter {
        categories: Some(names.iter().map(|name| Arc::from(*name)).collect()),
        ..Filter::default()
    }
}

fn types(names: &[&str]) -> Filter {
    Filter {
        types: Some(names.iter().map(|name| Name::new(name).unwrap()).collect()),
        ..Filter::default()
    }
}

fn prefix(prefix: &str) -> Filter {
    Filter {
        prefix: Some(prefix.into()),
        ..Filter::default()
    }
}

/// Semantics 4.2.
async fn a_filter_selects_by_category_type_and_prefix(place: Place) {
    let host = filled(&place).await;
    for name in ["note", "Note-1", "noté-1", "n%te-1", "note_1-x"] {
        host.append(&build::stream(name), build::append(build::events(1)))
            .await
            .unwrap();
    }
    let all = log::whole(&host).await;
    type Passes = fn(&RecordedEvent) -> bool;
    let both = Filter {
        types: types(&["type-1"]).types,
        ..categories(&["note"])
    };
    let cases: [(Filter, Passes); 9] = [
        (Filter::default(), |_| true),
        (categories(&["note"]), |it| it.stream.category() == "note"),
        (categories(&["note", "other", "none"]), |it| {
            ["note", "other"].contains(&it.stream.category())
        }),
        (types(&["type-0"]), |it| it.name.as_str() == "type-0"),
        (types(&["type-0", "type-1"]), |it| {
            it.name.as_str().starts_with("type-")
        }),
        (prefix("note-"), |it| {
            it.stream.as_str().starts_with("note-")
        }),
        (prefix("n%"), |it| it.stream.as_str().starts_with("n%")),
        (prefix("noté-1"), |it| it.stream.as_str() == "noté-1"),
        (both, |it| {
            it.stream.category() == "note" && it.name.as_str() == "type-1"
        }),
    ];
    for (filter, passes) in cases {
        for (direction, limit) in [(Forward, 2), (Forward, 100), (Backward, 3)] {
            let (mut found, mut after) = (Vec::new(), Some(Position(0)));
            if direction == Backward {
                after = Some(Position(u64::MAX));
            }
            while let Some(at) = after {
                let page = host.read_log(at, direction, limit, &filter).await.unwrap();
                assert_eq!(Some(page.head), all.last().map(|event| event.position));
                found.extend(page.events.iter().map(|event| event.position.0));
                after = page.next;
            }
            let expected = all.iter().filter(|it| passes(it)).map(|it| it.position.0);
            check_order(found, direction, &expected.collect::<Vec<_>>());
        }
    }
}

/// Semantics 4.2.
async fn an_empty_filter_is_refused(place: Place) {
    let host = filled(&place).await;
    for filter in [categories(&[]), types(&[]), prefix("")] {
        let answer = host.read_log(Position(0), Forward, 10, &filter).await;
        assert_eq!(answer.unwrap_err().code(), "bad-request", "{filter:?}");
    }
}

async fn pages_are_bounded(place: Place) {
    let host = place.host().await;
    let stream = build::stream("note-1");
    for _ in 0..3 {
        host.append(&stream, build::append(build::events(500)))
            .await
            .unwrap();
    }
    let page = host
        .read_stream(&stream, Version(1), Forward, usize::MAX)
        .await
        .unwrap();
    assert_eq!(
        (page.events.len(), page.next),
        (STREAM_PAGE_MAX, Some(Version(1_001)))
    );
    let page = host
        .read_log(Position(0), Forward, usize::MAX, &Filter::default())
        .await
        .unwrap();
    let last = page.events.last().map(|event| event.position);
    assert_eq!((page.events.len(), page.next), (LOG_PAGE_MAX, last));
    assert_eq!(log::of(&host, &stream).await.len(), 1_500);
    assert_eq!(log::whole(&host).await.len(), 1_500);
}

/// Semantics 4.3.
async fn a_reader_misses_nothing_while_others_write(place: Place) {
    let host = place.host().await;
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let host = host.clone();
            tokio::spawn(async move {
                for n in 0..150 {
                    let stream = build::stream(&format!("note-{}", (writer + n) % 5));
                    host.append(&stream, build::append(build::events(1 + n % 3)))
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    let (mut seen, mut after) = (Vec::new(), Position(0));
    while seen.len() < 4 * 300 {
        let page = host
            .read_log(after, Forward, 7, &Filter::default())
            .await
            .unwrap();
        after = page.events.last().map_or(after, |event| event.position);
        seen.extend(page.events);
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    log::check(&seen);
    assert_eq!(seen, log::whole(&host).await);
}

async fn an_event_is_found_by_its_position(place: Place) {
    let host = filled(&place).await;
    for event in log::whole(&host).await {
        assert_eq!(host.event(event.position).await.unwrap(), Some(event));
    }
    let head = host.log_head().await.unwrap();
    for nowhere in [0, head.0 + 1, u64::MAX] {
        let answer: Result<_, Error> = host.event(Position(nowhere)).await;
        assert_eq!(answer.unwrap(), None, "{nowhere}");
    }
}

/// Appends of all kinds to five streams: decided and raw, of one event and several, with and
/// without tags and metadata, and with bytes that are not text.
async fn mixed(host: &Host) {
    examples::deploy(host, examples::account()).await;
    let bytes = ContentType::new("application/octet-stream").unwrap();
    for n in 0..60_u8 {
        let mut events = build::events(usize::from(n % 3) + 1);
        if n % 2 == 0 {
            events[0].body = Body::new(bytes.clone(), vec![0, n, b'"', 0xff, 0]).unwrap();
        }
        if n % 4 == 0 {
            events[0].metadata = Some(Bytes::from(format!("{{\"n\":{n}}}")));
            events[0].tags = vec!["n:\"four\"".into(), "m:ü".into()];
        }
        let stream = ["note-1", "note-\"2\"", "other-\\3", "other-ü"][usize::from(n % 4)];
        let append = build::append(events);
        host.append(&build::stream(stream), append).await.unwrap();
        let account = build::stream(&format!("account-{}", n % 5));
        let command = if n < 5 {
            build::open_account()
        } else {
            build::deposit(n.into())
        };
        host.execute(&account, command).await.unwrap();
    }
    let note = build::stream("note-1");
    host.archive(&note, Context::default()).await.unwrap();
}

async fn an_event_is_the_same_in_a_long_page_and_in_a_page_of_one(place: Place) {
    let host = place.host().await;
    mixed(&host).await;
    let categories = |names: &[&str]| Some(names.iter().map(|name| (*name).into()).collect());
    let filters = [
        Filter::default(),
        Filter {
            categories: categories(&["account", "other"]),
            ..Filter::default()
        },
        Filter {
            types: Some(vec![Name::new("noted").unwrap()]),
            without_archived: true,
            ..Filter::default()
        },
        Filter {
            tags: Some(vec!["m:ü".into()]),
            ..Filter::default()
        },
        Filter {
            prefix: Some("note-\"".into()),
            ..Filter::default()
        },
    ];
    for filter in &filters {
        let many = host.read_log(Position(0), Forward, LOG_PAGE_MAX, filter);
        let many = many.await.unwrap().events;
        let (mut one_by_one, mut after) = (Vec::new(), Some(Position(0)));
        while let Some(at) = after {
            let page = host.read_log(at, Forward, 1, filter).await.unwrap();
            after = page.next;
            one_by_one.extend(page.events);
        }
        assert!(many.len() >= 15, "{filter:?}");
        assert_eq!(many, one_by_one, "{filter:?}");
    }
}
