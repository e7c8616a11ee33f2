//! Limits of all callers of a tenant together.

use std::time::Duration;

use quipu_server::Limits;
use quipu_tests::{PATIENCE, Place, on_every_store};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::Tenanted;
use crate::limits::{is_limited, until_limited};
use crate::server::send;

on_every_store!(
    the_callers_of_a_tenant_share_its_requests,
    the_callers_of_a_tenant_share_its_bytes_and_subscriptions,
);

/// A second caller of a tenant, made by its admin.
async fn second(host: &Tenanted, admin: (&str, &str)) -> String {
    let body = json!({"name": "bob", "role": "client"}).to_string();
    let request = host.request("POST", "/v1/tokens", admin);
    let request = request.header("Content-Type", "application/json");
    let made = send(request.body(body)).await.ok();
    made["token"].as_str().unwrap().to_owned()
}

async fn the_callers_of_a_tenant_share_its_requests(place: Place) {
    let host = Tenanted::start(&place, 10).await;
    let (acme, beta) = (host.create("acme").await, host.create("beta").await);
    let (ann, other) = (("acme", &*acme), ("beta", &*beta));
    let bob = second(&host, ann).await;
    let bob = ("acme", &*bob);
    host.limiter.replace(Limits {
        tenant_requests_per_second: 3,
        ..Limits::default()
    });
    for who in [ann, bob] {
        let refused = until_limited(|| host.request("GET", "/v1/events", who)).await;
        is_limited(&refused, "tenant_requests_per_second", 3);
    }
    // Neither another tenant nor the main store has used anything.
    host.get("/v1/events", other).await.ok();
    for _ in 0..20 {
        let main = host.server.request("GET", "/v1/events");
        send(main.bearer_auth(&host.root)).await.ok();
    }
    host.limiter.replace(Limits::default());
    for _ in 0..20 {
        host.get("/v1/events", bob).await.ok();
    }
    host.ended().await;
}

async fn the_callers_of_a_tenant_share_its_bytes_and_subscriptions(place: Place) {
    let host = Tenanted::start(&place, 10).await;
    let (acme, beta) = (host.create("acme").await, host.create("beta").await);
    let (ann, other) = (("acme", &*acme), ("beta", &*beta));
    let bob = second(&host, ann).await;
    let bob = ("acme", &*bob);
    host.limiter.replace(Limits {
        tenant_bytes_per_second: 2_000,
        tenant_subscriptions: 2,
        ..Limits::default()
    });
    let long = json!({"events": [{"type": "n", "data": "x".repeat(100_000)}]});
    let request = host.request("POST", "/v1/streams/note-1/events", ann);
    let request = request.header("Content-Type", "application/json");
    send(request.body(long.to_string())).await.ok();
    let refused = send(host.append("note-2", bob)).await;
    is_limited(&refused, "tenant_bytes_per_second", 2_000);
    send(host.append("note-2", other)).await.ok();
    // A request without a body needs none of it.
    assert_eq!(host.events(bob).await, 1);

    let follow = |who| host.request("GET", "/v1/events/subscribe", who);
    let of_ann = follow(ann).send().await.unwrap();
    let of_bob = follow(bob).send().await.unwrap();
    assert_eq!(of_ann.status(), 200);
    assert_eq!(of_bob.status(), 200);
    for who in [ann, bob] {
        is_limited(&send(follow(who)).await, "tenant_subscriptions", 2);
    }
    assert_eq!(follow(other).send().await.unwrap().status(), 200);
    drop(of_ann);
    let followed = async {
        while follow(bob).send().await.unwrap().status() != 200 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, followed).await.unwrap();

    // Higher limits apply at once, although somebody waits for the limits before.
    send(host.append("note-2", bob))
        .await
        .problem(429, "rate-limited");
    host.limiter.replace(Limits {
        tenant_bytes_per_second: 1_000_000_000,
        ..Limits::default()
    });
    send(host.append("note-2", bob)).await.ok();
    drop(of_bob);
    host.ended().await;
}
