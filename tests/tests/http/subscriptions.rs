//! Named subscriptions: claim, read, acknowledge, release, take over.

use std::time::Duration;

use quipu_server::Options;
use quipu_tests::build::{append, events, stream};
use quipu_tests::{Place, on_every_store};
use serde_json::{Value, json};

use crate::server::{Server, send};

on_every_store!(
    a_client_gets_every_event_until_it_acknowledges_it,
    of_two_clients_only_one_owns_the_name,
    a_name_is_taken_over_when_its_lease_has_run_out,
    an_operator_moves_a_name_and_deletes_it,
    a_checkpoint_survives_a_restart,
);

async fn server(place: &Place, count: usize) -> Server {
    let host = place.host().await;
    let server = Server::start(host, Options::default()).await;
    note(&server, count).await;
    server
}

async fn note(server: &Server, count: usize) {
    let (to, noted) = (stream("note-1"), append(events(count)));
    server.host.append(&to, noted).await.unwrap();
}

/// The token of a claim that is granted.
async fn claimed(server: &Server, name: &str, body: &Value) -> u64 {
    let path = format!("/v1/subscriptions/{name}/claim");
    let claim = send(server.post(&path, &body.to_string())).await.ok();
    claim["token"].as_u64().unwrap()
}

/// The positions of the events read, and the position to acknowledge.
async fn read(server: &Server, name: &str, query: &str) -> (Vec<u64>, u64) {
    let path = format!("/v1/subscriptions/{name}/events?{query}");
    let page = server.get(&path).await.ok();
    let events = page["events"].as_array().unwrap();
    let positions = events.iter().map(|it| it["position"].as_u64().unwrap());
    (positions.collect(), page["next"].as_u64().unwrap())
}

async fn acknowledge(server: &Server, name: &str, token: u64, position: u64) -> Value {
    let path = format!("/v1/subscriptions/{name}/acknowledge");
    let body = json!({"token": token, "position": position}).to_string();
    send(server.post(&path, &body)).await.ok()
}

async fn a_client_gets_every_event_until_it_acknowledges_it(place: Place) {
    let server = server(&place, 5).await;
    let token = claimed(&server, "mailer", &json!({})).await;
    let query = format!("token={token}&limit=2");
    for _ in 0..2 {
        assert_eq!(read(&server, "mailer", &query).await, (vec![1, 2], 2));
    }
    let stored = acknowledge(&server, "mailer", token, 2).await;
    assert_eq!(stored["position"], 2);
    assert_eq!(read(&server, "mailer", &query).await, (vec![3, 4], 4));
    acknowledge(&server, "mailer", token, 4).await;
    // An acknowledged position never moves back.
    assert_eq!(
        acknowledge(&server, "mailer", token, 1).await["position"],
        4
    );
    assert_eq!(read(&server, "mailer", &query).await, (vec![5], 5));
    acknowledge(&server, "mailer", token, 5).await;
    assert_eq!(read(&server, "mailer", &query).await, (vec![], 5));
    // The checkpoint moves over events that do not pass the filter.
    note(&server, 1).await;
    let other = format!("token={token}&type=other");
    assert_eq!(read(&server, "mailer", &other).await, (vec![], 6));
    // An event that is committed during the wait is returned immediately.
    acknowledge(&server, "mailer", token, 6).await;
    let waiting = format!("token={token}&wait_ms=7000");
    let (answer, ()) = tokio::join!(read(&server, "mailer", &waiting), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        note(&server, 1).await;
    });
    assert_eq!(answer, (vec![7], 7));
    server.host.shutdown().await.unwrap();
}

async fn of_two_clients_only_one_owns_the_name(place: Place) {
    let server = server(&place, 3).await;
    let token = claimed(&server, "mailer", &json!({"lease_ms": 600_000})).await;
    let refused = send(server.post("/v1/subscriptions/mailer/claim", "{}")).await;
    refused.problem(409, "subscription-held");
    // A handler in the process of the host competes for the name, too.
    let listed = server.get("/v1/subscriptions").await.ok();
    let listed = &listed["subscriptions"];
    assert_eq!(listed[0]["name"], "mailer");
    assert!(listed[0]["held_ms"].as_u64().unwrap() > 500_000, "{listed}");
    for wrong in [token - 1, token + 1, 0] {
        let path = format!("/v1/subscriptions/mailer/events?token={wrong}");
        server.get(&path).await.problem(409, "claim-lost");
        let body = json!({"token": wrong, "position": 1}).to_string();
        let refused = send(server.post("/v1/subscriptions/mailer/acknowledge", &body)).await;
        refused.problem(409, "claim-lost");
    }
    acknowledge(&server, "mailer", token, 1).await;
    let body = json!({"token": token}).to_string();
    let released = send(server.post("/v1/subscriptions/mailer/release", &body)).await;
    assert_eq!(released.status, 204);
    let next = claimed(&server, "mailer", &json!({})).await;
    assert!(next > token);
    let query = format!("token={next}");
    assert_eq!(read(&server, "mailer", &query).await, (vec![2, 3], 3));
    server.host.shutdown().await.unwrap();
}

async fn a_name_is_taken_over_when_its_lease_has_run_out(place: Place) {
    let server = server(&place, 3).await;
    let first = claimed(&server, "mailer", &json!({"lease_ms": 1_000})).await;
    let second = loop {
        let answer = send(server.post("/v1/subscriptions/mailer/claim", "{}")).await;
        if answer.status == 200 {
            break answer.ok()["token"].as_u64().unwrap();
        }
        answer.problem(409, "subscription-held");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let body = json!({"token": first, "position": 3}).to_string();
    let late = send(server.post("/v1/subscriptions/mailer/acknowledge", &body)).await;
    late.problem(409, "claim-lost");
    let query = format!("token={second}");
    assert_eq!(read(&server, "mailer", &query).await, (vec![1, 2, 3], 3));
    server.host.shutdown().await.unwrap();
}

async fn an_operator_moves_a_name_and_deletes_it(place: Place) {
    let server = server(&place, 3).await;
    let path = "/v1/subscriptions/mailer";
    server
        .get(path)
        .await
        .problem(404, "subscription-not-found");
    let late = claimed(&server, "late", &json!({"after": "now"})).await;
    assert_eq!(read(&server, "late", &format!("token={late}")).await.1, 3);
    let token = claimed(&server, "mailer", &json!({"after": 2})).await;
    assert_eq!(server.get(path).await.ok()["position"], 2);
    // The name has an owner.
    let refused = send(server.request("DELETE", path)).await;
    refused.problem(409, "subscription-held");
    let seek = format!("{path}/seek");
    let moved = send(server.post(&seek, "{\"after\":1}")).await.ok();
    assert_eq!(
        (&moved["position"], &moved["held_ms"]),
        (&json!(1), &json!(null))
    );
    let reading = format!("{path}/events?token={token}");
    server.get(&reading).await.problem(409, "claim-lost");
    // A position that does not exist cannot have been read.
    for (what, body) in [
        ("seek", json!({"after": 4})),
        ("claim", json!({"after": "then"})),
        ("claim", json!({"lease_ms": 10})),
        ("claim", json!({"leese_ms": 1_000})),
    ] {
        let refused = send(server.post(&format!("{path}/{what}"), &body.to_string())).await;
        refused.problem(400, "bad-request");
    }
    let ahead = send(server.post("/v1/subscriptions/ahead/claim", "{\"after\":4}")).await;
    ahead.problem(400, "bad-request");
    let token = claimed(&server, "mailer", &json!({})).await;
    let beyond = json!({"token": token, "position": 4}).to_string();
    let refused = send(server.post(&format!("{path}/acknowledge"), &beyond)).await;
    refused.problem(400, "bad-request");
    send(server.post(&seek, "{\"after\":\"now\"}")).await.ok();
    assert_eq!(send(server.request("DELETE", path)).await.status, 204);
    let again = send(server.request("DELETE", path)).await;
    again.problem(404, "subscription-not-found");
    let body = json!({"token": token, "position": 1}).to_string();
    let gone = send(server.post(&format!("{path}/acknowledge"), &body)).await;
    gone.problem(404, "subscription-not-found");
    // A name that is created a second time starts at the first event, and does not accept earlier
    // tokens.
    let next = claimed(&server, "mailer", &json!({})).await;
    assert!(next > token, "{next} after {token}");
    assert_eq!(server.get(path).await.ok()["position"], 0);
    server.host.shutdown().await.unwrap();
}

async fn a_checkpoint_survives_a_restart(place: Place) {
    let first = server(&place, 3).await;
    let token = claimed(&first, "mailer", &json!({"lease_ms": 60_000})).await;
    acknowledge(&first, "mailer", token, 2).await;
    first.host.shutdown().await.unwrap();
    let second = Server::start(place.host().await, Options::default()).await;
    // The claim is still valid, unless somebody else has claimed the name by now.
    let query = format!("token={token}");
    assert_eq!(read(&second, "mailer", &query).await, (vec![3], 3));
    second.host.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_claim_excludes_the_handler_with_that_name_in_the_process_of_the_host() {
    let server = server(&Place::memory(), 2).await;
    let token = claimed(&server, "mailer", &json!({})).await;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let named = server.host.subscription("mailer").unwrap();
    let running = tokio::spawn(named.run(async move |events: &[_]| {
        sender.send(events.len()).map_err(|error| error.to_string())
    }));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(receiver.try_recv().is_err());
    acknowledge(&server, "mailer", token, 1).await;
    let body = json!({"token": token}).to_string();
    send(server.post("/v1/subscriptions/mailer/release", &body)).await;
    assert_eq!(receiver.recv().await, Some(1));
    server.host.shutdown().await.unwrap();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_number_of_names_is_bounded() {
    let server = server(&Place::memory(), 0).await;
    for number in 0..quipu::subscribe::NAMES_MAX {
        let name = format!("reader-{number}");
        let lease = Duration::from_secs(1);
        server.host.claim(&name, None, lease).await.unwrap();
    }
    let refused = send(server.post("/v1/subscriptions/more/claim", "{}")).await;
    refused.problem(409, "too-many-subscriptions");
    for wrong in ["%00", &"n".repeat(201)] {
        let path = format!("/v1/subscriptions/{wrong}/claim");
        let refused = send(server.post(&path, "{}")).await;
        refused.problem(400, "bad-request");
    }
    let page = server.get("/v1/subscriptions?limit=10").await.ok();
    assert_eq!(page["next"], page["subscriptions"][9]["name"]);
}
