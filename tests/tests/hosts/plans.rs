//! One plan for all hosts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use quipu_tests::{Place, build, examples, guest, log};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_at_one_host_fails_no_command_at_another() {
    let place = Place::postgres();
    let hosts = Arc::new(vec![place.host().await, place.host().await]);
    let old = examples::deploy(&hosts[0], guest::component("skeleton")).await;
    let new = hosts[1]
        .upload(guest::decider_with("(data (i32.const 0xf00) \"new\")"))
        .await;
    let new = new.unwrap().module.digest();
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..12)
        .map(|n| {
            let (hosts, is_over) = (Arc::clone(&hosts), Arc::clone(&is_over));
            let stream = build::stream(&format!("probe-{}", n % 5));
            tokio::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    let go = build::command("go", "{}");
                    hosts[n % 2].execute(&stream, go).await.unwrap();
                }
            })
        })
        .collect();
    for (turn, digest) in [new, old, new, old, new].into_iter().enumerate() {
        let head = hosts[0].log_head().await.unwrap().0;
        hosts[turn % 2].activate(digest, None).await.unwrap();
        while hosts[0].log_head().await.unwrap().0 < head + 50 {
            tokio::task::yield_now().await;
        }
    }
    is_over.store(true, Ordering::SeqCst);
    join_all(clients)
        .await
        .into_iter()
        .for_each(|client| client.unwrap());

    let log = log::whole(&hosts[1]).await;
    log::check(&log);
    let plans: Vec<u64> = log.iter().map(|event| event.commit.plan).collect();
    assert!(plans.is_sorted(), "the plans of the log run backward");
    for event in &log {
        let by = if event.commit.plan % 2 == 1 { old } else { new };
        assert_eq!(event.commit.module, Some(by), "plan {}", event.commit.plan);
    }
    assert_eq!(plans.last(), Some(&6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_hears_of_what_another_activates() {
    let place = Place::postgres();
    let (here, there) = (place.host().await, place.host().await);
    let digest = examples::deploy(&there, examples::account()).await;
    while here.plan().number == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(here.plan().active("account"), Some(digest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activations_at_two_hosts_take_turns() {
    let place = Place::postgres();
    let hosts = vec![place.host().await, place.host().await];
    let account = hosts[0]
        .upload(examples::account())
        .await
        .unwrap()
        .module
        .digest();
    let skeleton = hosts[0]
        .upload(guest::component("skeleton"))
        .await
        .unwrap()
        .module
        .digest();
    for _ in 0..10 {
        let (one, other) = tokio::join!(
            hosts[0].activate(account, None),
            hosts[1].activate(skeleton, None)
        );
        assert_ne!(one.unwrap().plan, other.unwrap().plan);
    }
    for host in &hosts {
        assert_eq!(host.deployments().await.unwrap().len(), 20);
        while host.plan().number < 20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(host.plan().active("account"), Some(account));
        assert_eq!(host.plan().active("probe"), Some(skeleton));
    }
}
