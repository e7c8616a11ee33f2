//! `/metrics`: names, labels, and what moves each series.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use quipu::access::{Grant, Role};
use quipu::engine::{self, Append};
use quipu::model::{Lifecycle, OnError, SettingsChange};
use quipu::projection;
use quipu::{Demand, Deploy, Host};
use quipu_server::tls::{Identity, Tls};
use quipu_server::{Limiter, Limits, Options};
use quipu_tests::certificates::Authority;
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{PATIENCE, Place, build, examples, golden, on_every_store};
use serde_json::{Value, json};

use crate::access::{get, token};
use crate::server::{Server, send};

on_every_store!(
    names_types_and_labels_are_a_promise,
    a_projection_without_an_owner_lags_in_seconds,
    a_subscription_that_nobody_holds_lags_in_seconds,
    a_subscription_at_a_damaged_event_hides_no_figures,
    parked_events_are_shown,
    the_store_is_shown_with_its_size_and_its_end,
    a_snapshot_that_is_ignored_is_counted,
);

/// The page.
pub async fn page(server: &Server) -> String {
    let answered = server.get("/metrics").await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(answered.header("content-type"), kind);
    answered.text
}

/// The value of a series; none when there is no such series.
pub fn value(page: &str, series: &str) -> Option<f64> {
    let mut lines = page.lines();
    let line = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

/// Waits until a series has a value that is right.
pub async fn until(server: &Server, series: &str, is_right: impl Fn(f64) -> bool) -> f64 {
    let mut last = String::new();
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            last = page(server).await;
            match value(&last, series) {
                Some(value) if is_right(value) => return value,
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    let found = found.await;
    found.unwrap_or_else(|_| panic!("{series} was never right"))
}

async fn names_types_and_labels_are_a_promise(place: Place) {
    let server = everything(&place).await;
    let page = page(&server).await;
    let mut described = String::new();
    let mut name = "";
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            described += rest;
            described += "\n";
            name = rest.split(' ').next().unwrap();
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        assert!(line.starts_with(name), "{line} belongs to {name}");
        let mut labels = String::from(" ");
        if let Some((_, rest)) = line.split_once('{') {
            let names = rest.split('"').step_by(2);
            let names = names.map(|it| it.trim_matches([',', '=', '}', ' ']));
            let names: Vec<_> = names.filter(|it| it.parse::<f64>().is_err()).collect();
            labels = format!("  {}", names.join(" "));
        }
        let labels = labels.trim_end().trim_end_matches(" le").to_owned();
        if !labels.trim().is_empty()
            && labels.trim() != "le"
            && !described.ends_with(&format!("{labels}\n"))
        {
            described += &format!("{labels}\n");
        }
    }
    golden::check("metrics.txt", &described);
}

/// A host on which every series with labels has a value.
async fn everything(place: &Place) -> Server {
    let engine = engine::Options {
        snapshots: engine::Policies {
            others: engine::Policy::Every(1_000),
            ..Default::default()
        },
        ..Default::default()
    };
    let host = place.builder().engine(engine).build().await.unwrap();
    examples::deploy(&host, examples::account()).await;
    let server = Server::start(host, Options::default()).await;
    send(server.command("account-1", "open", "{\"owner\":\"ann\"}"))
        .await
        .ok();
    deploy(&server.host, &notes("heal")).await;
    note(&server.host, &json!({"n": 1, "keys": ["a"]})).await;
    let claim = server.post("/v1/subscriptions/mail/claim", "{}");
    send(claim).await.ok();
    send(server.post("/v1/backups", "{}")).await.ok();
    // Its first build has caught up.
    until(&server, LAG, |it| it == 0.0).await;
    evolve(&server).await;
    for series in [
        "quipu_projection_rebuild_ratio{projection=\"notes\"}",
        "quipu_subscription_lag_events{subscription=\"mail\"}",
        "quipu_backup_last_success_timestamp_seconds{kind=\"backup\"}",
    ] {
        until(&server, series, |it| it > 0.0).await;
    }
    server
}

/// A preflight has an objection, another module can't use a snapshot, and a projection is rebuilt.
async fn evolve(server: &Server) {
    let odd = r#"[["noted",{"word":"odd"}]]"#;
    send(server.command("note-1", "note", odd)).await.ok();
    let taken = server.request("POST", "/v1/streams/note-1/snapshot");
    send(taken).await.ok();
    let other = server
        .host
        .upload(notes("heal").decides("other").component());
    let digest = other.await.unwrap().module.digest().to_string();
    let deployed = server.post("/v1/deployments", &json!({"digest": digest}).to_string());
    send(deployed).await.problem(409, "preflight-failed");
    deploy(&server.host, &notes("heal").state(2, &[])).await;
    send(server.command("note-1", "note", odd)).await.ok();
    let rebuild = projection::Action::Rebuild { hold: true };
    let rebuilt = server.host.control_projection("notes", rebuild);
    rebuilt.await.unwrap();
}

/// Prometheus' own tool accepts the page, and the rules pass their unit tests.
#[tokio::test]
async fn promtool_accepts_the_page_and_the_rules() {
    xtask::promtool::find().unwrap_or_else(|error| panic!("{error:#}"));
    let promtool = xtask::promtool::program();
    let page = page(&everything(&Place::memory()).await).await;
    let mut checking = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = checking.stdin.take().unwrap();
    input.write_all(page.as_bytes()).unwrap();
    drop(input);
    let checked = checking.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
    assert_eq!(said, "");
    let ops = concat!(env!("CARGO_MANIFEST_DIR"), "/../ops/prometheus");
    for (action, file) in [("check", "quipu.rules.yml"), ("test", "quipu.tests.yml")] {
        let checked = Command::new(&promtool)
            .args([action, "rules", &format!("{ops}/{file}")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{file}: {said}");
    }
}

#[tokio::test]
async fn every_end_of_a_command_is_counted() {
    let server = Server::bank().await.opened().await;
    let before = page(&server).await;
    let ends = |outcome: &str| {
        format!("quipu_commands_total{{category=\"account\",outcome=\"{outcome}\"}}")
    };
    assert_eq!(value(&before, &ends("accepted")), Some(1.0));
    for (outcome, name, data, header) in [
        ("rejected", "withdraw", r#"{"amount":5}"#, None),
        (
            "conflict",
            "deposit",
            r#"{"amount":5}"#,
            Some(("If-Match", "\"9\"")),
        ),
        (
            "accepted",
            "deposit",
            r#"{"amount":5}"#,
            Some(("Idempotency-Key", "one")),
        ),
        (
            "replayed",
            "deposit",
            r#"{"amount":5}"#,
            Some(("Idempotency-Key", "one")),
        ),
        ("refused", "fly", "{}", None),
    ] {
        let known = value(&page(&server).await, &ends(outcome)).unwrap_or_default();
        let mut request = server.command("account-1", name, data);
        if let Some((header, value)) = header {
            request = request.header(header, value);
        }
        let answered = send(request).await;
        let now = value(&page(&server).await, &ends(outcome)).unwrap();
        assert_eq!(now, known + 1.0, "{outcome}: {}", answered.text);
    }
    let after = page(&server).await;
    let appended = "quipu_events_appended_total{category=\"account\"}";
    assert_eq!(value(&after, appended), Some(2.0));
    assert_eq!(
        value(&after, "quipu_command_duration_seconds_count"),
        Some(6.0)
    );
    for phase in ["queue", "load", "decide", "commit"] {
        let series = format!("quipu_command_phase_seconds_count{{phase=\"{phase}\"}}");
        assert!(value(&after, &series).unwrap() >= 1.0, "{series}");
    }
    assert!(value(&after, "quipu_commit_batch_items_count").unwrap() >= 2.0);
    assert_eq!(value(&after, "quipu_aggregates_warm"), Some(1.0));
    assert!(value(&after, "quipu_aggregates_warm_bytes").unwrap() > 0.0);
    assert_eq!(
        value(&after, "quipu_loads_total{from=\"events\"}"),
        Some(1.0)
    );
    let module = after
        .lines()
        .find(|line| line.starts_with("quipu_guest_fuel_total{module=\"account\""));
    let (_, fuel) = module.unwrap().rsplit_once(' ').unwrap();
    assert!(fuel.parse::<f64>().unwrap() > 0.0);
    assert_eq!(value(&after, "quipu_plan_number"), Some(1.0));
    assert_eq!(
        value(&after, "quipu_activations_total{result=\"done\"}"),
        Some(1.0)
    );
}

#[tokio::test]
async fn a_fault_is_counted_at_its_module() {
    let server = Server::probe("trap").await;
    send(server.command("probe-1", "go", "{}"))
        .await
        .problem(502, "guest-fault");
    let page = page(&server).await;
    let fault = page.lines().find(|line| {
        line.starts_with("quipu_guest_faults_total") && line.contains("kind=\"trap\"")
    });
    assert!(!fault.unwrap().ends_with(" 0"), "{fault:?}");
    let ended = "quipu_commands_total{category=\"probe\",outcome=\"fault\"}";
    assert_eq!(value(&page, ended), Some(1.0));
}

#[tokio::test]
async fn callers_that_are_refused_are_counted() {
    let options = Options {
        limits: Arc::new(Limiter::new(Limits {
            failed_logins_per_minute: 2,
            ..Limits::default()
        })),
        ..Options::default()
    };
    let server = Server::start(Place::memory().host().await, options).await;
    let observer = token(&server, "prometheus", Grant::of(Role::Scraper)).await;
    let scraped = get(&server, "/metrics", &observer).await;
    assert_eq!(scraped.status, 200, "{}", scraped.text);
    let operator = token(&server, "operator", Grant::of(Role::Operator)).await;
    server.get("/metrics").await.problem(401, "unauthorized");
    for _ in 0..3 {
        get(&server, "/metrics", "qp_garbage").await;
    }
    get(&server, "/v1/tokens", &operator)
        .await
        .problem(403, "forbidden");
    let page = get(&server, "/metrics", &operator).await.text;
    let failed = |reason: &str| {
        value(
            &page,
            &format!("quipu_auth_failures_total{{reason=\"{reason}\"}}"),
        )
    };
    assert_eq!(failed("missing"), Some(1.0));
    assert_eq!(failed("refused"), Some(2.0));
    assert_eq!(failed("rate-limited"), Some(1.0));
    assert_eq!(
        value(&page, "quipu_denied_total{action=\"admin\"}"),
        Some(1.0)
    );
    for secret in ["prometheus", "qp_", "127.0.0.1"] {
        assert!(!page.contains(secret), "{page}");
    }
}

#[tokio::test]
async fn labels_are_bounded() {
    let server = Server::bank().await;
    for number in 0..1_000 {
        let stream = build::stream(&format!("c{number}-1"));
        let append = Append {
            events: vec![build::event("noted", "{}")],
            ..Append::default()
        };
        server.host.append(&stream, append).await.unwrap();
    }
    let lines =
        (0..1_000).map(|n| format!("{{\"stream\":\"u{n}-1\",\"type\":\"open\",\"data\":{{}}}}\n"));
    server.lines(&lines.collect::<String>()).await;
    let page = page(&server).await;
    let series = |name: &str| page.lines().filter(|line| line.starts_with(name)).count();
    assert_eq!(series("quipu_events_appended_total{"), 101);
    assert!(series("quipu_commands_total{") <= 16, "{page}");
    let others = "quipu_events_appended_total{category=\"other\"}";
    assert_eq!(value(&page, others), Some(900.0));
    let unknown = "quipu_commands_total{category=\"other\",outcome=\"refused\"}";
    assert_eq!(value(&page, unknown), Some(1_000.0));
    assert!(!page.contains("c1-1"), "{page}");
}

#[tokio::test]
async fn objections_of_a_preflight_are_counted() {
    let server = Server::start(Place::memory().host().await, Options::default()).await;
    let decider = || probe("note").event("noted", 1);
    examples::deploy(&server.host, decider().component()).await;
    let events = r#"[["noted",{"word":"odd"}]]"#;
    send(server.command("note-1", "note", events)).await.ok();
    let other = server.host.upload(decider().decides("other").component());
    let digest = other.await.unwrap().module.digest().to_string();
    let deployed = server.post("/v1/deployments", &json!({"digest": digest}).to_string());
    send(deployed).await.problem(409, "preflight-failed");
    let page = page(&server).await;
    let objected = "quipu_preflight_objections_total{kind=\"decision\"}";
    assert_eq!(value(&page, objected), Some(1.0));
    assert_eq!(
        value(&page, "quipu_preflights_total{result=\"objected\"}"),
        Some(1.0)
    );
    assert_eq!(
        value(&page, "quipu_activations_total{result=\"blocked\"}"),
        Some(1.0)
    );
}

#[tokio::test]
async fn the_expiry_of_the_certificate_is_shown() {
    let authority = Authority::new();
    let own = authority.issue();
    let identity = Identity::from_pem(own.certificate.as_bytes(), own.key.as_bytes(), None);
    let options = Options {
        tls: Some(Arc::new(Tls::new(identity.unwrap()))),
        ..Options::default()
    };
    let server = Server::start(Place::memory().host().await, options).await;
    let root = reqwest::Certificate::from_pem(authority.pem.as_bytes()).unwrap();
    let client = reqwest::Client::builder().add_root_certificate(root);
    let client = client.use_rustls_tls().build().unwrap();
    let port = server.url.rsplit(':').next().unwrap();
    let answered = client
        .get(format!("https://localhost:{port}/metrics"))
        .send();
    let page = answered.await.unwrap().text().await.unwrap();
    let expires = value(&page, "quipu_certificate_expiry_timestamp_seconds");
    assert!(expires.unwrap() > 1.7e9, "{expires:?}");
}

fn notes(does: &str) -> Probe {
    let other = json!({"keys": "body", "does": does});
    probe("note")
        .event("noted", 1)
        .projection("notes", 1, other)
}

async fn deploy(host: &Host, probe: &Probe) {
    let digest = host
        .upload(probe.component())
        .await
        .unwrap()
        .module
        .digest();
    let settings = SettingsChange {
        lifecycle: Some(Lifecycle::Async),
        on_error: Some(OnError::Park),
    };
    let changes = [("notes".to_owned(), settings)].into();
    let deploy = Deploy::new(digest).preflight(Demand::Skip);
    let deploy = deploy.projections(quipu::deploy::ProjectionChanges {
        changes,
        ..Default::default()
    });
    host.deploy(deploy).await.unwrap();
}

async fn note(host: &Host, body: &Value) {
    let append = Append {
        events: vec![build::event("noted", &body.to_string())],
        into_owned_category: true,
        ..Append::default()
    };
    host.append(&build::stream("note-1"), append).await.unwrap();
}

const LAG: &str = "quipu_projection_lag_seconds{projection=\"notes\"}";

/// Nobody folds: another host that is gone still holds the lease, or nothing runs the build.
async fn a_projection_without_an_owner_lags_in_seconds(place: Place) {
    let server = Server::start(place.host().await, Options::default()).await;
    deploy(&server.host, &notes("heal")).await;
    note(&server.host, &json!({"n": 1, "keys": ["a"]})).await;
    until(&server, LAG, |it| it == 0.0).await;
    // A paused build has an owner no more, while the log grows.
    let pause = projection::Action::Pause;
    server
        .host
        .control_projection("notes", pause)
        .await
        .unwrap();
    let owned = "quipu_projection_owned{projection=\"notes\"}";
    note(&server.host, &json!({"n": 1, "keys": ["a"]})).await;
    let lag = until(&server, LAG, |it| it > 0.0).await;
    until(&server, LAG, |it| it > lag).await;
    until(&server, owned, |it| it == 0.0).await;
    let paused = "quipu_projection_paused{projection=\"notes\"}";
    until(&server, paused, |it| it == 1.0).await;
    let events = "quipu_projection_lag_events{projection=\"notes\"}";
    until(&server, events, |it| it >= 1.0).await;
    let resume = projection::Action::Resume;
    server
        .host
        .control_projection("notes", resume)
        .await
        .unwrap();
    until(&server, LAG, |it| it == 0.0).await;
    until(&server, paused, |it| it == 0.0).await;
}

async fn a_subscription_that_nobody_holds_lags_in_seconds(place: Place) {
    let server = Server::start(place.host().await, Options::default()).await;
    let stream = build::stream("letter-1");
    let append = || Append {
        events: vec![build::event("noted", "{}")],
        ..Append::default()
    };
    server.host.append(&stream, append()).await.unwrap();
    let act = async |action: &str, body: Value| {
        let path = format!("/v1/subscriptions/mail/{action}");
        send(server.post(&path, &body.to_string())).await
    };
    let claim = act("claim", json!({"lease_ms": 600_000})).await.ok();
    let token = &claim["token"];
    let seconds = "quipu_subscription_lag_seconds{subscription=\"mail\"}";
    let held = "quipu_subscription_held{subscription=\"mail\"}";
    until(&server, held, |it| it == 1.0).await;
    let lag = until(&server, seconds, |it| it > 0.0).await;
    until(&server, seconds, |it| it > lag).await;
    let handled = json!({"token": token, "position": 1, "lease_ms": 600_000});
    act("acknowledge", handled).await.ok();
    until(&server, seconds, |it| it == 0.0).await;
    let released = act("release", json!({"token": token})).await;
    assert_eq!(released.status, 204, "{}", released.text);
    until(&server, held, |it| it == 0.0).await;
    server.host.append(&stream, append()).await.unwrap();
    until(&server, seconds, |it| it > 0.0).await;
}

async fn a_subscription_at_a_damaged_event_hides_no_figures(place: Place) {
    let host = place.host().await;
    let append = build::append(build::events(2));
    host.append(&build::stream("letter-1"), append)
        .await
        .unwrap();
    host.shutdown().await.unwrap();
    place
        .tamper("UPDATE events SET recorded_at = -1 WHERE version = 1")
        .await;
    let server = Server::start(place.host().await, Options::default()).await;
    let claim = server.post("/v1/subscriptions/mail/claim", r#"{"lease_ms":600000}"#);
    send(claim).await.ok();
    let lag = "quipu_subscription_lag_events{subscription=\"mail\"}";
    until(&server, lag, |it| it == 2.0).await;
}

async fn parked_events_are_shown(place: Place) {
    let server = Server::start(place.host().await, Options::default()).await;
    let other = json!({"keys": "body"});
    let broken = probe("note")
        .event("noted", 1)
        .projection("notes", 1, other);
    deploy(&server.host, &broken).await;
    let bad = json!({"apply": "bad-event", "key": "a"});
    note(&server.host, &json!({"n": 1, "keys": ["a"], "bad": bad})).await;
    let parked = "quipu_projection_parked_events{projection=\"notes\"}";
    until(&server, parked, |it| it == 1.0).await;
    until(&server, LAG, |it| it == 0.0).await;
}

async fn the_store_is_shown_with_its_size_and_its_end(place: Place) {
    // A store that does not answer says nothing of callers either.
    let options = Options {
        allow_unauthenticated: true,
        ..Options::default()
    };
    let server = Server::start(place.bank().await, options)
        .await
        .opened()
        .await;
    until(&server, "quipu_log_position", |it| it >= 1.0).await;
    until(&server, "quipu_store_size_bytes", |it| it > 1_000.0).await;
    for check in ["writer", "reader", "parts"] {
        let ready = format!("quipu_ready{{check=\"{check}\"}}");
        until(&server, &ready, |it| it == 1.0).await;
    }
    let page = page(&server).await;
    assert!(value(&page, "quipu_store_figures_age_seconds").is_some());
    // A store that does not answer any more delays nobody: the last figures are shown.
    server.host.clone().shutdown().await.unwrap();
    until(&server, "quipu_ready{check=\"writer\"}", |it| it == 0.0).await;
    let page = self::page(&server).await;
    assert!(value(&page, "quipu_log_position").unwrap() >= 1.0);
}

async fn a_snapshot_that_is_ignored_is_counted(place: Place) {
    let server = Server::start(place.bank().await, Options::default()).await;
    let server = server.opened().await;
    let taken = server.request("POST", "/v1/streams/account-1/snapshot");
    send(taken).await.ok();
    let known = page(&server).await;
    let of_taken = "quipu_snapshots_total{result=\"taken\"}";
    assert_eq!(value(&known, of_taken), Some(1.0));
    server.host.clone().shutdown().await.unwrap();
    drop(server);
    place
        .tamper("UPDATE snapshots SET state_schema_version = 99")
        .await;
    let engine = engine::Options {
        snapshots: engine::Policies {
            others: engine::Policy::Every(1_000),
            ..Default::default()
        },
        ..Default::default()
    };
    let host = place.builder().engine(engine).build().await.unwrap();
    let server = Server::start(host, Options::default()).await;
    send(server.command("account-1", "deposit", r#"{"amount":5}"#))
        .await
        .ok();
    let page = page(&server).await;
    let mut lines = page.lines();
    let ignored = lines.find(|line| line.starts_with("quipu_snapshots_ignored_total{reason=\""));
    assert!(ignored.is_some_and(|line| line.ends_with(" 1")), "{page}");
}
