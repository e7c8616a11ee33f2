//! Signatures, unused modules, rejections, shadows, and activations as lines.

use quipu_tests::probe::{Probe, probe};
use quipu_tests::signing::signed;
use quipu_tests::{PATIENCE, build, examples};
use serde_json::{Value, json};

use crate::server::{Answered, Server, send};

fn decider() -> Probe {
    probe("note").event("noted", 1).decides("reject")
}

async fn note(server: &Server, word: &str) {
    let events = json!([["noted", {"word": word}]]);
    let command = build::command_as(word, "note", &events.to_string());
    _ = server.host.execute(&build::stream("note-1"), command).await;
}

/// A host on which a decider has accepted a command and rejected another.
async fn notes() -> Server {
    let server = Server::empty().await;
    examples::deploy(&server.host, decider().component()).await;
    note(&server, "plain").await;
    note(&server, "odd").await;
    server
}

async fn uploaded(server: &Server, candidate: &Probe) -> String {
    let uploaded = server.host.upload(candidate.component()).await.unwrap();
    uploaded.module.digest().to_string()
}

async fn upload(server: &Server, bytes: Vec<u8>, signature: &str) -> Answered {
    let request = server.request("POST", "/v1/modules");
    let request = request.header("Content-Type", "application/wasm");
    send(request.header("Quipu-Signature", signature).body(bytes)).await
}

/// The lines of the answer to an activation or a shadow.
async fn lines(server: &Server, path: &str, body: &Value) -> Vec<Value> {
    let request = server.post(path, &body.to_string());
    let answered = send(request.header("Accept", "application/x-ndjson")).await;
    assert_eq!(answered.status, 200, "{}", answered.text);
    let lines = answered.text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_module_can_be_uploaded_with_its_signature() {
    let server = Server::empty().await;
    let bytes = examples::account();
    let signature = signed(3, &bytes);
    let module = upload(&server, bytes.clone(), &signature.to_string())
        .await
        .ok();
    assert_eq!(module["signed_by"], json!([signature.key.to_string()]));
    let path = format!("/v1/modules/{}", module["digest"].as_str().unwrap());
    assert_eq!(
        server.get(&path).await.ok()["signed_by"],
        module["signed_by"]
    );
    let other = signed(3, b"other").to_string();
    upload(&server, bytes.clone(), &other)
        .await
        .problem(403, "unsigned");
    for wrong in ["", "ed25519", "rsa a b", &signature.to_string()[..60]] {
        let answered = upload(&server, bytes.clone(), wrong).await;
        answered.problem(400, "bad-request");
    }
}

#[tokio::test]
async fn unused_modules_are_pruned() {
    let server = notes().await;
    let digest = uploaded(&server, &decider().version("2.0.0")).await;
    let prune = |body: Value| {
        let request = server.post("/v1/modules/prune", &body.to_string());
        async move { send(request).await }
    };
    let none = prune(json!({})).await.ok();
    assert_eq!(none, json!({"removed": true, "modules": []}));
    let dry = prune(json!({"older_than_s": 0, "dry_run": true}))
        .await
        .ok();
    assert_eq!(
        (&dry["removed"], &dry["modules"][0]["digest"]),
        (&json!(false), &json!(digest))
    );
    let removed = prune(json!({"older_than_s": 0})).await.ok();
    assert_eq!(
        (&removed["removed"], &removed["modules"]),
        (&json!(true), &dry["modules"])
    );
    server
        .get(&format!("/v1/modules/{digest}"))
        .await
        .problem(404, "module-not-found");
    prune(json!({"older": 1})).await.problem(400, "bad-request");
}

#[tokio::test]
async fn rejections_are_listed() {
    let server = notes().await;
    note(&server, "odder").await;
    let list = server
        .get("/v1/rejections?category=note&limit=1")
        .await
        .ok();
    let newest = &list["rejections"][0];
    assert_eq!(
        (&newest["stream"], &newest["version"]),
        (&json!("note-1"), &json!(1))
    );
    assert_eq!(
        (&newest["command"], &newest["command_id"]),
        (&json!("note"), &json!("odder"))
    );
    assert_eq!(
        (&newest["code"], &newest["plan"]),
        (&json!("too-odd"), &json!(1))
    );
    assert_eq!(newest["data"], json!([["noted", {"word": "odder"}]]));
    let next = list["next"].as_u64().unwrap();
    let list = server
        .get(&format!("/v1/rejections?before={next}"))
        .await
        .ok();
    assert_eq!(list["rejections"][0]["command_id"], "odd");
    assert_eq!(list["rejections"].as_array().unwrap().len(), 1);
    assert_eq!(list["next"], json!(null));
    let none = server.get("/v1/rejections?category=other").await.ok();
    assert_eq!(none["rejections"], json!([]));
    for (stream, expected) in [("note-1", 2), ("note-2", 0), ("note", 0)] {
        let list = server.get(&format!("/v1/rejections?stream={stream}")).await;
        let list = list.ok();
        assert_eq!(list["rejections"].as_array().unwrap().len(), expected);
    }
    for wrong in [
        "?limit=0",
        "?limit=101",
        "?before=x",
        "?categori=note",
        "?stream=",
        "?stream=..",
        "?category=note&stream=note-1",
    ] {
        let answered = server.get(&format!("/v1/rejections{wrong}")).await;
        answered.problem(400, "bad-request");
    }
}

#[tokio::test]
async fn the_events_that_a_module_decided_are_listed() {
    let server = notes().await;
    let first = server.host.plan().active("note").unwrap();
    let second = examples::deploy(&server.host, decider().version("2.0.0").component()).await;
    note(&server, "more").await;
    for (digest, position) in [(first, 1), (second, 2)] {
        let found = server
            .get(&format!("/v1/modules/{digest}/events"))
            .await
            .ok();
        let events = found["events"].as_array().unwrap();
        assert_eq!(
            (events.len(), &events[0]["position"]),
            (1, &json!(position))
        );
        assert_eq!(events[0]["commit"]["module"], digest.to_string());
    }
    note(&server, "further").await;
    note(&server, "last").await;
    for (range, positions, next) in [
        ("to=1", json!([]), json!(null)),
        ("to=2", json!([2]), json!(null)),
        ("after=2&to=3", json!([3]), json!(null)),
        ("to=3&limit=1", json!([2]), json!(2)),
        ("after=2&to=3&limit=1", json!([3]), json!(null)),
        ("after=2", json!([3, 4]), json!(null)),
    ] {
        let path = format!("/v1/modules/{second}/events?{range}");
        let found = server.get(&path).await.ok();
        let events = found["events"].as_array().unwrap().iter();
        let found_at: Vec<_> = events.map(|event| event["position"].clone()).collect();
        assert_eq!(json!(found_at), positions, "{range}");
        assert_eq!(found["next"], next, "{range}");
    }
    let unknown = "0".repeat(64);
    let path = format!("/v1/modules/{unknown}/events");
    server.get(&path).await.problem(404, "module-not-found");
}

#[tokio::test]
async fn an_activation_streams_the_findings_of_its_preflight_as_lines() {
    let server = notes().await;
    let digest = uploaded(&server, &probe("note").event("noted", 1)).await;
    let refused = lines(&server, "/v1/deployments", &json!({"digest": digest})).await;
    let [.., preflight, problem] = &refused[..] else {
        panic!("{refused:?}");
    };
    let found = &preflight["preflight"];
    assert_eq!(
        (&found["passes"], &found["examples"][0]["kind"]),
        (&json!(false), &json!("accepted"))
    );
    assert_eq!(found["commands"][0]["accepted"], 1);
    assert_eq!(problem["problem"]["code"], "preflight-failed");
    assert_eq!(server.host.plan().number, 1);
    let body = json!({"digest": digest, "allow": ["accepted"]});
    let allowed = lines(&server, "/v1/deployments", &body).await;
    let deployed = &allowed.last().unwrap()["deployment"];
    assert_eq!(
        (&deployed["plan"], &deployed["digest"]),
        (&json!(2), &json!(digest))
    );
    let said = &deployed["preflight"];
    assert_eq!(
        (&said["passes"], &said["decided"], &said["same"]),
        (&json!(true), &json!(1), &json!(1))
    );
    assert_eq!(said["objections"][0]["kind"], "accepted");
    let history = server.get("/v1/deployments/note").await.ok();
    assert_eq!(history["deployments"][1]["preflight"], *said);
    assert_eq!(history["deployments"][0].get("preflight"), None);
    // Without a preflight, the answer is one line.
    let body = json!({"preflight": "skip"});
    let back = lines(&server, "/v1/deployments/note/rollback", &body).await;
    assert_eq!((back.len(), &back[0]["deployment"]["plan"]), (1, &json!(3)));
    // An error before the first line has its own status.
    let request = server.post(
        "/v1/deployments",
        &json!({"digest": "0".repeat(64)}).to_string(),
    );
    let answered = send(request.header("Accept", "application/x-ndjson")).await;
    answered.problem(404, "module-not-found");
}

#[tokio::test]
async fn a_shadow_reports_differences_once_per_second() {
    let server = notes().await;
    let digest = uploaded(&server, &decider().decides("other")).await;
    let host = server.host.clone();
    let writing = tokio::spawn(async move {
        for n in 0.. {
            let word = if n % 2 == 0 { "plain" } else { "odd" };
            let events = json!([["noted", {"word": word}]]).to_string();
            let command = build::command("note", &events);
            _ = host.execute(&build::stream("note-2"), command).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let body = json!({"digest": digest, "seconds": 3, "cpu": 100});
    let reports = lines(&server, "/v1/shadows", &body).await;
    writing.abort();
    assert!(reports.len() >= 2, "{reports:?}");
    let (last, before) = reports.split_last().unwrap();
    assert!(before.iter().all(|line| line["shadow"]["ended"].is_null()));
    let shadow = &last["shadow"];
    assert_eq!(shadow["ended"], "time");
    assert!(shadow["after"].as_u64() >= Some(1), "{shadow}");
    let judged = &shadow["found"]["commands"][0];
    assert!(
        judged["same"].as_u64() > Some(0) && judged["accepted"].as_u64() > Some(0),
        "{judged}"
    );
    assert_eq!(shadow["found"]["passes"], false);
    for (name, wrong) in [
        ("seconds", 0),
        ("share", 0),
        ("share", 101),
        ("cpu", 0),
        ("lag", 1),
    ] {
        let body = json!({"digest": digest, name: wrong});
        let answered = send(server.post("/v1/shadows", &body.to_string())).await;
        answered.problem(400, "bad-request");
    }
}

#[tokio::test]
async fn a_run_whose_client_disconnects_ends_and_is_recorded() {
    let server = notes().await;
    let digest = uploaded(&server, &decider().decides("other")).await;
    // It would run for a day.
    let body = json!({"digest": digest, "seconds": 86_400});
    let request = server.post("/v1/shadows", &body.to_string());
    let mut answer = request.send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    drop(answer);
    let recording = async {
        loop {
            let audit = server.get("/v1/audit").await.ok();
            let records = audit["records"].as_array().unwrap();
            if let Some(record) = records.iter().find(|it| it["result"] == "left") {
                return record.clone();
            }
        }
    };
    let recorded = tokio::time::timeout(PATIENCE, recording).await;
    let recorded = recorded.expect("the run ends with its client");
    assert_eq!(recorded["object"], "/v1/shadows", "{recorded}");
    // A host has one shadow at a time.
    let body = json!({"digest": digest, "seconds": 1});
    let reports = lines(&server, "/v1/shadows", &body).await;
    assert_eq!(reports.last().unwrap()["shadow"]["ended"], "time");
}
