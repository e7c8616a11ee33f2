//! Semantics 10: modules and the plan.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use quipu::model::{Digest, Position};
use quipu_tests::probe::probe;
use quipu_tests::{Place, build, examples, guest, log, on_every_store};
use serde_json::json;

on_every_store! {
    a_refused_component_gets_a_reason_and_is_not_stored,
    the_same_bytes_are_the_same_module,
    a_module_that_is_not_in_the_store_cannot_be_activated,
    each_activation_increments_the_plan_and_is_in_the_history,
    replacing_a_module_has_a_position_and_fails_no_command,
    changing_the_schema_version_of_a_command_fails_no_command,
    rolling_back_is_an_activation,
    the_events_that_a_module_decided_can_be_listed,
    the_plan_and_the_modules_survive_a_restart,
}

/// Semantics 10.1.
async fn a_refused_component_gets_a_reason_and_is_not_stored(place: Place) {
    let host = place.host().await;
    for (bytes, words) in [
        (b"no component".to_vec(), ""),
        (guest::component("wants-clock"), "clock"),
        (
            guest::component_of("no-manifest", "decider-guest"),
            "manifest",
        ),
    ] {
        let error = host.upload(bytes).await.unwrap_err().to_string();
        assert!(
            error.starts_with("the module is refused") && error.contains(words),
            "{error}"
        );
    }
    assert!(host.modules().await.unwrap().is_empty());
}

async fn the_same_bytes_are_the_same_module(place: Place) {
    let host = place.host().await;
    let bytes = guest::component("skeleton");
    let first = host.upload(bytes.clone()).await.unwrap();
    let again = host.upload(bytes.clone()).await.unwrap();
    assert_eq!((first.is_new, again.is_new), (true, false));
    let digest = first.module.digest();
    assert_eq!(digest, again.module.digest());
    let modules = host.modules().await.unwrap();
    assert_eq!((modules.len(), modules[0].digest), (1, digest));
    assert_eq!(modules[0].bytes, bytes.len() as u64);
    assert_eq!(host.module_bytes(digest).await.unwrap(), bytes);
}

async fn a_module_that_is_not_in_the_store_cannot_be_activated(place: Place) {
    let host = place.host().await;
    let answer = host.activate(Digest([7; 32]), None).await;
    assert!(
        matches!(answer, Err(quipu::deploy::Error::NotFound(_))),
        "{answer:?}"
    );
    assert_eq!(
        (host.plan().number, host.deployments().await.unwrap().len()),
        (0, 0)
    );
}

/// Semantics 10.6.
async fn each_activation_increments_the_plan_and_is_in_the_history(place: Place) {
    let host = place.host().await;
    let skeleton = host
        .upload(guest::component("skeleton"))
        .await
        .unwrap()
        .module;
    let account = host.upload(examples::account()).await.unwrap().module;
    for (n, module) in [&skeleton, &account, &skeleton].into_iter().enumerate() {
        let by = Some(format!("operator {n}"));
        let deployment = host.activate(module.digest(), by.clone()).await.unwrap();
        assert_eq!(
            (deployment.plan, deployment.activated_by.clone()),
            (n as u64 + 1, by)
        );
        let history = host.deployments().await.unwrap();
        assert_eq!((history.len(), history.last()), (n + 1, Some(&deployment)));
        assert_eq!(host.plan().number, n as u64 + 1);
    }
    assert_eq!(host.plan().active("probe"), Some(skeleton.digest()));
    assert_eq!(host.plan().active("account"), Some(account.digest()));
    let executed = host
        .execute(&build::stream("probe-1"), build::command("go", "{}"))
        .await
        .unwrap();
    assert_eq!(executed.module, Some(skeleton.digest()));
    assert_eq!(log::whole(&host).await[0].commit.plan, 3);
}

/// Semantics 10.3.
async fn replacing_a_module_has_a_position_and_fails_no_command(place: Place) {
    let text = "(memory $memory 512) (func $decide (type $decide) (nop) (i32.const 0x740))";
    swap_under_load(place, guest::component("moody"), guest::decider_with(text)).await;
}

async fn changing_the_schema_version_of_a_command_fails_no_command(place: Place) {
    // Each module reads only its own version of `go`; callers name none.
    let reads = |version: u32| {
        guest::decider_with(&format!(
            r#"(data (i32.const 0x608) "\0{version}\00\00\00")
            (data (i32.const 0x800) "another version")
            (data (i32.const 0x840)
              "\01\00\00\00\01\00\00\00\00\08\00\00\0f\00\00\00")
            (func $decide (type $decide)
              (if (i32.ne (local.get 5) (i32.const {version}))
                (then (return (i32.const 0x840))))
              (i32.const 0x740))"#
        ))
    };
    swap_under_load(place, reads(1), reads(2)).await;
}

async fn swap_under_load(place: Place, old: Vec<u8>, new: Vec<u8>) {
    let host = place.host().await;
    let old = examples::deploy(&host, old).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..16)
        .map(|n| {
            let (host, is_over) = (host.clone(), Arc::clone(&is_over));
            let stream = build::stream(&format!("probe-{}", n % 6));
            tokio::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    host.execute(&stream, build::command("go", "{}"))
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    let new = host.upload(new).await.unwrap().module.digest();
    for digest in [new, old, new, old, new] {
        host.activate(digest, None).await.unwrap();
        let head = host.log_head().await.unwrap().0;
        // Each module has decided some commands.
        while host.log_head().await.unwrap().0 < head + 50 {
            tokio::task::yield_now().await;
        }
    }
    is_over.store(true, Ordering::SeqCst);
    join_all(clients)
        .await
        .into_iter()
        .for_each(|client| client.unwrap());

    let log = log::whole(&host).await;
    log::check(&log);
    let plans: Vec<u64> = log.iter().map(|event| event.commit.plan).collect();
    assert!(plans.is_sorted(), "the plans of the log run backward");
    for event in &log {
        let by = if event.commit.plan % 2 == 1 { old } else { new };
        assert_eq!(event.commit.module, Some(by), "plan {}", event.commit.plan);
    }
    assert_eq!(plans.last(), Some(&6));
}

/// Semantics 10.5.
async fn rolling_back_is_an_activation(place: Place) {
    let host = place.host().await;
    let stream = build::stream("probe-1");
    let good = examples::deploy(&host, guest::component("skeleton")).await;
    host.execute(&stream, build::command("go", "{}"))
        .await
        .unwrap();
    examples::deploy(&host, guest::component("trap")).await;
    let answer = host.execute(&stream, build::command("go", "{}")).await;
    assert_eq!(answer.unwrap_err().code(), "guest-fault");
    host.activate(good, None).await.unwrap();
    let executed = host
        .execute(&stream, build::command("go", "{}"))
        .await
        .unwrap();
    assert_eq!((executed.version.0, executed.module), (2, Some(good)));
}

async fn the_plan_and_the_modules_survive_a_restart(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, guest::component("trap")).await;
    let digest = examples::deploy(&host, guest::component("skeleton")).await;
    let (modules, history) = (
        host.modules().await.unwrap(),
        host.deployments().await.unwrap(),
    );
    host.shutdown().await.unwrap();
    let host = place.host().await;
    assert_eq!(host.plan().number, 2);
    assert_eq!(host.modules().await.unwrap(), modules);
    assert_eq!(host.deployments().await.unwrap(), history);
    let executed = host
        .execute(&build::stream("probe-1"), build::command("go", "{}"))
        .await
        .unwrap();
    assert_eq!(executed.module, Some(digest));
}

/// Semantics 10.6.
async fn the_events_that_a_module_decided_can_be_listed(place: Place) {
    let host = place.host().await;
    let decider = |version: &str| probe("note").event("noted", 1).version(version).component();
    let other = examples::deploy(&host, examples::account()).await;
    let (mut digests, mut expected) = (Vec::new(), [Vec::new(), Vec::new()]);
    for version in ["1.0.0", "2.0.0"] {
        let uploaded = host.upload(decider(version)).await.unwrap();
        digests.push(uploaded.module.digest());
    }
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    for turn in 0..5 {
        let active = turn % 2;
        host.activate(digests[active], None).await.unwrap();
        for n in 0..7 {
            let event = json!(["noted", {"n": n}]);
            let events = json!([event, event]).to_string();
            let note = build::stream(&format!("note-{}", n % 3));
            let executed = host.execute(&note, build::command("note", &events)).await;
            let events = executed.unwrap().events;
            expected[active].extend(events.iter().map(|event| event.position));
            host.execute(&account, build::deposit(1)).await.unwrap();
        }
        let raw = build::foreign(build::events(1));
        host.append(&build::stream("note-0"), raw).await.unwrap();
    }
    for (digest, expected) in digests.iter().zip(&expected) {
        for limit in [1000, 10, 3] {
            let (mut found, mut after) = (Vec::new(), Position(0));
            loop {
                let page = host.decided_by(*digest, after, limit).await.unwrap();
                assert!(page.events.len() <= limit);
                found.extend(page.events.iter().map(|event| event.position));
                match page.next {
                    Some(next) => after = next,
                    None => break,
                }
            }
            assert_eq!(&found, expected, "{limit}");
        }
    }
    let page = host.decided_by(other, Position(3), 1000).await.unwrap();
    assert_eq!(page.events.len(), 35);
    let never = host.decided_by(Digest([1; 32]), Position(0), 10).await;
    assert_eq!(never.unwrap().events.len(), 0);
}
