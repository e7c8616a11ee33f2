//! Activations of two modules in turn under load: no command fails, each event was decided by the
//! module that its commit names, and the history verifies. Each test runs for a minute with
//! `QUIPU_LONG=1`.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quipu::Host;
use quipu::engine::Error;
use quipu::model::Command;
use quipu_tests::{Place, build, examples, log, on_every_store};

use super::{again, verified};

on_every_store! {
    swaps_back_and_forth_on_one_host,
}

const CLIENTS: u64 = 64;
const PAUSE: Duration = Duration::from_millis(100);

fn time() -> Duration {
    match std::env::var_os("QUIPU_LONG") {
        Some(_) => Duration::from_secs(60),
        None => Duration::from_secs(4),
    }
}

async fn swaps_back_and_forth_on_one_host(place: Place) {
    let host = place.host().await;
    swap_under_load(vec![host]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_back_and_forth_on_two_hosts() {
    let place = Place::postgres();
    let hosts = vec![place.host().await, place.host().await];
    swap_under_load(hosts).await;
}

async fn swap_under_load(hosts: Vec<Host>) {
    let host = hosts[0].clone();
    let mut modules = Vec::new();
    for number in 0..2 {
        let uploaded = host.upload(again(examples::account(), number)).await;
        modules.push(uploaded.unwrap().module.digest());
    }
    host.activate(modules[0], None).await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let accepted = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let hosts = hosts.clone();
            let (is_over, accepted) = (Arc::clone(&is_over), Arc::clone(&accepted));
            tokio::spawn(async move {
                let mut round = 0;
                while !is_over.load(Ordering::Relaxed) {
                    round += 1;
                    execute(&hosts, client, round, &accepted).await;
                }
            })
        })
        .collect();
    let (begun, mut swaps) = (Instant::now(), 0);
    while begun.elapsed() < time() {
        tokio::time::sleep(PAUSE).await;
        swaps += 1;
        // The host may be another one than the one of the last activation.
        let by = &hosts[swaps % hosts.len()];
        by.activate(modules[swaps % modules.len()], None)
            .await
            .unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    check(&host, swaps, accepted.load(Ordering::Relaxed)).await;
    for host in hosts {
        host.shutdown().await.unwrap();
    }
}

/// Uses a client's own account, then one that eight clients share. No answer is a failure.
async fn execute(hosts: &[Host], client: u64, round: u64, accepted: &AtomicU64) {
    let host = &hosts[((client + round) % hosts.len() as u64) as usize];
    let id = format!("{client}-{round}");
    let command = |name: &str, json: &str| -> Command { build::command_as(&id, name, json) };
    let own = build::stream(&format!("account-{client}"));
    let shared = build::stream(&format!("account-shared-{}", client % 8));
    let (stream, command) = match round {
        1 => (&own, command("open", r#"{"owner":"ann"}"#)),
        _ if round.is_multiple_of(3) => (&shared, command("open", r#"{"owner":"bob"}"#)),
        _ if round.is_multiple_of(5) => (&own, command("withdraw", r#"{"amount":3}"#)),
        _ => (&own, command("deposit", r#"{"amount":1}"#)),
    };
    match host.execute(stream, command).await {
        Ok(_) => _ = accepted.fetch_add(1, Ordering::Relaxed),
        Err(Error::Rejected { .. }) => {}
        Err(error) => panic!("client {client}, round {round}: {error}"),
    }
}

async fn check(host: &Host, swaps: usize, accepted: u64) {
    let history = host.deployments().await.unwrap();
    assert_eq!(history.len(), swaps + 1);
    let log = log::whole(host).await;
    log::check(&log);
    let mut plan = 0;
    let mut used = HashSet::new();
    for event in &log {
        // One change of the plan per activation: decisions under one plan are contiguous.
        assert!(
            event.commit.plan >= plan,
            "plan {plan} a second time at {}",
            event.position
        );
        plan = event.commit.plan;
        used.insert(plan);
        let named = &history[plan as usize - 1];
        assert_eq!(event.commit.module, Some(named.digest), "plan {plan}");
    }
    assert_eq!(
        log.len() as u64,
        accepted,
        "each accepted command has one event"
    );
    assert!(
        used.len() > swaps / 2,
        "{} plans of {swaps} decided",
        used.len()
    );
    let verified = verified(host).await;
    assert!(verified.is_sound(), "{:?}", verified.findings);
    let same: u64 = verified.commands.values().map(|tally| tally.same).sum();
    assert_eq!(same, accepted);
    let refused: u64 = verified
        .commands
        .values()
        .map(|tally| tally.refusals.same)
        .sum();
    assert!(refused > 0, "no rejection was stored");
}
