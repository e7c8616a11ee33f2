use std::time::Duration;

use quipu_server::Options;
use quipu_tests::{Place, build};

use crate::server::{Answered, Server, send};

async fn import(server: &Server, file: &str) -> Answered {
    let request = server.request("POST", "/v1/import");
    let request = request.header("Content-Type", "application/x-ndjson");
    send(request.body(file.to_owned())).await
}

async fn exported(server: &Server) -> String {
    let answer = server.get("/v1/export").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    answer.text
}

/// A bank with many events.
async fn bank() -> Server {
    let server = Server::bank().await;
    for number in 0..5 {
        let stream = build::stream(&format!("note-{number}"));
        let append = build::append(build::events(500));
        server.host.append(&stream, append).await.unwrap();
    }
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_imported_however_long_the_request_takes() {
    let file = exported(&bank().await).await;
    let options = Options {
        request_time_max: Duration::from_millis(1),
        ..Options::default()
    };
    let host = Place::memory().host().await;
    let server = Server::start(host.clone(), options).await;
    let answer = import(&server, &file).await.ok();
    assert_eq!(answer["events"], 2_500);
    assert_eq!(answer["head"], 2_500);
    // The module is active immediately.
    assert!(host.plan().decider("account").is_some());
    let other = Server::start(host, Options::default()).await;
    assert!(exported(&other).await == file);
}

#[tokio::test]
async fn an_invalid_import_is_a_problem_with_the_line() {
    let file = exported(&bank().await).await;
    let server = Server::empty().await;
    let cut = file.rsplit_once("{\"specversion\"").unwrap().0;
    let answer = import(&server, &file.replacen("\"1.0\"", "\"2.0\"", 1)).await;
    assert!(
        answer.text.contains("line 1: specversion"),
        "{}",
        answer.text
    );
    answer.problem(400, "bad-request");
    let answer = import(&server, cut).await;
    assert!(answer.text.contains("position 2500"), "{}", answer.text);
    answer.problem(400, "bad-request");
    import(&server, &file).await.ok();

    let other = bank().await;
    import(&other, &file).await.problem(409, "import-refused");
    let request = server.request("POST", "/v1/import").body("{}");
    send(request).await.problem(415, "bad-request");
    server
        .get("/v1/export?after=x")
        .await
        .problem(400, "bad-request");
    server
        .get("/v1/export?from=1")
        .await
        .problem(400, "bad-request");
}
