//! Named subscriptions as operators see them.

use serde_json::{Value, json};

use crate::program::Served;

async fn post(host: &Served, path: &str, body: &Value) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}{path}", host.url)).json(body);
    let answer = request.send().await.unwrap().text().await.unwrap();
    serde_json::from_str(&answer).unwrap()
}

#[tokio::test]
async fn a_named_subscription_is_listed_moved_and_deleted() {
    let host = Served::start();
    for n in 0..3 {
        host.run(&["append", "note-1", "noted", &n.to_string()])
            .ok();
    }
    let unknown = host.run(&["subscription", "mailer"]);
    unknown.fails(1, "no subscription mailer");
    let lease = json!({"lease_ms": 60_000});
    let claim = post(&host, "/v1/subscriptions/mailer/claim", &lease).await;
    let token = claim["token"].as_u64().unwrap();
    let handled = json!({"token": token, "position": 1, "lease_ms": 60_000});
    post(&host, "/v1/subscriptions/mailer/acknowledge", &handled).await;
    let listed = host.run(&["subscriptions"]).ok();
    let rows: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0][..3], ["name", "position", "lag"]);
    assert_eq!(rows[1][..3], ["mailer", "1", "2"]);
    let held = host.run(&["subscription", "mailer", "--delete"]);
    held.fails(1, "held by another client");
    let moved = host.run(&["subscription", "mailer", "--seek", "now"]).ok();
    assert_eq!(moved, "mailer is at position 3, held by nobody\n");
    let shown = host.run(&["subscription", "mailer", "--json"]).ok();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        shown,
        json!({"name": "mailer", "position": 3, "held_ms": null})
    );
    let deleted = host.run(&["subscription", "mailer", "--delete"]).ok();
    assert_eq!(deleted, "mailer is deleted\n");
    assert_eq!(host.run(&["subscriptions", "--json"]).ok(), "");
    let wrong = host.run(&["subscription", "mailer", "--seek", "soon"]);
    wrong.fails(2, "neither a position nor");
}
