//! Warm states: their memory, and what a fault costs them.

use quipu::Host;
use quipu::engine::{Error, Options};
use quipu_tests::{PATIENCE, Place, build, examples, guest, on_every_store};

on_every_store!(
    the_memory_of_warm_states_is_bounded,
    a_stream_that_traps_repeatedly_costs_no_other_its_state,
);

/// Each command makes its instance 1 MiB larger. An instance takes no more streams from 64 MiB on,
/// and is dropped when the last of its streams is.
const STREAMS: usize = 400;

async fn the_memory_of_warm_states_is_bounded(place: Place) {
    let engine = Options {
        workers: 1,
        warm_bytes_max: 96 << 20,
        deadline: PATIENCE,
        ..Options::default()
    };
    let host = place.builder().engine(engine).build().await.unwrap();
    examples::deploy(&host, guest::component("grow-memory")).await;
    let mut largest = 0;
    for number in 0..STREAMS {
        let stream = build::stream(&format!("probe-{number}"));
        let executed = host.execute(&stream, build::command("go", "{}")).await;
        executed.unwrap();
        let (_, bytes) = host.warm();
        largest = largest.max(bytes);
        assert!(bytes < 256 << 20, "{bytes} bytes after {number} streams");
    }
    // The bound was reached.
    assert!(largest > 64 << 20, "{largest}");
    host.shutdown().await.unwrap();
}

async fn a_stream_that_traps_repeatedly_costs_no_other_its_state(place: Place) {
    let engine = Options {
        workers: 1,
        deadline: PATIENCE,
        ..Options::default()
    };
    let host = place.builder().engine(engine).build().await.unwrap();
    examples::deploy(&host, guest::component("moody")).await;
    go_everywhere(&host).await;
    // The first trap ends the instance that the streams share. They are loaded when they are used.
    trap(&host).await;
    go_everywhere(&host).await;
    let before = host.meters().load_events.read().sum;
    for _ in 0..20 {
        trap(&host).await;
        go_everywhere(&host).await;
    }
    let loaded = host.meters().load_events.read().sum - before;
    assert!(loaded < 1.0, "{loaded} events were loaded");
    host.shutdown().await.unwrap();
}

/// A command to each of ten streams.
async fn go_everywhere(host: &Host) {
    for number in 0..10 {
        let stream = build::stream(&format!("probe-{number}"));
        let executed = host.execute(&stream, build::command("go", "{}")).await;
        executed.unwrap();
    }
}

/// A command that traps, to another stream.
async fn trap(host: &Host) {
    let command = build::command("go", r#"{"do":"trap"}"#);
    let trapped = host.execute(&build::stream("probe-hostile"), command).await;
    assert!(matches!(trapped, Err(Error::Fault(_))), "{trapped:?}");
}
