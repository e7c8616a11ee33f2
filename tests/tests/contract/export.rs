//! Exports: all data that a store has about its events, imported into another store.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quipu::model::ExpectedVersion::{Any, NoStream};
use quipu::model::{Body, ContentType, Digest, NewEvent, Position, Timestamp, Version};
use quipu::store::Direction::{Backward, Forward};
use quipu::store::{
    Activation, Decided, Error, Filter, Import, Item, Outcome, PreflightSummary, ProjectionPlan,
    Store, StoredEvent, SummaryObjection,
};
use quipu_tests::build::{given, tagged};
use quipu_tests::{Place, build, log, on_every_store};

on_every_store! {
    an_export_is_complete_and_in_order,
    every_store_imports_an_export_unchanged,
    a_commit_may_be_split_between_two_parts,
    gaps_between_positions_are_preserved,
    a_store_takes_appends_after_an_import,
    command_and_event_ids_are_known_after_an_import,
    the_plan_and_archived_streams_are_imported,
    an_import_wakes_readers,
    an_import_survives_a_restart,
}

/// The component that decided; its bytes don't matter to a store.
pub const MODULE: Digest = Digest([7; 32]);

pub async fn commit(store: &mut Store, items: &[Item]) -> Vec<Outcome> {
    store.writer.commit(items, None).await.unwrap()
}

pub async fn with_module(place: &Place) -> Store {
    let store = place.open().await;
    store
        .modules
        .put(MODULE, b"module", Timestamp(1))
        .await
        .unwrap();
    store
}

fn event(content_type: &str, bytes: Vec<u8>, metadata: Option<&str>) -> NewEvent {
    let content_type = ContentType::new(content_type).unwrap();
    NewEvent {
        body: Body::new(content_type, bytes).unwrap(),
        metadata: metadata.map(|text| Bytes::copy_from_slice(text.as_bytes())),
        schema_version: 3,
        ..tagged(&["é:\"1\"", "x"])
    }
}

/// The report of a preflight.
fn preflight_summary() -> PreflightSummary {
    PreflightSummary {
        passes: true,
        plan: 0,
        until: 7,
        head: 9,
        decided: 4,
        same: 3,
        objections: vec![SummaryObjection {
            kind: "rejected".to_owned(),
            count: 1,
            blocks: false,
            text: "note \"é\": 1 of 4 are rejected".to_owned(),
        }],
    }
}

/// A store with some data of every kind.
pub async fn filled(place: &Place) -> Store {
    let mut store = with_module(place).await;
    let mut decided = build::commit(Some("decide"), build::events(3));
    decided.decided = Some(Decided {
        module: MODULE,
        fuel: 12_345,
    });
    decided.plan = 1;
    decided.recorded_at = Timestamp(2_000);
    let record = Arc::make_mut(decided.command.as_mut().unwrap());
    record.metadata = Some(Bytes::from_static(b"{\"by\":\"ann\"}"));
    record.context.principal = Some("ann".into());
    decided.events[1].metadata = Some(Bytes::from_static(b"{ \"own\" :1}"));
    let odd = vec![
        event("application/x-thing", (0..=255).collect(), Some("{}")),
        event("text/plain; charset=latin1", vec![], None),
        event(
            "application/json",
            b" [1.0e2, \"\\u00e9\"]\n".to_vec(),
            Some("{\"a\": 1 }"),
        ),
    ];
    let activation = Activation {
        name: "notes".to_owned(),
        digest: MODULE,
        others: Vec::new(),
        categories: vec!["note".to_owned(), "é \"'".to_owned()],
        trusted: vec![Digest([8; 32]), Digest([9; 32])],
        projections: ProjectionPlan {
            owners: BTreeMap::from([("notes".to_owned(), "other".to_owned())]),
            ..ProjectionPlan::default()
        },
        turns: Vec::new(),
        plan: 0,
        at: Timestamp(9),
        by: Some("ann".to_owned()),
        preflight: Some(preflight_summary()),
    };
    let writes = |stream: &str, commit| build::write(stream, Any, commit);
    let items = [
        build::noted("note-1", NoStream, 2),
        build::item(None, vec![writes("note-1", decided)]),
        build::item(
            None,
            vec![
                writes("é \"'-1", build::commit(Some("a"), odd)),
                writes(
                    "note-2",
                    build::commit(Some("a"), vec![given(1, "1"), given(2, "2")]),
                ),
            ],
        ),
        build::item(
            None,
            vec![writes(
                "note-2",
                build::commit(None, vec![given(3, "3"), build::event("noted", "4")]),
            )],
        ),
        build::noted("note-3", Any, 1),
        build::mark("note-3", true),
        Item::Activate(Box::new(activation)),
    ];
    for outcome in commit(&mut store, &items).await {
        assert!(
            matches!(
                outcome,
                Outcome::Appended(_) | Outcome::Activated(1) | Outcome::Marked(Some(_))
            ),
            "{outcome:?}"
        );
    }
    store
}

/// An export in pages of this number of events.
async fn exported(store: &Store, limit: usize) -> Vec<Vec<StoredEvent>> {
    let (mut pages, mut after) = (Vec::new(), Position(0));
    loop {
        let page = store.reader.read_stored(after, limit).await.unwrap();
        assert_eq!(page.head, store.reader.log_head().await.unwrap());
        let Some(last) = page.events.last() else {
            return pages;
        };
        assert!(page.events.len() <= limit);
        after = last.position;
        pages.push(page.events);
    }
}

pub async fn whole(store: &Store) -> Vec<StoredEvent> {
    exported(store, 1_000).await.concat()
}

/// The content of a store with some data of every kind.
async fn exported_elsewhere(place: &Place) -> Vec<StoredEvent> {
    let place = place.another();
    whole(&filled(&place).await).await
}

pub async fn import(store: &mut Store, events: Vec<StoredEvent>) -> Result<(), Error> {
    store.writer.import(&Import::Events(events)).await
}

/// Stores of every kind, with the module that the export refers to.
async fn targets() -> Vec<(Place, Store)> {
    let mut targets = Vec::new();
    for place in [Place::sqlite(), Place::postgres()] {
        let store = with_module(&place).await;
        targets.push((place, store));
    }
    targets
}

/// Checks that both stores show the same to every reader.
async fn check_equal(store: &Store, other: &Store) {
    assert_eq!(whole(store).await, whole(other).await);
    let all = Filter::default();
    let log = log::read(&*store.reader, Forward, 1_000, &all).await;
    assert_eq!(log, log::read(&*other.reader, Forward, 1_000, &all).await);
    for stream in log::check(&log).keys() {
        let head = store.reader.head(stream).await.unwrap();
        let other_head = other.reader.head(stream).await.unwrap();
        let summary =
            |head: Option<quipu::store::Head>| head.map(|it| (it.version, it.recorded_at));
        assert_eq!(summary(head), summary(other_head));
        for direction in [Forward, Backward] {
            let from = Version(if direction == Forward { 1 } else { u64::MAX });
            let page = store.reader.read_stream(stream, from, direction, 100).await;
            let other_page = other.reader.read_stream(stream, from, direction, 100).await;
            assert_eq!(
                page.unwrap().unwrap().events,
                other_page.unwrap().unwrap().events
            );
        }
    }
}

async fn an_export_is_complete_and_in_order(place: Place) {
    let store = filled(&place).await;
    let events = whole(&store).await;
    let all = Filter::default();
    let log = log::read(&*store.reader, Forward, 1_000, &all).await;
    assert_eq!(events.len(), log.len());
    for (stored, seen) in events.iter().zip(&log) {
        assert_eq!(
            (
                &stored.stream,
                stored.version,
                stored.position,
                stored.recorded_at
            ),
            (&seen.stream, seen.version, seen.position, seen.recorded_at)
        );
        let event = &stored.event;
        assert_eq!(
            (event.id, &event.name, &event.body),
            (seen.id, &seen.name, &seen.body)
        );
        assert_eq!(
            (event.schema_version, &event.tags),
            (seen.schema_version, &seen.tags)
        );
        assert_eq!(stored.commit.is_some(), stored.commit_offset == 0);
    }
    let decided = events
        .iter()
        .find(|it| it.commit.as_ref().is_some_and(|it| it.decided.is_some()));
    let commit = decided.unwrap().commit.as_ref().unwrap();
    assert_eq!(
        commit.decided,
        Some(Decided {
            module: MODULE,
            fuel: 12_345
        })
    );
    assert_eq!((commit.plan, commit.events), (1, 3));
    let command = commit.command.as_ref().unwrap();
    assert_eq!(command.metadata.as_deref(), Some(&b"{\"by\":\"ann\"}"[..]));
    // The event's own metadata, without the command's.
    let own = events.iter().filter_map(|it| it.event.metadata.as_deref());
    assert!(own.into_iter().any(|it| it == b"{ \"own\" :1}"));
    let given: Vec<bool> = events.iter().map(|it| it.event.id_is_callers).collect();
    assert_eq!(given.iter().filter(|it| **it).count(), 3);
    for limit in [1, 2, 5, 14] {
        assert_eq!(exported(&store, limit).await.concat(), events, "{limit}");
    }
    let none = store
        .reader
        .read_stored(Position(u64::MAX), 5)
        .await
        .unwrap();
    assert!(none.events.is_empty());
}

async fn every_store_imports_an_export_unchanged(place: Place) {
    let store = filled(&place).await;
    for (_place, mut target) in targets().await {
        import(&mut target, whole(&store).await).await.unwrap();
        check_equal(&store, &target).await;
        import(&mut target, Vec::new()).await.unwrap();
        check_equal(&store, &target).await;
    }
}

async fn a_commit_may_be_split_between_two_parts(place: Place) {
    let store = filled(&place).await;
    for limit in 1..=5 {
        for (_place, mut target) in targets().await {
            for part in exported(&store, limit).await {
                import(&mut target, part).await.unwrap();
            }
            check_equal(&store, &target).await;
        }
    }
}

/// The same events with gaps between their positions: the list gives the number of positions to
/// skip before each event, and is repeated from its start.
fn with_holes(mut events: Vec<StoredEvent>, holes: &[u64]) -> Vec<StoredEvent> {
    let mut at = 0;
    for (event, hole) in events.iter_mut().zip(holes.iter().cycle()) {
        at += 1 + hole;
        event.position = Position(at);
    }
    events
}

async fn gaps_between_positions_are_preserved(place: Place) {
    let events = exported_elsewhere(&place).await;
    for holes in [
        &[0, 1][..],
        &[3],
        &[0, 0, 0, 0, 7],
        &[250_000],
        &[1 << 40, 0, 0],
    ] {
        let events = with_holes(events.clone(), holes);
        let place = place.another();
        let mut target = with_module(&place).await;
        for part in events.chunks(4) {
            import(&mut target, part.to_vec()).await.unwrap();
        }
        assert_eq!(whole(&target).await, events, "{holes:?}");
        assert_eq!(exported(&target, 1).await.concat(), events);
        let by_tag = Filter {
            tags: Some(vec!["x".into()]),
            ..Filter::default()
        };
        for limit in [1, 3, 100] {
            for (filter, expected) in [
                (Filter::default(), &events[..]),
                (by_tag.clone(), &events[5..8]),
            ] {
                let positions: Vec<_> = expected.iter().map(|it| it.position).collect();
                let seen = |events: Vec<quipu::model::RecordedEvent>| -> Vec<Position> {
                    events.iter().map(|it| it.position).collect()
                };
                let found = seen(log::read(&*target.reader, Forward, limit, &filter).await);
                assert_eq!(found, positions, "{holes:?}");
                let mut back = seen(log::read(&*target.reader, Backward, limit, &filter).await);
                back.reverse();
                assert_eq!(back, positions, "{holes:?}");
            }
        }
        // Starting from a position within a gap.
        let after = Position(events[6].position.0 - 1);
        let page = target
            .reader
            .read_log(after, Forward, 1, &Filter::default())
            .await
            .unwrap();
        assert_eq!(page.events[0].position, events[6].position);
    }
}

async fn a_store_takes_appends_after_an_import(place: Place) {
    let events = with_holes(exported_elsewhere(&place).await, &[2, 0]);
    let mut store = with_module(&place).await;
    commit(&mut store, &[build::noted("own-1", Any, 1)]).await;
    let first = whole(&store).await;
    let shift = first[0].position.0;
    let moved = events.iter().cloned().map(|mut event| {
        event.position.0 += shift;
        event
    });
    let moved: Vec<_> = moved.collect();
    import(&mut store, moved.clone()).await.unwrap();
    let items = [
        build::noted("note-1", build::exact(5), 2),
        build::noted("own-1", build::exact(1), 1),
        build::noted("new-1", NoStream, 1),
        build::noted("note-2", NoStream, 1),
    ];
    let outcomes = commit(&mut store, &items).await;
    for outcome in &outcomes[..3] {
        let Outcome::Appended(appended) = outcome else {
            panic!("{outcome:?}")
        };
        assert!(appended[0].positions[0] > moved[moved.len() - 1].position);
    }
    assert!(
        matches!(
            outcomes[3],
            Outcome::WrongVersion {
                found: Version(4),
                ..
            }
        ),
        "{outcomes:?}"
    );
    let all = whole(&store).await;
    assert_eq!(all[..1], first[..]);
    assert_eq!(all[1..=moved.len()], moved[..]);
    assert_eq!(all.len(), 1 + moved.len() + 4);
    log::check(&log::read(&*store.reader, Forward, 3, &Filter::default()).await);
}

async fn command_and_event_ids_are_known_after_an_import(place: Place) {
    let source_place = place.another();
    let mut source = filled(&source_place).await;
    let mut store = with_module(&place).await;
    import(&mut store, whole(&source).await).await.unwrap();
    let repeated = |events| {
        build::item(
            None,
            vec![build::write("note-2", Any, build::commit(None, events))],
        )
    };
    let requests = [
        build::check("note-1", None, Some("decide")),
        build::check("é \"'-1", None, Some("a")),
        build::check("note-2", None, Some("a")),
        repeated(vec![given(1, "1"), given(2, "2")]),
        repeated(vec![given(1, "1")]),
        repeated(vec![given(3, "\"other\"")]),
        build::noted("note-3", Any, 1),
    ];
    let shape = |outcomes: Vec<Outcome>| format!("{outcomes:?}");
    let there = shape(commit(&mut store, &requests[..6]).await);
    assert_eq!(there, shape(commit(&mut source, &requests[..6]).await));
    for part in [
        "Known([Some",
        "Repeated([Some",
        "PartialDuplicate",
        "EventIdReused",
    ] {
        assert!(there.contains(part), "{there}");
    }
    // New events can be appended after the import.
    let outcomes = commit(&mut store, &requests[6..]).await;
    assert!(matches!(outcomes[0], Outcome::Appended(_)), "{outcomes:?}");
}

async fn the_plan_and_archived_streams_are_imported(place: Place) {
    let source_place = place.another();
    let source = filled(&source_place).await;
    let mut store = with_module(&place).await;
    for deployment in source.modules.deployments().await.unwrap() {
        store
            .writer
            .import(&Import::Plan(Box::new(deployment)))
            .await
            .unwrap();
    }
    import(&mut store, whole(&source).await).await.unwrap();
    let gone = build::stream("note-3");
    let archived = Import::Archived(gone.clone(), Timestamp(77));
    for _ in 0..2 {
        store.writer.import(&archived).await.unwrap();
    }
    assert_eq!(
        store.modules.deployments().await.unwrap(),
        source.modules.deployments().await.unwrap()
    );
    let filter = quipu::store::StreamFilter {
        archived: quipu::store::ArchivedStreams::Only,
        ..Default::default()
    };
    let page = store.reader.streams(None, 10, &filter).await.unwrap();
    let listed: Vec<_> = page
        .streams
        .iter()
        .map(|it| (&it.stream, it.archived_at))
        .collect();
    assert_eq!(listed, [(&gone, Some(Timestamp(77)))]);
    assert!(store.reader.head(&gone).await.unwrap().unwrap().archived);
    // Decisions made for the category before that are outdated; the next plan is 2.
    let mut decided = build::commit(None, build::events(1));
    decided.plan = 0;
    let activation = Activation {
        name: "other".to_owned(),
        digest: MODULE,
        others: Vec::new(),
        categories: vec!["other".to_owned()],
        trusted: Vec::new(),
        projections: ProjectionPlan::default(),
        turns: Vec::new(),
        plan: 1,
        at: Timestamp(1),
        by: None,
        preflight: None,
    };
    let items = [
        build::item(None, vec![build::write("note-1", Any, decided)]),
        build::noted("note-3", Any, 1),
        Item::Activate(Box::new(activation)),
    ];
    let outcomes = commit(&mut store, &items).await;
    assert!(matches!(outcomes[0], Outcome::PlanMoved), "{outcomes:?}");
    assert!(matches!(outcomes[2], Outcome::Activated(2)), "{outcomes:?}");
    let mut late = build::commit(None, build::events(1));
    late.plan = 9;
    let item = build::item(None, vec![build::write("note-3", Any, late)]);
    let outcomes = commit(&mut store, &[item]).await;
    assert!(matches!(outcomes[0], Outcome::Archived(_)), "{outcomes:?}");
}

async fn an_import_wakes_readers(place: Place) {
    let events = exported_elsewhere(&place).await;
    let mut store = with_module(&place).await;
    store.wakes.log.mark_unchanged();
    import(&mut store, events).await.unwrap();
    assert!(store.wakes.log.has_changed().unwrap());
}

async fn an_import_survives_a_restart(place: Place) {
    let events = with_holes(exported_elsewhere(&place).await, &[1]);
    let (first, second) = events.split_at(7);
    for part in [first, second] {
        let mut store = with_module(&place).await;
        import(&mut store, part.to_vec()).await.unwrap();
        store.writer.close().await.unwrap();
    }
    let mut store = place.open().await;
    assert_eq!(whole(&store).await, events);
    commit(&mut store, &[build::noted("note-1", build::exact(5), 1)]).await;
    assert_eq!(whole(&store).await.len(), events.len() + 1);
}
