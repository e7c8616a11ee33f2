//! Keys that sign components, replaced while a host runs.

use std::fs;

use quipu_tests::signing::{public, signed};
use quipu_tests::{Place, on_every_store};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Served, quipu, text};
use crate::proving::decider;

on_every_store!(a_removed_key_is_refused_after_a_reload);

/// A host with keys in its configuration.
struct Keyed {
    host: Served,
    client: reqwest::Client,
}

impl Keyed {
    fn start(place: &Place, keys: &[u8]) -> Self {
        let dir = TempDir::new().unwrap();
        let config = dir.path().join("quipu.toml");
        fs::write(&config, configuration(keys)).unwrap();
        let mut command = quipu(&["serve", "--store", place.url(), "--config", &text(&config)]);
        command.args(["--listen", "127.0.0.1:0"]);
        Self {
            host: Served::ready(dir, command),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.host.url))
    }

    /// Changes the configuration, and reloads it.
    async fn reload(&self, config: &str) -> (u16, Value) {
        fs::write(self.host.path("quipu.toml"), config).unwrap();
        answered(self.post("/v1/reload")).await
    }

    /// Uploads a version of a component, signed with the key of a number.
    async fn upload(&self, version: &str, key: u8) -> (u16, Value) {
        let bytes = decider().version(version).component();
        let signature = signed(key, &bytes).to_string();
        let upload = self.post("/v1/modules");
        let upload = upload.header("Content-Type", "application/wasm");
        answered(upload.header("Quipu-Signature", signature).body(bytes)).await
    }

    async fn activate(&self, module: &Value) -> (u16, Value) {
        let body = json!({ "digest": module["digest"] }).to_string();
        let activate = self.post("/v1/deployments");
        let activate = activate.header("Content-Type", "application/json");
        answered(activate.body(body)).await
    }

    fn note(&self) {
        let events = r#"[["noted", {"word": "plain"}]]"#;
        self.host.run(&["execute", "note-1", "note", events]).ok();
    }
}

/// A configuration with the public keys of these numbers.
fn configuration(keys: &[u8]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| public(*key).to_string()).collect();
    format!("keys = {keys:?}\n")
}

async fn answered(request: RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Checks that a request was refused because of a signature.
fn is_unsigned((status, problem): &(u16, Value)) {
    assert_eq!(*status, 403, "{problem}");
    assert_eq!(problem["code"], "unsigned", "{problem}");
}

async fn a_removed_key_is_refused_after_a_reload(place: Place) {
    let keyed = Keyed::start(&place, &[1, 2]);
    let (status, active) = keyed.upload("1.0.0", 1).await;
    assert_eq!(status, 201, "{active}");
    let (status, activated) = keyed.activate(&active).await;
    assert_eq!(status, 201, "{activated}");
    let (status, stored) = keyed.upload("2.0.0", 1).await;
    assert_eq!(status, 201, "{stored}");
    keyed.note();

    let (status, reloaded) = keyed.reload(&configuration(&[2])).await;
    assert_eq!(status, 200, "{reloaded}");
    assert_eq!(reloaded, json!({ "changed": ["keys"], "restart": [] }));
    is_unsigned(&keyed.upload("3.0.0", 1).await);
    is_unsigned(&keyed.activate(&stored).await);
    is_unsigned(&keyed.activate(&active).await);
    // What is active goes on deciding.
    keyed.note();

    // A mistake changes nothing.
    let (status, refused) = keyed.reload("keys = [\"abc\"]\n").await;
    assert_eq!(status, 409, "{refused}");
    assert_eq!(refused["code"], "reload-refused");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("keys: key \"abc\""), "{detail}");
    let (status, refused) = keyed.reload("keys = []\n").await;
    assert_eq!(status, 409, "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("keys has no key any more"), "{detail}");
    is_unsigned(&keyed.activate(&stored).await);
    let (status, signed_by_both) = keyed.upload("2.0.0", 2).await;
    assert_eq!(status, 200, "{signed_by_both}");
    let (status, activated) = keyed.activate(&stored).await;
    assert_eq!(status, 201, "{activated}");
    keyed.note();

    // A key that is added is accepted at once. The restart changes nothing.
    let (status, reloaded) = keyed.reload(&configuration(&[3])).await;
    assert_eq!(status, 200, "{reloaded}");
    let (status, added) = keyed.upload("3.0.0", 3).await;
    assert_eq!(status, 201, "{added}");
    keyed.host.signal("TERM");
    let (ended, _dir) = keyed.host.ended();
    assert_eq!(ended.code, 0, "{}", ended.err);
    let keyed = Keyed::start(&place, &[3]);
    keyed.note();
    is_unsigned(&keyed.activate(&stored).await);
}
