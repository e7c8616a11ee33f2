//! The log of a host, as its clients read it.

use quipu_tests::guest;
use serde_json::Value;

use crate::program::{Served, quipu, run, text};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_names_who_sent_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", text(&dir.path().join("q.db")));
    let made = run(&[
        "token",
        "create",
        "ann \"x\" é",
        "--role",
        "admin",
        "--store",
        &store,
    ]);
    let ann = made.ok().trim_end().to_owned();
    let modules = dir.path().join("modules");
    std::fs::create_dir(&modules).unwrap();
    std::fs::write(modules.join("probe.wasm"), guest::component("panic")).unwrap();
    let host = Served::start_in(dir, &["--modules", &text(&modules)]);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}/v1/streams/probe-1/commands", host.url));
    let request = request
        .bearer_auth(&ann)
        .header("Idempotency-Key", "sent-by-ann")
        .header("Content-Type", "application/json")
        .body(r#"{"type":"go","data":{}}"#);
    assert_eq!(request.send().await.unwrap().status().as_u16(), 502);
    let logs = ["logs", "--token", &*ann, "--json", "--limit", "1000"];
    let json = host.run(&logs).ok();
    let lines = json.lines().map(|line| serde_json::from_str(line).unwrap());
    let of_command: Vec<Value> = lines
        .filter(|line: &Value| line["command_id"] == "sent-by-ann")
        .collect();
    assert!(of_command.len() >= 2, "{json}");
    for line in of_command {
        assert_eq!(line["principal"], "ann \"x\" é", "{line}");
    }
    // The log of the process is text.
    host.signal("TERM");
    let (said, _) = host.ended();
    let mut of_command = said.err.lines().filter(|line| line.contains("sent-by-ann"));
    let named = "principal=\"ann \\\"x\\\" é\"";
    assert!(
        of_command.all(|line| line.contains(named)) && said.err.contains(named),
        "{}",
        said.err
    );
}

/// A host that traces commands, with a guest that logs and then fails.
fn failing() -> Served {
    let dir = tempfile::tempdir().unwrap();
    let modules = dir.path().join("modules");
    std::fs::create_dir(&modules).unwrap();
    std::fs::write(modules.join("probe.wasm"), guest::component("panic")).unwrap();
    let mut command = quipu(&["serve", "--store", "memory:", "--listen", "127.0.0.1:0"]);
    command.arg("--modules").arg(&modules);
    // Nobody takes the traces.
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    Served::ready(dir, command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_a_thread_that_decides_name_the_command() {
    let host = failing();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |id: &str, trace: &str| {
        let request = client.post(format!("{}/v1/streams/probe-1/commands", host.url));
        let request = request
            .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
            .header("Idempotency-Key", id)
            .header("Content-Type", "application/json")
            .body(r#"{"type":"go","data":{}}"#);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 502);
    };
    let other = TRACE.replace('4', "5");
    // Together, so that a thread may decide for another.
    tokio::join!(send("d-1", TRACE), send("d-2", &other));
    let json = host.run(&["logs", "--json", "--limit", "1000"]).ok();
    let lines: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (id, trace) in [("d-1", TRACE), ("d-2", &*other)] {
        let of_command: Vec<&Value> = lines.iter().filter(|it| it["command_id"] == id).collect();
        let says = |it: &&&Value, text: &str| it["fields"]["message"].to_string().contains(text);
        let logged = of_command.iter().find(|it| says(it, "index out of bounds"));
        let failed = of_command.iter().find(|it| says(it, "a guest failed"));
        let (Some(logged), Some(failed)) = (logged, failed) else {
            panic!("{id}: {json}");
        };
        assert_eq!(logged["target"], "quipu::guest");
        for line in [logged, failed] {
            assert_eq!(line["trace_id"], trace, "{line}");
            assert_eq!(line["stream"], "probe-1", "{line}");
            assert_eq!(line["correlation_id"], id, "{line}");
            assert_eq!(line["span_id"], failed["span_id"], "{line}");
            // It is the span of the command, not that of its caller.
            assert_ne!(line["span_id"], "00f067aa0ba902b7", "{line}");
        }
    }
}
