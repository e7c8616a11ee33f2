//! Limits of all callers of a tenant together.

use std::time::Duration;

use quipu_server::{Limits, TenantLimits};
use quipu_tests::{PATIENCE, Place, on_every_store};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{Tenanted, options_of};
use crate::limits::{is_limited, until_limited};
use crate::server::send;

on_every_store!(
    the_callers_of_a_tenant_share_its_requests,
    the_callers_of_a_tenant_share_its_bytes_and_subscriptions,
    two_tenants_have_limits_of_their_own,
    a_tenant_has_a_share_of_its_own,
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

/// Limits that differ, except for the tenant `other`.
fn own_limits(tenant: &str) -> TenantLimits {
    let (requests_per_second, subscriptions) = match tenant {
        "acme" => (Some(3), Some(1)),
        "beta" => (Some(0), Some(2)),
        _ => (None, None),
    };
    TenantLimits {
        requests_per_second,
        subscriptions,
        bytes_per_second: None,
    }
}

async fn two_tenants_have_limits_of_their_own(place: Place) {
    let tenants = options_of(&place, 1, |tenant| (own_limits(tenant), None));
    let host = Tenanted::with(&place, tenants).await;
    host.limiter.replace(Limits {
        tenant_requests_per_second: 5,
        ..Limits::default()
    });
    let (acme, beta) = (host.create("acme").await, host.create("beta").await);
    let other = host.create("other").await;
    let (acme, beta, other) = (("acme", &*acme), ("beta", &*beta), ("other", &*other));
    // Only one of them is open at a time: they have their limits also after they were closed.
    for _ in 0..2 {
        let refused = until_limited(|| host.request("GET", "/v1/events", acme)).await;
        is_limited(&refused, "tenant_requests_per_second", 3);
        for _ in 0..20 {
            until_open(|| host.request("GET", "/v1/events", beta)).await;
        }
        let refused = until_limited(|| host.request("GET", "/v1/events", other)).await;
        is_limited(&refused, "tenant_requests_per_second", 5);
    }
    host.ended().await;
}

async fn a_tenant_has_a_share_of_its_own(place: Place) {
    // As many parts as there may be connections: one request at a time.
    let own = |tenant: &str| (own_limits(tenant), (tenant == "acme").then_some(1_000_000));
    let host = Tenanted::with(&place, options_of(&place, 10, own)).await;
    let (acme, beta) = (host.create("acme").await, host.create("beta").await);
    let (acme, beta) = (("acme", &*acme), ("beta", &*beta));
    let follow = |who| host.request("GET", "/v1/events/subscribe", who).send();
    let of_acme = follow(acme).await.unwrap();
    assert_eq!(of_acme.status(), 200);
    let refused = host.get("/v1/events", acme).await;
    refused.problem(503, "overloaded");
    let of_beta = [follow(beta).await.unwrap(), follow(beta).await.unwrap()];
    assert_eq!(of_beta.each_ref().map(|it| it.status().as_u16()), [200; 2]);
    is_limited(
        &send(host.request("GET", "/v1/events/subscribe", beta)).await,
        "tenant_subscriptions",
        2,
    );
    host.get("/v1/events", beta).await.ok();
    drop((of_acme, of_beta));
    until_open(|| host.request("GET", "/v1/events", acme)).await;
    host.ended().await;
}

/// Sends a request until it is not answered with `overloaded`, as while another tenant is closed.
async fn until_open(request: impl Fn() -> reqwest::RequestBuilder) {
    let sending = async {
        loop {
            let answered = send(request()).await;
            if answered.status != 503 {
                return answered.ok();
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, sending).await.unwrap();
}
