//! Imports that do not fit the store are refused and change nothing.

use quipu::model::ExpectedVersion::Any;
use quipu::model::{Digest, NewEvent, Position, Timestamp, Version};
use quipu::store::{Decided, Error, Import, Outcome, StoredEvent};
use quipu_tests::build::given;
use quipu_tests::{Place, build, on_every_store};

use crate::export::{commit, filled, import, whole, with_module};

on_every_store! {
    invalid_events_are_refused_and_change_nothing,
    events_that_are_stored_already_are_refused,
    an_invalid_plan_is_refused,
}

/// A change that makes an export invalid.
type Spoils = fn(&mut Vec<StoredEvent>);

async fn invalid_events_are_refused_and_change_nothing(place: Place) {
    let cases: [(&str, Spoils); 20] = [
        ("a position twice", |it| it[3].position = it[2].position),
        ("a position that runs back", |it| {
            it[4].position = Position(1)
        }),
        ("position 0", |it| it[0].position = Position(0)),
        ("a position beyond JSON", |it| {
            it.last_mut().unwrap().position = Position(1 << 53)
        }),
        ("the largest position", |it| {
            it.last_mut().unwrap().position = Position(u64::MAX)
        }),
        ("a version that is missing", |it| it[1].version = Version(3)),
        ("a version twice", |it| it[1].version = Version(1)),
        ("version 0", |it| it[0].version = Version(0)),
        ("the largest version", |it| {
            it[0].version = Version(u64::MAX)
        }),
        ("an event left out", |it| _ = it.remove(3)),
        ("a commit without its first event", |it| _ = it.remove(0)),
        ("no commit", |it| it[0].commit = None),
        ("a commit within a commit", |it| {
            it[1].commit = it[0].commit.clone()
        }),
        ("an offset too far", |it| it[1].commit_offset = 2),
        ("the largest offset", |it| it[1].commit_offset = u64::MAX),
        ("a commit of no event", |it| {
            it[0].commit.as_mut().unwrap().events = 0
        }),
        ("a commit that is too short", |it| {
            it[0].commit.as_mut().unwrap().events = 1
        }),
        ("time that runs back", |it| it[5].recorded_at = Timestamp(0)),
        ("an id twice", |it| {
            it[0].event = given(1, "1");
            it[1].event = given(1, "1");
        }),
        ("a module that is not there", |it| {
            it[0].commit.as_mut().unwrap().decided = Some(Decided {
                module: Digest([8; 32]),
                fuel: 1,
            });
        }),
    ];
    let source_place = place.another();
    let source = filled(&source_place).await;
    let mut events = whole(&source).await;
    // The commit of six events would hide the wrong time.
    events.truncate(5);
    let mut more = build::commit(None, build::events(1));
    more.plan = 1;
    let more = build::item(None, vec![build::write("note-1", Any, more)]);
    let mut source = source;
    commit(&mut source, &[more]).await;
    let last = whole(&source).await.pop().unwrap();
    events.push(last);
    let mut store = with_module(&place).await;
    for (what, spoil) in cases {
        let mut spoilt = events.clone();
        spoil(&mut spoilt);
        let error = import(&mut store, spoilt).await;
        assert!(matches!(error, Err(Error::Import(_))), "{what}: {error:?}");
        assert!(whole(&store).await.is_empty(), "{what}");
    }
    import(&mut store, events.clone()).await.unwrap();
    assert_eq!(whole(&store).await, events);
}

async fn events_that_are_stored_already_are_refused(place: Place) {
    let source_place = place.another();
    let source = filled(&source_place).await;
    let events = whole(&source).await;
    let mut store = with_module(&place).await;
    import(&mut store, events.clone()).await.unwrap();
    let next = |stream: &str, id: Option<&str>, event: NewEvent| {
        let of = events.iter().filter(|it| it.stream.as_str() == stream);
        let last = of.last().unwrap();
        let mut commit = events[0].commit.clone().unwrap();
        commit.command = id.map(build::record);
        commit.events = 1;
        StoredEvent {
            event,
            version: last.version.next(),
            position: Position(9_000),
            commit_offset: 0,
            commit: Some(commit),
            ..last.clone()
        }
    };
    let continued = |offset: u64| StoredEvent {
        commit_offset: offset,
        commit: None,
        ..next("note-1", None, build::event("noted", "1"))
    };
    let noted = || build::event("noted", "1");
    let parts = [
        events.clone(),
        vec![next("note-1", Some("decide"), noted())],
        vec![next("note-2", None, given(3, "3"))],
        // Commits that are complete already, or whose first event is missing.
        vec![continued(3)],
        vec![continued(1)],
        vec![continued(5)],
        vec![continued(6)],
    ];
    // These are after the refused part, because a position that was refused need not be free later.
    for (part, at) in parts.into_iter().zip((1_000..).step_by(1_000)) {
        let context = format!("{part:?}");
        // The first of these events would fit.
        let begin = StoredEvent {
            stream: build::stream("fits-1"),
            version: Version(1),
            position: Position(at - 1),
            ..next("note-1", None, noted())
        };
        let moved = part.into_iter().map(|event| StoredEvent {
            position: Position(event.position.0 % 1_000 + at),
            ..event
        });
        let error = import(&mut store, [begin].into_iter().chain(moved).collect()).await;
        assert!(
            matches!(error, Err(Error::Import(_))),
            "{context}: {error:?}"
        );
        assert_eq!(whole(&store).await, events, "{context}");
    }
    // Ids of other streams are different ids.
    import(&mut store, vec![next("note-2", Some("decide"), noted())])
        .await
        .unwrap();
    let outcomes = commit(&mut store, &[build::noted("note-2", build::exact(5), 1)]).await;
    assert!(matches!(outcomes[0], Outcome::Appended(_)), "{outcomes:?}");
}

async fn an_invalid_plan_is_refused(place: Place) {
    let source_place = place.another();
    let source = filled(&source_place).await;
    let deployment = source.modules.deployments().await.unwrap().remove(0);
    let mut store = with_module(&place).await;
    let other = |change: fn(&mut quipu::store::Deployment)| {
        let mut deployment = deployment.clone();
        change(&mut deployment);
        Import::Plan(Box::new(deployment))
    };
    for unfit in [
        other(|it| it.plan = 0),
        other(|it| it.plan = 2),
        other(|it| it.plan = u64::MAX),
        other(|it| it.digest = Digest([8; 32])),
        Import::Archived(build::stream("none-1"), Timestamp(1)),
    ] {
        let error = store.writer.import(&unfit).await;
        assert!(
            matches!(error, Err(Error::Import(_))),
            "{unfit:?}: {error:?}"
        );
    }
    assert!(store.modules.deployments().await.unwrap().is_empty());
    store.writer.import(&other(|_| ())).await.unwrap();
    let error = store.writer.import(&other(|_| ())).await;
    assert!(matches!(error, Err(Error::Import(_))), "{error:?}");
    assert_eq!(store.modules.deployments().await.unwrap(), [deployment]);
}
