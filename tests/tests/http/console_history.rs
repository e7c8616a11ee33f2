//! The events of a stream on the console, and the commands that were rejected between them.

use quipu_server::Options;
use quipu_tests::{PATIENCE, Place, on_every_store};
use tokio::time::timeout;

use crate::console::{check_page, page};
use crate::server::{Server, send};

on_every_store!(rejections_are_above_the_event_of_their_version);

/// Events of one page.
const EVENTS: u64 = 50;

async fn deposit(server: &Server, count: u64) {
    for _ in 0..count {
        let request = server.command("account-1", "deposit", "{\"amount\":5}");
        send(request).await.ok();
    }
}

/// A withdrawal that is rejected.
async fn withdraw(server: &Server, stream: &str, id: &str) {
    let request = server.command(stream, "withdraw", "{\"amount\":1000000}");
    let request = request.header("Idempotency-Key", id);
    send(request).await.problem(422, "rejected");
}

/// The rows of the table of events: an event by its version, a rejection by the id of its command.
async fn rows(server: &Server, path: &str) -> Vec<String> {
    let shown = page(server, path, "").await;
    check_page(path, &shown);
    let (_, table) = shown.text.split_once("Events of the stream").unwrap();
    let (_, body) = table.split_once("<tbody>").unwrap();
    let (body, _) = body.split_once("</tbody>").unwrap();
    let row = |text: &str| {
        let after = |start: &str| text.split_once(start)?.1.split(['"', '&']).next();
        let id = after("/console/trace?id=");
        id.or_else(|| after("?at=")).unwrap().to_owned()
    };
    body.split("<tr>").skip(1).map(row).collect()
}

async fn rejections_are_above_the_event_of_their_version(place: Place) {
    let server = Server::start(place.bank().await, Options::default()).await;
    let server = server.opened().await;
    withdraw(&server, "account-1", "at-1").await;
    deposit(&server, 1).await;
    withdraw(&server, "account-1", "first-at-2").await;
    withdraw(&server, "account-1", "second-at-2").await;
    deposit(&server, EVENTS + 3).await;
    withdraw(&server, "account-1", "at-55").await;
    // Those of other streams are not here, however many they are.
    let open = server.command("account-2", "open", "{\"owner\":\"bob\"}");
    send(open).await.ok();
    for number in 0..100 {
        withdraw(&server, "account-2", &format!("of-another-{number}")).await;
    }
    let stored = async {
        loop {
            let listed = server.get("/v1/rejections?stream=account-2").await.ok();
            if listed["rejections"].as_array().unwrap().len() == 100 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, stored).await.unwrap();

    let newest = rows(&server, "/console/streams/account-1").await;
    let versions = (6..=55).rev().map(|version: u64| version.to_string());
    let expected: Vec<String> = std::iter::once("at-55".to_owned())
        .chain(versions)
        .collect();
    assert_eq!(newest, expected);
    let older = rows(&server, "/console/streams/account-1?from=5").await;
    let expected = ["5", "4", "3", "second-at-2", "first-at-2", "2", "at-1", "1"];
    assert_eq!(older, expected);
}
