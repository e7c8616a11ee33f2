//! Semantics 9.6: rebuilds next to the active build.

use quipu::deploy::ProjectionChanges;
use quipu::model::{Lifecycle, OnError};
use quipu::projection::{Action, Error, State, Status};
use quipu::store::Role;
use quipu::{Demand, Deploy, Host};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, on_every_store};
use serde_json::json;

use super::support::{
    NOTES, active, build_of, builder, deploy, document, documents, host, note, settings, until,
    until_builds_are_near, until_state,
};

on_every_store!(
    a_higher_version_is_built_next_to_the_active_one_and_replaces_it,
    the_same_version_in_a_new_module_keeps_its_documents,
    a_rebuild_can_be_held_until_the_operator_switches,
    documents_of_two_builds_are_compared_as_json_values,
    a_rebuild_can_be_cancelled,
    a_roll_back_restores_the_old_documents_and_they_catch_up,
    the_previous_build_is_dropped_on_request,
    a_changed_definition_with_the_same_version_is_refused,
    a_rebuild_under_appends_counts_each_event_once,
    a_switch_succeeds_under_continuous_appends,
    an_owner_renews_its_lease_during_long_work,
    a_rebuild_continues_after_a_restart,
    a_projection_name_is_taken_over_on_request,
    a_switch_directly_after_a_deployment_applies_to_its_rebuild,
    a_roll_back_directly_after_a_deployment_is_refused_because_of_its_rebuild,
    a_cancel_directly_after_a_deployment_restarts_its_rebuild,
);

fn version(version: u32) -> Probe {
    let keys = ["stream", "one", "body"][version as usize - 1];
    probe("note")
        .event("noted", 1)
        .version(&format!("{version}.0.0"))
        .projection(NOTES, version, json!({"keys": keys}))
}

fn async_settings() -> quipu::model::SettingsChange {
    settings(Lifecycle::Async, OnError::Stop)
}

/// Version 2, whose keys differ on purpose. This looks like lost documents, so an operator has to
/// confirm it.
async fn switch_to_version_2(host: &Host) -> Status {
    until_state(host, State::CaughtUp).await;
    deploy(host, &version(2), async_settings()).await;
    let waiting = until(host, "ready", |status| {
        build_of(status, Role::Next).is_some_and(|build| build.state == State::Ready)
    });
    let waits = build_of(&waiting.await, Role::Next).unwrap().waits.unwrap();
    assert!(waits.contains("no trace of"), "{waits}");
    host.control_projection(NOTES, Action::Switch)
        .await
        .unwrap();
    let status = until(host, "taken over", |status| {
        build_of(status, Role::Active).is_some_and(|build| build.version == 2)
    });
    status.await
}

async fn a_switch_directly_after_a_deployment_applies_to_its_rebuild(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(1), async_settings()).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    until_state(&host, State::CaughtUp).await;
    deploy(&host, &version(2), async_settings()).await;
    let order = Action::Switch;
    host.control_projection(NOTES, order).await.unwrap();
    let status = until(&host, "taken over", |status| {
        build_of(status, Role::Active).is_some_and(|build| build.version == 2)
    });
    assert!(build_of(&status.await, Role::Next).is_none());
    host.shutdown().await.unwrap();
}

async fn a_roll_back_directly_after_a_deployment_is_refused_because_of_its_rebuild(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(1), async_settings()).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    until_state(&host, State::CaughtUp).await;
    switch_to_version_2(&host).await;
    deploy(&host, &version(3), async_settings()).await;
    let back = host.control_projection(NOTES, Action::RollBack).await;
    let why = back.unwrap_err().to_string();
    assert!(why.contains("a rebuild is under way"), "{why}");
    let status = host.projection(NOTES).await.unwrap();
    assert_eq!(build_of(&status, Role::Active).unwrap().version, 2);
    assert_eq!(build_of(&status, Role::Previous).unwrap().version, 1);
    host.shutdown().await.unwrap();
}

async fn a_cancel_directly_after_a_deployment_restarts_its_rebuild(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(1), async_settings()).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    until_state(&host, State::CaughtUp).await;
    deploy(&host, &version(2), async_settings()).await;
    // What is deployed is what is wanted, so a rebuild to it begins from scratch.
    host.control_projection(NOTES, Action::Cancel)
        .await
        .unwrap();
    until(&host, "ready", |status| {
        build_of(status, Role::Next)
            .is_some_and(|build| build.version == 2 && build.state == State::Ready)
    })
    .await;
    let status = host.projection(NOTES).await.unwrap();
    assert_eq!(build_of(&status, Role::Active).unwrap().version, 1);
    host.shutdown().await.unwrap();
}

async fn a_higher_version_is_built_next_to_the_active_one_and_replaces_it(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(1), async_settings()).await;
    for n in 1..=10 {
        note(&host, &format!("note-{n}"), &json!({"n": n})).await;
    }
    assert_eq!(documents(&host, NOTES).await.len(), 10);
    let status = switch_to_version_2(&host).await;
    let previous = build_of(&status, Role::Previous).unwrap();
    assert_eq!((previous.version, previous.state), (1, State::Kept));
    let active = build_of(&status, Role::Active).unwrap();
    let comparison = active.comparison.unwrap();
    assert!(comparison.is_complete);
    assert_eq!((comparison.only_active, comparison.only_next), (10, 1));
    assert_eq!(document(&host, "all").await["sum"], 55);
    assert_eq!(documents(&host, NOTES).await.len(), 1);
    host.shutdown().await.unwrap();
}

/// Semantics 10.2.
async fn the_same_version_in_a_new_module_keeps_its_documents(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(1), async_settings()).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    assert_eq!(document(&host, "note-1").await["count"], 1);
    let other = version(1).version("1.9.0");
    deploy(&host, &other, async_settings()).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    assert_eq!(document(&host, "note-1").await["count"], 2);
    // The old module may have folded this event: the documents of both are the same.
    until(&host, "handed over", |status| {
        let deployed = status.deployed.as_ref().map(|it| it.module);
        status.builds.len() == 1 && deployed == Some(status.builds[0].module)
    })
    .await;
    host.shutdown().await.unwrap();
}

async fn a_rebuild_can_be_held_until_the_operator_switches(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(1), async_settings()).await;
    for n in 1..=5 {
        note(&host, &format!("note-{n}"), &json!({"n": n})).await;
    }
    until_state(&host, State::CaughtUp).await;
    host.control_projection(NOTES, Action::Rebuild { hold: true })
        .await
        .unwrap();
    let twice = host
        .control_projection(NOTES, Action::Rebuild { hold: true })
        .await;
    assert!(matches!(twice, Err(Error::Refused { .. })), "{twice:?}");
    let twice = host
        .control_projection(NOTES, Action::Rebuild { hold: false })
        .await;
    assert!(matches!(twice, Err(Error::Refused { .. })), "{twice:?}");
    assert!(host.projection(NOTES).await.unwrap().is_held);
    let ready = until(&host, "ready", |status| {
        build_of(status, Role::Next).is_some_and(|build| build.state == State::Ready)
    });
    let next = build_of(&ready.await, Role::Next).unwrap();
    let comparison = next.comparison.unwrap();
    assert_eq!((comparison.same, comparison.different), (5, 0));
    note(&host, "note-9", &json!({"n": 9})).await;
    assert_eq!(document(&host, "note-9").await["n"], json!(null));
    host.control_projection(NOTES, Action::Switch)
        .await
        .unwrap();
    until(&host, "switched", |status| {
        build_of(status, Role::Previous).is_some() && build_of(status, Role::Next).is_none()
    })
    .await;
    assert_eq!(documents(&host, NOTES).await.len(), 6);
    host.shutdown().await.unwrap();
}

async fn documents_of_two_builds_are_compared_as_json_values(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(1), async_settings()).await;
    for n in 1..=5 {
        note(&host, &format!("note-{n}"), &json!({"n": n})).await;
    }
    until_state(&host, State::CaughtUp).await;
    let otherwise = json!({"keys": "stream", "does": "spell-otherwise"});
    let otherwise = probe("note")
        .event("noted", 1)
        .version("2.0.0")
        .projection(NOTES, 2, otherwise);
    deploy(&host, &otherwise, async_settings()).await;
    let status = until(&host, "taken over", |status| {
        build_of(status, Role::Active).is_some_and(|build| build.version == 2)
    });
    let active = build_of(&status.await, Role::Active).unwrap();
    let comparison = active.comparison.unwrap();
    assert_eq!((comparison.same, comparison.different), (5, 0));
    let view = host.view(NOTES, "note-1", crate::support::now(&host).await);
    assert!(view.await.unwrap().document.contains("10e-1"));
    host.shutdown().await.unwrap();
}

async fn a_rebuild_can_be_cancelled(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(1), async_settings()).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    until_state(&host, State::CaughtUp).await;
    host.control_projection(NOTES, Action::Rebuild { hold: true })
        .await
        .unwrap();
    let status = host
        .control_projection(NOTES, Action::Cancel)
        .await
        .unwrap();
    assert!(build_of(&status, Role::Next).is_none());
    let again = host.control_projection(NOTES, Action::Cancel).await;
    assert!(matches!(again, Err(Error::Refused { .. })), "{again:?}");
    assert_eq!(document(&host, "note-1").await["count"], 1);
    host.shutdown().await.unwrap();
}

async fn a_roll_back_restores_the_old_documents_and_they_catch_up(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(1), async_settings()).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    switch_to_version_2(&host).await;
    note(&host, "note-1", &json!({"n": 2})).await;
    assert_eq!(document(&host, "all").await["sum"], 3);
    let status = host
        .control_projection(NOTES, Action::RollBack)
        .await
        .unwrap();
    assert_eq!(build_of(&status, Role::Active).unwrap().version, 1);
    note(&host, "note-1", &json!({"n": 4})).await;
    assert_eq!(document(&host, "note-1").await["sum"], 7);
    host.control_projection(NOTES, Action::RollBack)
        .await
        .unwrap();
    assert_eq!(document(&host, "all").await["sum"], 7);
    host.shutdown().await.unwrap();
}

async fn the_previous_build_is_dropped_on_request(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(1), async_settings()).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    switch_to_version_2(&host).await;
    let status = host.control_projection(NOTES, Action::Drop).await.unwrap();
    assert!(build_of(&status, Role::Previous).is_none());
    let gone = host.control_projection(NOTES, Action::RollBack).await;
    assert!(matches!(gone, Err(Error::Refused { .. })), "{gone:?}");
    assert_eq!(document(&host, "all").await["sum"], 1);
    host.shutdown().await.unwrap();
}

async fn a_changed_definition_with_the_same_version_is_refused(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(1), async_settings()).await;
    let index = json!({"indexes": [{"name": "sum", "pointer": "/sum", "kind": "integer"}]});
    let other = probe("note")
        .event("noted", 1)
        .version("1.1.0")
        .projection(NOTES, 1, index);
    let module = host.upload(other.component()).await.unwrap().module;
    let refused = host.activate(module.digest(), None).await.unwrap_err();
    assert!(
        refused.to_string().contains("raise its version"),
        "{refused}"
    );
    let elsewhere = probe("other").projection(NOTES, 1, json!({}));
    let module = host.upload(elsewhere.component()).await.unwrap().module;
    let refused = host.activate(module.digest(), None).await.unwrap_err();
    assert!(refused.to_string().contains("both define"), "{refused}");
    host.shutdown().await.unwrap();
}

async fn a_rebuild_under_appends_counts_each_event_once(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(2), async_settings()).await;
    let mut appended = 0;
    for _ in 0..3 {
        host.control_projection(NOTES, Action::Rebuild { hold: false })
            .await
            .unwrap();
        for _ in 0..100 {
            note(&host, &format!("note-{}", appended % 7), &json!({"n": 1})).await;
            appended += 1;
        }
        until(&host, "taken over", |status| {
            build_of(status, Role::Next).is_none()
        })
        .await;
    }
    assert_eq!(document(&host, "all").await["count"], appended);
    host.shutdown().await.unwrap();
}

async fn a_switch_succeeds_under_continuous_appends(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(2), async_settings()).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    until_state(&host, State::CaughtUp).await;
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let appending = async {
        while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
            let notes = (0..8).map(|n| {
                let host = host.clone();
                async move { note(&host, &format!("note-{n}"), &json!({"n": 1})).await }
            });
            futures::future::join_all(notes).await;
            until_builds_are_near(&host).await;
        }
    };
    let switching = async {
        host.control_projection(NOTES, Action::Rebuild { hold: true })
            .await
            .unwrap();
        until(&host, "begun", |status| {
            build_of(status, Role::Next).is_some()
        })
        .await;
        host.control_projection(NOTES, Action::Switch)
            .await
            .unwrap();
        until(&host, "switched", |status| {
            build_of(status, Role::Next).is_none() && build_of(status, Role::Previous).is_some()
        })
        .await;
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    tokio::join!(appending, switching);
    let all = document(&host, "all").await;
    host.control_projection(NOTES, Action::RollBack)
        .await
        .unwrap();
    assert_eq!(document(&host, "all").await, all);
    host.shutdown().await.unwrap();
}

/// Lease renewals arrive at any time, so a task that holds a resource that they wait for must make
/// progress meanwhile.
async fn an_owner_renews_its_lease_during_long_work(place: Place) {
    let options = quipu::projection::Options {
        lease: std::time::Duration::from_millis(3),
        ..super::support::quick()
    };
    let host = place.builder().projections(options).build().await.unwrap();
    deploy(&host, &version(1), async_settings()).await;
    for n in 0..200 {
        note(&host, &format!("note-{n}"), &json!({"n": 1})).await;
    }
    for _ in 0..10 {
        host.control_projection(NOTES, Action::Rebuild { hold: false })
            .await
            .unwrap();
        until(&host, "taken over", |status| {
            build_of(status, Role::Next).is_none()
        })
        .await;
    }
    assert_eq!(documents(&host, NOTES).await.len(), 200);
    host.shutdown().await.unwrap();
}

async fn a_rebuild_continues_after_a_restart(place: Place) {
    let first = host(&place).await;
    deploy(&first, &version(1), async_settings()).await;
    for n in 1..=50 {
        note(&first, &format!("note-{}", n % 5), &json!({"n": n})).await;
    }
    until_state(&first, State::CaughtUp).await;
    first
        .control_projection(NOTES, Action::Rebuild { hold: true })
        .await
        .unwrap();
    first.shutdown().await.unwrap();
    let second = builder(&place).build().await.unwrap();
    second
        .control_projection(NOTES, Action::Switch)
        .await
        .unwrap();
    until(&second, "taken over", |status| {
        build_of(status, Role::Previous).is_some()
    })
    .await;
    assert_eq!(documents(&second, NOTES).await.len(), 5);
    second.shutdown().await.unwrap();
}

/// Semantics 10.2.
async fn a_projection_name_is_taken_over_on_request(place: Place) {
    let host = host(&place).await;
    deploy(&host, &version(1), async_settings()).await;
    note(&host, "note-1", &json!({"n": 1})).await;
    assert_eq!(document(&host, "note-1").await["sum"], 1);
    let begun = active(&host).await.started_at;
    let of_notes = json!({"keys": "stream", "sources": [{"category": "note"}]});
    let other = |version| probe("other").projection(NOTES, version, of_notes.clone());
    let taking = |name: &str| ProjectionChanges {
        take_over: vec![name.to_owned()],
        ..ProjectionChanges::default()
    };
    let module = host.upload(other(1).component()).await.unwrap().module;
    let digest = module.digest();
    let refused = host.activate(digest, None).await.unwrap_err().to_string();
    assert!(
        refused.contains("note@") && refused.contains("other@"),
        "{refused}"
    );
    let refused = host
        .deploy(
            Deploy::new(digest)
                .preflight(Demand::Skip)
                .projections(taking("others")),
        )
        .await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("no projection others"), "{refused}");
    host.deploy(
        Deploy::new(digest)
            .preflight(Demand::Skip)
            .projections(taking(NOTES)),
    )
    .await
    .unwrap();
    // The same version: it goes on with the documents that are there.
    let owner = |host: &Host| host.plan().projection(NOTES).unwrap().module.digest();
    assert_eq!(owner(&host), digest);
    note(&host, "note-1", &json!({"n": 1})).await;
    assert_eq!(document(&host, "note-1").await["sum"], 2);
    assert_eq!(active(&host).await.started_at, begun);
    // The previous owner of the name may change, and still defines it.
    deploy_plain(&host, &version(1).version("1.0.1")).await;
    assert_eq!(owner(&host), digest);
    // A release that takes the name back is rolled back together with the ownership.
    let back = version(1).version("1.0.2").component();
    let back = host.upload(back).await.unwrap().module.digest();
    host.deploy(
        Deploy::new(back)
            .preflight(Demand::Skip)
            .projections(taking(NOTES)),
    )
    .await
    .unwrap();
    assert_eq!(owner(&host), back);
    let before = host.release_before("note").await.unwrap().unwrap();
    let changes = ProjectionChanges::default();
    host.deploy(
        Deploy::new(before)
            .preflight(Demand::Skip)
            .projections(changes.clone()),
    )
    .await
    .unwrap();
    assert_eq!(owner(&host), digest);
    // A higher version is built from scratch, and the ownership survives a restart.
    deploy_plain(&host, &other(2)).await;
    until(&host, "taken over", |status| {
        let build = build_of(status, Role::Active);
        build.is_some_and(|build| build.version == 2)
    })
    .await;
    host.shutdown().await.unwrap();
    let host = self::host(&place).await;
    let newer = owner(&host);
    assert_eq!(host.plan().active("other"), Some(newer));
    // The name belongs to the other module once its owner no longer defines it.
    deploy_plain(&host, &probe("other").projection("else", 1, json!({}))).await;
    assert_eq!(Some(owner(&host)), host.plan().active("note"));
    host.shutdown().await.unwrap();
}

async fn deploy_plain(host: &Host, probe: &Probe) {
    let module = host.upload(probe.component()).await.unwrap().module;
    host.activate(module.digest(), None).await.unwrap();
}
