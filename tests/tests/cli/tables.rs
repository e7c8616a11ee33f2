//! Lists: one line per row, cut to the width of a terminal, and complete everywhere else.

use quipu_tests::examples;
use quipu_tests::probe::probe;
use serde_json::json;

use crate::program::{Served, run, text};

/// Columns of a terminal.
const COLUMNS: usize = 80;

const STREAM: &str = "note-0198c5b2-9f3a-7c41-8d2e-5b6a7c8d9e0f";

/// A host with longer lists and values than a terminal has room for.
fn crowded() -> Served {
    let host = Served::start_in(tempfile::tempdir().unwrap(), &[]);
    let guest = probe("note")
        .event("noted", 1)
        .decides("reject")
        .projection("notes", 1, json!({}))
        .projection("notes-by-a-name-that-is-rather-long", 1, json!({}));
    let file = text(&host.path("note.wasm"));
    std::fs::write(&file, guest.component()).unwrap();
    host.run(&["deploy", &file, "--on-error", "notes=park"])
        .ok();
    let long = "word ".repeat(40);
    for stream in ["note-1", STREAM, "note-1"] {
        let data = json!([["noted", {"n": 1, "text": long}]]).to_string();
        host.run(&["execute", stream, "note", &data]).ok();
    }
    let odd = json!([["noted", {"word": "odd", "text": long}]]).to_string();
    host.run(&["execute", "note-1", "note", &odd]);
    let bad = json!([["noted", {"bad": {"apply": "trap"}, "text": long}]]).to_string();
    host.run(&["execute", "note-1", "note", &bad]).ok();
    host.run(&["archive", STREAM]).ok();
    host
}

/// Runs a command in a terminal and returns its lines, none of which is longer than the terminal.
fn shown(host: &Served, args: &[&str]) -> Vec<String> {
    let said = host.run_in(COLUMNS, args);
    let lines: Vec<String> = said.out.lines().map(str::to_owned).collect();
    for line in &lines {
        assert!(line.chars().count() <= COLUMNS, "{args:?}\n{}", said.out);
    }
    lines
}

#[test]
fn every_list_fits_a_terminal_and_has_a_header() {
    let host = crowded();
    let file = text(&host.path("note.wasm"));
    for (args, heading, rows) in [
        (&["events"][..], "position", 5),
        (&["stream", "note-1"], "position", 3),
        (&["streams", "--archived", "with"], "stream", 3),
        (&["types"], "category", 2),
        (&["rejections"], "accepted at", 1),
        (&["projections"], "projection", 2),
        (&["deployments"], "plan", 1),
        (&["view", "notes"], "key", 2),
    ] {
        let lines = shown(&host, args);
        assert!(lines[0].starts_with(heading), "{args:?}: {lines:?}");
        assert_eq!(lines.len(), rows + 1, "{args:?}: {lines:?}");
    }
    shown(&host, &["preflight", &file]);
    shown(&host, &["verify", "--projections"]);
    shown(&host, &["inspect", &file]);
    shown(&host, &["status"]);
}

#[test]
fn ids_are_never_cut_and_texts_are() {
    let host = crowded();
    let events = shown(&host, &["events"]);
    assert!(
        events.iter().any(|line| line.contains(STREAM)),
        "{events:?}"
    );
    let stream = shown(&host, &["stream", "note-1"]);
    assert!(
        stream[1].ends_with('…') && stream[1].contains("{\"n\":1"),
        "{stream:?}"
    );
    assert_eq!(stream[1].chars().count(), COLUMNS);
    let rejections = shown(&host, &["rejections"]);
    assert!(rejections[1].contains("too-odd"), "{rejections:?}");
    let projections = shown(&host, &["projections"]);
    let long = "notes-by-a-name-that-is-rather-long";
    assert!(
        projections.iter().any(|line| line.contains(long)),
        "{projections:?}"
    );
    let streams = shown(&host, &["streams", "--archived", "with"]);
    let archived = streams.iter().find(|line| line.starts_with(STREAM));
    assert!(archived.unwrap().ends_with('Z'), "{streams:?}");
    let narrow = host.run_in(20, &["streams", "--archived", "with"]).ok();
    assert!(narrow.lines().any(|line| line == STREAM), "{narrow}");
}

#[test]
fn lines_are_not_cut_outside_of_a_terminal() {
    let host = crowded();
    let whole = "word ".repeat(40);
    for args in [&["events"][..], &["stream", "note-1"], &["rejections"]] {
        let said = host.run(args).ok();
        assert!(said.contains(&whole) && !said.contains('…'), "{said}");
    }
    // Events as lines for programs have no header.
    for args in [&["events"][..], &["stream", "note-1"]] {
        let said = host.run(args).ok();
        assert!(said.starts_with("1  2"), "{said}");
        assert!(said.lines().next().unwrap().contains('.'), "{said}");
    }
    let ndjson = host.run_in(COLUMNS, &["events", "--json"]).ok();
    assert_eq!(ndjson, host.run(&["events", "--json"]).ok());
    assert_eq!(ndjson.lines().count(), 5);
}

#[test]
fn rejections_name_who_sent_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let modules = dir.path().join("modules");
    std::fs::create_dir(&modules).unwrap();
    std::fs::write(modules.join("account.wasm"), examples::account()).unwrap();
    let store = format!("sqlite:{}", text(&dir.path().join("q.db")));
    let create = [
        "token", "create", "ann", "--role", "admin", "--store", &store,
    ];
    let ann = run(&create).ok().trim_end().to_owned();
    let host = Served::start_in(dir, &["--modules", &text(&modules)]);
    let with = |args: &[&str]| host.run(&[args, &["--token", &*ann][..]].concat());
    with(&["execute", "account-1", "open", "{\"owner\":\"ann\"}"]).ok();
    with(&["execute", "account-1", "withdraw", "{\"amount\":5}"]);
    let table = with(&["rejections"]).ok();
    let mut lines = table.lines();
    let heading = lines.next().unwrap();
    let column = heading.find("principal").unwrap();
    assert!(
        lines.next().unwrap()[column..].starts_with("ann "),
        "{table}"
    );
    let json = with(&["rejections", "--json"]).ok();
    assert!(json.contains("\"principal\":\"ann\""), "{json}");
}

#[test]
fn rejections_are_listed_with_their_details() {
    let host = Served::start();
    host.run(&["execute", "account-1", "open", "{\"owner\":\"ann\"}"])
        .ok();
    host.run(&["execute", "account-1", "withdraw", "{\"amount\":5}"]);
    let whole = host.run(&["rejections"]).ok();
    assert!(
        whole.lines().next().unwrap().ends_with("details"),
        "{whole}"
    );
    assert!(whole.ends_with("  {\"balance\":0}\n"), "{whole}");
    let json = host.run(&["rejections", "--json"]).ok();
    assert!(json.contains("\"details\":{\"balance\":0}"), "{json}");
    let cut = shown(&host, &["rejections"]);
    assert!(cut[1].contains("insufficient-funds"), "{cut:?}");
    assert!(cut[1].contains("{\"balance"), "{cut:?}");
}

#[test]
fn a_component_is_inspected_with_its_steps_and_its_state() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("note.wasm");
    let guest = probe("note")
        .event("noted", 2)
        .state(3, &[(1, 2), (2, 3)])
        .step("note", ("noted", 1), &[("noted", 2), ("marked", 1)])
        .step("note", ("gone", 1), &[]);
    std::fs::write(&file, guest.component()).unwrap();
    let said = run(&["inspect", &text(&file)]).ok();
    let rows: Vec<String> = said
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for row in [
        "state schema version 3",
        "migrations of the state 1 to 2, 2 to 3",
        "category step from to",
        "note noted 1 noted 2, marked 1",
        "note gone 1 nothing: it is dropped",
    ] {
        assert!(rows.iter().any(|it| it == row), "{row}\n{said}");
    }
    let json = run(&["inspect", &text(&file), "--json"]).ok();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["state_schema_version"], 3);
    assert_eq!(json["migrations"][1], json!({"from": 2, "to": 3}));
    assert_eq!(json["steps"][0]["category"], "note");
}
