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

/// Requests in addition to one for each operation that is described.
const MORE: &[(&str, &str)] = &[
    ("get", "/v1/events?direction=backward&limit=10"),
    ("get", "/v1/events/2"),
    ("get", "/v1/rejections?category=note"),
    ("get", "/v1/can?who=admin&action=admin"),
    ("get", "/v1/nothing"),
    ("post", "/v1/projections/notes/drop"),
    ("delete", "/v1/tenants/beta"),
];

/// Bodies of operations that would do something with them. The others have an empty object.
const BODIES: &[(&str, &str)] = &[
    (
        "/v1/appends",
        r#"{"streams":[{"stream":"other-1","expected_version":"any","events":[{"type":"a","data":1}]}]}"#,
    ),
    (
        "/v1/commands",
        r#"{"stream":"note-1","type":"note","data":[["noted",{"n":1}]]}"#,
    ),
    ("/v1/deployments", r#"{"digest":"DIGEST"}"#),
    (
        "/v1/domain/{category}/{key}/{command}",
        r#"[["noted",{"n":1}]]"#,
    ),
    (
        "/v1/streams/{stream}/commands",
        r#"{"type":"note","data":[["noted",{"n":1}]]}"#,
    ),
    (
        "/v1/streams/{stream}/events",
        r#"{"events":[{"type":"a","data":1}]}"#,
    ),
    ("/v1/streams/{stream}/truncate", r#"{"before":2}"#),
    ("/v1/tenants", r#"{"name":"thief"}"#),
    ("/v1/tokens", r#"{"name":"thief","role":"admin"}"#),
];

/// A request to a tenant with a note, a document and a named subscription.
struct Request {
    method: String,
    path: String,
    body: &'static str,
    /// Whether everybody may send it.
    is_open: bool,
}

impl Request {
    /// The address, and the body, for a tenant with this component.
    fn of(&self, digest: &str) -> (String, String) {
        let with = |text: &str| text.replace("DIGEST", digest);
        (with(&self.path), with(self.body))
    }
}

/// Requests for each operation that is described, and some more.
fn requests() -> Vec<Request> {
    let described: Value = serde_json::from_str(&quipu_server::openapi()).unwrap();
    let mut requests = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for method in ["get", "head", "post", "put", "patch", "delete"] {
            let Some(operation) = item.get(method) else {
                continue;
            };
            let takes_body = operation.get("requestBody").is_some();
            let mut bodies = BODIES.iter().filter(|(of, _)| of == path);
            let body = bodies.next().map_or("{}", |(_, body)| *body);
            requests.push(Request {
                method: method.to_uppercase(),
                path: filled_in(path),
                body: if takes_body { body } else { "" },
                is_open: operation["security"] == json!([{}]),
            });
        }
    }
    requests.extend(MORE.iter().map(|(method, path)| Request {
        method: method.to_uppercase(),
        path: (*path).to_owned(),
        body: "",
        is_open: false,
    }));
    requests
}

/// The path of an operation with names of what a tenant has.
fn filled_in(path: &str) -> String {
    let segments = path.split('/').scan("", |before, segment| {
        let name = segment
            .strip_prefix('{')
            .and_then(|it| it.strip_suffix('}'));
        let value = match (*before, name) {
            (_, None) => segment,
            ("projections", Some("name")) | (_, Some("projection")) => "notes",
            ("subscriptions", Some("name")) => "mails",
            (_, Some("stream" | "key")) => "note-1",
            ("deployments", Some("name")) | (_, Some("category" | "command")) => "note",
            (_, Some("position" | "number" | "id")) => "1",
            (_, Some("digest" | "finding")) => "DIGEST",
            (_, Some("order")) => "pause",
            (_, Some("tenant")) => "acme",
            (_, Some("token")) => "admin",
            (_, Some(other)) => panic!("{path}: what is {other}?"),
        };
        *before = segment;
        Some(value)
    });
    segments.collect::<Vec<_>>().join("/")
}

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
    let requests = requests();
    assert!((100..ATTEMPTS / 5).contains(&requests.len()));
    // Each request comes in turn, with a random token to a random tenant.
    for (attempt, request) in requests.iter().cycle().take(ATTEMPTS).enumerate() {
        let (victim, thief) = match random.random() {
            true => (&acme, &beta),
            false => (&beta, &acme),
        };
        let mut wrong = thief.admin.clone();
        wrong.replace_range(30..31, if &wrong[30..31] == "0" { "1" } else { "0" });
        let tokens = [&thief.admin, &thief.reader, &host.root, &wrong];
        let token = tokens.choose(&mut random).unwrap();
        let Request {
            method, is_open, ..
        } = request;
        let (path, body) = request.of(&victim.digest);
        let mut sent = host.request(method, &path, (victim.name, token));
        sent = sent.header("Quipu-Reason", "a test");
        if !body.is_empty() {
            sent = sent.header("Content-Type", "application/json").body(body);
        }
        let answered = send(sent).await;
        let what = format!(
            "{attempt}: {method} {path}: {} {}",
            answered.status, answered.text
        );
        let is_refused = [401, 403].contains(&answered.status);
        assert!(is_refused || *is_open, "{what}");
        bytes += found(&answered, victim);
    }
    // In its own store, a caller asks for what only another tenant has.
    for (victim, thief) in [(&acme, &beta), (&beta, &acme)] {
        for Request { method, path, .. } in &requests {
            let is_endless = path.ends_with("subscribe") || path.ends_with("changes");
            if method != "GET" || is_endless {
                continue;
            }
            let path = path.replace("DIGEST", &victim.digest);
            let answered = send(host.request(method, &path, thief.admin())).await;
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
