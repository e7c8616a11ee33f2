use std::time::Duration;

use quipu::store::Error;
use quipu::{Host, engine};
use quipu_server::Options;
use quipu_tests::faults::{Faults, Injection};
use quipu_tests::{Place, build, examples, guest};

use crate::metrics::{page, value};
use crate::server::{Server, send};

async fn faulty() -> (Host, Faults) {
    let (store, faults) = Faults::before(Place::memory().open().await, Faults::listed([]));
    let host = Host::builder().opened_store(store).build().await.unwrap();
    (host, faults)
}

const NOTE: &str = "{\"events\":[{\"type\":\"n\",\"data\":1}]}";

#[tokio::test]
async fn a_store_error_is_503_and_does_not_show_its_message() {
    let (host, faults) = faulty().await;
    let server = Server::start(host, Options::default()).await;
    faults.script(Box::new(|_| {
        Injection::Fail(Error::Full("secret path".to_owned()))
    }));
    let answer = send(server.post("/v1/streams/note-1/events", NOTE)).await;
    answer.problem(503, "store-unavailable");
    assert!(!answer.text.contains("secret"), "{}", answer.text);
    assert_eq!(answer.header("retry-after"), "1");
    let page = page(&server).await;
    let failed = value(&page, "quipu_commit_failures_total").unwrap();
    assert!(failed >= 1.0, "{page}");
    let full = value(&page, "quipu_store_errors_total{kind=\"full\"}");
    assert_eq!(full, Some(failed));
    let disk = value(&page, "quipu_store_errors_total{kind=\"disk\"}");
    assert_eq!(disk, Some(0.0));
}

#[tokio::test]
async fn damage_is_500_with_the_position_and_no_retry_after() {
    for error in [
        Error::Damaged("stream note-1, version 3".to_owned()),
        Error::Unexpected("stream note-1, version 3".to_owned()),
    ] {
        let (host, faults) = faulty().await;
        let server = Server::start(host, Options::default()).await;
        faults.script(Box::new(move |_| Injection::Fail(error.clone())));
        let answer = send(server.post("/v1/streams/note-1/events", NOTE)).await;
        let problem = answer.problem(500, "store-damaged");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("stream note-1, version 3"), "{detail}");
        assert_eq!(answer.header("retry-after"), "");
    }
}

#[tokio::test]
async fn a_byte_order_mark_at_the_start_of_a_body_is_not_a_problem() {
    let (host, _faults) = faulty().await;
    let server = Server::start(host, Options::default()).await;
    let post = |body: String| send(server.post("/v1/streams/note-1/events", &body));
    post(format!("\u{feff}{NOTE}")).await.ok();
    // Only one, and only there.
    post(format!("\u{feff}\u{feff}{NOTE}"))
        .await
        .problem(400, "bad-request");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_504() {
    let (host, faults) = faulty().await;
    let options = Options {
        request_time_max: Duration::from_millis(50),
        ..Options::default()
    };
    let server = Server::start(host, options).await;
    let _arrivals = faults.hold();
    send(server.post("/v1/streams/note-1/events", NOTE))
        .await
        .problem(504, "timeout");
    faults.open();
}

#[tokio::test]
async fn too_many_requests_in_flight_are_503_with_retry_after() {
    let options = engine::Options {
        in_flight_max: 0,
        ..engine::Options::default()
    };
    let host = Host::builder().engine(options).build().await.unwrap();
    let options = Options {
        request_time_max: Duration::from_millis(50),
        ..Options::default()
    };
    let server = Server::start(host, options).await;
    let answer = send(server.post("/v1/streams/note-1/events", NOTE)).await;
    answer.problem(503, "overloaded");
    assert_eq!(answer.header("retry-after"), "1");
    let lines = server
        .lines("{\"stream\":\"note-1\",\"type\":\"n\",\"data\":1}")
        .await
        .lines();
    assert_eq!(
        (&lines[0]["status"], &lines[0]["code"]),
        (&503.into(), &"overloaded".into())
    );
}

#[tokio::test]
async fn a_command_on_a_stream_that_is_too_long_is_refused() {
    let mut options = engine::Options::default();
    options.stream_events_max.insert("account".to_owned(), 1);
    let host = Place::memory()
        .builder()
        .engine(options)
        .build()
        .await
        .unwrap();
    examples::deploy(&host, examples::account()).await;
    let server = Server::start(host, Options::default()).await.opened().await;
    let pay = || server.command("account-1", "deposit", "{\"amount\":1}");
    send(pay()).await.ok();
    send(pay()).await.problem(409, "stream-too-long");
}

#[tokio::test]
async fn an_event_that_the_decider_cannot_fold_is_409() {
    let host = Place::memory().host().await;
    // The category has no decider yet.
    let went = build::append(vec![build::event("went", "{}")]);
    host.append(&build::stream("probe-1"), went).await.unwrap();
    examples::deploy(&host, guest::component("picky")).await;
    let server = Server::start(host, Options::default()).await;
    send(server.command("probe-1", "go", "{}"))
        .await
        .problem(409, "unreadable-event");
}

#[tokio::test]
async fn a_host_that_shuts_down_returns_overloaded() {
    let server = Server::bank().await;
    server.host.clone().shutdown().await.unwrap();
    let answer = send(server.command("account-1", "open", "{\"owner\":\"a\"}")).await;
    answer.problem(503, "overloaded");
}
