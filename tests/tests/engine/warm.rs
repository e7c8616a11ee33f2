//! The guest memory of warm states.

use quipu::engine::Options;
use quipu_tests::{PATIENCE, Place, build, examples, guest, on_every_store};

on_every_store!(the_memory_of_warm_states_is_bounded);

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
