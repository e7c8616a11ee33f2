//! A host that comes late to a busy stream is served, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use quipu::Host;
use quipu::engine::Error;
use quipu::model::StreamId;
use quipu_tests::{PATIENCE, Place, build};

/// So long that its load takes longer than many commits.
const EVENTS: usize = 30_000;
const CLIENTS: usize = 8;
const REQUESTS: usize = 50;

fn account() -> StreamId {
    build::stream("account-1")
}

/// Opens an account with a long history.
async fn open(host: &Host) {
    let opening = build::open_account();
    host.execute(&account(), opening).await.unwrap();
    for _ in 0..EVENTS / 1_000 {
        let deposited = |_| build::event("deposited", r#"{"amount":1}"#);
        let events = (0..1_000).map(deposited).collect();
        let append = build::foreign(events);
        host.append(&account(), append).await.unwrap();
    }
}

/// Sends requests at a host whose rival has the stream in memory and writes to it all the time.
/// Without help, the late host would work on a state that is out of date again and again.
async fn check(request: impl AsyncFn(&Host) -> Result<(), Error>) {
    let place = Place::postgres();
    let (early, late) = (place.bank().await, place.host().await);
    open(&early).await;
    let is_over = Arc::new(AtomicBool::new(false));
    let busy = (0..CLIENTS).map(|_| {
        let (early, is_over) = (early.clone(), Arc::clone(&is_over));
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let answer = early.execute(&account(), build::deposit(1)).await;
                if let Err(error) = answer {
                    assert_eq!(error.code(), "conflict", "{error}");
                }
            }
        })
    });
    let busy: Vec<_> = busy.collect();
    let mut conflicts = 0;
    let served = async {
        for _ in 0..REQUESTS {
            while let Err(error) = request(&late).await {
                assert_eq!(error.code(), "conflict", "{error}");
                conflicts += 1;
            }
        }
    };
    let served = tokio::time::timeout(PATIENCE, served).await;
    is_over.store(true, Ordering::SeqCst);
    assert!(served.is_ok(), "the late host had {conflicts} conflicts");
    join_all(busy).await.into_iter().for_each(Result::unwrap);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_comes_late_to_a_long_busy_stream_decides() {
    check(async |host| {
        let executed = host.execute(&account(), build::deposit(1)).await;
        executed.map(|_| ())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_comes_late_to_a_long_busy_stream_appends() {
    check(async |host| {
        let events = vec![build::event("deposited", r#"{"amount":1}"#)];
        let appended = host.append(&account(), build::foreign(events)).await;
        appended.map(|_| ())
    })
    .await;
}
