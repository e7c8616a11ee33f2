//! Semantics 10.3: the categories that an activation changes, and the plan that it was checked
//! against.

use quipu::model::ExpectedVersion::Any;
use quipu::model::{Digest, Timestamp};
use quipu::store::{Item, Outcome, Store};
use quipu_tests::{Place, build, on_every_store};

use crate::export::{MODULE, commit, with_module};

on_every_store! {
    an_activation_checked_against_another_plan_is_refused_and_stores_nothing,
    activations_in_a_batch_are_applied_in_order,
    an_activation_records_its_categories_and_trusted_folds,
    an_activation_outdates_decisions_only_in_its_categories,
    changed_categories_are_known_after_a_restart,
}

fn activate(categories: &[&str], plan: u64) -> Item {
    Item::Activate(Box::new(build::activation(MODULE, categories, plan)))
}

/// An append of an event that was decided under a plan.
fn decided(to: &str, plan: u64) -> Item {
    let mut commit = build::commit(None, build::events(1));
    commit.plan = plan;
    build::item(None, vec![build::write(to, Any, commit)])
}

fn shape(outcomes: &[Outcome]) -> Vec<String> {
    let shape = outcomes.iter().map(|outcome| match outcome {
        Outcome::Activated(plan) => format!("plan {plan}"),
        Outcome::PlanMoved => "moved".to_owned(),
        Outcome::Appended(_) => "appended".to_owned(),
        other => panic!("{other:?}"),
    });
    shape.collect()
}

async fn an_activation_checked_against_another_plan_is_refused_and_stores_nothing(place: Place) {
    let mut store = with_module(&place).await;
    for plan in [1, 7] {
        let outcomes = commit(&mut store, &[activate(&["a"], plan)]).await;
        assert_eq!(shape(&outcomes), ["moved"]);
    }
    assert!(store.modules.deployments().await.unwrap().is_empty());
    let outcomes = commit(&mut store, &[activate(&["a"], 0)]).await;
    assert_eq!(shape(&outcomes), ["plan 1"]);

    for plan in [0, 2, u64::MAX] {
        let items = [activate(&["b"], plan), decided("b-1", 0)];
        assert_eq!(
            shape(&commit(&mut store, &items).await),
            ["moved", "appended"]
        );
    }
    let plans = store.modules.deployments().await.unwrap();
    assert_eq!((plans.len(), plans[0].plan), (1, 1));
    let outcomes = commit(&mut store, &[activate(&["b"], 1), decided("b-1", 1)]).await;
    assert_eq!(shape(&outcomes), ["plan 2", "moved"]);
}

async fn activations_in_a_batch_are_applied_in_order(place: Place) {
    let mut store = with_module(&place).await;
    let items = [
        activate(&["a"], 0),
        activate(&["b"], 0),
        decided("b-1", 0),
        activate(&["b"], 1),
        decided("b-1", 1),
        decided("a-1", 1),
    ];
    let outcomes = commit(&mut store, &items).await;
    let expected = ["plan 1", "moved", "appended", "plan 2", "moved", "appended"];
    assert_eq!(shape(&outcomes), expected);
    let plans = store.modules.deployments().await.unwrap();
    let plans: Vec<_> = plans.iter().map(|it| (it.plan, &*it.categories)).collect();
    let (a, b) = (["a".to_owned()], ["b".to_owned()]);
    assert_eq!(plans, [(1, &a[..]), (2, &b[..])]);
}

async fn an_activation_records_its_categories_and_trusted_folds(place: Place) {
    let mut store = with_module(&place).await;
    let cases: [(&[&str], usize); 4] = [
        (&[], 0),
        (&["note"], 1),
        (&["b", "a", "é \"'\\"], 3),
        (&["b"], 0),
    ];
    for (plan, (categories, trusted)) in (0..).zip(cases) {
        let mut activation = build::activation(MODULE, categories, plan);
        activation.trusted = (1..=trusted).map(|n| Digest([n as u8 * 70; 32])).collect();
        activation.by = Some("ann".to_owned());
        let (at, trusted) = (Timestamp(40 + plan), activation.trusted.clone());
        activation.at = at;
        let outcomes = commit(&mut store, &[Item::Activate(Box::new(activation))]).await;
        assert_eq!(shape(&outcomes), [format!("plan {}", plan + 1)]);
        let deployment = store.modules.deployments().await.unwrap().pop().unwrap();
        assert_eq!(
            (deployment.categories, deployment.trusted),
            (
                categories.iter().map(|it| (*it).to_owned()).collect(),
                trusted
            )
        );
        assert_eq!((deployment.plan, deployment.activated_at), (plan + 1, at));
        assert_eq!(
            (&*deployment.name, deployment.activated_by.as_deref()),
            ("some", Some("ann"))
        );
    }
}

/// The streams, of these, that accept an event decided under a plan.
async fn moved(store: &mut Store, plan: u64) -> Vec<String> {
    let items = ["a-1", "b-1", "c-1", "some-1"].map(|to| decided(to, plan));
    shape(&commit(store, &items).await)
}

const SOME_MOVED: [&str; 4] = ["moved", "moved", "appended", "appended"];
const NONE_MOVED: [&str; 4] = ["appended"; 4];

async fn an_activation_outdates_decisions_only_in_its_categories(place: Place) {
    let mut store = with_module(&place).await;
    assert_eq!(moved(&mut store, 0).await, NONE_MOVED);
    commit(&mut store, &[activate(&["b", "a"], 0)]).await;
    assert_eq!(moved(&mut store, 0).await, SOME_MOVED);
    assert_eq!(moved(&mut store, 1).await, NONE_MOVED);
    // An activation without categories outdates nothing, not even the category with its name.
    commit(&mut store, &[activate(&[], 1)]).await;
    assert_eq!(moved(&mut store, 0).await, SOME_MOVED);
    assert_eq!(moved(&mut store, 1).await, NONE_MOVED);
}

async fn changed_categories_are_known_after_a_restart(place: Place) {
    let mut store = with_module(&place).await;
    commit(&mut store, &[activate(&["b", "a"], 0), activate(&[], 1)]).await;
    store.writer.close().await.unwrap();
    let mut store = place.open().await;
    assert_eq!(moved(&mut store, 0).await, SOME_MOVED);
    assert_eq!(moved(&mut store, 1).await, NONE_MOVED);
    let outcomes = commit(&mut store, &[activate(&["c"], 1), activate(&["c"], 2)]).await;
    assert_eq!(shape(&outcomes), ["moved", "plan 3"]);
}
