//! A host that comes late to a busy stream is served, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use quipu_tests::{PATIENCE, Place, build};

/// So long that its load takes longer than many commits.
const EVENTS: usize = 30_000;
const CLIENTS: usize = 8;
const COMMANDS: usize = 50;

/// The other host has the stream in memory. Without help, the late one would decide on a state that
/// is out of date again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_comes_late_to_a_long_busy_stream_is_served() {
    let place = Place::postgres();
    let (early, late) = (place.bank().await, place.host().await);
    let account = build::stream("account-1");
    early
        .execute(&account, build::open_account())
        .await
        .unwrap();
    for _ in 0..EVENTS / 1_000 {
        let deposited = |_| build::event("deposited", r#"{"amount":1}"#);
        let events = (0..1_000).map(deposited).collect();
        early
            .append(&account, build::foreign(events))
            .await
            .unwrap();
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let busy = (0..CLIENTS).map(|_| {
        let (early, account, is_over) = (early.clone(), account.clone(), Arc::clone(&is_over));
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let answer = early.execute(&account, build::deposit(1)).await;
                if let Err(error) = answer {
                    assert_eq!(error.code(), "conflict", "{error}");
                }
            }
        })
    });
    let busy: Vec<_> = busy.collect();
    let mut conflicts = 0;
    let served = async {
        for _ in 0..COMMANDS {
            while let Err(error) = late.execute(&account, build::deposit(1)).await {
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
