//! A guest that misbehaves in one stream, under load in other streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;
use quipu::Host;
use quipu::engine::{Error, Options};
use quipu::runtime::{FaultKind, Limits};
use quipu_tests::{PATIENCE, Place, build, examples, guest, log, on_every_store};

on_every_store! {
    a_guest_that_loops_does_not_affect_other_streams,
    a_guest_that_traps_does_not_affect_other_streams,
    a_guest_that_uses_too_much_memory_does_not_affect_other_streams,
    a_preview_that_loops_is_paused_and_does_not_affect_others,
    many_clients_are_answered_while_streams_use_up_fuel_and_memory,
}

async fn a_guest_that_loops_does_not_affect_other_streams(place: Place) {
    check(place, r#"{"do":"loop"}"#, FaultKind::OutOfFuel).await;
}

async fn a_guest_that_traps_does_not_affect_other_streams(place: Place) {
    check(place, r#"{"do":"trap"}"#, FaultKind::Trap).await;
}

async fn a_guest_that_uses_too_much_memory_does_not_affect_other_streams(place: Place) {
    check(place, r#"{"do":"memory"}"#, FaultKind::OutOfMemory).await;
}

/// 99 streams with 40 commands each, while one stream sends commands that the guest cannot handle.
async fn check(place: Place, body: &'static str, kind: FaultKind) {
    let limits = Limits {
        fuel_per_call: 5_000_000,
        memory_bytes_max: 48 << 20,
        ..Limits::default()
    };
    let engine = Options {
        workers: 2,
        ..Options::default()
    };
    let host = place
        .builder()
        .limits(limits)
        .engine(engine)
        .build()
        .await
        .unwrap();
    let digest = examples::deploy(&host, guest::component("moody")).await;

    let is_over = Arc::new(AtomicBool::new(false));
    let hostile = tokio::spawn({
        let (host, is_over) = (host.clone(), Arc::clone(&is_over));
        async move {
            let mut faults = Vec::new();
            let stream = build::stream("probe-hostile");
            while faults.is_empty() || !is_over.load(Ordering::SeqCst) {
                faults.push(host.execute(&stream, build::command("go", body)).await);
            }
            faults
        }
    });
    let obedient = (0..99).map(|number| tokio::spawn(obedient(host.clone(), number)));
    for obedient in join_all(obedient).await {
        obedient.unwrap();
    }
    is_over.store(true, Ordering::SeqCst);

    let faults = hostile.await.unwrap();
    for answer in &faults {
        match answer {
            Err(Error::Fault(fault)) => {
                assert_eq!((fault.kind, fault.digest), (kind, digest), "{fault}");
                assert_eq!(fault.component, "probe");
            }
            other => panic!("{other:?}"),
        }
    }
    let log = log::whole(&host).await;
    let streams = log::check(&log);
    assert_eq!((streams.len(), log.len()), (99, 99 * 40));

    // The stream itself works, once its penalty is over.
    let stream = build::stream("probe-hostile");
    let begun = std::time::Instant::now();
    while let Err(error) = host.execute(&stream, build::command("go", "{}")).await {
        assert!(error.to_string().contains("not called again"), "{error}");
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    host.shutdown().await.unwrap();
}

async fn a_preview_that_loops_is_paused_and_does_not_affect_others(place: Place) {
    let limits = Limits {
        fuel_per_call: 50_000_000,
        ..Limits::default()
    };
    let host = place.builder().limits(limits).build().await.unwrap();
    examples::deploy(&host, guest::component("moody")).await;
    let preview = async |stream: &str, body: &str| {
        let command = build::command("go", body);
        host.preview(&build::stream(stream), command, false).await
    };
    let looping = r#"{"do":"loop"}"#;
    let begun = std::time::Instant::now();
    let paused = loop {
        let error = preview("probe-hostile", looping).await.unwrap_err();
        assert_eq!(error.code(), "guest-fault");
        if error.to_string().contains("not called again") {
            break error;
        }
        assert!(begun.elapsed() < PATIENCE);
    };
    assert!(paused.to_string().contains("out-of-fuel"), "{paused}");
    // Only this stream of the module is paused.
    preview("probe-1", "{}").await.unwrap();
    host.shutdown().await.unwrap();
}

async fn obedient(host: Host, number: usize) {
    let stream = build::stream(&format!("probe-{number}"));
    for version in 1..=40 {
        let executed = host
            .execute(&stream, build::command("go", "{}"))
            .await
            .unwrap();
        assert_eq!(executed.version.0, version);
    }
}

/// Six streams use up their fuel or memory, while others of their category and of another one have
/// clients of their own. All of them share two workers.
async fn many_clients_are_answered_while_streams_use_up_fuel_and_memory(place: Place) {
    let limits = Limits {
        fuel_per_call: 50_000_000,
        memory_bytes_max: 48 << 20,
        ..Limits::default()
    };
    let engine = Options {
        workers: 2,
        deadline: PATIENCE,
        ..Options::default()
    };
    let builder = place.builder().limits(limits).engine(engine);
    let host = builder.build().await.unwrap();
    examples::deploy(&host, guest::component("moody")).await;
    examples::deploy(&host, examples::account()).await;

    let is_over = Arc::new(AtomicBool::new(false));
    let hostile: Vec<_> = (0..6)
        .map(|number| tokio::spawn(hostile(host.clone(), number, Arc::clone(&is_over))))
        .collect();
    let paused = (0..8).map(|number| tokio::spawn(perhaps_paused(host.clone(), number)));
    let paused: Vec<_> = paused.collect();
    let accounts = (0..16).map(|number| tokio::spawn(depositing(host.clone(), number)));
    for account in join_all(accounts).await {
        account.unwrap();
    }
    let accepted = join_all(paused).await.into_iter().map(Result::unwrap);
    let accepted: usize = accepted.sum();
    is_over.store(true, Ordering::SeqCst);
    for hostile in join_all(hostile).await {
        hostile.unwrap();
    }

    let log = log::whole(&host).await;
    log::check(&log);
    assert_eq!(log.len(), 16 * 21 + accepted);
    host.shutdown().await.unwrap();
}

/// Sends commands that the guest cannot handle, at least one.
async fn hostile(host: Host, number: usize, is_over: Arc<AtomicBool>) {
    let stream = build::stream(&format!("probe-hostile-{number}"));
    let body = match number % 2 {
        0 => r#"{"do":"loop"}"#,
        _ => r#"{"do":"memory"}"#,
    };
    loop {
        let answer = host.execute(&stream, build::command("go", body)).await;
        assert!(matches!(answer, Err(Error::Fault(_))), "{answer:?}");
        if is_over.load(Ordering::SeqCst) {
            return;
        }
    }
}

/// Sends commands to a stream whose module may be paused because of other streams. Returns how
/// many were accepted.
async fn perhaps_paused(host: Host, number: usize) -> usize {
    let stream = build::stream(&format!("probe-{number}"));
    let mut accepted = 0;
    for _ in 0..20 {
        match host.execute(&stream, build::command("go", "{}")).await {
            Ok(_) => accepted += 1,
            Err(Error::Fault(fault)) => {
                assert!(fault.text.contains("not called again"), "{fault}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    accepted
}

/// Opens an account and pays in twenty times.
async fn depositing(host: Host, number: usize) {
    let account = build::stream(&format!("account-{number}"));
    host.execute(&account, build::open_account()).await.unwrap();
    for paid in 1..=20 {
        let executed = host.execute(&account, build::deposit(1)).await.unwrap();
        assert_eq!(executed.version.0, paid + 1);
    }
}
