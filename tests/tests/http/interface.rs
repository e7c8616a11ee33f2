use quipu::http::Code;
use quipu_tests::golden;
use serde_json::{Value, json};

use crate::server::{Server, send};

#[test]
fn the_description_is_as_published() {
    golden::check("openapi.json", &(quipu::http::openapi() + "\n"));
}

#[test]
fn operation_ids_are_unique() {
    let description: Value = serde_json::from_str(&quipu::http::openapi()).unwrap();
    let mut ids: Vec<&str> = description["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "{ids:?}");
}

#[tokio::test]
async fn every_described_path_and_method_is_served() {
    let server = Server::empty().await;
    let description = server.get("/openapi.json").await.ok();
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() >= 12);
    for (path, methods) in paths {
        let path = path.replace("{digest}", &"0".repeat(64));
        let path = path.replace("{order}", "pause");
        let path = path.replace("{position}", "1").replace(['{', '}'], "");
        for method in methods.as_object().unwrap().keys() {
            // A subscription does not end; that it begins is enough.
            if path.ends_with("/subscribe") {
                let begun = server.request(&method.to_uppercase(), &path).send();
                assert_eq!(begun.await.unwrap().status(), 200, "{path}");
                continue;
            }
            let answer = send(server.request(&method.to_uppercase(), &path)).await;
            let is_problem = answer.header("content-type").contains("problem");
            let code = match is_problem {
                true => answer.json()["code"].clone(),
                false => Value::Null,
            };
            assert!(
                code != "not-found" && code != "method-not-allowed",
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let server = Server::empty().await;
    for path in ["/", "/v1", "/v1/events/1/2", "/healthz/"] {
        server.get(path).await.problem(404, "not-found");
    }
    let wrong = send(server.request("DELETE", "/v1/events")).await;
    wrong.problem(405, "method-not-allowed");
    assert!(wrong.header("allow").contains("GET"));
}

#[tokio::test]
async fn a_host_says_that_it_lives_and_is_ready() {
    let server = Server::empty().await;
    assert_eq!(server.get("/healthz").await.ok(), json!({"status": "ok"}));
    let ready = server.get("/readyz").await.ok();
    assert_eq!(ready["status"], "ready");
    let checks = ready["checks"].as_array().unwrap();
    for name in ["writer", "reader", "committer", "worker 0"] {
        let found = checks.iter().find(|check| check["name"] == name);
        assert_eq!(found.unwrap()["is_ready"], true, "{name}");
    }
}

/// The codes and statuses of the contract that exist so far.
#[test]
fn codes_keep_their_names_and_statuses() {
    let mut found: Vec<String> = Code::ALL
        .iter()
        .map(|code| format!("{} {}", code.as_str(), code.status()))
        .collect();
    found.sort();
    golden::check("codes.txt", &(found.join("\n") + "\n"));
}
