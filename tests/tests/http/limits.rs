//! Limits of each caller.

use std::sync::Arc;
use std::time::Duration;

use quipu::access::{Grant, Role};
use quipu_server::{Limiter, Limits, Options};
use quipu_tests::{PATIENCE, Place, examples, on_every_store};
use reqwest::{Body, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::access::{admin, append, get, token};
use crate::connections::{bounded, raw, until};
use crate::server::{Answered, Server, send};

on_every_store!(
    a_caller_that_sends_too_many_requests_waits_and_others_do_not,
    a_token_has_a_limit_of_its_own,
    a_caller_that_sends_too_many_bytes_waits,
    a_caller_has_a_bounded_number_of_long_answers,
    lines_wait_for_the_rate_of_their_caller,
    a_store_has_a_bounded_number_of_components,
    failed_logins_of_an_address_are_counted_and_lock_nobody_out,
);

/// A rate that no test exceeds by being fast, and whose bucket no test fills by being slow.
const FEW: u32 = 3;

async fn limited(place: &Place, limits: Limits) -> (Server, Arc<Limiter>) {
    let limiter = Arc::new(Limiter::new(limits));
    let options = Options {
        limits: Arc::clone(&limiter),
        ..Options::default()
    };
    (Server::start(place.host().await, options).await, limiter)
}

/// Checks that an answer is about this limit, and says when to come back.
pub fn is_limited(answered: &Answered, name: &str, value: u64) {
    let problem = answered.problem(429, "rate-limited");
    assert_eq!(problem["limit"], json!({"name": name, "value": value}));
    let seconds: u64 = answered.header("retry-after").parse().unwrap();
    assert!(seconds >= 1, "{seconds}");
    assert_eq!(problem["retry_after_s"], seconds);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(&value.to_string()), "{detail}");
}

/// Sends a request until it is limited; returns that answer.
pub async fn until_limited(request: impl Fn() -> RequestBuilder) -> Answered {
    let sending = async {
        loop {
            // Together, so that a slow machine does not give the caller time.
            let all = futures::future::join_all((0..8).map(|_| send(request())));
            let limited = all.await.into_iter().find(|it| it.status == 429);
            if let Some(limited) = limited {
                return limited;
            }
        }
    };
    tokio::time::timeout(PATIENCE, sending).await.unwrap()
}

async fn until_ok(request: impl Fn() -> RequestBuilder) -> Value {
    let sending = async {
        loop {
            let answered = send(request()).await;
            if answered.status != 429 {
                return answered.ok();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, sending).await.unwrap()
}

async fn a_caller_that_sends_too_many_requests_waits_and_others_do_not(place: Place) {
    let (server, limiter) = limited(&place, Limits::default()).await;
    admin(&server).await;
    let ann = token(&server, "ann", Grant::of(Role::Viewer)).await;
    let bob = token(&server, "bob", Grant::of(Role::Viewer)).await;
    let events = |token: &str| server.request("GET", "/v1/events").bearer_auth(token);
    for _ in 0..20 {
        send(events(&ann)).await.ok();
    }
    limiter.replace(Limits {
        requests_per_second: FEW,
        ..Limits::default()
    });
    let refused = until_limited(|| events(&ann)).await;
    is_limited(&refused, "requests_per_second", FEW.into());
    send(events(&bob)).await.ok();
    for open in ["/healthz", "/readyz", "/openapi.json"] {
        for _ in 0..10 {
            server.get(open).await.ok();
        }
    }
    until_ok(|| events(&ann)).await;
    until_limited(|| events(&ann)).await;
    limiter.replace(Limits::default());
    for _ in 0..20 {
        send(events(&ann)).await.ok();
    }
    // Limits are not denials of access.
    let audit = server.host.audit().records(0, 100).await;
    assert!(audit.is_ok_and(|records| records.is_empty()));
}

async fn a_token_has_a_limit_of_its_own(place: Place) {
    let limits = Limits {
        requests_per_second: 100_000,
        ..Limits::default()
    };
    let (server, _) = limited(&place, limits).await;
    let root = admin(&server).await;
    let make = |body: Value| {
        let request = server.post("/v1/tokens", &body.to_string());
        send(request.bearer_auth(&root))
    };
    let wrong = json!({"name": "x", "role": "viewer", "requests_per_second": 0});
    make(wrong).await.problem(400, "bad-request");
    let slow = json!({"name": "slow", "role": "viewer", "requests_per_second": 2});
    let made = make(slow).await.ok();
    assert_eq!(made["requests_per_second"], 2);
    let slow = made["token"].as_str().unwrap().to_owned();
    let whoami = || server.request("GET", "/v1/whoami").bearer_auth(&slow);
    let refused = until_limited(whoami).await;
    is_limited(&refused, "requests_per_second", 2);
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("the token of this caller"), "{detail}");
    get(&server, "/v1/events", &root).await.ok();
    let known = until_ok(whoami).await;
    assert_eq!(known["grant"]["requests_per_second"], 2);
}

async fn a_caller_that_sends_too_many_bytes_waits(place: Place) {
    let limits = Limits {
        bytes_per_second: 2_000,
        ..Limits::default()
    };
    let (server, _) = limited(&place, limits).await;
    let ann = admin(&server).await;
    let bob = token(&server, "bob", Grant::of(Role::Client)).await;
    // Once it is taken, although it is longer than what a second allows.
    let long = format!(
        r#"{{"events":[{{"type":"n","data":"{}"}}]}}"#,
        "x".repeat(100_000)
    );
    let long = server.post("/v1/streams/note-1/events", &long);
    send(long.bearer_auth(&ann)).await.ok();
    let refused = send(append(&server, "note-2").bearer_auth(&ann)).await;
    is_limited(&refused, "bytes_per_second", 2_000);
    assert!(refused.json()["retry_after_s"].as_u64().unwrap() > 10);
    // A request without a body needs none of it.
    get(&server, "/v1/events", &ann).await.ok();
    send(append(&server, "note-3").bearer_auth(&bob)).await.ok();

    // A body without a declared length is charged as it arrives.
    let parts = |count: usize| {
        let parts = std::iter::repeat_n("[ ".repeat(500), count);
        let parts = futures::stream::iter(parts.map(Ok::<_, std::io::Error>));
        server
            .request("POST", "/v1/streams/note-4/events")
            .header("content-type", "application/json")
            .bearer_auth(&bob)
            .body(Body::wrap_stream(parts))
    };
    until_limited(|| parts(2)).await;
}

async fn a_caller_has_a_bounded_number_of_long_answers(place: Place) {
    let limits = Limits {
        subscriptions: 2,
        ..Limits::default()
    };
    let (server, _) = limited(&place, limits).await;
    let ann = admin(&server).await;
    let bob = token(&server, "bob", Grant::of(Role::Viewer)).await;
    let follow = |token: &str| {
        let request = server.request("GET", "/v1/events/subscribe");
        request.bearer_auth(token).send()
    };
    let first = follow(&ann).await.unwrap();
    let second = follow(&ann).await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(second.status(), 200);
    let third = server.request("GET", "/v1/events/subscribe");
    is_limited(&send(third.bearer_auth(&ann)).await, "subscriptions", 2);
    // Short answers are not counted, and neither are those of others.
    get(&server, "/v1/events", &ann).await.ok();
    assert_eq!(follow(&bob).await.unwrap().status(), 200);
    drop(first);
    let followed = async {
        while follow(&ann).await.unwrap().status() != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, followed).await.unwrap();
}

async fn lines_wait_for_the_rate_of_their_caller(place: Place) {
    let limits = Limits {
        requests_per_second: 20,
        ..Limits::default()
    };
    let limiter = Arc::new(Limiter::new(limits));
    let host = place.host().await;
    examples::deploy(&host, examples::account()).await;
    let options = Options {
        limits: limiter,
        ..Options::default()
    };
    let server = Server::start(host, options).await;
    let mut lines = String::new();
    for n in 0..50 {
        lines += &format!(
            "{{\"stream\":\"account-{n}\",\"type\":\"open\",\"data\":{{\"owner\":\"a\"}}}}\n"
        );
    }
    let answers = server.lines(&lines).await.lines();
    assert_eq!(answers.len(), 50);
    for answer in answers {
        assert!(answer["code"].is_null(), "{answer}");
    }
    assert_eq!(server.host.log_head().await.unwrap().0, 50);
}

async fn a_store_has_a_bounded_number_of_components(place: Place) {
    let limits = Limits {
        modules: 1,
        ..Limits::default()
    };
    let (server, _) = limited(&place, limits).await;
    let upload = |bytes: Vec<u8>| {
        let request = server.request("POST", "/v1/modules");
        send(
            request
                .header("content-type", "application/wasm")
                .body(bytes),
        )
    };
    assert_eq!(upload(examples::account()).await.status, 201);
    let refused = upload(examples::loan()).await;
    is_limited(&refused, "modules", 1);
    assert!(refused.text.contains("quipu prune"), "{}", refused.text);
    assert_eq!(upload(examples::account()).await.status, 200);
    let prune = server.post("/v1/modules/prune", r#"{"older_than_s":0}"#);
    send(prune).await.ok();
    assert_eq!(upload(examples::loan()).await.status, 201);
}

async fn failed_logins_of_an_address_are_counted_and_lock_nobody_out(place: Place) {
    let limits = Limits {
        failed_logins_per_minute: 5,
        ..Limits::default()
    };
    let (server, limiter) = limited(&place, limits).await;
    let root = admin(&server).await;
    for _ in 0..5 {
        get(&server, "/v1/events", "qp_wrong")
            .await
            .problem(401, "unauthorized");
    }
    let wrong = || server.request("GET", "/v1/events").bearer_auth("qp_wrong");
    let refused = until_limited(wrong).await;
    is_limited(&refused, "failed_logins_per_minute", 5);
    assert_eq!(refused.header("www-authenticate"), "");
    // A valid token passes, and a request without one is answered with 401.
    get(&server, "/v1/events", &root).await.ok();
    server.get("/v1/events").await.problem(401, "unauthorized");
    limiter.replace(Limits {
        failed_logins_per_minute: 0,
        ..Limits::default()
    });
    send(wrong()).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn an_address_has_a_bounded_number_of_connections() {
    let limits = Limits {
        address_connections: 2,
        ..Limits::default()
    };
    let (server, limiter) = limited(&Place::memory(), limits).await;
    let follow = "GET /v1/events/subscribe HTTP/1.1\r\nhost: h\r\n\r\n";
    let health = "GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n";
    let mut busy = raw(&server, follow).await;
    until(&mut busy, "caught-up").await;
    // An idle connection makes room for the next one.
    let mut idle = raw(&server, health).await;
    until(&mut idle, "200 OK").await;
    let mut second = raw(&server, follow).await;
    until(&mut second, "caught-up").await;
    let address = server.url.trim_start_matches("http://");
    let refused = bounded(async {
        // It is closed, before or while it sends.
        let mut socket = TcpStream::connect(address).await.unwrap();
        _ = socket.write_all(health.as_bytes()).await;
        crate::connections::rest(&mut socket).await
    });
    assert_eq!(refused.await, "");
    limiter.replace(Limits::default());
    let mut third = raw(&server, health).await;
    until(&mut third, "200 OK").await;
}

/// `overloaded` is about the host, `rate-limited` about the caller.
#[tokio::test]
async fn a_host_with_too_much_to_do_is_overloaded() {
    let engine = quipu::engine::Options {
        in_flight_max: 0,
        ..quipu::engine::Options::default()
    };
    let host = quipu::Host::builder().engine(engine).build().await.unwrap();
    let limits = Limits {
        requests_per_second: 1,
        ..Limits::default()
    };
    let options = Options {
        limits: Arc::new(Limiter::new(limits)),
        request_time_max: Duration::from_millis(50),
        ..Options::default()
    };
    let server = Server::start(host, options).await;
    let overloaded = send(append(&server, "note-1")).await;
    let problem = overloaded.problem(503, "overloaded");
    assert_eq!(problem["limit"], Value::Null);
    let refused = until_limited(|| append(&server, "note-1")).await;
    is_limited(&refused, "requests_per_second", 1);
}
