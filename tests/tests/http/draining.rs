//! A host that is shutting down, as its clients see it.

use std::time::Duration;

use quipu_server::Options;
use quipu_tests::Place;
use tokio::sync::oneshot;

use crate::access::append;
use crate::connections::bounded;
use crate::server::{Server, send};

#[tokio::test]
async fn a_host_that_shuts_down_is_not_ready_and_answers_on() {
    let options = Options {
        // The test ends before.
        drain_delay: Duration::from_secs(3_600),
        ..Options::default()
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { _ = stopped.await };
    let host = Place::memory().host().await;
    let (server, _serving) = Server::start_until(host, options, shutdown).await;
    let before = server.get("/readyz").await;
    assert_eq!((before.status, before.header("connection")), (200, ""));
    stop.send(()).unwrap();
    let refused = bounded(async {
        loop {
            let answered = server.get("/readyz").await;
            if answered.status != 200 {
                return answered;
            }
        }
    })
    .await;
    let problem = refused.problem(503, "not-ready");
    assert_eq!(problem["detail"], "the host is shutting down");
    for _ in 0..3 {
        let answered = send(append(&server, "sensor-1")).await;
        assert_eq!(
            (answered.status, answered.header("connection")),
            (200, "close")
        );
    }
    server.get("/healthz").await.ok();
}

#[tokio::test]
async fn without_a_delay_a_host_ends_at_once() {
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { _ = stopped.await };
    let host = Place::memory().host().await;
    let (_server, serving) = Server::start_until(host, Options::default(), shutdown).await;
    stop.send(()).unwrap();
    bounded(serving).await.unwrap().unwrap();
}

/// As a bug in what waits for a signal.
fn panics() {
    panic!("tripped by a test");
}

#[tokio::test]
async fn a_host_ends_when_what_would_ask_it_to_end_panics() {
    let host = Place::memory().host().await;
    let shutdown = async { panics() };
    let (_server, serving) = Server::start_until(host, Options::default(), shutdown).await;
    bounded(serving).await.unwrap().unwrap();
}
