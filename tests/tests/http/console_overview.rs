//! What needs attention on the overview of the console, in its order.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quipu::model::{Clock, SystemClock, Timestamp};
use quipu::projection;
use quipu_server::Options;
use quipu_tests::{PATIENCE, Place, examples, guest, on_every_store};
use serde_json::{Value, json};

use crate::console::{check_page, page};
use crate::projections::{deploy, note, notes, once};
use crate::server::{Server, send};

on_every_store!(
    findings_are_ordered_by_how_bad_they_are,
    a_rebuild_needs_no_attention,
    a_backup_and_a_verification_that_are_missing_or_old_need_attention,
    a_subscription_that_nobody_handles_needs_attention,
);

mod postgres_hosts {
    use quipu_tests::{Place, rule};

    rule!(
        a_projection_whose_owner_was_killed_needs_attention_while_the_log_grows,
        Place::postgres()
    );
}

const WELL: &str = "All is well.";
const DAY_S: u64 = 24 * 3_600;

/// A clock that shows an earlier time than the machine's, by these seconds.
#[derive(Default)]
struct Earlier(AtomicU64);

impl Clock for Earlier {
    fn now(&self) -> Timestamp {
        let earlier = self.0.load(Ordering::SeqCst) * 1_000_000;
        Timestamp(SystemClock.now().0 - earlier)
    }
}

async fn overview(server: &Server) -> String {
    let shown = page(server, "/console", "").await;
    check_page("/console", &shown);
    shown.text
}

/// What needs attention, without marks.
fn findings(page: &str) -> Vec<String> {
    let Some((_, list)) = page.split_once("<ol class=\"findings\">") else {
        assert!(page.contains(WELL), "{page}");
        return Vec::new();
    };
    assert!(
        !page.contains(WELL) && page.contains(" attention."),
        "{page}"
    );
    let (list, _) = list.split_once("</ol>").unwrap();
    let items = list.split("<li>").skip(1);
    let without_marks = |item: &str| -> String {
        let parts = item.split('<');
        parts.map(|part| part.rsplit('>').next().unwrap()).collect()
    };
    items.map(without_marks).collect()
}

/// The findings, once each of them has one of these texts, in this order.
async fn until(server: &Server, texts: &[&str]) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let found = findings(&overview(server).await);
        let has = |(found, text): (&String, &&str)| found.contains(*text);
        if found.len() == texts.len() && found.iter().zip(texts).all(has) {
            return found;
        }
        assert!(
            Instant::now() < until,
            "expected {texts:?}, found {found:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn findings_are_ordered_by_how_bad_they_are(place: Place) {
    let server = Server::start(place.host().await, Options::default()).await;
    examples::deploy(&server.host, guest::component("trap")).await;
    deploy(&server, &notes(1, json!({})), json!({"on_error": "park"}))
        .await
        .ok();
    // The least urgent first.
    let report = json!({"age_s": 27 * 3_600}).to_string();
    send(server.post("/v1/backups", &report)).await.ok();
    until(&server, &["The last backup of the store is 27 h old"]).await;
    let bad = json!({"bad": {"apply": "bad-event"}});
    note(&server, "note-1", &bad).await;
    until(
        &server,
        &["Projection notes has 1 parked event", "27 h old"],
    )
    .await;
    send(server.command("probe-1", "go", "{}"))
        .await
        .problem(502, "guest-fault");
    let found = until(
        &server,
        &["fault", "Projection notes has 1 parked event", "27 h old"],
    )
    .await;
    assert!(found[0].contains("in the last 5 minutes"), "{found:?}");
    assert!(overview(&server).await.contains("3 things need attention."));
    // A part that was restarted is named until it was a while ago.
    assert!(server.host.trip("follower of the plan"));
    until(
        &server,
        &[
            "fault",
            "parked",
            "follower of the plan was restarted 1 time in the last 5 minutes",
            "27 h old",
        ],
    )
    .await;
}

async fn a_rebuild_needs_no_attention(place: Place) {
    let server = Server::start(place.host().await, Options::default()).await;
    deploy(&server, &notes(1, json!({})), json!({})).await.ok();
    for n in 0..50 {
        note(&server, &format!("note-{n}"), &json!({"n": n})).await;
    }
    once(&server, |view| view["state"] == "caught-up").await;
    until(&server, &[]).await;
    let rebuild = server.post("/v1/projections/notes/rebuild", r#"{"hold":true}"#);
    send(rebuild).await.ok();
    let until = Instant::now() + PATIENCE;
    loop {
        assert_eq!(findings(&overview(&server).await), Vec::<String>::new());
        let view = server.get("/v1/projections/notes").await.ok();
        let builds = view["builds"].as_array().unwrap();
        if builds.iter().any(|build| build["state"] == "ready") {
            break;
        }
        assert!(Instant::now() < until, "{view}");
    }
    assert_eq!(findings(&overview(&server).await), Vec::<String>::new());
}

async fn a_backup_and_a_verification_that_are_missing_or_old_need_attention(place: Place) {
    let clock = Arc::new(Earlier::default());
    let host = place.builder().clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let server = Server::start(host.build().await.unwrap(), Options::default()).await;
    clock.0.store(9 * DAY_S, Ordering::SeqCst);
    examples::deploy(&server.host, examples::account()).await;
    let server = server.opened().await;
    clock.0.store(0, Ordering::SeqCst);
    let missing = [
        "No backup of the store was reported for 9 days",
        "No verification without a finding was made for 9 days",
    ];
    until(&server, &missing).await;
    let report = json!({"age_s": 9 * DAY_S}).to_string();
    send(server.post("/v1/backups", &report)).await.ok();
    let old = "The last backup of the store is 9 days old";
    until(&server, &[old, missing[1]]).await;
    send(server.post("/v1/backups", r#"{"age_s":0}"#))
        .await
        .ok();
    until(&server, &[missing[1]]).await;
    let verified = send(server.request("POST", "/v1/verify")).await;
    assert!(
        verified.text.contains("\"sound\":true"),
        "{}",
        verified.text
    );
    until(&server, &[]).await;
}

async fn a_subscription_that_nobody_handles_needs_attention(place: Place) {
    let clock = Arc::new(Earlier::default());
    let host = place.builder().clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let server = Server::start(host.build().await.unwrap(), Options::default()).await;
    clock.0.store(3 * DAY_S, Ordering::SeqCst);
    let event = r#"{"events":[{"type":"noted","data":{}}]}"#;
    send(server.post("/v1/streams/letter-1/events", event))
        .await
        .ok();
    clock.0.store(0, Ordering::SeqCst);
    let act = async |action: &str, body: Value| {
        let path = format!("/v1/subscriptions/mail/{action}");
        send(server.post(&path, &body.to_string())).await
    };
    let claim = act("claim", json!({"lease_ms": 600_000})).await.ok();
    let shown = async |expected: &[&str]| {
        let text = page(&server, "/console/subscriptions", "").await.text;
        for expected in expected {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    };
    // As long as a client holds it, its events are about to be handled.
    shown(&[
        "<td class=\"name\">mail</td>",
        "<td class=\"number\">1</td>",
        "a client, for ",
        "quipu subscriptions",
        "curl",
        "/v1/subscriptions?limit=100",
    ])
    .await;
    until(&server, &[]).await;
    let release = act("release", json!({"token": claim["token"]})).await;
    assert_eq!(release.status, 204, "{}", release.text);
    let waits = "Subscription mail has no handler: its oldest event has waited for 3 days";
    until(&server, &[waits]).await;
    shown(&["<td class=\"number\">3 days</td>", "nobody"]).await;
    let claim = act("claim", json!({"lease_ms": 600_000})).await.ok();
    let handled = json!({"token": claim["token"], "position": 1, "lease_ms": 600_000});
    act("acknowledge", handled).await.ok();
    let release = act("release", json!({"token": claim["token"]})).await;
    assert_eq!(release.status, 204, "{}", release.text);
    until(&server, &[]).await;
}

/// A host in a process of its own, which is killed when this is dropped.
struct Owner(Child);

impl Owner {
    /// Activates the projection and waits until this host folds it, with the default lease.
    fn start(place: &Place) -> Self {
        let component = place.path("notes.wasm");
        std::fs::write(&component, notes(1, json!({})).component()).unwrap();
        let lease = projection::Options::default().lease.as_millis();
        let order = format!("async={}", component.display());
        let mut child = Command::new(env!("CARGO_BIN_EXE_projector"))
            .args([place.url(), &lease.to_string()])
            .args([order.as_str(), "owned"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let owned = lines.any(|line| line.unwrap() == "owned");
        assert!(owned, "it ended before it folded");
        Self(child)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

async fn a_projection_whose_owner_was_killed_needs_attention_while_the_log_grows(place: Place) {
    let owner = Owner::start(&place);
    // This host claims no build that another one owned when it started.
    let options = projection::Options {
        lease: Duration::from_hours(1),
        poll: Duration::from_hours(1),
        ..projection::Options::default()
    };
    let host = place.builder().projections(options).build().await.unwrap();
    let server = Server::start(host, Options::default()).await;
    note(&server, "note-1", &json!({"n": 1})).await;
    once(&server, |view| view["state"] == "caught-up").await;
    until(&server, &[]).await;
    drop(owner);
    let begun = Instant::now();
    let found = loop {
        note(&server, "note-1", &json!({"n": 1})).await;
        let found = findings(&overview(&server).await);
        if !found.is_empty() {
            break found;
        }
        assert!(begun.elapsed() < PATIENCE, "it never needed attention");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(found.len(), 1, "{found:?}");
    let expected = "Projection notes is folded by no host, and lags by ";
    assert!(found[0].starts_with(expected), "{found:?}");
}

#[tokio::test]
async fn commands_that_are_refused_need_attention() {
    let engine = quipu::engine::Options {
        in_flight_max: 0,
        ..quipu::engine::Options::default()
    };
    let host = quipu::Host::builder().engine(engine).build().await.unwrap();
    let server = Server::start(host, Options::default()).await;
    assert_eq!(findings(&overview(&server).await), Vec::<String>::new());
    send(server.command("note-1", "note", "{}"))
        .await
        .problem(503, "overloaded");
    let refused = "The host refused 1 command as overloaded in the last 5 minutes";
    assert_eq!(findings(&overview(&server).await), [refused]);
}
