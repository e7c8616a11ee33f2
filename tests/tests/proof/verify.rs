//! Semantics 10.7: re-deciding gives the recorded results.

use std::collections::HashSet;

use futures::{StreamExt, stream};
use quipu::Host;
use quipu::engine::Error;
use quipu::model::{Context, ExpectedVersion, Position};
use quipu::proof::{self, Progress, Scope};
use quipu::runtime;
use quipu_tests::lines::{self, Line};
use quipu_tests::probe::probe;
use quipu_tests::{Place, build, examples, log, on_every_store, seed};

use super::{again, decisions, verified};

on_every_store! {
    an_empty_store_is_sound,
    every_decision_of_both_generations_is_verified,
    activations_under_load_leave_a_sound_history,
    events_that_no_module_decided_are_counted_and_folded,
    archived_and_truncated_streams_are_verified_completely,
    a_category_or_a_sample_can_be_verified_by_itself,
    only_one_run_at_a_time_is_allowed,
    progress_reaches_the_head_of_the_log,
    a_history_is_sound_after_a_restart,
    lower_limits_of_a_host_do_not_apply_to_its_history,
}

async fn an_empty_store_is_sound(place: Place) {
    let host = place.host().await;
    let verified = verified(&host).await;
    assert!(verified.is_sound());
    assert_eq!((verified.events, verified.head), (0, Position(0)));
}

/// Executes lines in order within each stream; returns how many were accepted with events.
async fn run(host: &Host, lines: &[(usize, &Line)]) -> u64 {
    let starting = stream::iter(lines.iter());
    let started = starting.map(|(number, line)| lines::start(host, line, *number));
    let mut answers = started.buffered(64);
    let mut decided = 0;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(executed) => {
                decided += u64::from(!executed.replayed && !executed.events.is_empty());
            }
            Err(Error::Rejected { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    decided
}

async fn every_decision_of_both_generations_is_verified(place: Place) {
    let seed = seed::seeds(1)[0];
    eprintln!("replay with QUIPU_SEED={seed}");
    let lines = lines::simulated(seed, 3_000);
    let numbered: Vec<_> = lines.iter().enumerate().collect();
    let (first, second) = numbered.split_at(numbered.len() / 2);
    let host = place.host().await;
    examples::deploy(&host, examples::loan()).await;
    let mut decided = run(&host, first).await;
    examples::deploy(&host, examples::loan_v2()).await;
    decided += run(&host, second).await;
    let verified = verified(&host).await;
    assert_eq!(
        decisions(&verified),
        (decided, 0),
        "{:?}",
        verified.findings
    );
    assert!(verified.is_sound());
}

async fn activations_under_load_leave_a_sound_history(place: Place) {
    let host = place.host().await;
    let mut modules = Vec::new();
    for number in 0..3 {
        let uploaded = host.upload(again(examples::account(), number)).await;
        modules.push(uploaded.unwrap().module.digest());
    }
    host.activate(modules[0], None).await.unwrap();
    let swaps = async {
        for n in 1..=30 {
            host.activate(modules[n % modules.len()], None)
                .await
                .unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let commands = async {
        for round in 0..40 {
            let all = (0..16).map(|n| {
                let (host, account) = (host.clone(), build::stream(&format!("account-{n}")));
                let command = match round {
                    0 => build::open_account(),
                    _ => build::deposit(round),
                };
                async move { host.execute(&account, command).await.unwrap() }
            });
            futures::future::join_all(all).await;
            // Rejections are verified as well.
            let account = build::stream("account-1");
            let refused = host.execute(&account, build::open_account()).await;
            assert!(
                matches!(refused, Err(Error::Rejected { .. })),
                "{refused:?}"
            );
        }
    };
    // Whatever is appended meanwhile, the verified part is complete.
    let checks = async {
        for _ in 0..8 {
            let found = verified(&host).await;
            assert!(found.is_sound(), "{:?}", found.findings);
        }
    };
    tokio::join!(swaps, commands, checks);
    let verified = verified(&host).await;
    assert_eq!(
        decisions(&verified),
        (16 * 40, 0),
        "{:?}",
        verified.findings
    );
    assert!(verified.is_sound());
    let modules: HashSet<_> = log::whole(&host)
        .await
        .iter()
        .filter_map(|event| event.commit.module)
        .collect();
    assert!(modules.len() > 1, "nothing was swapped");
}

async fn events_that_no_module_decided_are_counted_and_folded(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, examples::account()).await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let paid = build::event("deposited", r#"{"amount":50}"#);
    host.append(&account, build::foreign(vec![paid]))
        .await
        .unwrap();
    // It is accepted only on the state after the appended event.
    host.execute(&account, build::withdraw(40)).await.unwrap();
    let parts = vec![
        ("note-1", ExpectedVersion::Any, build::events(3)),
        ("note-2", ExpectedVersion::Any, build::events(2)),
    ];
    host.append_all(build::append_all(parts)).await.unwrap();
    let verified = verified(&host).await;
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!(decisions(&verified), (2, 0));
    assert_eq!((verified.raw, verified.events), (3, 8));
}

async fn archived_and_truncated_streams_are_verified_completely(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, examples::account()).await;
    for id in ["account-1", "account-2"] {
        let account = build::stream(id);
        host.execute(&account, build::open_account()).await.unwrap();
        for amount in 1..=5 {
            host.execute(&account, build::deposit(amount))
                .await
                .unwrap();
        }
    }
    let (one, two) = (build::stream("account-1"), build::stream("account-2"));
    host.archive(&one, Context::default()).await.unwrap();
    host.truncate(&two, quipu::model::Version(4), Context::default())
        .await
        .unwrap();
    host.execute(&two, build::withdraw(15)).await.unwrap();
    let verified = verified(&host).await;
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!(decisions(&verified), (13, 0));
}

async fn a_category_or_a_sample_can_be_verified_by_itself(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, examples::account()).await;
    for n in 0..20 {
        let account = build::stream(&format!("account-{n}"));
        host.execute(&account, build::open_account()).await.unwrap();
    }
    let note = build::stream("note-1");
    host.append(&note, build::append(build::events(4)))
        .await
        .unwrap();
    let counts = async |category: Option<&str>, sample| {
        let scope = Scope {
            category: category.map(str::to_owned),
            sample,
            ..Scope::default()
        };
        let verified = host.verify(&scope, &mut |_| {}).await.unwrap();
        assert!(verified.is_sound());
        (verified.events, decisions(&verified).0, verified.raw)
    };
    assert_eq!(counts(Some("account"), None).await, (20, 20, 0));
    assert_eq!(counts(Some("note"), None).await, (4, 0, 1));
    assert_eq!(counts(Some("account"), Some(7)).await, (7, 7, 0));
    assert_eq!(counts(None, Some(100)).await, (24, 20, 1));
    assert_eq!(counts(Some("nothing"), Some(1)).await, (0, 0, 0));
}

async fn only_one_run_at_a_time_is_allowed(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, examples::account()).await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    let scope = Scope::default();
    let (mut unheard, mut unheard_too) = (|_| {}, |_| {});
    let runs = tokio::join!(
        host.verify(&scope, &mut unheard),
        host.verify(&scope, &mut unheard_too),
    );
    assert!(runs.0.unwrap().is_sound());
    assert!(matches!(runs.1, Err(proof::Error::UnderWay)));
    // A cancelled run blocks nobody.
    drop(host.verify(&scope, &mut |_| {}));
    assert!(verified(&host).await.is_sound());
}

async fn progress_reaches_the_head_of_the_log(place: Place) {
    let host = place.host().await;
    let note = build::stream("note-1");
    for _ in 0..3 {
        let append = build::append(build::events(900));
        host.append(&note, append).await.unwrap();
    }
    let mut reports: Vec<Progress> = Vec::new();
    let mut report = |progress| reports.push(progress);
    let verified = host.verify(&Scope::default(), &mut report).await.unwrap();
    assert_eq!((verified.events, verified.raw), (2_700, 3));
    let head = host.log_head().await.unwrap();
    assert!(reports.len() > 1 && reports.is_sorted_by_key(|progress| progress.position));
    let last = reports.last().unwrap();
    assert_eq!(
        (last.position, last.head, verified.head),
        (head, head, head)
    );
}

async fn a_history_is_sound_after_a_restart(place: Place) {
    let host = place.host().await;
    examples::deploy(&host, examples::account()).await;
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    examples::deploy(&host, again(examples::account(), 1)).await;
    host.execute(&account, build::deposit(5)).await.unwrap();
    host.shutdown().await.unwrap();
    let host = place.host().await;
    let verified = verified(&host).await;
    assert!(verified.is_sound(), "{verified:?}");
    assert_eq!(decisions(&verified), (2, 0));
}

async fn lower_limits_of_a_host_do_not_apply_to_its_history(place: Place) {
    let host = place.host().await;
    let slow = probe("note").event("noted", 1).decides("slow");
    examples::deploy(&host, slow.component()).await;
    let note = build::stream("note-1");
    let command = || build::command("note", "[[\"noted\", {}], [\"noted\", {}]]");
    host.execute(&note, command()).await.unwrap();
    host.shutdown().await.unwrap();
    let mut limits = runtime::Limits {
        fuel_per_call: 2_000_000,
        ..runtime::Limits::default()
    };
    limits.decision.events_max = 1;
    let host = place.builder().limits(limits).build().await.unwrap();
    let answer = host.execute(&note, command()).await;
    assert_eq!(answer.unwrap_err().code(), "guest-fault");
    let verified = verified(&host).await;
    assert!(verified.is_sound(), "{:?}", verified.findings);
    assert_eq!(decisions(&verified), (1, 0));
    // A candidate gets the limits that it will have when it is active.
    let uploaded = host
        .upload(slow.version("2.0.0").component())
        .await
        .unwrap();
    let digest = uploaded.module.digest();
    let (policy, scope) = (proof::Policy::default(), Scope::default());
    let found = host.preflight(digest, &policy, &scope, &mut |_| {}).await;
    assert!(!found.unwrap().passes());
}
