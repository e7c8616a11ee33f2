use quipu_tests::{examples, guest};
use serde_json::json;

use crate::server::{Answered, Server, send};

async fn upload(server: &Server, bytes: Vec<u8>) -> Answered {
    let request = server.request("POST", "/v1/modules");
    send(
        request
            .header("Content-Type", "application/wasm")
            .body(bytes),
    )
    .await
}

#[tokio::test]
async fn the_same_bytes_are_the_same_module() {
    let server = Server::empty().await;
    let first = upload(&server, examples::account()).await;
    assert_eq!(first.status, 201);
    let module = first.ok();
    assert_eq!(
        (&module["name"], &module["world"]),
        (&json!("account"), &json!("decider-guest"))
    );
    assert_eq!(
        (&module["exports"], &module["version"]),
        (&json!(["decider"]), &json!("0.1.0"))
    );
    assert_eq!(module["commands"][0]["name"], "open");
    let again = upload(&server, examples::account()).await;
    assert_eq!((again.status, again.ok()), (200, module.clone()));

    let digest = module["digest"].as_str().unwrap();
    assert_eq!(
        server.get(&format!("/v1/modules/{digest}")).await.ok(),
        module
    );
    let bytes = server
        .request("GET", &format!("/v1/modules/{digest}/wasm"))
        .send()
        .await
        .unwrap();
    assert_eq!(bytes.headers()["content-type"], "application/wasm");
    assert_eq!(bytes.bytes().await.unwrap(), examples::account());
    let plain = server
        .request("GET", &format!("/v1/modules/{digest}/wasm"))
        .header("Accept", "application/octet-stream")
        .send()
        .await
        .unwrap();
    assert_eq!(plain.headers()["content-type"], "application/octet-stream");
    assert_eq!(plain.bytes().await.unwrap(), examples::account());
    let list = server.get("/v1/modules").await.ok();
    let entry = &list["modules"][0];
    assert_eq!(
        (&entry["digest"], &entry["active"]),
        (&json!(digest), &json!(false))
    );
}

#[tokio::test]
async fn a_component_can_be_uploaded_as_plain_bytes() {
    let server = Server::empty().await;
    let typed = |content_type: &str| {
        let request = server.request("POST", "/v1/modules");
        request
            .header("Content-Type", content_type)
            .body(examples::account())
    };
    assert_eq!(send(typed("application/octet-stream")).await.status, 201);
    let wrong = send(typed("application/json")).await;
    wrong.problem(415, "bad-request");
}

#[tokio::test]
async fn a_refused_module_gets_a_reason() {
    let server = Server::empty().await;
    let problem = upload(&server, b"no wasm".to_vec())
        .await
        .problem(422, "module-refused");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("not a component")
    );
    let problem = upload(&server, guest::component("wants-clock")).await;
    let problem = problem.problem(422, "module-refused");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("wasi:clocks/wall-clock")
    );
    let json = server.post("/v1/modules", "{}");
    send(json).await.problem(415, "bad-request");
    let digest = "0".repeat(64);
    for path in ["", "/wasm"] {
        let path = format!("/v1/modules/{digest}{path}");
        server.get(&path).await.problem(404, "module-not-found");
    }
}

#[tokio::test]
async fn an_activation_increments_the_plan_and_is_listed() {
    let server = Server::empty().await;
    let module = upload(&server, examples::account()).await.ok();
    let digest = module["digest"].as_str().unwrap();
    let body = json!({"digest": digest, "preflight": "skip"}).to_string();
    let first = send(server.post("/v1/deployments", &body)).await;
    assert_eq!(first.status, 201);
    assert_eq!(first.ok()["plan"], 1);
    let body = json!({"digest": digest}).to_string();
    assert_eq!(
        send(server.post("/v1/deployments", &body)).await.ok()["plan"],
        2
    );
    let list = server.get("/v1/deployments").await.ok();
    assert_eq!(list["plan"], 2);
    let found: Vec<_> = list["deployments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["active"].clone())
        .collect();
    assert_eq!(found, [json!(false), json!(true)]);
    assert_eq!(server.get("/v1/deployments/account").await.ok(), list);
    server
        .get("/v1/deployments/loan")
        .await
        .problem(404, "module-not-found");
}

#[tokio::test]
async fn invalid_activations_are_refused() {
    let server = Server::empty().await;
    let digest = "0".repeat(64);
    for (body, status, code) in [
        (json!({"digest": digest}), 404, "module-not-found"),
        (json!({"digest": "abc"}), 400, "bad-request"),
        (
            json!({"digest": digest, "preflight": "require"}),
            404,
            "module-not-found",
        ),
        (
            json!({"digest": digest, "preflight": "report"}),
            404,
            "module-not-found",
        ),
        (
            json!({"digest": digest, "preflight": "maybe"}),
            400,
            "bad-request",
        ),
        (
            json!({"digest": digest, "allow": ["everything"]}),
            400,
            "bad-request",
        ),
        (json!({"digest": digest, "force": true}), 400, "bad-request"),
        (json!({}), 400, "bad-request"),
    ] {
        send(server.post("/v1/deployments", &body.to_string()))
            .await
            .problem(status, code);
    }
}
