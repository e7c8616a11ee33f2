//! Reports of backups.

use quipu::access::{Grant, Role};
use quipu_tests::{PATIENCE, Place, on_every_store};
use serde_json::{Value, json};

use crate::access::{admin, get, token};
use crate::metrics::page;
use crate::server::{Answered, Server, send};

on_every_store!(a_backup_that_is_reported_is_shown);

async fn report(server: &Server, token: &str, body: &Value) -> Answered {
    let request = server.post("/v1/backups", &body.to_string());
    send(request.bearer_auth(token)).await
}

async fn a_backup_that_is_reported_is_shown(place: Place) {
    let server = Server::start(place.host().await, quipu_server::Options::default()).await;
    let text = page(&server).await;
    let series = "quipu_backup_last_success_timestamp_seconds";
    assert!(!text.contains(&format!("{series}{{")), "{text}");
    let status = server.get("/v1/status").await.ok();
    assert_eq!(status["last_backup_at"], Value::Null);
    let console = server.get("/console").await.text;
    assert!(console.contains("never, as far as the store knows"));

    let root = admin(&server).await;
    let viewer = token(&server, "viewer", Grant::of(Role::Viewer)).await;
    report(&server, &viewer, &json!({}))
        .await
        .problem(403, "forbidden");
    for wrong in [
        json!({"age_s": 2_592_001}),
        json!({"age_s": -1}),
        json!({"kind": "verify"}),
        json!({"at": 1}),
    ] {
        report(&server, &root, &wrong)
            .await
            .problem(400, "bad-request");
    }
    let now = report(&server, &root, &json!({})).await.ok();
    assert_eq!(now["kind"], "backup");
    // An earlier one changes nothing.
    report(&server, &root, &json!({"age_s": 3_600})).await.ok();
    let shipped = report(&server, &root, &json!({"kind": "ship", "age_s": 60}))
        .await
        .ok();
    let status = get(&server, "/v1/status", &root).await.ok();
    assert_eq!(status["last_backup_at"], now["began_at"]);
    assert_eq!(status["last_ship_at"], shipped["began_at"]);
    assert_eq!(status["last_verify_at"], Value::Null);
    // The first figures were read before.
    let shown = async {
        loop {
            let text = get(&server, "/metrics", &root).await.text;
            let has = |kind: &str| text.contains(&format!("{series}{{kind=\"{kind}\"}}"));
            if has("backup") && has("ship") {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, shown).await.unwrap();
    // A shipper does not fill the audit.
    let audit = get(&server, "/v1/audit", &root).await.ok();
    let records = audit["records"].as_array().unwrap();
    let reports = records
        .iter()
        .filter(|it| it["operation"] == "report_backup");
    let done = reports.filter(|it| it["result"] == "done").count();
    assert_eq!(done, 2, "{audit}");
}
