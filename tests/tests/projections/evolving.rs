//! Projections follow upcasters and aliases: once builds are settled, documents equal those of a
//! rebuild from the first event under the current plan, also in an imported copy.

use std::collections::BTreeMap;

use futures::stream;
use quipu::deploy::{ProjectionChanges, Release};
use quipu::model::{Command, Digest, Lifecycle, OnError, Position, SettingsChange};
use quipu::projection::{Action, State, Status};
use quipu::store::Role;
use quipu::{Demand, Deploy, Host};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{PATIENCE, Place, build, on_every_store};
use serde_json::{Value, json};

use super::support::{
    NOTES, build_of, builder, document, documents, export, host, is_settled, settings, until,
};

on_every_store!(
    projections_deployed_before_the_decider_count_older_events,
    a_projection_counts_events_of_a_decider_that_added_an_alias,
    a_roll_back_between_deployments_loses_no_event,
    a_roll_back_between_deployments_loses_no_event_inline,
    a_changed_step_rebuilds_the_documents_from_scratch,
    an_inline_projection_is_rebuilt_when_a_step_changes,
    a_new_module_with_the_same_steps_rebuilds_nothing,
    a_step_for_a_form_that_is_not_stored_rebuilds_nothing,
    a_stale_build_is_reported_with_the_reason,
    a_projection_can_use_any_name_of_a_type,
    an_unreadable_stream_gets_an_error_although_a_projection_is_inline,
    documents_follow_their_component_back_and_forth,
    inline_documents_follow_their_component_back_and_forth,
    a_roll_back_restores_the_settings_of_projections,
    a_changed_definition_is_rebuilt_from_scratch,
    an_event_that_cannot_be_lifted_does_not_hide_a_change_after_it,
    a_plan_that_changed_while_no_host_ran_is_noticed,
    a_build_without_a_plan_is_compared_with_the_whole_history,
);

/// The stream and document of most tests.
const CHAIR: &str = "stock-chair";

/// The decider of version 1: it writes `received` and `corrected`.
fn decider_1() -> Probe {
    probe("stock").event("received", 1).event("corrected", 1)
}

/// The decider of version 2: `received` is now `goods-received`, with a step.
fn decider_2() -> Probe {
    probe("stock")
        .version("2.0.0")
        .event("goods-received", 1)
        .event("corrected", 1)
        .step("stock", ("received", 1), &[("goods-received", 1)])
}

fn views(version: u32, types: &[(&str, u32)]) -> Probe {
    let sources = json!([{"category": "stock", "events": types}]);
    probe("stock_views")
        .version(&format!("{version}.0.0"))
        .projection(NOTES, version, json!({"sources": sources}))
}

async fn upload(host: &Host, probe: &Probe) -> Digest {
    let uploaded = host.upload(probe.component()).await.unwrap();
    uploaded.module.digest()
}

async fn deploy(host: &Host, probe: &Probe) {
    let digest = upload(host, probe).await;
    host.activate(digest, None).await.unwrap();
}

async fn deploy_as(host: &Host, probe: &Probe, change: SettingsChange) {
    super::support::deploy(host, probe, change).await;
}

/// Records events, each a type and the number in its body.
async fn record(host: &Host, events: &[(&str, i64)]) -> Position {
    let events: Vec<Value> = events
        .iter()
        .map(|(name, n)| json!([name, {"n": n}]))
        .collect();
    let command = Command::new("note", json!(events).to_string()).unwrap();
    let answer = host.execute(&build::stream(CHAIR), command).await.unwrap();
    answer.position.unwrap()
}

/// Waits until the deployed modules have builds that match the current plan.
async fn settled(host: &Host) -> Status {
    until(host, "settled", |status| is_settled(host, status)).await
}

/// The documents, once settled: the same on this host, in an imported copy, and after a rebuild.
async fn right(place: &Place, host: &Host) -> BTreeMap<String, String> {
    settled(host).await;
    let found = documents(host, NOTES).await;
    let other = place.another();
    let copy = super::support::host(&other).await;
    let file = stream::iter([Ok::<_, std::io::Error>(export(host).await.into())]);
    copy.import(file, &mut |_| {}).await.unwrap();
    settled(&copy).await;
    assert_eq!(documents(&copy, NOTES).await, found, "an imported copy");
    copy.shutdown().await.unwrap();
    host.control_projection(NOTES, Action::Rebuild { hold: false })
        .await
        .unwrap();
    settled(host).await;
    assert_eq!(documents(host, NOTES).await, found, "a rebuild");
    found
}

async fn sum(place: &Place, host: &Host) -> i64 {
    let found = right(place, host).await;
    let document: Value = serde_json::from_str(&found[CHAIR]).unwrap();
    document["sum"].as_i64().unwrap()
}

/// Recipe A: the projections are deployed before the decider.
async fn projections_deployed_before_the_decider_count_older_events(place: Place) {
    let host = host(&place).await;
    deploy(&host, &decider_1()).await;
    deploy(&host, &views(1, &[("received", 1)])).await;
    for _ in 0..10 {
        record(&host, &[("received", 1)]).await;
    }
    assert_eq!(document(&host, CHAIR).await["sum"], 10);
    deploy(&host, &views(2, &[("goods-received", 1)])).await;
    deploy(&host, &decider_2()).await;
    until(&host, "version 2", |status| {
        build_of(status, Role::Active).is_some_and(|build| build.version == 2)
    })
    .await;
    assert_eq!(sum(&place, &host).await, 10);
    record(&host, &[("goods-received", 1)]).await;
    assert_eq!(sum(&place, &host).await, 11);
    host.shutdown().await.unwrap();
}

/// Recipe B: the decider is deployed first. `corrected` becomes `counted`, only with an alias.
async fn a_projection_counts_events_of_a_decider_that_added_an_alias(place: Place) {
    let host = host(&place).await;
    deploy(&host, &decider_1()).await;
    deploy(&host, &views(1, &[("received", 1), ("corrected", 0)])).await;
    record(&host, &[("received", 5), ("corrected", 3)]).await;
    let renamed = probe("stock")
        .version("2.0.0")
        .event("received", 1)
        .event_once_called("counted", 1, &["corrected"]);
    deploy(&host, &renamed).await;
    record(&host, &[("counted", 12), ("received", 1)]).await;
    assert_eq!(sum(&place, &host).await, 21);
    // No stored event is lifted differently.
    let status = settled(&host).await;
    assert_eq!(build_of(&status, Role::Active).unwrap().version, 1);
    let seen = document(&host, CHAIR).await["seen"].to_string();
    assert!(
        seen.contains("corrected@1") && !seen.contains("counted"),
        "{seen}"
    );
    // And back: the decider that knows only the older name reads the events of the newer one.
    deploy(&host, &decider_1()).await;
    record(&host, &[("corrected", 2)]).await;
    assert_eq!(sum(&place, &host).await, 23);
    host.shutdown().await.unwrap();
}

/// Recipe C: a roll back between two deployments.
async fn a_roll_back_between_deployments_loses_no_event(place: Place) {
    let host = host(&place).await;
    roll_back_in_between(&place, &host, Lifecycle::Async).await;
    host.shutdown().await.unwrap();
}

async fn a_roll_back_between_deployments_loses_no_event_inline(place: Place) {
    let host = super::support::patient(&place).await;
    roll_back_in_between(&place, &host, Lifecycle::Inline).await;
    host.shutdown().await.unwrap();
}

async fn roll_back_in_between(place: &Place, host: &Host, lifecycle: Lifecycle) {
    let old = upload(host, &decider_1()).await;
    host.activate(old, None).await.unwrap();
    record(host, &[("received", 1)]).await;
    let new = upload(host, &decider_2()).await;
    host.activate(new, None).await.unwrap();
    let views = views(1, &[("goods-received", 1)]);
    deploy_as(host, &views, settings(lifecycle, OnError::Stop)).await;
    record(host, &[("goods-received", 1)]).await;
    assert_eq!(sum(place, host).await, 2);
    // A stream of its own, because the old decider cannot read the events of the new one.
    host.activate(old, None).await.unwrap();
    let command = Command::new("note", json!([["received", {"n": 1}]]).to_string()).unwrap();
    host.execute(&build::stream("stock-table"), command)
        .await
        .unwrap();
    host.activate(new, None).await.unwrap();
    let found = right(place, host).await;
    let table: Value = serde_json::from_str(&found["stock-table"]).unwrap();
    assert_eq!(table["sum"], 1);
    let chair: Value = serde_json::from_str(&found[CHAIR]).unwrap();
    assert_eq!(chair["sum"], 2);
}

async fn a_changed_step_rebuilds_the_documents_from_scratch(place: Place) {
    let host = host(&place).await;
    changed_step(&place, &host, Lifecycle::Async).await;
    host.shutdown().await.unwrap();
}

async fn an_inline_projection_is_rebuilt_when_a_step_changes(place: Place) {
    let host = super::support::patient(&place).await;
    changed_step(&place, &host, Lifecycle::Inline).await;
    host.shutdown().await.unwrap();
}

/// First a step is added, then the step with the same declaration does something else.
async fn changed_step(place: &Place, host: &Host, lifecycle: Lifecycle) {
    deploy(host, &decider_1()).await;
    let types = &[("goods-received", 1), ("received", 1)];
    deploy_as(host, &views(1, types), settings(lifecycle, OnError::Stop)).await;
    record(host, &[("received", 1)]).await;
    let expected = [
        r#"received@1 0 {"n":1}"#,
        r#"goods-received@1 0 [{"n":1},"goods-received@1"]"#,
        r#"goods-received@1 0 [[{"n":1},"goods-received@1"],"goods-received@1"]"#,
    ];
    let deciders = [decider_1(), decider_2(), stepping_twice()];
    for (decider, expected) in deciders.iter().zip(expected) {
        deploy(host, decider).await;
        let found = right(place, host).await;
        let document: Value = serde_json::from_str(&found[CHAIR]).unwrap();
        assert_eq!(document["seen"][0], expected);
        assert_eq!(document["count"], 1);
    }
}

/// Declared like the step of version 2.
fn stepping_twice() -> Probe {
    let to = &[("goods-received", 1)];
    probe("stock")
        .version("3.0.0")
        .event("goods-received", 1)
        .event("corrected", 1)
        .step_that("stock", ("received", 1), to, "twice")
}

async fn a_new_module_with_the_same_steps_rebuilds_nothing(place: Place) {
    let host = host(&place).await;
    deploy(&host, &decider_1()).await;
    record(&host, &[("received", 1)]).await;
    deploy(&host, &decider_2()).await;
    deploy(&host, &views(1, &[("goods-received", 1)])).await;
    record(&host, &[("goods-received", 1)]).await;
    let before = build_of(&settled(&host).await, Role::Active).unwrap();
    // Its steps do the same, which is found by lifting the events.
    deploy(&host, &decider_2().version("2.0.1")).await;
    deploy(&host, &probe("other").event("unrelated", 1)).await;
    let after = build_of(&settled(&host).await, Role::Active).unwrap();
    assert_eq!(after.started_at, before.started_at);
    assert_eq!(sum(&place, &host).await, 2);
    host.shutdown().await.unwrap();
}

async fn a_step_for_a_form_that_is_not_stored_rebuilds_nothing(place: Place) {
    let host = host(&place).await;
    deploy(&host, &decider_1()).await;
    deploy(&host, &views(1, &[("goods-received", 1), ("corrected", 1)])).await;
    record(&host, &[("corrected", 1)]).await;
    let before = build_of(&settled(&host).await, Role::Active).unwrap();
    deploy(&host, &decider_2()).await;
    let after = build_of(&settled(&host).await, Role::Active).unwrap();
    assert_eq!(after.started_at, before.started_at);
    host.shutdown().await.unwrap();
}

async fn a_stale_build_is_reported_with_the_reason(place: Place) {
    let host = host(&place).await;
    deploy(&host, &decider_1()).await;
    deploy(&host, &views(1, &[("goods-received", 1), ("corrected", 1)])).await;
    record(&host, &[("received", 1), ("corrected", 1)]).await;
    settled(&host).await;
    // The rebuild waits, so that the stale build continues to answer.
    let release = Release::from(upload(&host, &decider_2()).await);
    let keeping = ProjectionChanges {
        hold: true,
        ..ProjectionChanges::default()
    };
    host.deploy(
        Deploy::new(release)
            .preflight(Demand::Skip)
            .projections(keeping.clone()),
    )
    .await
    .unwrap();
    let status = until(&host, "held", |status| {
        build_of(status, Role::Next).is_some_and(|build| build.state == State::Ready)
    })
    .await;
    let active = build_of(&status, Role::Active).unwrap();
    assert_eq!(active.state, State::Stale);
    let why = active.stale.unwrap();
    assert!(
        why.contains("1 stock events received of version 1 are read now"),
        "{why}"
    );
    host.control_projection(NOTES, Action::Switch)
        .await
        .unwrap();
    assert_eq!(sum(&place, &host).await, 2);
    host.shutdown().await.unwrap();
}

async fn a_projection_can_use_any_name_of_a_type(place: Place) {
    let host = host(&place).await;
    let decider = probe("stock").event_once_called("counted", 1, &["corrected", "set"]);
    deploy(&host, &decider).await;
    deploy(&host, &views(1, &[("set", 0)])).await;
    record(&host, &[("counted", 4)]).await;
    assert_eq!(sum(&place, &host).await, 4);
    let seen = document(&host, CHAIR).await["seen"].to_string();
    assert!(seen.contains("set@1"), "{seen}");
    host.shutdown().await.unwrap();
}

async fn a_plan_that_changed_while_no_host_ran_is_noticed(place: Place) {
    let first = host(&place).await;
    deploy(&first, &decider_1()).await;
    deploy(
        &first,
        &views(1, &[("goods-received", 1), ("corrected", 1)]),
    )
    .await;
    record(&first, &[("received", 1), ("corrected", 1)]).await;
    settled(&first).await;
    let release = upload(&first, &decider_2()).await;
    first
        .control_projection(NOTES, Action::Pause)
        .await
        .unwrap();
    first.activate(release, None).await.unwrap();
    first.shutdown().await.unwrap();
    let second = builder(&place).build().await.unwrap();
    second
        .control_projection(NOTES, Action::Resume)
        .await
        .unwrap();
    assert_eq!(sum(&place, &second).await, 2);
    second.shutdown().await.unwrap();
}

/// The projection became inline in a later plan than the decider, and the answer depends on that.
async fn an_unreadable_stream_gets_an_error_although_a_projection_is_inline(place: Place) {
    let host = super::support::patient(&place).await;
    deploy(&host, &decider_1()).await;
    record(&host, &[("received", 1)]).await;
    deploy(
        &host,
        &probe("stock").version("9.0.0").event("corrected", 1),
    )
    .await;
    let views = views(1, &[("corrected", 1)]);
    deploy_as(&host, &views, settings(Lifecycle::Inline, OnError::Stop)).await;
    settled(&host).await;
    let command = Command::new("note", json!([["corrected", {"n": 1}]]).to_string()).unwrap();
    let stream = build::stream(CHAIR);
    let answer = host.execute(&stream, command);
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    let error = answer.expect("it is answered").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("nobody knows events of type received"),
        "{error}"
    );
    host.shutdown().await.unwrap();
}

async fn documents_follow_their_component_back_and_forth(place: Place) {
    let host = host(&place).await;
    back_and_forth(&place, host, Lifecycle::Async).await;
}

async fn inline_documents_follow_their_component_back_and_forth(place: Place) {
    let host = super::support::patient(&place).await;
    back_and_forth(&place, host, Lifecycle::Inline).await;
}

async fn back_and_forth(place: &Place, host: Host, lifecycle: Lifecycle) {
    deploy(&host, &decider_1()).await;
    let settings = settings(lifecycle, OnError::Stop);
    deploy_as(&host, &views(1, &[("received", 1)]), settings).await;
    record(&host, &[("received", 1), ("corrected", 5)]).await;
    assert_eq!(document(&host, CHAIR).await["sum"], 1);
    let both = [
        decider_1().version("1.0.1"),
        views(2, &[("received", 1), ("corrected", 1)]),
    ];
    let mut release = Release::default();
    for probe in &both {
        release.digests.push(upload(&host, probe).await);
    }
    let keeping = ProjectionChanges::default();
    host.deploy(
        Deploy::new(release)
            .preflight(Demand::Skip)
            .projections(keeping.clone()),
    )
    .await
    .unwrap();
    assert_eq!(sum(place, &host).await, 6);
    for (wanted, added) in [(1, 1), (6 + 1, 1), (1 + 2, 0), (6 + 2, 0)] {
        // Back, forth, and both a second time; the first two with an event in between.
        let back = host.release_before("stock").await.unwrap().unwrap();
        host.deploy(
            Deploy::new(back)
                .preflight(Demand::Skip)
                .projections(keeping.clone()),
        )
        .await
        .unwrap();
        assert_eq!(sum(place, &host).await, wanted);
        for _ in 0..added {
            record(&host, &[("received", 1)]).await;
        }
    }
    host.shutdown().await.unwrap();
}

async fn a_roll_back_restores_the_settings_of_projections(place: Place) {
    let host = super::support::patient(&place).await;
    deploy(&host, &decider_1()).await;
    let first = settings(Lifecycle::Async, OnError::Skip);
    deploy_as(&host, &views(1, &[("received", 1)]), first).await;
    record(&host, &[("received", 1)]).await;
    let second = settings(Lifecycle::Inline, OnError::Park);
    deploy_as(&host, &views(2, &[("received", 1)]), second).await;
    settled(&host).await;
    for expected in [first, second, first] {
        let back = host.release_before("stock_views").await.unwrap().unwrap();
        let keeping = ProjectionChanges::default();
        host.deploy(
            Deploy::new(back)
                .preflight(Demand::Skip)
                .projections(keeping.clone()),
        )
        .await
        .unwrap();
        let settings = settled(&host).await.settings;
        assert_eq!(
            (Some(settings.lifecycle), Some(settings.on_error)),
            (expected.lifecycle, expected.on_error)
        );
        assert_eq!(sum(&place, &host).await, 1);
    }
    host.shutdown().await.unwrap();
}

/// Version 1 again, but of different events, after a version 2 that never became active.
async fn a_changed_definition_is_rebuilt_from_scratch(place: Place) {
    let host = host(&place).await;
    deploy(&host, &decider_1()).await;
    deploy(&host, &views(1, &[("received", 1)])).await;
    record(&host, &[("received", 1), ("corrected", 5)]).await;
    settled(&host).await;
    let others = [("corrected", 1)];
    let held = Release::from(upload(&host, &views(2, &others)).await);
    let keeping = ProjectionChanges {
        hold: true,
        ..ProjectionChanges::default()
    };
    host.deploy(
        Deploy::new(held)
            .preflight(Demand::Skip)
            .projections(keeping.clone()),
    )
    .await
    .unwrap();
    let module = upload(&host, &views(1, &others)).await;
    host.activate(module, None).await.unwrap();
    // The setting to hold is still in force.
    until(&host, "ready", |status| {
        let next = build_of(status, Role::Next);
        next.is_some_and(|next| next.module == module && next.state == State::Ready)
    })
    .await;
    host.control_projection(NOTES, Action::Switch)
        .await
        .unwrap();
    let keeps_version = |status: &Status| {
        let active = build_of(status, Role::Active);
        active.is_some_and(|build| build.version == 1) && build_of(status, Role::Next).is_none()
    };
    until(&host, "of one version", keeps_version).await;
    assert_eq!(sum(&place, &host).await, 5);
    host.shutdown().await.unwrap();
}

async fn an_event_that_cannot_be_lifted_does_not_hide_a_change_after_it(place: Place) {
    let host = host(&place).await;
    let to = &[("received", 2)];
    let lifting = |version: &str, does: &str| {
        probe("lifting")
            .version(version)
            .step_that("stock", ("received", 1), to, does)
    };
    deploy(&host, &decider_1()).await;
    let bad = json!([["received", {"n": 1, "is": "bad"}]]).to_string();
    let command = Command::new("note", bad).unwrap();
    host.execute(&build::stream("stock-bad"), command)
        .await
        .unwrap();
    record(&host, &[("received", 1), ("received", 2)]).await;
    let raised = probe("stock").version("1.0.1").event("received", 2);
    deploy(&host, &raised.event("corrected", 1)).await;
    deploy(&host, &lifting("1.0.0", "bad-event")).await;
    let skipping = settings(Lifecycle::Async, OnError::Skip);
    deploy_as(&host, &views(1, to), skipping).await;
    settled(&host).await;
    // The step has the same declaration, but lifts the other events differently.
    deploy(&host, &lifting("2.0.0", "bad-event-twice")).await;
    let found = right(&place, &host).await;
    assert_eq!(
        found[CHAIR].matches("received@2").count(),
        2 * 3,
        "{found:?}"
    );
    host.shutdown().await.unwrap();
}

/// Stores of earlier versions have such builds.
async fn a_build_without_a_plan_is_compared_with_the_whole_history(place: Place) {
    let first = host(&place).await;
    deploy(&first, &decider_1()).await;
    let types = &[("goods-received", 1), ("corrected", 1)];
    deploy(&first, &views(1, types)).await;
    record(&first, &[("received", 1), ("corrected", 1)]).await;
    deploy(&first, &probe("other").event("unrelated", 1)).await;
    let before = build_of(&settled(&first).await, Role::Active).unwrap();
    first.shutdown().await.unwrap();
    place.tamper("UPDATE builds SET plan = NULL").await;
    let second = host(&place).await;
    let after = build_of(&settled(&second).await, Role::Active).unwrap();
    assert_eq!(after.started_at, before.started_at);
    second
        .control_projection(NOTES, Action::Pause)
        .await
        .unwrap();
    deploy(&second, &decider_2()).await;
    second.shutdown().await.unwrap();
    place.tamper("UPDATE builds SET plan = NULL").await;
    let third = host(&place).await;
    third
        .control_projection(NOTES, Action::Resume)
        .await
        .unwrap();
    assert_eq!(sum(&place, &third).await, 2);
    third.shutdown().await.unwrap();
}
