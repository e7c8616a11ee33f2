//! What was begun under rules that are not in force any more.

use std::sync::Arc;

use quipu_server::{Options, Rules};
use quipu_tests::Place;
use quipu_tests::issuer::{Issuer, Key};
use serde_json::json;

use crate::connections::bounded;
use crate::console::{browser, session};
use crate::identity::{VIEWER, header, listing, rules};
use crate::server::Server;

/// A host, and a caller whom an issuer knows.
struct Known {
    server: Server,
    rules: Arc<Rules>,
    /// The issuer with the role of its callers.
    listed: String,
    token: String,
    _issuer: Issuer,
}

impl Known {
    async fn with(role: &str) -> Self {
        let key = Key::curve();
        let issuer = Issuer::start(json!({ "keys": [key.public("1")] })).await;
        let listed = listing(&issuer, role);
        let rules = Arc::new(Rules::new(rules(&listed, None)));
        let options = Options {
            rules: Arc::clone(&rules),
            ..Options::default()
        };
        Self {
            server: Server::start(Place::memory().host().await, options).await,
            rules,
            token: key.sign(&header(&key, "1"), &issuer.claims("ann")),
            listed,
            _issuer: issuer,
        }
    }

    /// Forbids everything to everybody.
    fn forbid(&self) {
        let policy = "forbid (principal, action, resource);";
        self.rules.replace(rules(&self.listed, Some(policy)));
    }
}

#[tokio::test]
async fn a_change_of_rules_ends_what_was_begun_before() {
    let known = Known::with(VIEWER).await;
    let request = known.server.request("GET", "/v1/events/subscribe");
    let mut following = request.bearer_auth(&known.token).send().await.unwrap();
    assert_eq!(following.status(), 200);
    let cookie = session(&known.server, &known.token).await;
    let live = browser().get(format!("{}/console/log/live", known.server.url));
    let mut live = live.header("Cookie", cookie).send().await.unwrap();
    assert_eq!(live.status(), 200);
    known.forbid();
    bounded(async { while let Ok(Some(_)) = following.chunk().await {} }).await;
    let mut text = String::new();
    bounded(async {
        while let Ok(Some(chunk)) = live.chunk().await {
            text += &String::from_utf8_lossy(&chunk);
        }
    })
    .await;
    assert!(
        text.contains("event: over\ndata: who may do what has changed"),
        "{text}"
    );
}

/// The rules may still allow it: the sender is asked to send it a second time.
#[tokio::test]
async fn a_body_that_is_sent_while_rules_change_may_be_sent_again() {
    let known = Known::with("role = \"client\"").await;
    let line = "{\"stream\":\"late-1\",\"type\":\"a\"}\n";
    let (sender, lines) = futures::channel::mpsc::unbounded();
    let send_line = || {
        let sent = sender.unbounded_send(Ok::<_, std::io::Error>(line));
        sent.unwrap();
    };
    send_line();
    let request = known.server.request("POST", "/v1/commands");
    let request = request.header("content-type", "application/x-ndjson");
    let request = request.body(reqwest::Body::wrap_stream(lines));
    let mut answered = request.bearer_auth(&known.token).send().await.unwrap();
    let mut next = async || {
        let chunk = bounded(answered.chunk()).await.unwrap().unwrap();
        String::from_utf8_lossy(&chunk).into_owned()
    };
    let mut text = next().await;
    known.rules.replace(rules(&known.listed, None));
    // Parts are checked at most once a second.
    while text.contains("unknown-category") {
        send_line();
        text = next().await;
    }
    assert!(text.contains("\"code\":\"overloaded\""), "{text}");
    assert!(text.contains("send the request again"), "{text}");
}
