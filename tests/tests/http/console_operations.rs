//! Backups and verifications on the page of operations.

use quipu::access::{Grant, Role};
use quipu_server::Options;
use quipu_tests::{Place, on_every_store};
use serde_json::json;

use crate::access::{admin, token};
use crate::connections::bounded;
use crate::console::{check_page, page, session};
use crate::server::{Server, send};

on_every_store!(the_page_of_operations_shows_backups_and_the_newest_verification);

const PATH: &str = "/console/operations";
const NO_BACKUP: &str = "The store knows of no backup.";
const NO_VERIFICATION: &str = "The store knows of no verification";

async fn the_page_of_operations_shows_backups_and_the_newest_verification(place: Place) {
    let server = Server::start(place.bank().await, Options::default())
        .await
        .opened()
        .await;
    let root = admin(&server).await;
    let cookie = session(&server, &root).await;
    let never = page(&server, PATH, &cookie).await;
    check_page(PATH, &never);
    for expected in [
        NO_BACKUP,
        NO_VERIFICATION,
        "quipu backup FOLDER",
        "quipu ship FOLDER --url",
        "quipu verify --url",
        "No verification has run on this host",
    ] {
        assert!(never.text.contains(expected), "{expected}: {}", never.text);
    }
    let body = json!({"age_s": 7_300}).to_string();
    let report = server.post("/v1/backups", &body).bearer_auth(&root);
    send(report).await.ok();
    let verify = server.request("POST", "/v1/verify").bearer_auth(&root);
    let verified = send(verify).await;
    assert!(
        verified.text.contains("\"sound\":true"),
        "{}",
        verified.text
    );
    // The first figures were read before.
    let text = bounded(async {
        loop {
            let text = page(&server, PATH, &cookie).await.text;
            if !text.contains(NO_BACKUP) && !text.contains(NO_VERIFICATION) {
                return text;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    for expected in [
        "<td>2 h ago</td>",
        ">ok<",
        "1 event, up to position 1 of 1",
        "root",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    // Not everybody may read what a verification finds.
    let ann = token(&server, "ann", Grant::of(Role::Viewer)).await;
    let of_ann = session(&server, &ann).await;
    let text = page(&server, PATH, &of_ann).await.text;
    assert!(
        text.contains("The newest verification is not shown"),
        "{text}"
    );
    assert!(!text.contains(">ok<"), "{text}");
}
