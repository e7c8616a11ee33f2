//! The log of a host, as its clients read it.

use serde_json::Value;

use crate::program::{Served, run, text};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Sends a request that the host refuses, because it has no token.
async fn denied(host: &Served) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}/v1/streams/account-1/commands", host.url));
    let request = request
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .header("Idempotency-Key", "d-1");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_names_the_trace_and_the_command_of_its_request() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", text(&dir.path().join("q.db")));
    let made = run(&[
        "token", "create", "root", "--role", "admin", "--store", &store,
    ]);
    let root = made.ok().trim_end().to_owned();
    let host = Served::start_in(dir, &[]);
    denied(&host).await;
    let logs = |more: &[&str]| {
        let args = [&["logs", "--token", &*root, "--level", "warn"][..], more].concat();
        host.run(&args).ok()
    };
    let json = logs(&["--json", "--target", "quipu_server"]);
    let lines: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let line = lines
        .iter()
        .find(|line| line["fields"]["message"] == "a request was denied");
    let line = line.unwrap_or_else(|| panic!("{json}"));
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["trace_id"], TRACE);
    assert_eq!(line["command_id"], "d-1");
    assert_eq!(line["request"], "POST /v1/streams/{stream}/commands");
    assert_eq!(line["fields"]["code"], "unauthorized");
    let shown = logs(&["--limit", "1"]);
    assert!(shown.contains(&format!("trace_id={TRACE}")), "{shown}");
    host.run(&["logs"]).fails(1, "no token");
    host.run(&["logs", "--level", "loud"]).fails(2, "loud");
    // The log of the process says the same.
    host.signal("TERM");
    let (said, _) = host.ended();
    assert!(said.err.contains(TRACE), "{}", said.err);
}
