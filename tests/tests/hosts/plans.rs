//! One plan for all hosts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use quipu::model::{Context, Digest, Timestamp};
use quipu::store::{Activation, Item, Outcome};
use quipu_tests::postgres::Server;
use quipu_tests::{Place, build, examples, guest, log};
use sqlx::Executor;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacing_a_module_at_one_host_fails_no_command_at_another() {
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
async fn a_host_is_notified_of_activations_by_another() {
    let place = Place::postgres();
    let (here, there) = (place.host().await, place.host().await);
    let digest = examples::deploy(&there, examples::account()).await;
    while here.plan().number == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(here.plan().active("account"), Some(digest));
}

/// A host that can't load what another host activated answers so, and goes on when it can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_cannot_load_the_plan_answers_within_the_deadline() {
    let place = Place::postgres();
    let small = guest::component("skeleton");
    let limits = quipu::runtime::Limits {
        component_bytes_max: small.len(),
        ..Default::default()
    };
    let engine = quipu::engine::Options {
        deadline: Duration::from_millis(500),
        ..Default::default()
    };
    let here = place.builder().limits(limits).engine(engine);
    let here = here.build().await.unwrap();
    let there = place.host().await;
    let old = examples::deploy(&here, small).await;
    let stream = build::stream("probe-1");
    let go = || here.execute(&stream, build::command("go", "{}"));
    go().await.unwrap();
    examples::deploy(
        &there,
        guest::decider_with("(data (i32.const 0xf00) \"larger\")"),
    )
    .await;
    for result in join_all((0..20).map(|_| go())).await {
        let error = result.unwrap_err();
        assert_eq!(error.code(), "not-ready", "{error}");
        assert!(error.to_string().contains("roll back"), "{error}");
    }
    // What the new plan does not concern goes on.
    let append = build::append(build::events(1));
    let appended = here.append(&build::stream("other-1"), append).await;
    appended.unwrap();
    assert_eq!(here.in_flight(), 0);
    there
        .execute(&stream, build::command("go", "{}"))
        .await
        .unwrap();
    there.activate(old, None).await.unwrap();
    go().await.unwrap();
}

/// A server loses the newest activation when a standby that lacks it is promoted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_plan_is_lost_writes_nothing_until_it_is_restarted() {
    let server = Server::start();
    let place = Place::at(&server.url("bank"));
    let engine = quipu::engine::Options {
        deadline: Duration::from_secs(3),
        ..Default::default()
    };
    let host = place.builder().engine(engine).build().await.unwrap();
    let newer = guest::decider_with("(data (i32.const 0xf00) \"newer\")");
    for component in [guest::component("skeleton"), newer] {
        examples::deploy(&host, component).await;
    }
    let stream = build::stream("probe-1");
    host.execute(&stream, build::command("go", "{}"))
        .await
        .unwrap();
    let mut connection = server.connect().await;
    let lose = "DELETE FROM bank.deployments WHERE plan = 2";
    connection.execute(lose).await.unwrap();
    // As after a promotion: the host connects to a server that lacks the plan.
    server.kill_backends().await;
    let archived = host.archive(&stream, Context::default()).await;
    let executed = host.execute(&stream, build::command("go", "{}")).await;
    for error in [archived.unwrap_err(), executed.unwrap_err()] {
        assert_eq!(error.code(), "store-unavailable", "{error}");
        let expected = "has plan 1 and lacks plan 2";
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(log::of(&host, &stream).await.len(), 1);
    host.shutdown().await.unwrap();
    let restarted = place.host().await;
    let go = build::command("go", "{}");
    restarted.execute(&stream, go).await.unwrap();
    restarted.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activations_at_two_hosts_happen_one_after_the_other() {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_activations_checked_against_one_plan_one_is_refused() {
    let place = Place::postgres();
    let (mut here, mut there) = (place.open().await, place.open().await);
    let digest = Digest([1; 32]);
    here.modules.put(digest, b"x", Timestamp(1)).await.unwrap();
    for plan in 0..20 {
        let activate = |name: &str| {
            Item::Activate(Box::new(Activation {
                name: name.to_owned(),
                digest,
                others: Vec::new(),
                categories: vec![format!("{name}-1"), format!("{name}-2")],
                trusted: vec![Digest([2; 32]), Digest([3; 32])],
                projections: quipu::store::ProjectionPlan::default(),
                turns: Vec::new(),
                plan,
                at: Timestamp(plan),
                by: None,
                preflight: None,
            }))
        };
        let (one, other) = ([activate("one")], [activate("other")]);
        let (one, other) = tokio::join!(
            here.writer.commit(&one, None),
            there.writer.commit(&other, None)
        );
        let name = match (&one.unwrap()[..], &other.unwrap()[..]) {
            ([Outcome::Activated(raised)], [Outcome::PlanMoved]) if *raised == plan + 1 => "one",
            ([Outcome::PlanMoved], [Outcome::Activated(raised)]) if *raised == plan + 1 => "other",
            answers => panic!("{answers:?}"),
        };
        let deployments = there.modules.deployments().await.unwrap();
        let last = deployments.last().unwrap();
        assert_eq!((deployments.len() as u64, last.plan), (plan + 1, plan + 1));
        assert_eq!(last.categories, [format!("{name}-1"), format!("{name}-2")]);
        assert_eq!(last.trusted, [Digest([2; 32]), Digest([3; 32])]);
    }
}
