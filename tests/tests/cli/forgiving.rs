//! Numbers, names and files as people write them, and answers as programs need them.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::program::{Served, quipu, run, said, text};

fn executed(host: &Served, file: &str, more: &[&str]) -> Value {
    let mut args = vec!["execute", "--file", file, "--category", "account", "--json"];
    args.extend(more);
    serde_json::from_str(&host.run(&args).out).unwrap()
}

#[test]
fn a_negative_number_is_data_and_not_an_option() {
    let host = Served::start();
    for data in ["-5", "-1.5e3"] {
        host.run(&["append", "note-1", "counted", data]).ok();
    }
    let events = host.run(&["stream", "note-1", "--json"]).ok();
    let read: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["data"].take())
        .collect();
    assert_eq!(read, [json!(-5), json!(-1.5e3)]);
    // An unknown option is still an error.
    host.run(&["append", "note-1", "counted", "--no-such"])
        .fails(2, "--no-such");
}

#[test]
fn a_corrected_file_replays_accepted_lines_and_a_different_file_does_not() {
    let host = Served::start();
    let file = text(&host.path("monday.ndjson"));
    let line =
        |name: &str, data: Value| format!("{}\n", json!({"id": "1", "type": name, "data": data}));
    let open = line("open", json!({"owner": "ann"}));
    let (five, seven) = (
        line("deposit", json!({"amount": 5})),
        line("deposit", json!({"amount": 7})),
    );
    let wrong = line("deposti", json!({"amount": 7}));
    std::fs::write(&file, format!("{open}{five}{five}{wrong}{five}")).unwrap();
    let first = executed(&host, &file, &[]);
    assert_eq!(
        (&first["accepted"], &first["failed"]),
        (&json!(4), &json!(1))
    );
    std::fs::write(&file, format!("{open}{five}{five}{seven}{five}")).unwrap();
    let again = executed(&host, &file, &[]);
    assert_eq!(
        (&again["accepted"], &again["replayed"]),
        (&json!(1), &json!(4))
    );
    let people = host.run(&["execute", "--file", &file, "--category", "account"]);
    assert!(
        people.err.contains("batch called monday.ndjson"),
        "{}",
        people.err
    );
    // The file of another day may contain the same lines.
    let tuesday = text(&host.path("tuesday.ndjson"));
    std::fs::write(&tuesday, &five).unwrap();
    assert_eq!(executed(&host, &tuesday, &[])["accepted"], 1);
    assert_eq!(
        executed(&host, &tuesday, &["--batch", "monday.ndjson"])["replayed"],
        1
    );
    let state = host.run(&["stream", "account-1", "--state", "--json"]).ok();
    assert!(state.contains("27"), "5 three times, 7, and 5: {state}");
}

#[test]
fn byte_order_marks_and_windows_line_ends_are_accepted() {
    let host = Served::start();
    let file = text(&host.path("commands.ndjson"));
    let line = json!({"id": "1", "type": "open", "data": {"owner": "ann"}});
    let deposit = json!({"id": "1", "type": "deposit", "data": {"amount": 1}});
    std::fs::write(&file, format!("\u{feff}{line}\r\n{deposit}\r\n\r\n")).unwrap();
    let summary = executed(&host, &file, &[]);
    assert_eq!(
        (&summary["accepted"], &summary["failed"]),
        (&json!(2), &json!(0))
    );
    let append = text(&host.path("append.json"));
    let json = json!({"streams": [{"stream": "note-1", "expected_version": "any",
        "events": [{"type": "noted", "data": {}}]}]});
    std::fs::write(&append, format!("\u{feff}{json}\r\n")).unwrap();
    host.run(&["append", "--file", &append]).ok();
    // What a shell passes from such a file.
    host.run_with(&["append", "note-1", "noted", "-"], "\u{feff}{\"n\":1}\r\n")
        .ok();
    let args = ["execute", "account-1", "deposit", "-"];
    host.run_with(&args, "\u{feff}{\"amount\":1}\r\n").ok();
    // An export, as an editor may save it.
    let export = text(&host.path("export.ndjson"));
    let saved = host.run(&["export"]).ok();
    std::fs::write(
        &export,
        format!("\u{feff}{}\r\n", saved.replace('\n', "\r\n")),
    )
    .unwrap();
    let copy = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    copy.run_with(&["import"], &std::fs::read_to_string(&export).unwrap())
        .ok();
    let head = |host: &Served| host.run(&["events", "--json"]).ok().lines().count();
    assert_eq!(head(&copy), head(&host));
}

#[test]
fn a_failure_of_the_program_is_json_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", dir.path().join("missing.db").display());
    let shipped = dir.path().join("shipped").display().to_string();
    for (args, exit, code) in [
        (
            &["status", "--url", "http://127.0.0.1:1"][..],
            1,
            "no-answer",
        ),
        (
            &["ship", &shipped, "--once", "--url", "http://127.0.0.1:1"],
            1,
            "no-answer",
        ),
        (&["migrate", "--store", &store], 1, "store-unavailable"),
        (&["diff", "no-such.wasm", "no-such.wasm"], 1, "failed"),
        (&["append", "note-1", "noted", "{"], 2, "wrong-use"),
        (&["events", "--limit", "many"], 2, "wrong-use"),
        (&["events", "--no-such"], 2, "wrong-use"),
    ] {
        let said = run(args);
        assert_eq!(
            (said.code, &*said.out),
            (exit, ""),
            "{args:?}: {}",
            said.err
        );
        let said = run(&[args, &["--json"]].concat());
        assert_eq!(said.code, exit, "{args:?}: {}", said.err);
        let problem: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(problem["code"], code, "{args:?}");
        assert_eq!(problem["type"], format!("urn:quipu:problem:{code}"));
        assert!(problem["title"].is_string() && problem["status"].is_null());
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            said.err.starts_with(&format!("error: {detail}")),
            "{}",
            said.err
        );
    }
}

#[test]
fn a_rejection_is_json_for_programs() {
    let host = Served::start();
    let refused = host.run(&[
        "execute",
        "account-1",
        "deposit",
        "{\"amount\":1}",
        "--json",
    ]);
    assert_eq!(refused.code, 3, "{}", refused.err);
    let problem: Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!(problem["code"], "rejected");
    assert!(
        problem["rejection"]["code"].is_string() && problem["rejection"]["message"].is_string()
    );
    let missing = host.run(&["stream", "account-9", "--json"]);
    let problem: Value = serde_json::from_str(&missing.out).unwrap();
    assert_eq!(
        (missing.code, &problem["code"]),
        (1, &json!("stream-not-found"))
    );
}

#[test]
fn a_module_can_be_named_by_its_first_digits() {
    let host = Served::start();
    host.run(&["execute", "account-1", "open", "{\"owner\":\"ann\"}"])
        .ok();
    let deployments = host.run(&["deployments", "account", "--json"]).ok();
    let deployment: Value = serde_json::from_str(deployments.lines().next().unwrap()).unwrap();
    let digest = deployment["digest"].as_str().unwrap();
    let whole = host.run(&["events", "--module", digest, "--json"]).ok();
    assert_eq!(whole.lines().count(), 1);
    let short = host
        .run(&["events", "--module", &digest[..12], "--json"])
        .ok();
    assert_eq!(short, whole);
    let state = ["stream", "account-1", "--state", "--module", &digest[..8]];
    host.run(&state).ok();
    let unknown = host.run(&["events", "--module", "0000000000"]);
    assert!(unknown.err.contains("begins with"), "{}", unknown.err);
    assert_ne!(unknown.code, 0);
}

#[test]
fn unread_log_output_does_not_block_requests() {
    for is_gone in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let store = format!("sqlite:{}", text(&dir.path().join("q.db")));
        let mut command = quipu(&["serve", "--store", &store, "--listen", "127.0.0.1:0"]);
        command.env("QUIPU_LOG", "trace");
        command.stdout(std::process::Stdio::piped());
        command.stderr(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Either the other end of stderr is closed, or it is open and nobody reads it until it is
        // full.
        let stderr = child.stderr.take().filter(|_| !is_gone);
        let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        let url = line.trim_end().strip_prefix("ready ").unwrap().to_owned();
        let file = dir.path().join("append.json");
        let event = json!({"type": "noted", "data": {"text": "x".repeat(500)}});
        let streams: Vec<Value> = (0..50)
            .map(|n| json!({"stream": format!("note-{n}"), "expected_version": "any", "events": [event]}))
            .collect();
        let mut written = std::fs::File::create(&file).unwrap();
        writeln!(written, "{}", json!({"streams": streams})).unwrap();
        for _ in 0..30 {
            let mut append = quipu(&["append", "--file", &text(&file)]);
            said(&append.env("QUIPU_URL", &url).output().unwrap()).ok();
        }
        let mut events = quipu(&["stream", "note-7", "--json"]);
        let events = said(&events.env("QUIPU_URL", &url).output().unwrap()).ok();
        assert_eq!(events.lines().count(), 30);
        drop(stderr);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
