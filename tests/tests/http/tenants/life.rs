//! From the creation of a tenant to its removal.

use std::time::Duration;

use quipu_server::{Options, TenantOptions};
use quipu_tests::{PATIENCE, Place, on_every_store};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Tenanted, options};
use crate::access::{EVENT, admin, append};
use crate::server::{Server, send};

on_every_store!(
    a_tenant_is_reached_only_with_its_own_token,
    only_the_main_store_manages_tenants,
    a_tenant_is_opened_at_the_first_request_and_the_longest_idle_one_is_closed,
    a_suspended_tenant_ends_what_its_callers_follow,
    the_keeper_of_tenants_is_restarted_and_closes_what_is_suspended_elsewhere,
    a_removed_tenant_leaves_its_store_and_a_later_one_starts_empty,
    a_restart_keeps_the_tenants,
    a_flood_of_one_tenant_leaves_another_answered,
    a_host_without_tenants_refuses_the_header,
);

mod files {
    quipu_tests::on_sqlite!(a_tenant_whose_store_is_missing_is_unavailable_and_others_are_served);
    use super::a_tenant_whose_store_is_missing_is_unavailable_and_others_are_served;
}

async fn a_tenant_is_reached_only_with_its_own_token(place: Place) {
    let host = Tenanted::start(&place, 10).await;
    let acme = host.create("acme").await;
    let beta = host.create("beta").await;
    // Nothing is open before the first request.
    let closed = [("acme", false), ("beta", false)].map(|(name, is)| (name.to_owned(), is));
    assert_eq!(host.listed().await, closed);
    send(host.append("sensor-1", ("acme", &acme))).await.ok();
    assert_eq!(host.events(("acme", &acme)).await, 1);
    assert_eq!(host.events(("beta", &beta)).await, 0);
    assert_eq!(host.server.host.log_head().await.unwrap().0, 0);
    let whoami = host.get("/v1/whoami", ("acme", &acme)).await.ok();
    assert_eq!(whoami["name"], "admin");

    let mut details = Vec::new();
    for (tenant, token) in [
        ("acme", &*beta),
        ("acme", &*host.root),
        ("acme", "qp_wrong"),
        ("nobody", &*acme),
        ("nobody", &*host.root),
        ("nobody", "qp_wrong"),
    ] {
        for path in ["/v1/events", "/v1/whoami", "/v1/nothing", "/v1/tenants"] {
            let refused = host.get(path, (tenant, token)).await;
            let problem = refused.problem(403, "forbidden");
            let detail = problem["detail"].as_str().unwrap();
            details.push(detail.replace(tenant, "NAME"));
        }
    }
    details.dedup();
    assert_eq!(details.len(), 1, "{details:?}");
    // A token of a tenant is nothing in the main store.
    let main = send(host.server.request("GET", "/v1/events").bearer_auth(&acme)).await;
    main.problem(401, "unauthorized");
    for tenant in ["acme", "nobody"] {
        let nobody = host.server.request("GET", "/v1/events");
        let nobody = send(nobody.header("Quipu-Tenant", tenant)).await;
        nobody.problem(401, "unauthorized");
        let open = host.server.request("GET", "/readyz");
        send(open.header("Quipu-Tenant", tenant)).await.ok();
    }
    for wrong in [
        "",
        "Acme",
        "../acme",
        "acme/",
        "a b",
        "ac\u{e9}me",
        &"a".repeat(41),
    ] {
        let request = host.server.request("GET", "/v1/events").bearer_auth(&acme);
        let request = request.header("Quipu-Tenant", wrong.as_bytes());
        send(request).await.problem(400, "bad-request");
    }
    let twice = host.request("GET", "/v1/events", ("acme", &acme));
    let twice = twice.header("Quipu-Tenant", "beta");
    send(twice).await.problem(400, "bad-request");
    host.ended().await;
}

async fn only_the_main_store_manages_tenants(place: Place) {
    let host = Tenanted::start(&place, 10).await;
    let acme = host.create("acme").await;
    let inside = ("acme", &*acme);
    for (method, path) in [
        ("GET", "/v1/tenants"),
        ("POST", "/v1/tenants"),
        ("POST", "/v1/tenants/acme/suspend"),
        ("POST", "/v1/tenants/acme/resume"),
        ("DELETE", "/v1/tenants/acme"),
        ("POST", "/v1/reload"),
    ] {
        let mut request = host.request(method, path, inside);
        request = request.header("Quipu-Reason", "a test");
        if path == "/v1/tenants" && method == "POST" {
            request = request.header("Content-Type", "application/json");
            request = request.body(r#"{"name":"other"}"#);
        }
        send(request).await.problem(403, "forbidden");
    }
    let create = |body: Value| {
        let request = host.server.post("/v1/tenants", &body.to_string());
        send(request.bearer_auth(&host.root))
    };
    for wrong in [
        json!({"name": ""}),
        json!({"name": "Acme"}),
        json!({"name": "../x"}),
        json!({"name": "a".repeat(41)}),
        json!({}),
        json!({"name": "x", "other": 1}),
    ] {
        create(wrong).await.problem(400, "bad-request");
    }
    let taken = create(json!({"name": "acme"})).await;
    taken.problem(409, "tenant-refused");
    for (method, path) in [
        ("POST", "/nobody/suspend"),
        ("POST", "/a%00/suspend"),
        ("POST", "/a%00/resume"),
        ("DELETE", "/a%00"),
        ("POST", "/nobody/resume"),
        ("DELETE", "/nobody"),
    ] {
        let missing = host.manage(method, path).await;
        missing.problem(404, "tenant-not-found");
    }
    assert_eq!(host.listed().await.len(), 1);
    host.ended().await;
}

async fn a_tenant_is_opened_at_the_first_request_and_the_longest_idle_one_is_closed(place: Place) {
    let host = Tenanted::start(&place, 1).await;
    let acme = host.create("acme").await;
    let beta = host.create("beta").await;
    let (acme, beta) = (("acme", &*acme), ("beta", &*beta));
    for round in 1..=3 {
        for who in [acme, beta] {
            send(host.append("sensor-1", who)).await.ok();
            assert_eq!(host.events(who).await, round);
        }
        let open = host.listed().await;
        assert_eq!(
            open.iter().map(|it| it.1).collect::<Vec<_>>(),
            [false, true]
        );
    }
    // Many first requests at once open it once.
    let many = (0..20).map(|number| send(host.append(&format!("many-{number}"), acme)));
    for answered in futures::future::join_all(many).await {
        answered.ok();
    }
    // A tenant with a subscription is not idle.
    let mut followed = host
        .request("GET", "/v1/events/subscribe", acme)
        .send()
        .await
        .unwrap();
    assert_eq!(followed.status(), 200);
    assert!(followed.chunk().await.unwrap().is_some());
    let refused = host.get("/v1/events", beta).await;
    let problem = refused.problem(503, "overloaded");
    assert!(problem["detail"].as_str().unwrap().contains("open_max"));
    drop(followed);
    let opened = async { while host.get("/v1/events", beta).await.status != 200 {} };
    timeout(PATIENCE, opened).await.unwrap();
    host.ended().await;
}

async fn a_suspended_tenant_ends_what_its_callers_follow(place: Place) {
    let host = Tenanted::start(&place, 10).await;
    let acme = host.create("acme").await;
    let beta = host.create("beta").await;
    let who = ("acme", &*acme);
    send(host.append("sensor-1", who)).await.ok();
    // On PostgreSQL another host serves the same tenants.
    let other = match place.url().starts_with("postgres:") {
        true => Some(Tenanted::start(&place, 10).await),
        false => None,
    };
    let mut followed = Vec::new();
    for host in [Some(&host), other.as_ref()].into_iter().flatten() {
        for path in ["/v1/events/subscribe", "/v1/streams/sensor-1/subscribe"] {
            let begun = host.request("GET", path, who).send().await.unwrap();
            assert_eq!(begun.status(), 200);
            followed.push(begun);
        }
    }
    let without = host.server.request("POST", "/v1/tenants/acme/suspend");
    let without = send(without.bearer_auth(&host.root)).await;
    without.problem(400, "bad-request");
    let suspended = host.manage("POST", "/acme/suspend").await.ok();
    assert!(suspended["suspended_at"].is_string(), "{suspended}");
    assert_eq!(suspended["is_open"], false);
    for mut body in followed {
        let ended = async { while let Ok(Some(_)) = body.chunk().await {} };
        timeout(PATIENCE, ended).await.unwrap();
    }
    for host in [Some(&host), other.as_ref()].into_iter().flatten() {
        let refused = async {
            loop {
                let answered = host.get("/v1/events", who).await;
                if ![200, 503].contains(&answered.status) {
                    return answered;
                }
            }
        };
        let refused = timeout(PATIENCE, refused).await.unwrap();
        refused.problem(403, "tenant-suspended");
        let stranger = host.get("/v1/events", ("acme", &beta)).await;
        stranger.problem(403, "forbidden");
        host.get("/v1/events", ("beta", &beta)).await.ok();
    }
    // A second time changes nothing.
    let same = host.manage("POST", "/acme/suspend").await.ok();
    assert_eq!(same["suspended_at"], suspended["suspended_at"]);
    let resumed = host.manage("POST", "/acme/resume").await.ok();
    assert_eq!(resumed["suspended_at"], Value::Null);
    send(host.append("sensor-1", who)).await.ok();
    assert_eq!(host.events(who).await, 2);
    if let Some(other) = other {
        other.ended().await;
    }
    host.ended().await;
}

async fn the_keeper_of_tenants_is_restarted_and_closes_what_is_suspended_elsewhere(place: Place) {
    let tenanted = Tenanted::start(&place, 10).await;
    let host = &tenanted.server.host;
    let acme = tenanted.create("acme").await;
    let who = ("acme", &*acme);
    send(tenanted.append("sensor-1", who)).await.ok();
    assert_eq!(tenanted.listed().await, [("acme".to_owned(), true)]);
    assert!(host.trip("keeper of tenants"));
    // As another host does: the keeper has to notice.
    host.tenants().suspend("acme").await.unwrap();
    let closed = async { while tenanted.listed().await != [("acme".to_owned(), false)] {} };
    let closed = timeout(PATIENCE, closed).await;
    closed.expect("the tenant is closed");
    let parts = host.parts();
    let keeper = parts.iter().find(|it| it.name == "keeper of tenants");
    assert_eq!(keeper.unwrap().restarts, 1);
    tenanted.ended().await;
}

async fn a_removed_tenant_leaves_its_store_and_a_later_one_starts_empty(place: Place) {
    let host = Tenanted::start(&place, 10).await;
    let acme = host.create("acme").await;
    send(host.append("sensor-1", ("acme", &acme))).await.ok();
    let without = host.server.request("DELETE", "/v1/tenants/acme");
    let without = send(without.bearer_auth(&host.root)).await;
    without.problem(400, "bad-request");
    let removed = host.manage("DELETE", "/acme").await.ok();
    let left = removed["store"].as_str().unwrap();
    match left.strip_prefix("sqlite:") {
        Some(file) => assert!(std::path::Path::new(file).exists(), "{left}"),
        None => assert!(left.starts_with("postgres://"), "{left}"),
    }
    assert!(!left.contains('@'), "{left}");
    let gone = host.get("/v1/events", ("acme", &acme)).await;
    gone.problem(403, "forbidden");
    let again = host.create("acme").await;
    assert_eq!(host.events(("acme", &again)).await, 0);
    let old = host.get("/v1/events", ("acme", &acme)).await;
    old.problem(403, "forbidden");
    host.manage("POST", "/acme/suspend").await.ok();

    let audit = host.server.request("GET", "/v1/audit");
    let audit = send(audit.bearer_auth(&host.root)).await;
    assert!(
        !audit.text.contains(&again[20..40]),
        "a secret is in the audit"
    );
    let audit = audit.ok();
    let records = audit["records"].as_array().unwrap();
    let text = |record: &Value, name: &str| record[name].as_str().unwrap_or("-").to_owned();
    let found: Vec<_> = records
        .iter()
        .map(|it| ["operation", "object", "result", "reason"].map(|name| text(it, name)))
        .collect();
    let expected = [
        ["create_tenant", "/v1/tenants/acme", "done", "-"],
        ["remove_tenant", "/v1/tenants/acme", "bad-request", "-"],
        ["remove_tenant", "/v1/tenants/acme", "done", "a test"],
        ["enter_tenant", "acme/v1/events", "forbidden", "-"],
        ["create_tenant", "/v1/tenants/acme", "done", "-"],
        ["enter_tenant", "acme/v1/events", "forbidden", "-"],
        [
            "suspend_tenant",
            "/v1/tenants/acme/suspend",
            "done",
            "a test",
        ],
    ];
    assert_eq!(found, expected);
    host.ended().await;
}

async fn a_restart_keeps_the_tenants(place: Place) {
    let host = Tenanted::start(&place, 10).await;
    let acme = host.create("acme").await;
    let beta = host.create("beta").await;
    for who in [("acme", &*acme), ("beta", &*beta)] {
        send(host.append("sensor-1", who)).await.ok();
    }
    host.manage("POST", "/beta/suspend").await.ok();
    host.ended().await;

    let host = Tenanted::start(&place, 10).await;
    assert_eq!(host.events(("acme", &acme)).await, 1);
    // The tokens of a suspended tenant are read although it stays closed.
    let suspended = host.get("/v1/events", ("beta", &beta)).await;
    suspended.problem(403, "tenant-suspended");
    let stranger = host.get("/v1/events", ("beta", &acme)).await;
    stranger.problem(403, "forbidden");
    let open = [("acme", true), ("beta", false)].map(|(name, is)| (name.to_owned(), is));
    assert_eq!(host.listed().await, open);
    host.manage("POST", "/beta/resume").await.ok();
    assert_eq!(host.events(("beta", &beta)).await, 1);
    host.ended().await;
}

/// More requests at once than one tenant may have in flight, again and again, until another tenant
/// has got all its answers.
async fn a_flood_of_one_tenant_leaves_another_answered(place: Place) {
    let tenants = TenantOptions {
        share: 512,
        ..options(&place, 10)
    };
    let host = Tenanted::with(&place, tenants).await;
    let acme = host.create("acme").await;
    let beta = host.create("beta").await;
    let (acme, beta) = (("acme", &*acme), ("beta", &*beta));
    let flood = async {
        let mut refused = 0;
        loop {
            let many = (0..40).map(|number| send(host.append(&format!("flood-{number}"), acme)));
            for answered in futures::future::join_all(many).await {
                match answered.status {
                    200 | 201 => {}
                    _ => {
                        answered.problem(503, "overloaded");
                        refused += 1;
                    }
                }
            }
            if refused == 0 {
                continue;
            }
            // The bound was reached; the other one is served all the same.
            tokio::task::yield_now().await;
        }
    };
    let served = async {
        for number in 0..50 {
            send(host.append(&format!("calm-{number}"), beta))
                .await
                .ok();
        }
    };
    tokio::select! {
        () = flood => {}
        served = timeout(PATIENCE, served) => served.unwrap(),
    }
    assert_eq!(host.events(beta).await, 50);
    host.ended().await;
}

async fn a_host_without_tenants_refuses_the_header(place: Place) {
    let server = Server::start(place.host().await, Options::default()).await;
    let root = admin(&server).await;
    for request in [
        append(&server, "sensor-1").bearer_auth(&root),
        server.request("GET", "/v1/events").bearer_auth(&root),
        server.request("GET", "/v1/events"),
    ] {
        let refused = send(request.header("Quipu-Tenant", "acme")).await;
        refused.problem(403, "forbidden");
    }
    assert_eq!(server.host.log_head().await.unwrap().0, 0);
    let create = server.post("/v1/tenants", r#"{"name":"acme"}"#);
    let refused = send(create.bearer_auth(&root)).await;
    let problem = refused.problem(409, "tenant-refused");
    assert!(problem["detail"].as_str().unwrap().contains("[tenants]"));
}

async fn a_tenant_whose_store_is_missing_is_unavailable_and_others_are_served(place: Place) {
    let host = Tenanted::start(&place, 10).await;
    let acme = host.create("acme").await;
    let beta = host.create("beta").await;
    let listed = host.manage("GET", "").await.ok();
    let file = listed["tenants"][0]["store"].as_str().unwrap();
    let file = file.strip_prefix("sqlite:").unwrap().to_owned();
    let moved = format!("{file}.away");
    std::fs::rename(&file, &moved).unwrap();
    let refused = host.get("/v1/events", ("acme", &acme)).await;
    refused.problem(503, "store-unavailable");
    assert!(
        !std::path::Path::new(&file).exists(),
        "an empty store was made"
    );
    let body = host.server.post("/v1/streams/x-1/events", EVENT);
    let body = body.header("Quipu-Tenant", "beta").bearer_auth(&beta);
    send(body).await.ok();
    std::fs::rename(&moved, &file).unwrap();
    let opened = async {
        while host.get("/v1/events", ("acme", &acme)).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, opened).await.unwrap();
    host.ended().await;
}
