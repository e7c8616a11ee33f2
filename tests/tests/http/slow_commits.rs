//! A commit that takes seconds delays nobody who does not need it.

use std::sync::atomic::{AtomicBool, Ordering};

use quipu_tests::held::HeldCommits;
use quipu_tests::{PATIENCE, Place, on_every_store};
use tokio::time::timeout;

use crate::access::{EVENT, get};
use crate::metrics::value;
use crate::server::send;
use crate::tenants::Tenanted;

on_every_store!(a_commit_that_takes_seconds_delays_no_reads_and_no_other_tenant);

const STREAM: &str = "/v1/streams/sensor-1/events";

/// How many events the stream of the main store has.
async fn events(host: &Tenanted) -> usize {
    let read = get(&host.server, STREAM, &host.root).await.ok();
    read["events"].as_array().unwrap().len()
}

/// How many items of the main store wait for their commit.
async fn waiting(host: &Tenanted) -> f64 {
    let page = get(&host.server, "/metrics", &host.root).await.text;
    value(&page, "quipu_commit_queue_items").unwrap()
}

async fn a_commit_that_takes_seconds_delays_no_reads_and_no_other_tenant(place: Place) {
    let host = Tenanted::start(&place, 10).await;
    let beta = host.create("beta").await;
    let tenant = ("beta", &*beta);
    send(host.append("sensor-1", tenant)).await.ok();
    let append = |id: &str| {
        let request = host.server.post(STREAM, EVENT).bearer_auth(&host.root);
        request.header("Idempotency-Key", id)
    };
    send(append("first")).await.ok();
    let held = HeldCommits::at(&place).await;
    let is_stored = AtomicBool::new(false);
    let committing = async {
        loop {
            let answered = send(append("slow")).await;
            if answered.status == 200 {
                is_stored.store(true, Ordering::SeqCst);
                break;
            }
            // The host gives up a commit at some time. It is sent again under its id.
            answered.problem(503, "store-unavailable");
        }
    };
    let meanwhile = async {
        // Its probe is answered although the commit goes on. It says that the store can't be written.
        loop {
            let ready = host.server.get("/readyz").await;
            if ready.status == 503 {
                ready.problem(503, "not-ready");
                break;
            }
        }
        while waiting(&host).await == 0.0 {}
        for round in 1..=3 {
            assert_eq!(events(&host).await, 1);
            assert_eq!(host.events(tenant).await, round);
            send(host.append("sensor-1", tenant)).await.ok();
            host.server.get("/healthz").await.ok();
            let ready = host.server.get("/readyz").await;
            assert!([200, 503].contains(&ready.status), "{}", ready.text);
        }
        assert!(!is_stored.load(Ordering::SeqCst));
        held.release().await;
    };
    let both = async { tokio::join!(committing, meanwhile) };
    let done = timeout(PATIENCE, both).await;
    done.expect("the commit is stored when the store goes on");
    assert_eq!(events(&host).await, 2);
    send(append("slow")).await.ok();
    assert_eq!(events(&host).await, 2);
    assert_eq!(host.events(tenant).await, 4);
    assert_eq!(waiting(&host).await, 0.0);
    host.ended().await;
}
