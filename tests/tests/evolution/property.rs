//! Semantics 7.3 at random: whatever snapshots exist, a state equals the fold of all events.

use quipu::engine::{At, Policy};
use quipu::model::Version;
use quipu_tests::probe::probe;
use quipu_tests::{Place, build, examples, lines, on_every_store, seed};
use rand::Rng;
use serde_json::json;

use crate::support::{deploy, engine, note, thing};

on_every_store!(
    a_state_with_snapshots_equals_the_fold_of_all_events,
    a_state_of_an_example_guest_equals_the_fold_of_all_events,
);

/// Old and new events, some of them split, dropped or lifted, with snapshots in between.
async fn a_state_with_snapshots_equals_the_fold_of_all_events(place: Place) {
    for seed in seed::seeds(3) {
        random_things(&place.another(), seed).await;
    }
}

async fn random_things(place: &Place, seed: u64) {
    let mut random = seed::random(seed);
    let host = engine(place, Policy::Every(random.random_range(1..9)))
        .build()
        .await
        .unwrap();
    let old: Vec<_> = (0..random.random_range(0..60))
        .map(|n| match random.random_range(0..4) {
            0 => crate::support::stored("both", 1, &n.to_string()),
            1 => crate::support::stored("gone", 1, &n.to_string()),
            version => crate::support::stored("went", version - 1, &n.to_string()),
        })
        .collect();
    if !old.is_empty() {
        host.append(&thing(), build::append(old)).await.unwrap();
    }
    let steps = probe("steps")
        .step("thing", ("both", 1), &[("went", 1), ("went", 2)])
        .step("thing", ("gone", 1), &[])
        .step("thing", ("went", 1), &[("went", 2)]);
    deploy(&host, &probe("thing").event("went", 3)).await;
    deploy(&host, &steps).await;
    for round in 0..60 {
        match random.random_range(0..10) {
            0 => _ = host.snapshot(&thing()).await,
            1 => _ = deploy(&host, &steps.clone().version(&format!("1.0.{round}"))).await,
            _ => {
                let count = random.random_range(1..4);
                let events: Vec<_> = (0..count).map(|n| json!(["went", n])).collect();
                host.execute(&thing(), note(&json!(events))).await.unwrap();
            }
        }
    }
    // A state by time is folded from the first event.
    let all = host
        .state_at(&thing(), At::Time(quipu::model::Timestamp(u64::MAX)), None)
        .await;
    let all = crate::support::seen_in(&all.unwrap().state);
    assert_eq!(
        crate::support::seen(&host, &thing()).await,
        all,
        "seed {seed}"
    );
    let read = crate::support::texts(&crate::support::read(&host, &thing()).await);
    assert_eq!(read, all, "seed {seed}");
    for found in host.check_snapshots("thing", 100).await.unwrap() {
        let worth = found.found.agreement;
        let is_right = !matches!(worth, quipu::fold::Agreement::Differs);
        assert!(is_right, "seed {seed}");
    }
}

/// The example guests: `account` is written in one style of the SDK, `loan` in the other.
async fn a_state_of_an_example_guest_equals_the_fold_of_all_events(place: Place) {
    for seed in seed::seeds(3) {
        random_guests(&place.another(), seed).await;
    }
}

async fn random_guests(place: &Place, seed: u64) {
    let mut random = seed::random(seed);
    let host = engine(place, Policy::Every(3)).build().await.unwrap();
    for guest in [examples::account(), examples::loan()] {
        examples::deploy(&host, guest).await;
    }
    let account = build::stream("account-1");
    host.execute(&account, build::open_account()).await.unwrap();
    for _ in 0..40 {
        let amount = random.random_range(1..50);
        let command = match random.random_range(0..2) {
            0 => build::deposit(amount),
            _ => build::withdraw(amount),
        };
        _ = host.execute(&account, command).await;
    }
    let mut streams = vec![account];
    for (number, line) in lines::simulated(seed, 60).iter().enumerate() {
        _ = lines::start(&host, line, number).await;
        if !streams.contains(&line.stream()) {
            streams.push(line.stream());
        }
    }
    for stream in streams {
        let Ok(last) = host.state(&stream).await else {
            continue;
        };
        for version in 0..=last.version.0 {
            let at = At::Version(Version(version));
            let with = host.state_at(&stream, at, None).await.unwrap();
            if random.random_range(0..4) == 0 {
                host.snapshot(&stream).await.unwrap();
            }
            let again = host.state_at(&stream, at, None).await.unwrap();
            assert_eq!(
                with.state, again.state,
                "seed {seed}, {stream} at {version}"
            );
        }
        let all = host.state_at(&stream, At::Time(quipu::model::Timestamp(u64::MAX)), None);
        assert_eq!(
            all.await.unwrap().state,
            last.state,
            "seed {seed}, {stream}"
        );
    }
}
