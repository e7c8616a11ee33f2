//! Shadows from the console: they begin and end there, and their counts are on a page.

use quipu::access::{Grant, Role};
use quipu_server::{Console, ConsoleMode, Options};
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{Place, build, examples, on_every_store};
use serde_json::json;

use crate::access::{admin, token};
use crate::connections::bounded;
use crate::console::{FORM, browser, check_page, page, session};
use crate::server::{Answered, Server, send};

on_every_store!(
    a_shadow_begins_counts_and_stops_on_its_page,
    a_shadow_of_a_program_is_shown_and_not_stopped,
);

const PATH: &str = "/console/shadow";
const OFFER: &str = "class=\"confirm\"";

fn decider() -> Probe {
    probe("note").event("noted", 1)
}

/// A host with an active decider, a candidate that decides otherwise, and the session of its admin.
async fn notes(place: &Place) -> (Server, String, String) {
    let console = Console {
        mode: ConsoleMode::Full,
        ..Console::default()
    };
    let options = Options {
        console,
        ..Options::default()
    };
    let server = Server::start(place.host().await, options).await;
    examples::deploy(&server.host, decider().component()).await;
    let candidate = decider().decides("other").component();
    let candidate = server.host.upload(candidate).await.unwrap();
    let digest = candidate.module.digest().to_string();
    let root = admin(&server).await;
    (server, digest, root)
}

async fn note(server: &Server, word: &str) {
    let events = json!([["noted", {"word": word}]]);
    let command = build::command("note", &events.to_string());
    let stream = build::stream("note-1");
    server.host.execute(&stream, command).await.unwrap();
}

async fn act(server: &Server, cookie: &str, body: &str) -> Answered {
    let request = browser().post(format!("{}/console/act", server.url));
    let request = request
        .header("Content-Type", FORM)
        .header("Cookie", cookie)
        .header("Origin", &server.url);
    send(request.body(body.to_owned())).await
}

/// The page, once it has this text.
async fn once(server: &Server, cookie: &str, text: &str) -> String {
    bounded(async {
        loop {
            let answer = page(server, PATH, cookie).await;
            if answer.text.contains(text) {
                return answer.text;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn a_shadow_begins_counts_and_stops_on_its_page(place: Place) {
    let (server, digest, root) = notes(&place).await;
    let cookie = session(&server, &root).await;
    once(&server, &cookie, "No shadow has run on this host").await;
    let form = format!("what=shadow&name={digest}&action=start");
    let path = format!("/console/act?{form}");
    let before = page(&server, &path, &cookie).await;
    check_page(&path, &before);
    for expected in [
        OFFER,
        "name=\"seconds\"",
        "quipu shadow note.wasm --seconds 60",
        "/v1/shadows",
    ] {
        assert!(before.text.contains(expected), "{}", before.text);
    }
    let ann = token(&server, "ann", Grant::of(Role::Viewer)).await;
    let of_ann = session(&server, &ann).await;
    let form = format!("{form}&seconds=600");
    let denied = act(&server, &of_ann, &form).await;
    assert_eq!(denied.status, 403, "{}", denied.text);
    for wrong in ["0", "86401", "x"] {
        let form = format!("what=shadow&name={digest}&action=start&seconds={wrong}");
        let refused = act(&server, &cookie, &form).await;
        assert_eq!(refused.status, 400, "{wrong}: {}", refused.text);
    }
    once(&server, &cookie, "No shadow has run on this host").await;

    let begun = act(&server, &cookie, &form).await;
    assert_eq!(
        (begun.status, begun.header("location")),
        (303, PATH),
        "{}",
        begun.text
    );
    note(&server, "plain").await;
    note(&server, "odd").await;
    let counted = "<tr><td>note</td><td class=\"number\">1</td><td class=\"number\">1</td><td class=\"number\">0</td></tr>";
    let running = once(&server, &cookie, counted).await;
    for expected in [
        ">running<",
        "Stop\u{2026}",
        "data-follow",
        "come to other events",
        &format!("title=\"{digest}\""),
    ] {
        assert!(running.contains(expected), "{expected}: {running}");
    }
    assert!(!running.contains("Begin a shadow"), "{running}");
    // A host has one at a time.
    let another = page(&server, &path, &cookie).await;
    assert!(!another.text.contains(OFFER), "{}", another.text);
    assert_eq!(act(&server, &cookie, &form).await.status, 503);
    let of_ann = page(&server, PATH, &of_ann).await;
    assert!(of_ann.text.contains("not shown"), "{}", of_ann.text);
    assert!(!of_ann.text.contains(counted), "{}", of_ann.text);

    let form = "what=shadow&name=running&action=stop";
    let before = page(&server, &format!("/console/act?{form}"), &cookie).await;
    assert!(before.text.contains(OFFER), "{}", before.text);
    let form = format!("{form}&reason=enough");
    let stopped = act(&server, &cookie, &form).await;
    assert_eq!(stopped.status, 303, "{}", stopped.text);
    let stopped = once(&server, &cookie, ">ended early<").await;
    assert!(stopped.contains(counted), "{stopped}");
    assert!(stopped.contains("Begin a shadow"), "{stopped}");
    let audit = page(&server, "/console/audit", &cookie).await;
    for expected in ["stop_shadow", "enough"] {
        assert!(audit.text.contains(expected), "{}", audit.text);
    }
}

async fn a_shadow_of_a_program_is_shown_and_not_stopped(place: Place) {
    let (server, digest, root) = notes(&place).await;
    let cookie = session(&server, &root).await;
    let body = json!({"digest": digest, "seconds": 600}).to_string();
    let request = server.post("/v1/shadows", &body).bearer_auth(&root);
    // It is answered once its first line is there.
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let running = once(&server, &cookie, ">running<").await;
    assert!(running.contains("A program began it"), "{running}");
    assert!(!running.contains("Stop\u{2026}"), "{running}");
    let stop = "/console/act?what=shadow&name=running&action=stop";
    let stop = page(&server, stop, &cookie).await;
    assert!(!stop.text.contains(OFFER), "{}", stop.text);
    drop(answer);
    once(&server, &cookie, ">ended early<").await;
}
