//! Semantics 9.1 and 9.2: inline projections in the transaction of an append.

use quipu::model::ExpectedVersion::Any;
use quipu::model::{Position, Timestamp};
use quipu::store::{BuildId, Error, Item, Outcome, Role, RunId, Store, Unprojected};
use quipu_tests::counting::{ALL, Counting, all, counts, stored};
use quipu_tests::{Place, build, on_every_store};

use crate::export::MODULE;

on_every_store! {
    documents_and_events_are_committed_together,
    documents_are_updated_from_their_stored_state,
    an_append_that_cannot_be_folded_does_not_affect_others,
    a_run_fails_with_its_append_that_cannot_be_folded,
    an_append_to_several_streams_fails_as_a_whole,
    a_known_id_is_answered_before_anything_is_folded,
    refused_appends_are_not_folded,
    other_categories_are_not_folded,
    events_of_archiving_are_folded,
    archiving_fails_if_its_event_cannot_be_folded,
    a_batch_with_too_many_failures_fails_and_stores_nothing,
    inline_documents_survive_a_restart,
}

/// A store with a build that counts the events of some categories.
pub async fn counting(place: &Place, wants: fn(&str) -> bool) -> (Store, Counting, BuildId) {
    let store = place.open().await;
    let build = begin(&store, Role::Active).await;
    (store, Counting::new(build, wants), build)
}

pub async fn begin(store: &Store, role: Role) -> BuildId {
    let begun = store
        .documents
        .begin("counting", role, 1, MODULE, (Timestamp(1), 1));
    begun.await.unwrap().unwrap().id
}

pub async fn commit(store: &mut Store, counting: &Counting, items: &[Item]) -> Vec<Outcome> {
    let committed = store.writer.commit(items, Some(counting)).await;
    committed.unwrap()
}

/// Checks that the documents match a fold of the whole log.
pub async fn check(store: &Store, build: BuildId, wants: fn(&str) -> bool) {
    let mut events = all(&*store.reader).await;
    events.retain(|event| wants(event.stream.category()));
    let expected = counts(Default::default(), &events);
    assert_eq!(stored(&*store.documents, build).await, expected);
}

fn any(_: &str) -> bool {
    true
}

fn notes(category: &str) -> bool {
    category == "note"
}

fn marks(category: &str) -> bool {
    category == "$streams"
}

/// An append of one event with this body.
fn said(to: &str, run: Option<u64>, body: &str) -> Item {
    let commit = build::commit(None, vec![build::event("said", body)]);
    build::item(run.map(RunId), vec![build::write(to, Any, commit)])
}

fn shape(outcomes: &[Outcome]) -> Vec<&'static str> {
    let shape = outcomes.iter().map(|outcome| match outcome {
        Outcome::Appended(_) => "appended",
        Outcome::Unprojected(Unprojected { projection, .. }) if &**projection == "counting" => {
            "unprojected"
        }
        Outcome::RunDead => "dead",
        Outcome::Known(_) => "known",
        Outcome::Again => "again",
        Outcome::WrongVersion { .. } => "version",
        Outcome::Archived(_) => "archived",
        Outcome::PlanMoved => "moved",
        Outcome::Marked(Some(_)) => "marked",
        other => panic!("{other:?}"),
    });
    shape.collect()
}

/// Semantics 2.3.
async fn documents_and_events_are_committed_together(place: Place) {
    let (mut store, counting, build) = counting(&place, any).await;
    let mut event = build::tagged(&["a:1"]);
    event.metadata = Some("{\"own\":1}".into());
    let mut commit = build::commit(Some("k"), vec![event, build::given(7, "[1]")]);
    commit.recorded_at = Timestamp(500);
    let items = [
        build::noted("note-1", Any, 3),
        build::item(None, vec![build::write("note-1", Any, commit)]),
        build::item(
            None,
            vec![
                build::write("note-2", Any, build::commit(None, build::events(1))),
                build::write("other-3", Any, build::commit(None, Vec::new())),
            ],
        ),
        build::check("note-1", Some(5), None),
    ];
    let outcomes = self::commit(&mut store, &counting, &items).await;
    let mut positions = Vec::new();
    for outcome in &outcomes[..3] {
        let Outcome::Appended(appended) = outcome else {
            panic!("{outcome:?}")
        };
        positions.extend(appended.iter().flat_map(|it| it.positions.clone()));
    }
    assert!(matches!(outcomes[3], Outcome::Holds(_)), "{outcomes:?}");
    check(&store, build, any).await;
    // The projection folded the same events that readers see.
    let seen = counting.seen();
    assert_eq!(seen.rounds, 1);
    let log = all(&*store.reader).await;
    assert_eq!(seen.folded, log);
    let read: Vec<Position> = log.iter().map(|event| event.position).collect();
    assert_eq!(positions, read);
}

async fn documents_are_updated_from_their_stored_state(place: Place) {
    let (mut store, counting, build) = counting(&place, any).await;
    for n in 1..=20 {
        let to = format!("note-{}", n % 3);
        let items = [build::noted(&to, Any, 1 + n % 2), said("said-1", None, "1")];
        let outcomes = commit(&mut store, &counting, &items).await;
        assert_eq!(shape(&outcomes), ["appended", "appended"]);
    }
    check(&store, build, any).await;
    let all = stored(&*store.documents, build).await;
    assert_eq!(all[ALL].0.events, 50);
}

async fn an_append_that_cannot_be_folded_does_not_affect_others(place: Place) {
    let (mut store, counting, build) = counting(&place, any).await;
    let items = [
        said("note-1", None, "1"),
        said("note-1", None, "\"unfolded\""),
        said("note-1", None, "\"unkeyed\""),
        said("note-2", None, "\"unkeyed\""),
        said("note-1", None, "2"),
    ];
    let outcomes = commit(&mut store, &counting, &items).await;
    let expected = [
        "appended",
        "unprojected",
        "unprojected",
        "unprojected",
        "appended",
    ];
    assert_eq!(shape(&outcomes), expected);
    assert_eq!(counting.seen().rounds, 3);
    let log = all(&*store.reader).await;
    let versions: Vec<u64> = log.iter().map(|event| event.version.0).collect();
    assert_eq!(versions, [1, 2]);
    check(&store, build, any).await;
    // The next batch succeeds.
    let outcomes = commit(&mut store, &counting, &[said("note-2", None, "3")]).await;
    assert_eq!(shape(&outcomes), ["appended"]);
    check(&store, build, any).await;
}

async fn a_run_fails_with_its_append_that_cannot_be_folded(place: Place) {
    let (mut store, counting, build) = counting(&place, any).await;
    let items = [
        said("note-1", Some(1), "1"),
        said("note-1", Some(1), "\"unfolded\""),
        said("note-2", Some(2), "2"),
        said("note-1", Some(1), "3"),
        said("note-1", None, "4"),
    ];
    let outcomes = commit(&mut store, &counting, &items).await;
    let expected = ["appended", "unprojected", "appended", "dead", "appended"];
    assert_eq!(shape(&outcomes), expected);
    check(&store, build, any).await;
}

async fn an_append_to_several_streams_fails_as_a_whole(place: Place) {
    let (mut store, counting, build) = counting(&place, notes).await;
    let write = |to: &str, body: &str| {
        let commit = build::commit(None, vec![build::event("said", body)]);
        build::write(to, Any, commit)
    };
    let both = [
        write("other-1", "\"unfolded\""),
        write("note-1", "\"unfolded\""),
    ];
    let free = [write("other-1", "\"unfolded\""), write("note-1", "1")];
    let items = [
        build::item(None, both.into()),
        build::item(None, free.into()),
    ];
    let outcomes = commit(&mut store, &counting, &items).await;
    assert_eq!(shape(&outcomes), ["unprojected", "appended"]);
    assert_eq!(all(&*store.reader).await.len(), 2);
    check(&store, build, notes).await;
}

async fn a_known_id_is_answered_before_anything_is_folded(place: Place) {
    let (mut store, counting, build) = counting(&place, any).await;
    let under_id = |body: &str| {
        let commit = build::commit(Some("k"), vec![build::event("said", body)]);
        build::item(None, vec![build::write("note-1", Any, commit)])
    };
    // A failed append does not record its id.
    for _ in 0..2 {
        let outcomes = commit(&mut store, &counting, &[under_id("\"unfolded\"")]).await;
        assert_eq!(shape(&outcomes), ["unprojected"]);
    }
    let items = [under_id("\"unkeyed\""), under_id("1"), under_id("1")];
    let outcomes = commit(&mut store, &counting, &items).await;
    assert_eq!(shape(&outcomes), ["unprojected", "appended", "again"]);
    counting.seen();
    let outcomes = commit(&mut store, &counting, &[under_id("\"unfolded\"")]).await;
    assert_eq!(shape(&outcomes), ["known"]);
    assert_eq!(counting.seen().rounds, 0);
    check(&store, build, any).await;
}

async fn refused_appends_are_not_folded(place: Place) {
    let (mut store, counting, build) = counting(&place, notes).await;
    let items = [said("note-1", None, "1"), build::mark("note-1", true)];
    commit(&mut store, &counting, &items).await;
    counting.seen();
    let items = [
        said("note-1", None, "\"unfolded\""),
        build::noted("note-2", build::exact(4), 1),
    ];
    let outcomes = commit(&mut store, &counting, &items).await;
    assert_eq!(shape(&outcomes), ["archived", "version"]);
    assert_eq!(counting.seen().rounds, 0);
    check(&store, build, notes).await;
}

async fn other_categories_are_not_folded(place: Place) {
    let (mut store, counting, build) = counting(&place, notes).await;
    let items = [said("other-1", None, "\"unfolded\"")];
    let outcomes = commit(&mut store, &counting, &items).await;
    assert_eq!(shape(&outcomes), ["appended"]);
    assert_eq!(counting.seen().rounds, 0);
    let items = [
        said("other-1", None, "\"unfolded\""),
        said("note-1", None, "1"),
        said("other-1", None, "\"unfolded\""),
    ];
    let outcomes = commit(&mut store, &counting, &items).await;
    assert_eq!(shape(&outcomes), ["appended"; 3]);
    assert_eq!(counting.seen().folded.len(), 1);
    check(&store, build, notes).await;
}

async fn events_of_archiving_are_folded(place: Place) {
    let (mut store, counting, build) = counting(&place, marks).await;
    let items = [
        build::noted("note-1", Any, 9),
        build::mark("note-1", true),
        build::mark("note-1", false),
        build::truncate("note-1", 3, 5),
        build::whole("note-1"),
    ];
    let outcomes = commit(&mut store, &counting, &items).await;
    let expected = ["appended", "marked", "marked", "marked", "marked"];
    assert_eq!(shape(&outcomes), expected);
    assert_eq!(counting.seen().folded.len(), 4);
    check(&store, build, marks).await;
}

async fn archiving_fails_if_its_event_cannot_be_folded(place: Place) {
    let (mut store, counting, build) = counting(&place, any).await;
    commit(&mut store, &counting, &[build::noted("note-1", Any, 1)]).await;
    let mut item = build::mark("note-1", true);
    if let Item::Mark(mark) = &mut item {
        mark.write.commit.events = vec![build::event("archived", "\"unfolded\"")];
    }
    let outcomes = commit(&mut store, &counting, &[item, said("note-1", None, "1")]).await;
    assert_eq!(shape(&outcomes), ["unprojected", "appended"]);
    let head = store.reader.head(&build::stream("note-1")).await.unwrap();
    assert!(!head.unwrap().archived);
    check(&store, build, any).await;
}

async fn a_batch_with_too_many_failures_fails_and_stores_nothing(place: Place) {
    let (mut store, counting, build) = counting(&place, any).await;
    let slow = counting.clone().slow();
    let mut items: Vec<Item> = (0..16)
        .map(|_| said("note-1", None, "\"unfolded\""))
        .collect();
    items.push(said("note-2", None, "1"));
    let failed = store.writer.commit(&items, Some(&slow)).await.unwrap_err();
    assert!(matches!(failed, Error::Unexpected(_)), "{failed:?}");
    assert!(failed.to_string().contains("counting"), "{failed}");
    assert!(all(&*store.reader).await.is_empty());
    items.remove(0);
    let outcomes = commit(&mut store, &slow, &items).await;
    assert_eq!(shape(&outcomes)[14..], ["unprojected", "appended"]);
    check(&store, build, any).await;
}

async fn inline_documents_survive_a_restart(place: Place) {
    let (mut store, counting, build) = counting(&place, any).await;
    commit(&mut store, &counting, &[build::noted("note-1", Any, 2)]).await;
    store.writer.close().await.unwrap();
    let mut store = place.open().await;
    check(&store, build, any).await;
    commit(&mut store, &counting, &[build::noted("note-1", Any, 2)]).await;
    check(&store, build, any).await;
}
