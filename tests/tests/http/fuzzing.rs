//! Random bytes to everything that reads bytes from outside.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use quipu_server::Options;
use quipu_tests::Place;
use quipu_tests::fuzz::{READERS, changed};
use quipu_tests::seed::{is_long, random, seeds};
use rand::Rng;
use rand::seq::IndexedRandom;
use reqwest::Method;

use crate::server::Server;

/// Inputs for each reader.
fn inputs() -> usize {
    if is_long() { 100_000 } else { 300 }
}

#[test]
fn no_reader_panics() {
    for seed in seeds(1) {
        let mut random = random(seed);
        for reader in READERS {
            let corpus = (reader.corpus)();
            for input in &corpus {
                (reader.read)(input);
            }
            for _ in 0..inputs() {
                let input = changed(&mut random, &corpus);
                let read = catch_unwind(|| (reader.read)(&input));
                let shown = String::from_utf8_lossy(&input);
                assert!(read.is_ok(), "{}: {shown:?}", reader.name);
            }
        }
    }
}

#[test]
fn each_reader_has_a_fuzz_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for reader in READERS {
        let name = reader.name;
        let file = folder.join(format!("fuzz_targets/{name}.rs"));
        let target = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(target.contains(&format!("\"{name}\"")), "{name}");
        assert!(
            manifest.contains(&format!("fuzz_targets/{name}.rs")),
            "{name}"
        );
    }
}

const BODIES: &[&str] = &[
    r#"{"type":"open","data":{"owner":"ann"}}"#,
    r#"{"events":[{"type":"measured","data":{}}]}"#,
    r#"{"streams":[{"stream":"a-1","expected_version":"any","events":[{"type":"a","data":{}}]}]}"#,
    "{\"stream\":\"a-1\",\"type\":\"open\",\"data\":{}}\n{\"stream\":\"b-1\",\"type\":\"x\",\"data\":[]}\n",
    r#"{"name":"ann","role":"admin","categories":["a"],"expires_at":"2099-01-01T00:00:00Z"}"#,
    r#"{"members":[{"name":"account","module":"00"}],"preflight":"require"}"#,
    "{\"specversion\":\"1.0\",\"type\":\"quipu.export.begin\",\"source\":\"/\",\"id\":\"1\",\"data\":{}}\n",
];

#[tokio::test]
async fn no_request_breaks_the_host() {
    let server = Server::start(Place::memory().host().await, Options::default()).await;
    let text = server.get("/openapi.json").await.text;
    let description: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            // These go on without an end, or for everybody.
            let is_endless = path.contains("subscribe") || path.contains("changes");
            if !is_endless {
                operations.push((method, path.clone()));
            }
        }
    }
    let bodies: Vec<_> = BODIES.iter().map(|body| body.as_bytes().to_vec()).collect();
    let words: Vec<_> = [
        "a-1",
        "account",
        "0",
        "%00",
        "%2e%2e",
        "💥",
        "-",
        "18446744073709551616",
        "a b",
        "",
    ]
    .map(str::to_owned)
    .to_vec();
    for seed in seeds(1) {
        let mut random = random(seed);
        for _ in 0..inputs() {
            let (method, path) = operations.choose(&mut random).unwrap();
            let path: Vec<_> = path
                .split('/')
                .map(|part| match part.starts_with('{') {
                    true => words.choose(&mut random).unwrap().as_str(),
                    false => part,
                })
                .collect();
            let mut path = path.join("/");
            if random.random_bool(0.3) {
                path = format!("{path}?limit={}&after=x", random.random::<i8>());
            }
            let body = changed(&mut random, &bodies);
            let request = server.request(method.as_str(), &path).body(body.clone());
            let kind = [
                "application/json",
                "application/x-ndjson",
                "application/wasm",
            ];
            let kind = *kind.choose(&mut random).unwrap();
            // Some paths can't be sent at all.
            let Ok(answered) = request.header("content-type", kind).send().await else {
                continue;
            };
            let status = answered.status().as_u16();
            let text = answered.text().await.unwrap_or_default();
            let shown = String::from_utf8_lossy(&body);
            assert!(status != 500, "{method} {path} {shown:?}: {text}");
        }
    }
    // Some of them have made tokens, which close the host.
    server.get("/healthz").await.ok();
}
