//! Traces by OTLP, read from a collector.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use quipu_tests::probe::probe;
use quipu_tests::{PATIENCE, examples};
use serde_json::{Value, json};

use crate::program::{Served, quipu, text};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A host with the guest `account` that sends traces to this address.
fn traced(endpoint: &str) -> Served {
    traced_with(endpoint, &examples::account())
}

fn traced_with(endpoint: &str, component: &[u8]) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let modules = dir.path().join("modules");
    std::fs::create_dir(&modules).unwrap();
    std::fs::write(modules.join("guest.wasm"), component).unwrap();
    let store = format!("sqlite:{}", dir.path().join("q.db").display());
    let modules = modules.display().to_string();
    let args = [
        "serve",
        "--store",
        &store,
        "--listen",
        "127.0.0.1:0",
        "--modules",
        &modules,
    ];
    let mut command = quipu(&args);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    command.env("OTEL_SERVICE_NAME", "bank");
    Served::ready(dir, command)
}

/// A collector: its address, and the paths and bodies of the requests that it gets.
fn collector() -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (send, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, send) = (stream.unwrap(), send.clone());
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Some(request) = request(&mut reader) {
                    _ = send.send(request);
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
                    reader.get_mut().write_all(answer).unwrap();
                }
            });
        }
    });
    (address, received)
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(given) = line.strip_prefix("content-length:") {
            length = given.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = first.split(' ').nth(1).unwrap().to_owned();
    Some((path, serde_json::from_slice(&body).unwrap()))
}

/// Sends a command with the trace of a caller.
fn open(host: &Served) {
    let body = r#"{"type":"open","data":{"owner":"ann"}}"#;
    execute(host, "account-1", &format!("00-{TRACE}-{PARENT}-01"), body);
}

fn execute(host: &Served, stream: &str, traceparent: &str, body: &str) {
    let address = host.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    let request = format!(
        "POST /v1/streams/{stream}/commands HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\ntraceparent: {traceparent}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_command_is_one_trace_below_the_span_of_its_caller() {
    let (address, received) = collector();
    let host = traced(&address);
    open(&host);
    let (path, document) = received.recv_timeout(PATIENCE).unwrap();
    assert_eq!(path, "/v1/traces");
    let of_host = &document["resourceSpans"][0];
    let service = of_host["resource"]["attributes"].to_string();
    assert!(service.contains("\"bank\""), "{service}");
    let spans = of_host["scopeSpans"][0]["spans"].as_array().unwrap();
    let command = &spans[0];
    assert_eq!(command["name"], "command account open");
    assert_eq!(command["parentSpanId"], PARENT);
    let mut names = Vec::new();
    for span in spans {
        assert_eq!(span["traceId"], TRACE);
        let nanos = |name: &str| -> u128 { span[name].as_str().unwrap().parse().unwrap() };
        assert!(nanos("startTimeUnixNano") <= nanos("endTimeUnixNano"));
        if span != command {
            assert_eq!(span["parentSpanId"], command["spanId"]);
            names.push(span["name"].as_str().unwrap());
        }
    }
    names.sort_unstable();
    assert_eq!(
        names,
        ["quipu.commit", "quipu.decide", "quipu.load", "quipu.queue"]
    );
    let attributes = command["attributes"].to_string();
    for part in ["account-1", "accepted", "quipu.position", "quipu.module"] {
        assert!(attributes.contains(part), "{part}: {attributes}");
    }
    assert!(!document.to_string().contains("ann"), "{document}");
}

/// The next span that has a name.
fn next_span(received: &Receiver<(String, Value)>, name: &str) -> Value {
    loop {
        let (_, document) = received.recv_timeout(PATIENCE).unwrap();
        let spans = &document["resourceSpans"][0]["scopeSpans"][0]["spans"];
        let mut spans = spans.as_array().unwrap().iter();
        if let Some(span) = spans.find(|span| span["name"] == name) {
            return span.clone();
        }
    }
}

#[test]
fn a_fold_links_to_the_traces_of_the_commands_whose_events_it_folds() {
    let (address, received) = collector();
    let decider = probe("note").event("noted", 1);
    let host = traced_with(&address, &decider.component());
    let note = |number: usize, flags: &str| {
        let traceparent = format!("00-{number:032x}-{number:016x}-{flags}");
        let body = r#"{"type":"note","data":[["noted",{"n":1}]]}"#;
        execute(&host, "note-1", &traceparent, body);
    };
    // Its caller does not send it.
    note(900, "00");
    (1..=40).for_each(|number| note(number, "01"));
    // The first build folds all of them as one page.
    let guest = decider.version("1.0.1").projection("notes", 1, json!({}));
    let file = host.path("notes.wasm");
    std::fs::write(&file, guest.component()).unwrap();
    host.run(&["deploy", &text(&file), "--no-preflight"]).ok();
    let link = |number: usize| {
        let (trace, span) = (format!("{number:032x}"), format!("{number:016x}"));
        json!({"traceId": trace, "spanId": span})
    };
    let fold = next_span(&received, "fold notes");
    let links: Vec<Value> = (1..=32).map(link).collect();
    assert_eq!(fold["links"], json!(links));
    let traces: Vec<&Value> = links.iter().map(|link| &link["traceId"]).collect();
    assert!(!traces.contains(&&fold["traceId"]), "{fold}");
    assert_eq!((&fold["kind"], &fold["status"]), (&json!(5), &Value::Null));
    let events = json!({"key": "quipu.events", "value": {"intValue": "41"}});
    let attributes = fold["attributes"].as_array().unwrap();
    assert!(attributes.contains(&events), "{fold}");
    // Nobody sees the trace of the first one, so the second one is the next fold that is sent.
    note(901, "00");
    note(41, "01");
    let fold = next_span(&received, "fold notes");
    assert_eq!(fold["links"], json!([link(41)]));
}

#[test]
fn a_collector_that_does_not_answer_stops_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in [&*silent, "http://127.0.0.1:9"] {
        let host = traced(endpoint);
        open(&host);
        for number in 0..20 {
            let amount = format!("{{\"amount\":{}}}", number + 1);
            host.run(&["execute", "account-1", "deposit", &amount]).ok();
        }
        host.signal("TERM");
        let (said, _) = host.ended();
        assert_eq!(said.code, 0, "{}", said.err);
    }
}

#[test]
fn a_wrong_variable_is_named() {
    let mut command = quipu(&["serve", "--store", "memory:", "--listen", "127.0.0.1:0"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317");
    let said = crate::program::said(&command.output().unwrap());
    said.fails(2, "OTEL_EXPORTER_OTLP_ENDPOINT");
}
