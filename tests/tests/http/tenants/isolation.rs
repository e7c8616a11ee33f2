//! Nothing of one tenant reaches another.

use quipu_tests::probe::Probe;
use quipu_tests::{PATIENCE, Place, on_every_store, seed};
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Tenanted;
use crate::projections::notes;
use crate::server::{Answered, send};

on_every_store!(random_requests_with_tokens_of_others_get_no_byte_of_a_tenant);

/// Random requests with tokens of others.
const ATTEMPTS: usize = 1_000;

/// Requests to a tenant with a note, a document and a named subscription.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("GET", "/v1/events", ""),
    ("GET", "/v1/events?direction=backward&limit=10", ""),
    ("GET", "/v1/events/1", ""),
    ("GET", "/v1/events/2", ""),
    ("GET", "/v1/events/subscribe", ""),
    ("GET", "/v1/streams", ""),
    ("GET", "/v1/streams/note-1/events", ""),
    ("HEAD", "/v1/streams/note-1/events", ""),
    ("GET", "/v1/streams/note-1/state", ""),
    ("GET", "/v1/streams/note-1/subscribe", ""),
    ("GET", "/v1/types", ""),
    ("GET", "/v1/rejections?category=note", ""),
    ("GET", "/v1/modules", ""),
    ("GET", "/v1/modules/DIGEST", ""),
    ("GET", "/v1/modules/DIGEST/wasm", ""),
    ("GET", "/v1/modules/DIGEST/events", ""),
    ("GET", "/v1/deployments", ""),
    ("GET", "/v1/domain/openapi.json", ""),
    ("GET", "/v1/views/notes", ""),
    ("GET", "/v1/views/notes/note-1", ""),
    ("GET", "/v1/projections", ""),
    ("GET", "/v1/projections/notes", ""),
    ("GET", "/v1/projections/notes/changes", ""),
    ("GET", "/v1/projections/notes/live/note-1", ""),
    ("GET", "/v1/subscriptions", ""),
    ("GET", "/v1/subscriptions/mails", ""),
    ("GET", "/v1/export", ""),
    ("GET", "/v1/status", ""),
    ("GET", "/v1/tokens", ""),
    ("GET", "/v1/whoami", ""),
    ("GET", "/v1/audit", ""),
    ("GET", "/v1/tenants", ""),
    ("GET", "/v1/nothing", ""),
    (
        "POST",
        "/v1/streams/note-1/commands",
        r#"{"type":"note","data":[["noted",{"n":1}]]}"#,
    ),
    (
        "POST",
        "/v1/streams/other-1/events",
        r#"{"events":[{"type":"a","data":1}]}"#,
    ),
    ("POST", "/v1/tokens", r#"{"name":"thief","role":"admin"}"#),
    ("DELETE", "/v1/tokens/admin", ""),
    ("POST", "/v1/streams/note-1/archive", ""),
    ("POST", "/v1/projections/notes/pause", ""),
    ("POST", "/v1/projections/notes/drop", ""),
    ("POST", "/v1/subscriptions/mails/claim", "{}"),
    ("DELETE", "/v1/subscriptions/mails", ""),
    ("POST", "/v1/verify", "{}"),
    ("POST", "/v1/tenants", r#"{"name":"thief"}"#),
    ("DELETE", "/v1/tenants/acme", ""),
    ("DELETE", "/v1/tenants/beta", ""),
    ("POST", "/v1/reload", ""),
];

/// A tenant with data that nobody else has.
struct Victim {
    name: &'static str,
    marker: &'static str,
    admin: String,
    reader: String,
    digest: String,
}

impl Victim {
    fn admin(&self) -> (&str, &str) {
        (self.name, &self.admin)
    }
}

async fn filled(
    host: &Tenanted,
    name: &'static str,
    marker: &'static str,
    probe: &Probe,
) -> Victim {
    let admin = host.create(name).await;
    let who = (name, &*admin);
    let post = |path: &str, body: Value| {
        let request = host.request("POST", path, who);
        let request = request.header("Content-Type", "application/json");
        send(request.body(body.to_string()))
    };
    let upload = host.request("POST", "/v1/modules", who);
    let upload = upload.header("Content-Type", "application/wasm");
    let uploaded = send(upload.body(probe.component())).await.ok();
    let digest = uploaded["digest"].as_str().unwrap().to_owned();
    post("/v1/deployments", json!({ "digest": digest }))
        .await
        .ok();
    let data = json!([["noted", {"text": marker}]]);
    let noted = post(
        "/v1/streams/note-1/commands",
        json!({"type": "note", "data": data}),
    );
    let position = noted.await.ok()["position"].as_u64().unwrap();
    post("/v1/subscriptions/mails/claim", json!({})).await;
    let reader = json!({"name": marker, "role": "viewer"});
    let reader = post("/v1/tokens", reader).await.ok();
    let reader = reader["token"].as_str().unwrap().to_owned();
    // Its own callers see the document.
    let fresh = format!("/v1/views/notes/note-1?after={position}&timeout=30000");
    let seen = async {
        while host.get(&fresh, (name, &reader)).await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, seen).await.unwrap();
    let own = host.get("/v1/events", (name, &reader)).await;
    assert!(own.text.contains(marker), "{}", own.text);
    Victim {
        name,
        marker,
        admin,
        reader,
        digest,
    }
}

async fn random_requests_with_tokens_of_others_get_no_byte_of_a_tenant(place: Place) {
    let host = Tenanted::start(&place, 10).await;
    // Each has another component.
    let probes = [1, 2].map(|version| notes(version, json!({})));
    let acme = filled(&host, "acme", "acme-s-secret-7421", &probes[0]).await;
    let beta = filled(&host, "beta", "beta-s-secret-9137", &probes[1]).await;
    let before = [state(&host, &acme).await, state(&host, &beta).await];
    let mut random = seed::random(seed::seeds(1)[0]);
    let mut bytes = 0;
    for attempt in 0..ATTEMPTS {
        let (victim, thief) = match random.random() {
            true => (&acme, &beta),
            false => (&beta, &acme),
        };
        let mut wrong = thief.admin.clone();
        wrong.replace_range(30..31, if &wrong[30..31] == "0" { "1" } else { "0" });
        let tokens = [&thief.admin, &thief.reader, &host.root, &wrong];
        let token = tokens.choose(&mut random).unwrap();
        let (method, path, body) = REQUESTS.choose(&mut random).unwrap();
        let path = path.replace("DIGEST", &victim.digest);
        let mut request = host.request(method, &path, (victim.name, token));
        request = request.header("Quipu-Reason", "a test");
        if !body.is_empty() {
            request = request
                .header("Content-Type", "application/json")
                .body(*body);
        }
        let answered = send(request).await;
        let what = format!(
            "{attempt}: {method} {path}: {} {}",
            answered.status, answered.text
        );
        assert!([401, 403].contains(&answered.status), "{what}");
        bytes += found(&answered, victim);
    }
    // In its own store, a caller asks for what only another tenant has.
    for (victim, thief) in [(&acme, &beta), (&beta, &acme)] {
        for (method, path, body) in REQUESTS {
            let is_endless = path.ends_with("subscribe") || path.ends_with("changes");
            if *method != "GET" || is_endless {
                continue;
            }
            let path = path.replace("DIGEST", &victim.digest);
            let answered = send(host.request(method, &path, thief.admin()).body(*body)).await;
            if path.contains(&victim.digest) {
                answered.problem(404, "module-not-found");
            }
            bytes += found(&answered, victim);
            // Nor without the header.
            let main = host.server.request(method, &path).bearer_auth(&host.root);
            bytes += found(&send(main).await, victim);
        }
    }
    assert_eq!(bytes, 0, "bytes that crossed");
    let after = [state(&host, &acme).await, state(&host, &beta).await];
    assert_eq!(before, after, "something was changed");
    assert_eq!(host.server.host.log_head().await.unwrap().0, 0);
    assert_eq!(host.listed().await.len(), 2);
    host.ended().await;
}

/// How many bytes of a tenant are in an answer.
fn found(answered: &Answered, victim: &Victim) -> usize {
    let headers = format!("{:?}", answered.headers);
    [&answered.text, &headers]
        .iter()
        .map(|text| text.matches(victim.marker).count() * victim.marker.len())
        .sum()
}

/// What a tenant has.
async fn state(host: &Tenanted, tenant: &Victim) -> Vec<String> {
    let mut all = Vec::new();
    for path in [
        "/v1/events",
        "/v1/streams",
        "/v1/deployments",
        "/v1/views/notes",
        "/v1/subscriptions",
    ] {
        let mut read = host.get(path, tenant.admin()).await.ok();
        // How long a lease still lasts.
        for held in read["subscriptions"].as_array_mut().into_iter().flatten() {
            held.as_object_mut()
                .unwrap()
                .retain(|name, _| name == "name");
        }
        all.push(read.to_string());
    }
    let tokens = host.get("/v1/tokens", tenant.admin()).await.ok();
    let names = tokens["tokens"].as_array().unwrap().iter();
    let names = names.map(|it| format!("{} {}", it["name"], it["revoked_at"]));
    all.push(names.collect::<Vec<_>>().join(", "));
    all
}
