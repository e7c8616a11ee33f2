//! The state that a command met, as its own module renders it, after other rules became active.

use quipu::{Demand, Deploy};
use quipu_server::Options;
use quipu_tests::probe::{Probe, probe};
use quipu_tests::{PATIENCE, Place, on_every_store};
use serde_json::json;
use tokio::time::timeout;

use crate::console::{check_page, page};
use crate::server::{Server, send};

on_every_store!(the_state_that_a_command_met_is_that_of_the_module_that_decided);

fn decider() -> Probe {
    probe("note").event("noted", 1)
}

/// Activates a decider. Returns its digest.
async fn activate(server: &Server, decider: &Probe) -> String {
    let uploaded = server.host.upload(decider.component()).await.unwrap();
    let digest = uploaded.module.digest();
    let deploy = Deploy::new(digest).preflight(Demand::Skip);
    server.host.deploy(deploy).await.unwrap();
    digest.to_string()
}

async fn shown(server: &Server, path: &str) -> String {
    let shown = page(server, path, "").await;
    assert_eq!(shown.status, 200, "{path}: {}", shown.text);
    check_page(path, &shown);
    shown.text
}

/// Each page has the link, which leads to a state of that module.
async fn leads(server: &Server, path: &str, version: u64, module: &str) {
    let text = shown(server, path).await;
    let link = format!("/console/streams/note-1?at={version}&amp;module={module}");
    assert!(text.contains(&format!("href=\"{link}\"")), "{path}: {text}");
    let state = shown(server, &link.replace("&amp;", "&")).await;
    is_rendered_by(&state, module);
    let version = format!("At version {version}");
    assert!(state.contains(&version), "{version}: {state}");
}

fn is_rendered_by(page: &str, module: &str) {
    let (_, after) = page.split_once("As rendered by module").unwrap();
    let (named, _) = after.split_once("</a>").unwrap();
    assert!(named.contains(module), "{module}: {named}");
}

async fn the_state_that_a_command_met_is_that_of_the_module_that_decided(place: Place) {
    let server = Server::start(place.host().await, Options::default()).await;
    let first = activate(&server, &decider().decides("reject")).await;
    let plain = json!([["noted", {"word": "plain"}]]).to_string();
    let noted = send(server.command("note-1", "note", &plain)).await.ok();
    let position = &noted["position"];
    let odd = json!([["noted", {"word": "odd"}]]).to_string();
    let odd = server.command("note-1", "note", &odd);
    send(odd.header("Idempotency-Key", "o-1"))
        .await
        .problem(422, "rejected");
    let stored = async {
        while server.get("/v1/rejections").await.ok()["rejections"] == json!([]) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, stored).await.unwrap();
    let second = activate(&server, &decider().version("2.0.0")).await;
    assert_ne!(first, second);

    // An event: after it, and what its command met.
    let event = format!("/console/events/{position}");
    leads(&server, &event, 1, &first).await;
    leads(&server, &event, 0, &first).await;
    leads(&server, "/console/log?category=note", 1, &first).await;
    // A rejection, at the version at which it was decided.
    let rejections = shown(&server, "/console/rejections").await;
    assert!(rejections.contains("o-1"), "{rejections}");
    for path in [
        "/console/rejections",
        "/console/streams/note-1",
        "/console/trace?id=o-1",
    ] {
        leads(&server, path, 1, &first).await;
    }
    // The stream itself is that of the active module, and of another one if its reader says so.
    let own = shown(&server, "/console/streams/note-1").await;
    is_rendered_by(&own, &second);
    let short = &first[..12];
    for (module, rendered) in [(short, &first), (&second[..12], &second)] {
        let path = format!("/console/streams/note-1?at=1&module={module}");
        is_rendered_by(&shown(&server, &path).await, rendered);
        let path = format!("/console/streams/note-1/diff?one=0&other=1&module={module}");
        let compared = shown(&server, &path).await;
        is_rendered_by(&compared, rendered);
        let command = format!("--at-version 1 --module {module}");
        let request = format!("at_version=1&amp;module={module}");
        for expected in [&command, &request] {
            assert!(compared.contains(expected), "{expected}: {compared}");
        }
    }
    let wrong = "/console/streams/note-1/diff?one=0&other=1&module=00000000";
    let wrong = page(&server, wrong, "").await;
    assert!(wrong.text.contains("class=\"problem\""), "{}", wrong.text);
}
