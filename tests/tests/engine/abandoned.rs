//! Commands whose callers have gone before they were decided for the last time.

use std::time::Instant;

use quipu::Host;
use quipu::engine::Options;
use quipu::runtime::Limits;
use quipu_tests::faults::{Faults, Injection};
use quipu_tests::{PATIENCE, Place, build, examples, guest, log, on_every_store, place};

on_every_store! {
    a_command_whose_caller_has_gone_is_re_decided,
    a_command_whose_caller_has_gone_is_dropped_while_calls_are_expensive,
}

async fn a_command_whose_caller_has_gone_is_re_decided(place: Place) {
    let decided = decided(&place, false).await;
    assert_eq!(decided, [None, Some("abandoned".to_owned())]);
}

async fn a_command_whose_caller_has_gone_is_dropped_while_calls_are_expensive(place: Place) {
    let decided = decided(&place, true).await;
    assert_eq!(decided, [None::<String>]);
}

/// The ids of the commands on a stream: another writer has the first version, which a command
/// wanted whose caller had gone.
async fn decided(place: &Place, is_expensive: bool) -> Vec<Option<String>> {
    // Given a host with one worker, on which calls of the guest may be expensive, and a command
    // that is about to be committed
    let (store, faults) = Faults::before(place.open().await, Faults::listed([]));
    let host = Host::builder()
        .opened_store(store)
        .limits(Limits {
            fuel_per_call: 50_000_000,
            ..Limits::default()
        })
        .engine(Options {
            workers: 1,
            deadline: PATIENCE,
            ..Options::default()
        })
        .cache_dir(place::compiled())
        .build()
        .await
        .unwrap();
    examples::deploy(&host, guest::component("moody")).await;
    if is_expensive {
        pause_another_stream(&host).await;
    }
    let stream = build::stream("probe-1");
    let mut arrivals = faults.hold();
    let calling = tokio::spawn({
        let (host, stream) = (host.clone(), stream.clone());
        let command = build::command_as("abandoned", "go", "{}");
        async move { host.execute(&stream, command).await }
    });
    assert_eq!(arrivals.recv().await, Some(1));

    // When its caller goes, and another writer takes its version
    calling.abort();
    assert!(calling.await.unwrap_err().is_cancelled());
    let mut foreign = build::commit(None, vec![build::event("went", "{}")]);
    foreign.plan = 1;
    let foreign = build::item(
        None,
        vec![build::write("probe-1", build::exact(0), foreign)],
    );
    faults.script(Faults::listed([Injection::Precede(vec![foreign])]));
    faults.open();

    // Then nothing of it is in flight any more
    host.shutdown().await.unwrap();
    let host = place.host().await;
    let events = log::of(&host, &stream).await;
    host.shutdown().await.unwrap();
    let ids = events.iter().map(|event| &event.commit.command_id);
    ids.map(|id| id.as_ref().map(|id| id.as_str().to_owned()))
        .collect()
}

/// Lets the guest use up its fuel on a stream until the worker does not call it there any more.
async fn pause_another_stream(host: &Host) {
    let begun = Instant::now();
    loop {
        let looping = build::command("go", r#"{"do":"loop"}"#);
        let stream = build::stream("probe-hostile");
        let error = host.execute(&stream, looping).await.unwrap_err();
        if error.to_string().contains("not called again") {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{error}");
    }
}
