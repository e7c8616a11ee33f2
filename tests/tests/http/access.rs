//! Who may ask for what: tokens, roles and the audit.

use std::collections::BTreeMap;

use quipu::access::{Grant, NewToken, Role};
use quipu_server::Options;
use quipu_tests::{PATIENCE, Place, on_every_store};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::console::{page, session};
use crate::server::{Answered, Server, send};

on_every_store!(
    a_store_without_tokens_is_open_and_the_first_token_closes_it,
    what_is_not_a_valid_token_is_refused,
    a_secret_that_is_sent_in_a_path_is_not_recorded,
    nobody_hides_denials_of_others,
    a_limited_token_reaches_only_what_it_lists,
    the_caller_is_named_in_what_it_did,
    changes_and_denials_are_in_the_audit,
    what_was_changed_in_the_audit_is_found,
    named_callers_give_reasons,
    a_host_may_be_open_although_there_are_tokens,
);

pub const EVENT: &str = r#"{"events":[{"type":"measured","data":{}}]}"#;

pub async fn server(place: &Place) -> Server {
    Server::start(place.host().await, Options::default()).await
}

/// Makes a token in the store of a server.
pub async fn token(server: &Server, name: &str, grant: Grant) -> String {
    let new = NewToken {
        name: name.to_owned(),
        grant,
        expires_at: None,
        by: None,
    };
    let (_, secret) = server.host.tokens().create(new).await.unwrap();
    secret.reveal().to_owned()
}

pub async fn admin(server: &Server) -> String {
    token(server, "root", Grant::of(Role::Admin)).await
}

pub async fn get(server: &Server, path: &str, token: &str) -> Answered {
    send(server.request("GET", path).bearer_auth(token)).await
}

pub fn append(server: &Server, stream: &str) -> RequestBuilder {
    server.post(&format!("/v1/streams/{stream}/events"), EVENT)
}

async fn a_store_without_tokens_is_open_and_the_first_token_closes_it(place: Place) {
    let server = server(&place).await;
    let nobody = server.get("/v1/whoami").await.ok();
    assert_eq!(nobody["name"], Value::Null);
    assert_eq!(nobody["grant"], Value::Null);
    send(append(&server, "sensor-1")).await.ok();

    let made = server.post("/v1/tokens", r#"{"name":"ann","role":"admin"}"#);
    let made = send(made).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let text = made.json()["token"].as_str().unwrap().to_owned();
    for refused in [
        server.get("/v1/events").await,
        server.get("/v1/whoami").await,
        send(append(&server, "sensor-1")).await,
    ] {
        let problem = refused.problem(401, "unauthorized");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("Authorization: Bearer"), "{detail}");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
    }
    for open in ["/healthz", "/readyz", "/openapi.json"] {
        server.get(open).await.ok();
    }
    server.get("/v1/nothing").await.problem(404, "not-found");
    let ann = get(&server, "/v1/whoami", &text).await.ok();
    assert_eq!(ann["name"], "ann");
    assert_eq!(ann["grant"]["role"], "admin");
    let listed = get(&server, "/v1/tokens", &text).await;
    assert!(!listed.text.contains(&text), "{}", listed.text);
    assert_eq!(listed.ok()["tokens"][0]["name"], "ann");
}

async fn what_is_not_a_valid_token_is_refused(place: Place) {
    let server = server(&place).await;
    // Before there are tokens, a wrong one is an error, too.
    get(&server, "/v1/events", "qp_wrong")
        .await
        .problem(401, "unauthorized");
    let valid = token(&server, "reader", Grant::of(Role::Viewer)).await;
    get(&server, "/v1/events", &valid).await.ok();
    let other = valid.replace("qp_", "qp_0");
    let mut swapped = valid.clone();
    swapped.replace_range(20..22, "00");
    for wrong in [
        "",
        " ",
        "null",
        "undefined",
        "qp",
        "qp___",
        "eyJhbGciOiJub25lIn0.e30.",
        &other,
        &swapped,
        &valid[..valid.len() - 1],
        &valid.to_uppercase(),
        &format!("{valid}0"),
        &format!("{valid} {valid}"),
        &"q".repeat(10_000),
    ] {
        let answered = get(&server, "/v1/events", wrong).await;
        answered.problem(401, "unauthorized");
        assert!(!answered.text.contains(&valid), "{}", answered.text);
    }
    let with = |value: &str| {
        let request = server.request("GET", "/v1/events");
        request.header("authorization", value)
    };
    for wrong in [
        format!("Basic {valid}"),
        valid.clone(),
        format!("Token {valid}"),
        "Bearer".to_owned(),
    ] {
        send(with(&wrong)).await.problem(401, "unauthorized");
    }
    let twice = with(&format!("Bearer {valid}")).header("authorization", format!("Bearer {valid}"));
    send(twice).await.problem(401, "unauthorized");
    send(with(&format!("bearer {valid}"))).await.ok();

    let past = json!({"name": "late", "role": "viewer", "expires_at": "2001-01-01T00:00:00Z"});
    let admin = admin(&server).await;
    let make = |body: Value| {
        let request = server.post("/v1/tokens", &body.to_string());
        send(request.bearer_auth(&admin))
    };
    make(past).await.problem(400, "bad-request");
    for wrong in [
        json!({"name": "x", "role": "root"}),
        json!({"name": "", "role": "viewer"}),
        json!({"name": "a\nb", "role": "viewer"}),
        json!({"name": "x".repeat(201), "role": "viewer"}),
        json!({"name": "x", "role": "viewer", "categories": ["a-b"]}),
        json!({"name": "x", "role": "viewer", "categories": vec!["a"; 101]}),
        json!({"name": "x", "role": "viewer", "categories": []}),
        json!({"name": "x"}),
        json!({"name": "x", "role": "viewer", "scope": "all"}),
    ] {
        let answered = make(wrong.clone()).await;
        assert_eq!(answered.status, 400, "{wrong} {}", answered.text);
    }
    let same = json!({"name": "reader", "role": "viewer"});
    make(same).await.problem(409, "token-refused");
    let soon = (jiff_now() + 2_000).to_string();
    let new = NewToken {
        name: "brief".to_owned(),
        grant: Grant::of(Role::Viewer),
        expires_at: Some(quipu::model::Timestamp(
            soon.parse::<u64>().unwrap() * 1_000,
        )),
        by: None,
    };
    let (_, brief) = server.host.tokens().create(new).await.unwrap();
    let expired = async {
        loop {
            let answered = get(&server, "/v1/events", brief.reveal()).await;
            if answered.status != 200 {
                return answered.problem(401, "unauthorized");
            }
        }
    };
    let problem = tokio::time::timeout(PATIENCE, expired).await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("expired"));
}

/// Milliseconds since 1970.
fn jiff_now() -> u128 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis()
}

async fn a_secret_that_is_sent_in_a_path_is_not_recorded(place: Place) {
    let server = server(&place).await;
    let root = admin(&server).await;
    let leaked = token(&server, "leaked", Grant::of(Role::Viewer)).await;
    server
        .get(&format!("/v1/streams/{leaked}/events"))
        .await
        .problem(401, "unauthorized");
    // Who revokes what leaked has the whole token at hand.
    let revoke = server.request("DELETE", &format!("/v1/tokens/{leaked}"));
    send(revoke.bearer_auth(&root)).await.ok();
    get(&server, "/v1/events", &leaked)
        .await
        .problem(401, "unauthorized");
    let again = server.request("DELETE", &format!("/v1/tokens/{leaked}"));
    let again = send(again.bearer_auth(&root)).await;
    again.problem(404, "token-not-found");
    let audit = get(&server, "/v1/audit", &root).await.text;
    for text in [&audit, &again.text] {
        assert!(!text.contains(&leaked[20..60]), "{text}");
    }
    assert!(audit.contains("***"), "{audit}");
}

async fn nobody_hides_denials_of_others(place: Place) {
    let server = server(&place).await;
    let root = admin(&server).await;
    let reader = token(&server, "reader", Grant::of(Role::Viewer)).await;
    for _ in 0..60 {
        get(&server, "/v1/events", "qp_wrong")
            .await
            .problem(401, "unauthorized");
    }
    send(append(&server, "note-1").bearer_auth(&reader))
        .await
        .problem(403, "forbidden");
    let line = "{\"stream\":\"note-1\",\"type\":\"a\"}\n";
    let grant = Grant {
        categories: vec!["sensor".to_owned()],
        ..Grant::of(Role::Client)
    };
    let limited = token(&server, "limited", grant).await;
    let lines = server.request("POST", "/v1/commands").body(line.repeat(3));
    let lines = lines.header("content-type", "application/x-ndjson");
    send(lines.bearer_auth(&limited)).await;
    let denied = |who: &'static str, audit: &Value| {
        let records = audit["records"].as_array().unwrap().clone();
        records
            .iter()
            .filter(|it| it["principal"].as_str().unwrap_or_default() == who)
            .count()
    };
    let recorded = async {
        loop {
            let audit = get(&server, "/v1/audit", &root).await.ok();
            if denied("limited", &audit) == 1 {
                return audit;
            }
        }
    };
    let audit = tokio::time::timeout(PATIENCE, recorded).await.unwrap();
    assert_eq!(denied("reader", &audit), 1);
    assert_eq!(denied("", &audit), 30);
}

async fn a_limited_token_reaches_only_what_it_lists(place: Place) {
    let server = server(&place).await;
    let grant = Grant {
        categories: vec!["sensor".to_owned()],
        ..Grant::of(Role::Client)
    };
    let limited = token(&server, "sensors", grant).await;
    let root = admin(&server).await;
    for stream in ["sensor-1", "door-1"] {
        send(append(&server, stream).bearer_auth(&root)).await.ok();
    }
    send(append(&server, "sensor-2").bearer_auth(&limited))
        .await
        .ok();
    for path in [
        "/v1/streams/sensor-1/events",
        "/v1/events?category=sensor",
        "/v1/streams?category=sensor",
        "/v1/rejections?category=sensor",
        "/v1/rejections?stream=sensor-1",
    ] {
        let read = get(&server, path, &limited).await;
        assert!(!read.text.contains("door"), "{}", read.text);
        read.ok();
    }
    for path in [
        "/v1/streams/door-1/events",
        "/v1/streams/sensor/events",
        "/v1/streams/sensors-1/events",
        "/v1/streams/door-1%2Fsensor-1/events",
        "/v1/streams/%73ensor2-1/events",
        "/v1/events",
        "/v1/events?category=door",
        "/v1/events?category=sensor&category=door",
        "/v1/events?prefix=sensor",
        "/v1/events/2",
        "/v1/events/subscribe",
        "/v1/streams",
        "/v1/rejections",
        "/v1/rejections?stream=door-1",
        "/v1/rejections?stream=sensor-1&stream=door-1",
        "/v1/rejections?category=sensor&stream=door-1",
        "/v1/export",
        "/v1/types",
        "/v1/modules",
        "/v1/projections",
        "/v1/views/sensor",
        "/v1/status",
        "/v1/tokens",
        "/v1/audit",
    ] {
        let answered = get(&server, path, &limited).await;
        let is_closed = [400, 403].contains(&answered.status) || path.ends_with("sensor/events");
        assert!(is_closed, "{path}: {} {}", answered.status, answered.text);
        assert!(
            !answered.text.contains("measured"),
            "{path}: {}",
            answered.text
        );
    }
    // A category limits only what takes one.
    for path in ["/v1/status", "/v1/tokens", "/v1/events/1", "/v1/export"] {
        let path = format!("{path}?category=sensor");
        get(&server, &path, &limited)
            .await
            .problem(403, "forbidden");
    }
    send(append(&server, "door-1").bearer_auth(&limited))
        .await
        .problem(403, "forbidden");
    let both = json!({"streams": [
        {"stream": "sensor-1", "expected_version": "any", "events": [{"type": "a", "data": {}}]},
        {"stream": "door-1", "expected_version": "any", "events": [{"type": "a", "data": {}}]},
    ]});
    let both = server.post("/v1/appends", &both.to_string());
    send(both.bearer_auth(&limited))
        .await
        .problem(403, "forbidden");
    let lines =
        "{\"stream\":\"door-1\",\"type\":\"a\"}\n{\"stream\":\"sensor-1\",\"type\":\"a\"}\n";
    let lines = server.request("POST", "/v1/commands").body(lines);
    let lines = lines
        .header("content-type", "application/x-ndjson")
        .bearer_auth(&limited);
    let answered = send(lines).await;
    let codes: BTreeMap<u64, String> = answered
        .lines()
        .iter()
        .map(|line| {
            (
                line["line"].as_u64().unwrap(),
                line["code"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(codes[&1], "forbidden");
    assert_eq!(codes[&2], "unknown-category");
    let raw = append(&server, "sensor-1").header("quipu-raw", "allow");
    send(raw.bearer_auth(&limited))
        .await
        .problem(403, "forbidden");
    assert_eq!(server.host.log_head().await.unwrap().0, 3);
}

async fn the_caller_is_named_in_what_it_did(place: Place) {
    let host = place.bank().await;
    let server = Server::start(host, Options::default()).await;
    let shop = token(&server, "shop é", Grant::of(Role::Client)).await;
    let root = admin(&server).await;
    let open = server.command("account-1", "open", "{\"owner\":\"ann\"}");
    // Nobody can name somebody else.
    let open = open.header("quipu-principal", "root");
    send(open.bearer_auth(&shop)).await.ok();
    let line = "{\"stream\":\"account-2\",\"type\":\"open\",\"data\":{\"owner\":\"bob\"}}\n";
    let lines = server.request("POST", "/v1/commands").body(line);
    let lines = lines.header("content-type", "application/x-ndjson");
    send(lines.bearer_auth(&shop)).await;
    send(append(&server, "sensor-1").bearer_auth(&shop))
        .await
        .ok();
    let typed = server.post("/v1/domain/account/3/open", "{\"owner\":\"eve\"}");
    send(typed.bearer_auth(&shop)).await.ok();
    let events = get(&server, "/v1/events", &root).await.ok();
    let events = events["events"].as_array().unwrap().clone();
    assert_eq!(events.len(), 4);
    for event in events {
        assert_eq!(event["commit"]["principal"], "shop é", "{event}");
    }
    let withdraw = server.command("account-1", "withdraw", "{\"amount\":7}");
    send(withdraw.bearer_auth(&shop))
        .await
        .problem(422, "rejected");
    let rejections = get(&server, "/v1/rejections", &root).await.ok();
    assert_eq!(rejections["rejections"][0]["principal"], "shop é");
    let cookie = session(&server, &root).await;
    let listed = page(&server, "/console/rejections", &cookie).await;
    assert!(listed.text.contains("shop é"), "{}", listed.text);
    let archive = server.request("POST", "/v1/streams/sensor-1/archive");
    send(archive.bearer_auth(&root)).await.ok();
    let marks = get(&server, "/v1/streams/$streams/events", &root)
        .await
        .ok();
    assert_eq!(marks["events"][0]["commit"]["principal"], "root");
    let deployment = get(&server, "/v1/deployments", &root).await.ok();
    let digest = deployment["deployments"][0]["digest"].clone();
    let again = json!({ "digest": digest });
    let again = server.post("/v1/deployments", &again.to_string());
    let again = send(again.bearer_auth(&root)).await.ok();
    assert_eq!(again["activated_by"], "root", "{again}");
}

async fn changes_and_denials_are_in_the_audit(place: Place) {
    let server = server(&place).await;
    let root = admin(&server).await;
    let reader = token(&server, "reader", Grant::of(Role::Viewer)).await;
    send(append(&server, "sensor-1").bearer_auth(&root))
        .await
        .ok();
    let archive = |token: &str| {
        let request = server.request("POST", "/v1/streams/sensor-1/archive");
        request
            .header("quipu-reason", "it is done")
            .bearer_auth(token)
    };
    send(archive(&root)).await.ok();
    send(archive(&reader)).await.problem(403, "forbidden");
    send(server.request("POST", "/v1/streams/sensor-1/archive"))
        .await
        .problem(401, "unauthorized");
    let missing = server.request("POST", "/v1/projections/none/pause");
    send(missing.bearer_auth(&root))
        .await
        .problem(404, "projection-not-found");
    let made = server.post("/v1/tokens", r#"{"name":"eve","role":"viewer"}"#);
    send(made.bearer_auth(&root)).await.ok();
    let audit = get(&server, "/v1/audit", &root).await;
    assert!(
        !audit.text.contains(&root[20..40]),
        "a secret is in the audit"
    );
    let records = audit.ok()["records"].as_array().unwrap().clone();
    let found: Vec<_> = records
        .iter()
        .map(|record| {
            let text = |name: &str| record[name].as_str().unwrap_or("-").to_owned();
            [
                text("operation"),
                text("principal"),
                text("result"),
                text("reason"),
            ]
        })
        .collect();
    let expected = [
        ["archive", "root", "done", "it is done"],
        ["archive", "reader", "forbidden", "-"],
        ["archive", "-", "unauthorized", "-"],
        ["order_projection", "root", "projection-not-found", "-"],
        ["create_token", "root", "done", "-"],
    ];
    assert_eq!(found, expected);
    for record in &records {
        assert_eq!(record["origin"], "127.0.0.1", "{record}");
    }
    get(&server, "/v1/audit", &reader)
        .await
        .problem(403, "forbidden");
    let checked = get(&server, "/v1/audit/check", &root).await.ok();
    assert_eq!(checked["broken"], Value::Null, "{checked}");
    let paged = get(&server, "/v1/audit?after=1&limit=2", &root).await.ok();
    assert_eq!(paged["records"].as_array().unwrap().len(), 2);
    assert_eq!(paged["next"], 3);
    // A reader that is ahead would miss the next records.
    let last = checked["records"].as_u64().unwrap();
    let end = get(&server, &format!("/v1/audit?after={last}"), &root).await;
    end.ok();
    let ahead = get(&server, &format!("/v1/audit?after={}", last + 100), &root).await;
    ahead.problem(400, "bad-request");
}

async fn what_was_changed_in_the_audit_is_found(place: Place) {
    let server = server(&place).await;
    for number in 0..5 {
        let body = json!({"name": format!("t{number}"), "role": "admin"});
        let token = token(&server, &format!("a{number}"), Grant::of(Role::Admin)).await;
        let request = server.post("/v1/tokens", &body.to_string());
        send(request.bearer_auth(&token)).await.ok();
    }
    let Server { host, .. } = server;
    let before = host.audit().verify().await.unwrap();
    assert_eq!((before.records, before.broken), (5, None));
    host.shutdown().await.unwrap();
    for (change, number) in [
        ("UPDATE audit SET object = '/v1/other' WHERE number = 4", 4),
        ("UPDATE audit SET principal = NULL WHERE number = 3", 3),
        ("DELETE FROM audit WHERE number = 2", 2),
    ] {
        place.tamper(change).await;
        let host = place.host().await;
        let broken = host.audit().verify().await.unwrap().broken;
        assert_eq!(broken.map(|broken| broken.number), Some(number), "{change}");
        host.shutdown().await.unwrap();
    }
}

async fn named_callers_give_reasons(place: Place) {
    let host = place.bank().await;
    let server = Server::start(host, Options::default()).await.opened().await;
    // On an open host nobody has to.
    let truncate = || server.post("/v1/streams/account-1/truncate", r#"{"before":0}"#);
    send(truncate()).await.ok();
    let root = admin(&server).await;
    let digest = get(&server, "/v1/deployments", &root).await.ok();
    let digest = digest["deployments"][0]["digest"].clone();
    let skip = json!({ "digest": digest, "preflight": "skip" }).to_string();
    let requests: [(&str, &str, &str); 5] = [
        ("/v1/streams/account-1/truncate", r#"{"before":0}"#, ""),
        ("/v1/deployments", &skip, ""),
        ("/v1/deployments/account/rollback", "{}", "module-not-found"),
        ("/v1/modules/prune", r#"{"older_than_s":1}"#, ""),
        ("/v1/projections/none/drop", "", "projection-not-found"),
    ];
    for (path, body, code) in requests {
        let request = || {
            let request = server.request("POST", path).bearer_auth(&root);
            match body {
                "" => request,
                body => request
                    .header("content-type", "application/json")
                    .body(body.to_owned()),
            }
        };
        let problem = send(request()).await.problem(400, "bad-request");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("needs a reason"), "{path}: {detail}");
        let answered = send(request().header("quipu-reason", "it is due é")).await;
        match code {
            "" => drop(answered.ok()),
            code => drop(answered.problem(404, code)),
        }
    }
    for wrong in [
        String::new(),
        " ".to_owned(),
        "x".repeat(1_025),
        "a\tb".to_owned(),
    ] {
        let request = truncate().bearer_auth(&root).header("quipu-reason", &wrong);
        send(request).await.problem(400, "bad-request");
    }
}

async fn a_host_may_be_open_although_there_are_tokens(place: Place) {
    let options = Options {
        allow_unauthenticated: true,
        ..Options::default()
    };
    let server = Server::start(place.host().await, options).await;
    let reader = token(&server, "reader", Grant::of(Role::Viewer)).await;
    send(append(&server, "sensor-1")).await.ok();
    // A token is checked nevertheless.
    send(append(&server, "sensor-1").bearer_auth(&reader))
        .await
        .problem(403, "forbidden");
    get(&server, "/v1/events", "qp_wrong")
        .await
        .problem(401, "unauthorized");
}
