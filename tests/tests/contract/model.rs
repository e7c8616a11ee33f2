//! Random batches and reads, compared with a plain model of a store.

use std::collections::HashSet;

use quipu::model::ExpectedVersion::{Any, NoStream, StreamExists};
use quipu::model::{ExpectedVersion, NewEvent, Position, RecordedEvent, Version};
use quipu::store::Direction::{Backward, Forward};
use quipu::store::{ArchivedStreams, Direction, Filter, Item, Outcome, Store, StreamFilter, Write};
use quipu_tests::{Place, build, log, on_every_store, seed};
use rand::Rng;
use rand::rngs::StdRng;

use crate::plain::{Model, Seen};

on_every_store! {
    every_outcome_and_every_read_equals_the_model,
}

const BATCHES: usize = 60;
const STREAMS: [&str; 6] = ["a", "a-1", "a-2", "b-1", "ab-1", "é-1"];
const TAGS: [&str; 2] = ["x:1", "y:2"];
const COMMANDS: usize = 25;
const EVENTS: u128 = 40;

async fn every_outcome_and_every_read_equals_the_model(place: Place) {
    for seed in seed::seeds(12) {
        run(&place.another(), seed).await;
    }
}

async fn run(place: &Place, seed: u64) {
    let mut random = seed::random(seed);
    let mut store = place.open().await;
    let mut model = Model::default();
    for _ in 0..BATCHES {
        let items: Vec<Item> = (0..random.random_range(1..=6))
            .map(|_| some_item(&mut random, &model))
            .collect();
        let expected = model.commit(&items);
        let outcomes = store.writer.commit(&items, None).await.unwrap();
        let seen: Vec<Seen> = items
            .iter()
            .zip(&outcomes)
            .map(|(item, it)| shape(item, it))
            .collect();
        assert_eq!(seen, expected, "{items:#?}");
        model.take_positions(&items, &outcomes);
        check_reads(&mut random, &store, &model).await;
        if random.random_ratio(1, 12) {
            store.writer.close().await.unwrap();
            store = place.open().await;
        }
    }
}

fn some_item(random: &mut StdRng, model: &Model) -> Item {
    let stream = STREAMS[random.random_range(0..STREAMS.len())];
    match random.random_range(0..20) {
        0..3 => build::mark(stream, random.random()),
        3 => some_truncation(random, model, stream),
        4..6 => {
            let version = model.version(stream);
            let version = random.random_bool(0.7).then(|| near(random, version));
            let id = random.random_bool(0.5).then(|| command_id(random));
            build::check(stream, version, id.as_deref())
        }
        _ => build::item(None, some_writes(random, model)),
    }
}

fn some_truncation(random: &mut StdRng, model: &Model, stream: &str) -> Item {
    let version = model.version(stream).max(1);
    let before = random.random_range(1..=version);
    match random.random_bool(0.6) {
        true => build::truncate(stream, before, random.random_range(before..=version)),
        false => build::whole(stream),
    }
}

fn some_writes(random: &mut StdRng, model: &Model) -> Vec<Write> {
    let mut streams = STREAMS.to_vec();
    let count = if random.random_bool(0.7) {
        1
    } else {
        random.random_range(2..=4)
    };
    let id = random.random_bool(0.3).then(|| command_id(random));
    let writes = (0..count).map(|_| {
        let stream = streams.swap_remove(random.random_range(0..streams.len()));
        let events = some_events(random, model, stream);
        let id = id.as_deref().filter(|_| !events.is_empty());
        build::write(
            stream,
            some_version(random, model, stream),
            build::commit(id, events),
        )
    });
    writes.collect()
}

fn some_events(random: &mut StdRng, model: &Model, stream: &str) -> Vec<NewEvent> {
    if random.random_bool(0.15)
        && let Some(again) = model.some_commit(stream, random.random_range(0..100))
    {
        return again;
    }
    let mut ids = HashSet::new();
    let count = [0, 1, 1, 1, 2, 3][random.random_range(0..6)];
    let event = |_| {
        let id = random.random_range(0..EVENTS);
        let mut event = if random.random_bool(0.3) && ids.insert(id) {
            // Mostly the same content under an id.
            let content = if random.random_bool(0.9) { id } else { 99 };
            build::given(id, &content.to_string())
        } else {
            let name = ["noted", "seen"][random.random_range(0..2)];
            build::event(name, &random.random_range(0..9).to_string())
        };
        if random.random_bool(0.4) {
            event.tags = build::tagged(&[TAGS[random.random_range(0..2)]]).tags;
        }
        event
    };
    (0..count).map(event).collect()
}

fn command_id(random: &mut StdRng) -> String {
    format!("id-{}", random.random_range(0..COMMANDS))
}

fn near(random: &mut StdRng, version: u64) -> u64 {
    (version + random.random_range(0..3)).saturating_sub(1)
}

fn some_version(random: &mut StdRng, model: &Model, stream: &str) -> ExpectedVersion {
    match random.random_range(0..10) {
        0 => NoStream,
        1 => StreamExists,
        2..5 => build::exact(near(random, model.version(stream))),
        _ => Any,
    }
}

/// The visible part of an outcome, in the terms of the model.
fn shape(item: &Item, outcome: &Outcome) -> Seen {
    let commits = |known: &[Option<std::sync::Arc<quipu::store::KnownCommit>>]| {
        let ids = known.iter().map(|known| {
            let events = &known.as_ref()?.events;
            Some((events[0].version.0, events.iter().map(|it| it.id).collect()))
        });
        ids.collect()
    };
    match outcome {
        Outcome::Appended(appended) => {
            let places = appended
                .iter()
                .map(|it| (it.first_version.0, it.positions.len()));
            Seen::Appended(places.collect())
        }
        Outcome::Known(known) => Seen::Known(commits(known)),
        Outcome::Repeated(known) => Seen::Repeated(commits(known)),
        Outcome::EventIdReused(stream, id) => Seen::EventIdReused(stream.to_string(), *id),
        Outcome::PartialDuplicate(stream, id) => Seen::PartialDuplicate(stream.to_string(), *id),
        Outcome::WrongVersion {
            stream,
            expected,
            found,
        } => Seen::WrongVersion(stream.to_string(), *expected, found.0),
        Outcome::Archived(stream) => Seen::Archived(stream.to_string()),
        Outcome::Holds(version) => {
            let has_version = matches!(item, Item::Check(check) if check.version.is_some());
            Seen::Holds(has_version.then_some(version.0))
        }
        Outcome::RunDead => Seen::RunDead,
        Outcome::Again => Seen::Again,
        Outcome::Marked(position) => Seen::Marked(position.is_some()),
        Outcome::NoStream(stream) => Seen::NoStream(stream.to_string()),
        Outcome::PlanMoved
        | Outcome::Activated(_)
        | Outcome::Unprojected(_)
        | Outcome::NotSettled(_) => panic!("{outcome:?}"),
    }
}

async fn check_reads(random: &mut StdRng, store: &Store, model: &Model) {
    let reader = &*store.reader;
    assert_eq!(reader.log_head().await.unwrap(), model.head());
    let direction = if random.random() { Forward } else { Backward };
    let limit = random.random_range(1..=20);

    let stream = STREAMS[random.random_range(0..STREAMS.len())];
    let from = random.random_range(1..=model.version(stream) + 1);
    let found = stream_read(store, stream, from, direction, limit).await;
    let found: Vec<_> = found
        .iter()
        .map(|it| (it.id, it.version.0, it.position))
        .collect();
    let expected = model.stream(stream, from, direction);
    assert_eq!(found, expected, "{stream} {from} {direction:?} {limit}");

    let head = reader.head(&build::stream(stream)).await.unwrap();
    let head = head.map_or((0, 0), |it| (it.version.0, it.truncated_before.0));
    assert_eq!(
        head,
        (model.version(stream), model.truncated_before(stream)),
        "{stream}"
    );
    let anchors = store.snapshots.anchors(None, None, 100).await.unwrap();
    let anchors: Vec<_> = anchors
        .iter()
        .map(|it| (it.stream.to_string(), it.before.0, it.snapshot.version.0))
        .collect();
    assert_eq!(anchors, model.anchors());

    let filter = some_filter(random);
    let found = log::read(reader, direction, limit, &filter).await;
    let found: Vec<_> = found
        .iter()
        .map(|it| (it.id, it.version.0, it.position))
        .collect();
    assert_eq!(
        found,
        model.log(&filter, direction),
        "{filter:?} {direction:?} {limit}"
    );

    let filter = StreamFilter {
        category: random
            .random_bool(0.5)
            .then(|| ["a", "b", "é", "ab", "$streams"][random.random_range(0..5)].into()),
        archived: [
            ArchivedStreams::Without,
            ArchivedStreams::With,
            ArchivedStreams::Only,
        ][random.random_range(0..3)],
    };
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = reader
            .streams(after.as_deref(), limit, &filter)
            .await
            .unwrap();
        found.extend(
            page.streams
                .iter()
                .map(|it| (it.stream.to_string(), it.version.0)),
        );
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, model.streams(&filter), "{filter:?} {limit}");
}

async fn stream_read(
    store: &Store,
    stream: &str,
    from: u64,
    direction: Direction,
    limit: usize,
) -> Vec<RecordedEvent> {
    let stream = build::stream(stream);
    let (mut events, mut next) = (Vec::new(), Some(Version(from)));
    while let Some(from) = next {
        let page = store
            .reader
            .read_stream(&stream, from, direction, limit)
            .await
            .unwrap();
        let Some(page) = page else { break };
        assert!(page.events.len() <= limit);
        events.extend(page.events);
        next = page.next;
    }
    events
}

fn some_filter(random: &mut StdRng) -> Filter {
    let mut filter = Filter::default();
    if random.random_bool(0.3) {
        let categories = ["a", "b", "é", "ab", "none"];
        filter.categories = Some(vec![
            categories[random.random_range(0..5)].into(),
            "b".into(),
        ]);
    }
    if random.random_bool(0.3) {
        let name = ["noted", "seen", "archived"][random.random_range(0..3)];
        filter.types = Some(vec![quipu::model::Name::new(name).unwrap()]);
    }
    if random.random_bool(0.2) {
        filter.prefix = Some(["a", "a-", "é", "$"][random.random_range(0..4)].into());
    }
    if random.random_bool(0.3) {
        filter.tags = Some(
            TAGS[..random.random_range(1..=2)]
                .iter()
                .map(|it| (*it).into())
                .collect(),
        );
    }
    filter.without_archived = random.random_bool(0.3);
    if random.random_bool(0.2) {
        filter.not_categories = Some(vec![["a", "é", "none"][random.random_range(0..3)].into()]);
    }
    if random.random_bool(0.2) {
        let name = ["noted", "seen"][random.random_range(0..2)];
        filter.not_types = Some(vec![quipu::model::Name::new(name).unwrap()]);
    }
    if random.random_bool(0.2) {
        let prefix = ["a", "b-1", "é", "$"][random.random_range(0..4)];
        filter.not_prefixes = Some(vec![prefix.into(), "none".into()]);
    }
    if random.random_bool(0.2) {
        filter.not_tags = Some(vec![TAGS[random.random_range(0..2)].into()]);
    }
    if random.random_bool(0.2) {
        filter.to = Some(Position(random.random_range(0..60)));
    }
    filter
}
