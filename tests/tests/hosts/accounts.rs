//! Data that one host has acknowledged is effective on another immediately.

use std::sync::Arc;

use futures::future::join_all;
use quipu::Host;
use quipu::model::{ExpectedVersion, StreamId};
use quipu_tests::{PATIENCE, Place, build, examples, log};

/// Hosts on one store. The first has deployed the guest `account`.
async fn hosts(place: &Place, count: usize) -> Vec<Host> {
    let first = place.bank().await;
    let mut hosts = vec![first];
    for _ in 1..count {
        hosts.push(place.host().await);
    }
    hosts
}

async fn execute(
    host: &Host,
    account: &StreamId,
    name: &str,
    json: &str,
) -> quipu::engine::Executed {
    let command = build::command(name, json);
    host.execute(account, command).await.unwrap()
}

/// Semantics 5.5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_at_one_host_can_be_withdrawn_at_another_immediately() {
    let place = Place::postgres();
    let hosts = hosts(&place, 2).await;
    let account = build::stream("account-1");
    execute(&hosts[0], &account, "open", r#"{"owner":"ann"}"#).await;
    for round in 0..1_000 {
        let (here, there) = (&hosts[round % 2], &hosts[(round + 1) % 2]);
        execute(here, &account, "deposit", r#"{"amount":7}"#).await;
        execute(there, &account, "withdraw", r#"{"amount":7}"#).await;
    }
    let log = log::whole(&hosts[0]).await;
    assert_eq!(log::check(&log)[&account].len(), 2_001);
}

/// Semantics 5.5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejection_takes_events_of_another_host_into_account() {
    let place = Place::postgres();
    let hosts = hosts(&place, 2).await;
    let account = build::stream("account-1");
    execute(&hosts[0], &account, "open", r#"{"owner":"ann"}"#).await;
    for round in 0..100 {
        let (here, there) = (&hosts[round % 2], &hosts[(round + 1) % 2]);
        execute(here, &account, "deposit", r#"{"amount":7}"#).await;
        execute(there, &account, "withdraw", r#"{"amount":7}"#).await;
        let more = build::command("withdraw", r#"{"amount":1}"#);
        let answer = here.execute(&account, more).await;
        assert_eq!(answer.unwrap_err().code(), "rejected", "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_of_a_command_at_two_hosts_have_one_effect() {
    let place = Place::postgres();
    let hosts = Arc::new(hosts(&place, 2).await);
    let account = build::stream("account-1");
    execute(&hosts[0], &account, "open", r#"{"owner":"ann"}"#).await;
    let copies = (0..400).map(|n| {
        let (hosts, account) = (Arc::clone(&hosts), account.clone());
        tokio::spawn(async move {
            let deposit = build::command("deposit", r#"{"amount":1}"#);
            let deposit = deposit.with_id(&format!("d-{}", n / 2)).unwrap();
            hosts[n % 2].execute(&account, deposit).await.unwrap()
        })
    });
    let answers: Vec<_> = join_all(copies)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    for pair in answers.chunks(2) {
        assert_eq!(pair[0].version, pair[1].version);
        assert_eq!(pair[0].events[0].id, pair[1].events[0].id);
        assert_ne!(pair[0].replayed, pair[1].replayed);
    }
    assert_eq!(
        log::check(&log::whole(&hosts[0]).await)[&account].len(),
        201
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_of_several_hosts_that_check_each_others_streams_do_not_all_succeed() {
    let place = Place::postgres();
    let hosts = Arc::new(vec![place.host().await, place.host().await]);
    for round in 0..50 {
        let (left, right) = (format!("left-{round}"), format!("right-{round}"));
        let racers = (0..8).map(|n| {
            let hosts = Arc::clone(&hosts);
            let (mine, other) = if n % 2 == 0 {
                (&left, &right)
            } else {
                (&right, &left)
            };
            let (mine, other) = (build::stream(mine), build::stream(other));
            tokio::spawn(async move {
                let part = |stream, events| quipu::engine::StreamAppend {
                    stream,
                    expected_version: ExpectedVersion::NoStream,
                    events,
                };
                let append = quipu::engine::AppendAll {
                    streams: vec![part(mine, build::events(1)), part(other, Vec::new())],
                    ..Default::default()
                };
                hosts[n / 4].append_all(append).await.is_ok()
            })
        });
        let won = join_all(racers)
            .await
            .into_iter()
            .filter(|won| *won.as_ref().unwrap());
        assert_eq!(won.count(), 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_notified_of_another_hosts_commits() {
    let place = Place::postgres();
    let (here, there) = (place.open().await, place.host().await);
    let mut wakes = here.wakes.log.clone();
    // Several times, because a poll may find the commit by chance.
    for n in 1..=20 {
        wakes.mark_unchanged();
        let stream = build::stream("note-1");
        there
            .append(&stream, build::append(build::events(1)))
            .await
            .unwrap();
        while here.reader.log_head().await.unwrap().0 < n {
            let woken = tokio::time::timeout(PATIENCE, wakes.changed());
            woken.await.unwrap().unwrap();
        }
    }
    _ = examples::account();
}
