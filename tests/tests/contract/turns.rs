//! Semantics 9.9 and 10.3: builds that become inline with an activation, or stop being inline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quipu::model::ExpectedVersion::Any;
use quipu::model::{Digest, Lifecycle, OnError, Position, Settings, Timestamp};
use quipu::store::{
    BatchOutcome, Build, BuildBatch, BuildId, Error, FailedEvent, Import, InlineBuild, Item,
    Outcome, ProjectionPlan, Role, Store, Subject, Turn,
};
use quipu_tests::counting::{Counting, Settling, all, counts, writes};
use quipu_tests::{Place, build, on_every_store};

use crate::export::{MODULE, commit, with_module};
use crate::inline::{self, begin};

on_every_store! {
    missing_events_are_folded_when_a_build_becomes_inline,
    a_build_with_parked_events_does_not_become_inline,
    a_build_that_lags_too_far_does_not_become_inline,
    only_the_active_build_becomes_inline,
    becoming_inline_takes_a_build_from_its_owner,
    a_detached_build_has_its_checkpoint_at_the_end_of_the_log,
    turns_are_applied_in_order_and_all_or_nothing,
    a_switch_can_be_rolled_back,
    turns_checked_against_another_plan_are_not_applied,
    turns_must_be_the_only_item_of_their_batch,
    an_activation_records_its_projection_settings,
    imports_are_refused_while_a_build_is_inline,
    appends_are_outdated_when_an_inline_projection_of_their_category_changes,
    a_change_for_every_category_survives_a_restart,
}

const LEASE: Duration = Duration::from_secs(100);

fn any(_: &str) -> bool {
    true
}

/// A store with events, and an active build that has processed some of them.
async fn with_lag(place: &Place, seen: usize) -> (Store, BuildId) {
    let mut store = with_module(place).await;
    let build = begin(&store, Role::Active).await;
    let items = [
        build::noted("note-1", Any, 3),
        build::noted("note-2", Any, 2),
    ];
    commit(&mut store, &items).await;
    catch_up(&store, build, seen).await;
    (store, build)
}

/// Folds the first events, as the owner of a build would.
async fn catch_up(store: &Store, build: BuildId, seen: usize) {
    let claim = store.documents.claim(build, LEASE).await.unwrap().unwrap();
    let events = all(&*store.reader).await;
    let seen = &events[..seen];
    let position = seen.last().map_or(Position(0), |event| event.position);
    let batch = BuildBatch {
        position,
        changes: position.0,
        writes: writes(build, counts(BTreeMap::new(), seen)),
        ..BuildBatch::default()
    };
    let outcome = store.documents.keep(build, claim.token, &batch, LEASE);
    assert!(matches!(outcome.await.unwrap(), BatchOutcome::Done { .. }));
    let released = store.documents.release(build, claim.token);
    released.await.unwrap();
}

fn inline(store: &Store, build: BuildId, events_max: usize) -> Turn {
    let settle = Arc::new(Settling {
        reader: Arc::clone(&store.reader),
        documents: Arc::clone(&store.documents),
        build,
        events_max,
    });
    Turn::Inline { build, settle }
}

fn turning(plan: u64, turns: Vec<Turn>) -> Item {
    let mut activation = build::activation(MODULE, &["some"], plan);
    activation.turns = turns;
    Item::Activate(Box::new(activation))
}

async fn turn(store: &mut Store, plan: u64, turns: Vec<Turn>) -> Outcome {
    let mut outcomes = commit(store, &[turning(plan, turns)]).await;
    outcomes.pop().unwrap()
}

/// Expects that the activation is refused and stores nothing.
async fn refused(store: &mut Store, turns: Vec<Turn>, why: &str) {
    let before = store.modules.deployments().await.unwrap();
    let builds = builds(store).await;
    let outcome = turn(store, before.len() as u64, turns).await;
    let Outcome::NotSettled(reason) = &outcome else {
        panic!("{outcome:?}")
    };
    assert!(reason.contains(why), "{reason}");
    assert_eq!(store.modules.deployments().await.unwrap(), before);
    assert_eq!(self::builds(store).await, builds);
}

async fn activated(store: &mut Store, turns: Vec<Turn>) {
    let plan = store.modules.deployments().await.unwrap().len() as u64;
    let outcome = turn(store, plan, turns).await;
    assert!(matches!(outcome, Outcome::Activated(_)), "{outcome:?}");
}

/// The builds of the projection by number: role, position, whether inline.
async fn builds(store: &Store) -> BTreeMap<BuildId, (Role, u64, bool)> {
    let projection = store.documents.projection("counting").await.unwrap();
    let shape = |build: Build| (build.id, (build.role, build.position.0, build.is_inline));
    let builds = projection.unwrap().builds.into_iter();
    builds.map(shape).collect()
}

async fn end(store: &Store) -> u64 {
    store.reader.log_head().await.unwrap().0
}

async fn missing_events_are_folded_when_a_build_becomes_inline(place: Place) {
    let (mut store, build) = with_lag(&place, 2).await;
    let turns = vec![inline(&store, build, 100)];
    activated(&mut store, turns).await;
    inline::check(&store, build, any).await;
    let end = end(&store).await;
    assert_eq!(builds(&store).await[&build], (Role::Active, end, true));
    let counting = Counting::new(build, any);
    let noted = [build::noted("note-1", Any, 2)];
    inline::commit(&mut store, &counting, &noted).await;
    inline::check(&store, build, any).await;
    // Once the build is inline, no events are left to fold.
    let turns = vec![inline(&store, build, 0)];
    activated(&mut store, turns).await;
    inline::check(&store, build, any).await;
}

async fn a_build_with_parked_events_does_not_become_inline(place: Place) {
    let (mut store, build) = with_lag(&place, 5).await;
    let claim = store.documents.claim(build, LEASE).await.unwrap().unwrap();
    let subject = Subject::Document("all".into());
    let parked = FailedEvent {
        subject: subject.clone(),
        position: Position(1),
        at: Timestamp(1),
        error: Some("trap".into()),
        attempts: 1,
        reason: None,
    };
    let mut batch = BuildBatch {
        parked: vec![parked],
        ..BuildBatch::default()
    };
    let outcome = store.documents.keep(build, claim.token, &batch, LEASE);
    outcome.await.unwrap();
    let turns = || vec![inline(&store, build, 100)];
    let again = turns();
    let turns = turns();
    refused(&mut store, turns, "parked").await;
    batch.parked.clear();
    batch.unparked = vec![(subject, Position(1))];
    let outcome = store.documents.keep(build, claim.token, &batch, LEASE);
    assert!(matches!(outcome.await.unwrap(), BatchOutcome::Done { .. }));
    activated(&mut store, again).await;
    inline::check(&store, build, any).await;
}

async fn a_build_that_lags_too_far_does_not_become_inline(place: Place) {
    let (mut store, build) = with_lag(&place, 1).await;
    let turns = vec![inline(&store, build, 3)];
    refused(&mut store, turns, "too far before").await;
    let turns = vec![inline(&store, build, 4)];
    activated(&mut store, turns).await;
    inline::check(&store, build, any).await;
}

async fn only_the_active_build_becomes_inline(place: Place) {
    let (mut store, _) = with_lag(&place, 5).await;
    let next = begin(&store, Role::Next).await;
    let turns = vec![inline(&store, next, 100)];
    refused(&mut store, turns, "not the active one").await;
    let turns = vec![inline(&store, BuildId(99), 100)];
    refused(&mut store, turns, "no build").await;
}

async fn becoming_inline_takes_a_build_from_its_owner(place: Place) {
    let (mut store, build) = with_lag(&place, 2).await;
    let claim = store.documents.claim(build, LEASE).await.unwrap().unwrap();
    let turns = vec![inline(&store, build, 100)];
    activated(&mut store, turns).await;
    let batch = BuildBatch {
        position: Position(1_000),
        ..BuildBatch::default()
    };
    let outcome = store.documents.keep(build, claim.token, &batch, LEASE);
    assert_eq!(outcome.await.unwrap(), BatchOutcome::Lost);
    assert_eq!(store.documents.claim(build, LEASE).await.unwrap(), None);
    activated(&mut store, vec![Turn::Async(build)]).await;
    let outcome = store.documents.keep(build, claim.token, &batch, LEASE);
    assert_eq!(outcome.await.unwrap(), BatchOutcome::Lost);
}

async fn a_detached_build_has_its_checkpoint_at_the_end_of_the_log(place: Place) {
    let (mut store, build) = with_lag(&place, 5).await;
    let turns = vec![inline(&store, build, 100)];
    activated(&mut store, turns).await;
    let counting = Counting::new(build, any);
    let noted = [build::noted("note-1", Any, 2)];
    inline::commit(&mut store, &counting, &noted).await;
    activated(&mut store, vec![Turn::Async(build)]).await;
    let last = end(&store).await;
    assert_eq!(builds(&store).await[&build], (Role::Active, last, false));
    let claim = store.documents.claim(build, LEASE).await.unwrap().unwrap();
    assert_eq!((claim.position.0, claim.changes), (last, last));
    // A build that is not inline keeps its checkpoint.
    commit(&mut store, &noted).await;
    activated(&mut store, vec![Turn::Async(build)]).await;
    assert_eq!(builds(&store).await[&build], (Role::Active, last, false));
}

async fn turns_are_applied_in_order_and_all_or_nothing(place: Place) {
    let (mut store, old) = with_lag(&place, 5).await;
    let turns = vec![inline(&store, old, 100)];
    activated(&mut store, turns).await;
    let new = begin(&store, Role::Next).await;
    catch_up(&store, new, 3).await;
    let switch = || Turn::Switch {
        projection: "counting".into(),
        next: new,
    };
    // An inline build cannot be replaced as the active one.
    let turns = vec![switch(), inline(&store, new, 100)];
    refused(&mut store, turns, "inline").await;
    // The failure of the last turn refuses all of them.
    let turns = vec![Turn::Async(old), switch(), inline(&store, new, 1)];
    refused(&mut store, turns, "too far before").await;
    let turns = vec![Turn::Async(old), switch(), inline(&store, new, 100)];
    activated(&mut store, turns).await;
    let end = end(&store).await;
    let builds = builds(&store).await;
    assert_eq!(builds[&new], (Role::Active, end, true));
    assert_eq!(builds[&old], (Role::Previous, end, false));
    inline::check(&store, new, any).await;
    inline::check(&store, old, any).await;
}

async fn a_switch_can_be_rolled_back(place: Place) {
    let (mut store, first) = with_lag(&place, 5).await;
    let projection: Box<str> = "counting".into();
    let mut others = Vec::new();
    for _ in 0..2 {
        let next = begin(&store, Role::Next).await;
        let switch = Turn::Switch {
            projection: projection.clone(),
            next,
        };
        let again = Turn::Switch {
            projection: projection.clone(),
            next,
        };
        activated(&mut store, vec![switch]).await;
        refused(&mut store, vec![again], "not the next one").await;
        others.push(next);
    }
    let found = builds(&store).await;
    assert!(!found.contains_key(&first), "{found:?}");
    let back = |previous| Turn::RollBack {
        projection: projection.clone(),
        previous,
    };
    refused(&mut store, vec![back(others[1])], "not the previous one").await;
    let turns = vec![back(others[0]), inline(&store, others[0], 100)];
    activated(&mut store, turns).await;
    let found = builds(&store).await;
    assert_eq!(found[&others[0]].0, Role::Active);
    assert_eq!(found[&others[1]].0, Role::Previous);
    inline::check(&store, others[0], any).await;
    refused(&mut store, vec![back(others[1])], "inline").await;
}

async fn turns_checked_against_another_plan_are_not_applied(place: Place) {
    let (mut store, build) = with_lag(&place, 5).await;
    let turns = vec![inline(&store, build, 100)];
    let outcome = turn(&mut store, 7, turns).await;
    assert!(matches!(outcome, Outcome::PlanMoved), "{outcome:?}");
    assert!(!builds(&store).await[&build].2);
}

async fn turns_must_be_the_only_item_of_their_batch(place: Place) {
    let (mut store, build) = with_lag(&place, 5).await;
    let items = [
        build::noted("note-1", Any, 1),
        turning(0, vec![Turn::Async(build)]),
    ];
    let failed = store.writer.commit(&items, None).await.unwrap_err();
    assert!(matches!(failed, Error::Unexpected(_)), "{failed:?}");
    assert_eq!(all(&*store.reader).await.len(), 5);
    activated(&mut store, vec![Turn::Async(build)]).await;
}

/// The projection settings of an activation, with these categories.
fn plan(categories: &[&str]) -> ProjectionPlan {
    let settings = Settings {
        lifecycle: Lifecycle::Inline,
        on_error: OnError::Park,
    };
    let inline = InlineBuild {
        build: BuildId(3),
        version: 2,
        module: Digest([9; 32]),
    };
    ProjectionPlan {
        settings: BTreeMap::from([("counting".to_owned(), settings)]),
        inline: BTreeMap::from([("counting".to_owned(), inline)]),
        aliases: None,
        owners: BTreeMap::from([("counting".to_owned(), "some".to_owned())]),
        categories: categories.iter().map(|it| (*it).to_owned()).collect(),
    }
}

fn saying(projections: ProjectionPlan, number: u64) -> Item {
    let mut activation = build::activation(MODULE, &["some"], number);
    activation.projections = projections;
    Item::Activate(Box::new(activation))
}

async fn an_activation_records_its_projection_settings(place: Place) {
    let mut store = with_module(&place).await;
    let said = [plan(&["note", ""]), ProjectionPlan::default()];
    for (number, said) in (0..).zip(said.clone()) {
        commit(&mut store, &[saying(said, number)]).await;
    }
    let deployments = store.modules.deployments().await.unwrap();
    let plans: Vec<_> = deployments.into_iter().map(|it| it.projections).collect();
    assert_eq!(plans, said);
}

async fn imports_are_refused_while_a_build_is_inline(place: Place) {
    let (mut store, build) = with_lag(&place, 5).await;
    let archived = Import::Archived(build::stream("note-1"), Timestamp(9));
    store.writer.import(&archived).await.unwrap();
    let turns = vec![inline(&store, build, 100)];
    activated(&mut store, turns).await;
    let failed = store.writer.import(&archived).await.unwrap_err();
    assert!(matches!(failed, Error::Import(_)), "{failed:?}");
    assert!(failed.to_string().contains("detach"), "{failed}");
    activated(&mut store, vec![Turn::Async(build)]).await;
    store.writer.import(&archived).await.unwrap();
}

/// An append that was made under a plan.
fn under(to: &str, number: u64) -> Item {
    let mut commit = build::commit(None, build::events(1));
    commit.plan = number;
    build::item(None, vec![build::write(to, Any, commit)])
}

fn mark_under(of: &str, archived: bool, number: u64) -> Item {
    let mut item = build::mark(of, archived);
    if let Item::Mark(mark) = &mut item {
        mark.write.commit.plan = number;
    }
    item
}

fn moved(outcomes: &[Outcome]) -> Vec<bool> {
    let moved = outcomes.iter().map(|outcome| match outcome {
        Outcome::PlanMoved => true,
        Outcome::Appended(_) | Outcome::Marked(_) => false,
        other => panic!("{other:?}"),
    });
    moved.collect()
}

async fn appends_are_outdated_when_an_inline_projection_of_their_category_changes(place: Place) {
    let mut store = with_module(&place).await;
    commit(&mut store, &[under("note-1", 0), under("other-1", 0)]).await;
    commit(&mut store, &[saying(plan(&["note"]), 0)]).await;
    let items = [
        under("note-1", 0),
        under("other-1", 0),
        mark_under("note-1", true, 0),
        under("other-1", 1),
        mark_under("note-1", false, 0),
        under("note-1", 1),
    ];
    let outcomes = commit(&mut store, &items).await;
    let expected = [true, false, false, false, false, false];
    assert_eq!(moved(&outcomes), expected);
    commit(&mut store, &[saying(plan(&["$streams"]), 1)]).await;
    let items = [
        under("note-1", 1),
        mark_under("note-1", true, 1),
        mark_under("note-1", true, 2),
    ];
    let outcomes = commit(&mut store, &items).await;
    assert_eq!(moved(&outcomes), [false, true, false]);
}

async fn a_change_for_every_category_survives_a_restart(place: Place) {
    let mut store = with_module(&place).await;
    commit(&mut store, &[under("note-1", 0)]).await;
    commit(&mut store, &[saying(plan(&[""]), 0)]).await;
    for _ in 0..2 {
        let items = [
            under("note-1", 0),
            under("new-1", 0),
            mark_under("note-1", true, 0),
            under("note-1", 1),
        ];
        let outcomes = commit(&mut store, &items).await;
        assert_eq!(moved(&outcomes), [true, true, true, false]);
        store.writer.close().await.unwrap();
        store = place.open().await;
    }
    store.writer.close().await.unwrap();
    place
        .tamper("UPDATE deployments SET projections = '{\"settings\": 3}'")
        .await;
    let failed = match place.try_open().await {
        Ok(store) => store.modules.deployments().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(failed, Error::Damaged(_)), "{failed:?}");
}
