//! Lines of the host's log.

use quipu_tests::examples;
use serde_json::Value;

use crate::program::{Served, quipu, run};

fn lines(format: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let modules = dir.path().join("modules");
    std::fs::create_dir(&modules).unwrap();
    std::fs::write(modules.join("account.wasm"), examples::account()).unwrap();
    let mut command = quipu(&["serve", "--store", "memory:", "--listen", "127.0.0.1:0"]);
    command.arg("--modules").arg(&modules);
    match format {
        "" => command.env_remove("QUIPU_LOG_FORMAT"),
        format => command.env("QUIPU_LOG_FORMAT", format),
    };
    let host = Served::ready(dir, command);
    host.signal("TERM");
    let (said, _) = host.ended();
    assert_eq!(said.code, 0, "{}", said.err);
    said.err
}

#[test]
fn a_log_of_json_has_one_object_in_each_line() {
    // Its stderr is not a terminal.
    for format in ["json", "auto", ""] {
        let log = lines(format);
        let mut messages = Vec::new();
        for line in log.lines().filter(|line| line.starts_with('{')) {
            let line: Value = serde_json::from_str(line).unwrap();
            for member in ["timestamp", "level", "target"] {
                assert!(line[member].is_string(), "{line}");
            }
            messages.push(line["fields"]["message"].to_string());
        }
        assert!(!log.contains(" INFO "), "{log}");
        for message in ["serving", "shutting down"] {
            assert!(messages.iter().any(|it| it.contains(message)), "{log}");
        }
    }
}

#[test]
fn a_log_is_text_if_that_is_wanted() {
    let log = lines("text");
    assert!(log.contains("shutting down"), "{log}");
    assert!(!log.contains("{\""), "{log}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("quipu.toml");
    std::fs::write(&file, "log_format = \"yaml\"\n").unwrap();
    let file = file.display().to_string();
    run(&["config", "--config", &file, "--check"]).fails(2, "expected text, json or auto");
}

#[test]
fn data_of_events_is_not_in_the_log() {
    const SECRET: &str = "mallard-7421";
    let dir = tempfile::tempdir().unwrap();
    let modules = dir.path().join("modules");
    std::fs::create_dir(&modules).unwrap();
    std::fs::write(modules.join("account.wasm"), examples::account()).unwrap();
    let store = format!("sqlite:{}", dir.path().join("q.db").display());
    let mut command = quipu(&["serve", "--store", &store, "--listen", "127.0.0.1:0"]);
    command.arg("--modules").arg(&modules);
    command.env("QUIPU_LOG", "quipu=debug");
    let host = Served::ready(dir, command);
    let owner = format!("{{\"owner\":\"{SECRET}\"}}");
    host.run(&["execute", "account-1", "open", &owner]).ok();
    // A rejection, and a conflict.
    let second = host.run(&["execute", "account-1", "open", &owner]);
    assert_eq!(second.code, 3, "{}", second.out);
    let data = format!("\"{SECRET}\"");
    host.run(&["append", "note-1", "noted", &data]).ok();
    let conflict = [
        "append",
        "note-1",
        "noted",
        &data,
        "--expected-version",
        "7",
    ];
    assert_eq!(host.run(&conflict).code, 4);
    // Each of them shows the data to whoever may read it.
    for command in [&["events", "--json"][..], &["export"]] {
        let shown = host.run(command).ok();
        assert!(shown.contains(SECRET), "{shown}");
    }
    host.run(&["verify"]).ok();
    host.signal("TERM");
    let (ended, _) = host.ended();
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("serving"), "{}", ended.err);
    assert!(!ended.err.contains(SECRET), "{}", ended.err);
}
