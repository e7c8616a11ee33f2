//! What was begun under rules that are not in force any more.

use std::sync::Arc;
use std::time::Duration;

use quipu_server::{Options, Rules};
use quipu_tests::Place;
use quipu_tests::issuer::{Issuer, Key};
use serde_json::json;

use crate::connections::bounded;
use crate::identity::{VIEWER, header, listing, rules};
use crate::server::Server;

#[tokio::test]
async fn a_change_of_rules_ends_what_was_begun_before() {
    let key = Key::curve();
    let issuer = Issuer::start(json!({ "keys": [key.public("1")] })).await;
    let listed = listing(&issuer, VIEWER);
    let shared = Arc::new(Rules::new(rules(&listed, None)));
    let options = Options {
        rules: Arc::clone(&shared),
        ..Options::default()
    };
    let server = Server::start(Place::memory().host().await, options).await;
    let ann = key.sign(&header(&key, "1"), &issuer.claims("ann"));
    let request = server.request("GET", "/v1/events/subscribe");
    let mut following = request.bearer_auth(&ann).send().await.unwrap();
    assert_eq!(following.status(), 200);
    shared.replace(rules(
        &listed,
        Some("forbid (principal, action, resource);"),
    ));
    bounded(async { while let Ok(Some(_)) = following.chunk().await {} }).await;
}

/// The rules may still allow it: the sender is asked to send it a second time.
#[tokio::test]
async fn a_body_that_is_sent_while_rules_change_may_be_sent_again() {
    let key = Key::curve();
    let issuer = Issuer::start(json!({ "keys": [key.public("1")] })).await;
    let listed = listing(&issuer, "role = \"client\"");
    let shared = Arc::new(Rules::new(rules(&listed, None)));
    let options = Options {
        rules: Arc::clone(&shared),
        ..Options::default()
    };
    let server = Server::start(Place::memory().host().await, options).await;
    let ann = key.sign(&header(&key, "1"), &issuer.claims("ann"));
    let line = "{\"stream\":\"late-1\",\"type\":\"a\"}\n";
    let (sender, lines) = futures::channel::mpsc::unbounded();
    let send_line = || {
        sender
            .unbounded_send(Ok::<_, std::io::Error>(line))
            .unwrap()
    };
    send_line();
    let request = server.request("POST", "/v1/commands");
    let request = request.header("content-type", "application/x-ndjson");
    let request = request.body(reqwest::Body::wrap_stream(lines));
    let mut answered = request.bearer_auth(&ann).send().await.unwrap();
    let first = answered.chunk().await.unwrap().unwrap();
    let first = String::from_utf8_lossy(&first).into_owned();
    assert!(first.contains("unknown-category"), "{first}");
    shared.replace(rules(&listed, None));
    // Parts are checked at most once a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    send_line();
    let second = bounded(answered.chunk()).await.unwrap().unwrap();
    let second = String::from_utf8_lossy(&second).into_owned();
    assert!(second.contains("\"code\":\"overloaded\""), "{second}");
    assert!(second.contains("send the request again"), "{second}");
}
